"""`koed`: the command line of the daemon. Each command imports what it needs, when it runs."""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import koed
from koe.protocol import runtime_dir
from koed.engine import quiet
from koed.errors import ConfigError, KoedError

if TYPE_CHECKING:
    from koed.config.daemon import Config

EX_CONFIG = 78
"""As in sysexits.h: a service manager need not try again."""

Command = Callable[[argparse.Namespace], int]


def _load(args: argparse.Namespace) -> Config:
    from koed.config import daemon as config

    return config.load(args.config)


def _config(args: argparse.Namespace) -> Config:
    """The configuration, and the log as it wants it."""
    from koed.service import logs

    loaded = _load(args)
    logs.setup(loaded.log, sys.stderr)
    return loaded


def _print(args: argparse.Namespace, value: Any, text: str) -> None:
    print(json.dumps(value, ensure_ascii=False) if args.json else text)


def run(args: argparse.Namespace) -> int:
    """Run the daemon in the foreground until Ctrl-C or SIGTERM."""
    import dataclasses
    import faulthandler

    from koed.config import shipped
    from koed.config.daemon import found, state_dir

    faulthandler.enable()  # a watchdog's SIGABRT then says where the daemon was stuck
    shipped.begin(state_dir(), configured=bool(args.config or found()))
    try:
        config = _config(args)
    except ConfigError as error:
        _complain(args, error)
        return EX_CONFIG
    if args.greeting is not None:
        config = dataclasses.replace(config, greeting=args.greeting)
    from koed import app

    return app.run(config, Path(runtime_dir()))


def check(args: argparse.Namespace) -> int:
    """Look at configuration, profiles, engines and audio without speaking."""
    from koed.cli import check as checks
    from koed.config.daemon import dump

    loaded = _load(args)
    if args.show:
        print(dump(loaded), end="")
        return 0
    return checks.report(loaded, as_json=args.json)


def devices(args: argparse.Namespace) -> int:
    """Show the audio server and the microphones of koed; take away what a koed left there."""
    from koed.cli import check as checks

    return checks.devices(_load(args), as_json=args.json, remove=args.remove)


def voices(args: argparse.Namespace) -> int:
    """List the voice profiles of the configuration (koe voices asks the running daemon)."""
    if args.action == "try":
        from koed.cli import try_voice

        return try_voice.run(_config(args), args)
    if args.action == "import":
        from koed.cli import import_voice

        return import_voice.run(_config(args), args)
    from koed.cli import show_voice

    return (show_voice.run if args.action == "show" else show_voice.overview)(_load(args), args)


def render(args: argparse.Namespace) -> int:
    """Speak into a WAV file, faster than real time, on the same path as the daemon."""
    config = _config(args)
    from koe.cli.parser import LINE_FIELDS
    from koe.protocol import LineFields
    from koed.offline import render_file

    text = sys.stdin.read() if args.text == "-" else args.text
    fields = LineFields(**{name: getattr(args, name) for name in LINE_FIELDS})
    result = render_file(config, text, args.voice, args.lang, Path(args.output), fields)
    _print(
        args,
        result,
        f"{args.output}: {result['seconds']:.2f} s in {result['took_s']:.2f} s, "
        f"voice {result['voice']}",
    )
    return 0


def replay(args: argparse.Namespace) -> int:
    """Show step by step what led to a trouble, from the file that koed wrote then."""
    from koed.persistence import replay as recordings

    for line in recordings.show(Path(args.file), args.json):
        print(line)
    return 0


def bench(args: argparse.Namespace) -> int:
    """Measure koed at the sink; prints a table, and last one JSON line."""
    from koed.bench import main

    voice = None
    if args.voice:
        from koed.bench import own_voice
        from koed.cli import try_voice

        config = _config(args)
        profile = try_voice.find(config, args.voice)
        voice = functools.partial(own_voice.measure, profile, config)
    names = args.names or (["engine"] if args.voice else [])
    voices = functools.partial(_bench_voices, args) if "voices" in names else None
    with contextlib.redirect_stdout(sys.stderr) if args.json else contextlib.nullcontext():
        results = main.measured(names, args.soak, args.profile, args.utterances, voice, voices)
    return main.told(results)


def _bench_voices(args: argparse.Namespace) -> dict[str, Any]:
    from koed.bench.voices import main as voices

    names = tuple(filter(None, args.voices.split(",")))
    options = voices.Options(names, args.sentences, args.lang, args.picture)
    return voices.run(_config(args), options)


def demo(args: argparse.Namespace) -> int:
    """Three lines, two voices, a switch in mid-line: demo.wav, demo.png and a timing table."""
    from koed.bench import demo as demonstration

    return demonstration.run(Path(args.out))


def rehearse(args: argparse.Namespace) -> int:
    """Play a recorded chat against the configuration, without a sound."""
    loaded = _config(args)
    from koed.integrations.chat import rehearse as rehearsal

    return rehearsal.run(loaded, args.log, as_json=args.json, sums_only=args.summary)


def proof(args: argparse.Namespace) -> int:
    """Let a real OBS record koed, and find voices and captions in what it recorded."""
    from koed.bench import checkout

    if args.pictures:
        return checkout.run("pictures", str(args.pictures.resolve()))
    return checkout.run("proof", str(Path(args.out).resolve()))


def keys(args: argparse.Namespace) -> int:
    """Make, list or remove the CURVE keys of clients on other machines."""
    from koed.auth import keys
    from koed.config.daemon import resolve

    return keys.command(resolve(_load(args), "server.keys"), args)


def models(args: argparse.Namespace) -> int:
    """List, import, fetch and remove the models of the neural voice."""
    from koed.cli import models as models_cli

    if args.action == "import":
        from koed.cli import import_voice

        if import_voice.is_pack(args.sources):
            return import_voice.run(_config(args), args)
    mirror = _load(args).models.mirror if args.action == "pull" else None
    return models_cli.run(args, mirror or "")


def enroll(args: argparse.Namespace) -> int:
    """Make a voice profile of a recording: trim, check and prepare it."""
    loaded = _config(args)
    from koed.voices import enroll as enrolment

    return enrolment.run(loaded, args)


def obs(args: argparse.Namespace) -> int:
    """Set up a running OBS for koed, and see what its scenes do."""
    loaded = _config(args)
    try:
        from koed.cli import obs as studio
    except ImportError as error:
        raise KoedError(
            "library_missing",
            f"koed cannot speak to OBS: {error}",
            "install koed with the extra obs",
        ) from error
    return studio.run(loaded, args)


def worker(args: argparse.Namespace) -> int:
    """Serve an engine to a koed on another machine."""
    from koed.auth import keys
    from koed.config.daemon import WorkerConfig, resolve
    from koed.engine.host.process import environment
    from koed.engine.worker import main as engine_worker

    loaded = _load(args)
    if args.keys is None:
        args.keys = keys.of_worker(resolve(loaded, "server.keys"))
    os.environ.update(environment(loaded.engines.get(args.engine, WorkerConfig())))
    return engine_worker.serve(args)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="koed",
        description="The resident voice of a live stream.",
        epilog="example: koed run        then, in another terminal: koe say hello",
    )
    parser.add_argument("--version", action="version", version=f"koed {koed.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(function: Command, example: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            function.__name__,
            help=(function.__doc__ or "").splitlines()[0],
            description=function.__doc__,
            epilog=f"example: {example}",
        )
        sub.set_defaults(function=function)
        sub.add_argument("--config", type=Path, metavar="FILE", help="koed.yaml to use")
        sub.add_argument("--json", action="store_true", help="machine-readable output")
        return sub

    sub = command(run, "koed run --config koed.yaml")
    sub.add_argument("--greeting", metavar="TEXT", help="what to say when ready")
    sub = command(check, "koed check --show > koed.yaml")
    sub.add_argument("--show", action="store_true", help="print the whole configuration in effect")
    sub = command(devices, "koed devices --remove")
    sub.add_argument(
        "--remove", action="store_true", help="take away microphones of koeds that have ended"
    )
    _voices_arguments(command(voices, "koed voices --json"))
    _render_arguments(command(render, 'koed render "Good evening" --voice ken -o evening.wav'))
    _bench_arguments(command(bench, "koed bench onset stop"))
    sub = command(replay, "koed replay ~/.local/state/koed/replay/20261130-201500-stuck.replay")
    sub.add_argument("file", metavar="FILE")
    sub = command(demo, "koed demo --out .")
    sub.add_argument("--out", default=".", metavar="FOLDER")
    sub = command(rehearse, "koed rehearse yesterday.jsonl --config tonight.yaml")
    sub.add_argument("log", metavar="LOG", help="JSON lines with a time each; - = standard input")
    sub.add_argument("--summary", action="store_true", help="only the sums")
    _proof_arguments(command(proof, "koed proof --out build/proof"))
    _keys_arguments(command(keys, "koed keys new gaming-pc"))
    _models_arguments(command(models, "koed models import hana.ckpt hana.pth --licence CC-BY-4.0"))
    _enroll_arguments(command(enroll, 'koed enroll hana --audio a.wav --text "…" --lang ja'))
    _obs_arguments(command(obs, "koed obs setup --dry-run"))
    _worker_arguments(command(worker, "koed worker --listen tcp://192.168.1.20:5557"))
    return parser


def _voices_arguments(sub: argparse.ArgumentParser) -> None:
    from koed.cli import import_voice, show_voice, try_voice

    actions = sub.add_subparsers(dest="action", metavar="list|show|import|try")
    child = actions.add_parser("list", help="what is there; the same without a word")
    child.add_argument("--json", action="store_true", default=argparse.SUPPRESS)
    child.add_argument("--config", type=Path, metavar="FILE", default=argparse.SUPPRESS)
    show_voice.arguments(actions)
    import_voice.arguments(actions)
    try_voice.arguments(actions)


def _render_arguments(sub: argparse.ArgumentParser) -> None:
    from koe.cli.parser import LINE_FIELDS

    sub.add_argument("text", help="what to say; - reads standard input")
    sub.add_argument("--voice", metavar="NAME")
    sub.add_argument("--lang", metavar="CODE")
    sub.add_argument("-o", "--output", required=True, metavar="FILE.wav")
    for names, more in LINE_FIELDS.values():
        sub.add_argument(*names, **more)


def _bench_arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="which measurements; all but engine, memory, air, words and voices by default",
    )
    sub.add_argument("--soak", type=float, default=20.0, metavar="SECONDS")
    sub.add_argument("--voice", metavar="NAME", help="what `engine` measures: this voice")
    sub.add_argument("--profile", type=Path, metavar="FILE.json", help="trace of `engine`")
    sub.add_argument("--utterances", type=int, default=10_000, metavar="N", help="of `memory`")
    of_voices = sub.add_argument_group(
        "voices", "koed bench voices --voices hana,ken --sentences 10 --picture voices.png"
    )
    of_voices.add_argument("--voices", default="", metavar="A,B", help="profiles; all by default")
    of_voices.add_argument("--sentences", type=int, default=25, metavar="N", help="of each voice")
    of_voices.add_argument("--lang", default="", metavar="CODE", help="instead of a voice's own")
    of_voices.add_argument("--picture", type=Path, metavar="FILE.png", help="the figures as bars")


def _proof_arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--out", default="build/proof", metavar="FOLDER")
    sub.add_argument(
        "--pictures", type=Path, metavar="FOLDER", help="take the pictures of docs/obs.md instead"
    )


def _keys_arguments(sub: argparse.ArgumentParser) -> None:
    actions = sub.add_subparsers(dest="action", required=True, metavar="new|list|remove")
    for action, text in (
        ("new", "make a key pair for a client and print the client's lines"),
        ("list", "list the clients that are admitted"),
        ("remove", "admit a client no longer"),
    ):
        child = actions.add_parser(action, help=text)
        if action != "list":
            child.add_argument("name")


def _models_arguments(sub: argparse.ArgumentParser) -> None:
    from koed.cli import import_voice

    actions = sub.add_subparsers(
        dest="action", required=True, metavar="list|show|import|pull|remove"
    )

    def action(name: str, text: str) -> argparse.ArgumentParser:
        child = actions.add_parser(name, help=text, description=text)
        # Suppressed: a default here would undo what was said before the action.
        child.add_argument("--json", action="store_true", default=argparse.SUPPRESS)
        return child

    sub.add_argument("--folder", type=Path, metavar="FOLDER", help="of models; another one")
    action("list", "what is there")
    action("show", "a model, or any weight file").add_argument("name", metavar="NAME|FILE")
    child = action("import", "make a model of a .ckpt and a .pth; of a pack as koed voices import")
    import_voice.options(child)
    child = action("pull", "fetch official files: v1 v2 v2Pro v2ProPlus hubert bert sv kokoro")
    child.add_argument("names", nargs="+", metavar="NAME")
    child.add_argument("--endpoint", metavar="URL", help="a mirror, before all others")
    action("remove", "delete a model").add_argument("name")


def _enroll_arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("name", metavar="NAME", help="of the profile: a-z, 0-9, _ and -")
    sub.add_argument("--audio", type=Path, required=True, metavar="FILE")
    sub.add_argument("--text", required=True, help="what is said there, word for word")
    sub.add_argument("--lang", required=True, metavar="CODE", help="zh, ja, en, ko, yue or auto")
    sub.add_argument("--model", default="", help="as koed models list names it")
    sub.add_argument("--rights", default="", metavar="TEXT", help="whose voice, who agreed")
    sub.add_argument("--part", default="", metavar="FROM:TO", help="seconds of the recording")
    sub.add_argument("--keep-silence", action="store_true", help="do not trim")
    sub.add_argument("--no-prepare", action="store_true", help="leave that to the daemon")
    sub.add_argument("--force", action="store_true", help="replace a profile of that name")


def _obs_arguments(sub: argparse.ArgumentParser) -> None:
    actions = sub.add_subparsers(dest="action", required=True, metavar="setup|rules")
    child = actions.add_parser(
        "setup",
        help="make in the running OBS what koed needs: its microphone, captions",
        description="Shows what would be done in the running OBS, and asks. What koed did not make"
        " is not touched; a second run does only what is missing.",
        epilog="example: koed obs setup --scene Talking --dry-run",
    )
    child.add_argument(
        "--scene", action="append", metavar="NAME", help="where; again for more; else on air"
    )
    child.add_argument("--all-scenes", action="store_true", help="into every scene")
    child.add_argument("--dry-run", action="store_true", help="only show it")
    child.add_argument("--yes", action="store_true", help="do it without asking")
    child.add_argument("--remove", action="store_true", help="take away what koed made")
    child.add_argument("--json", action="store_true", default=argparse.SUPPRESS)
    child = actions.add_parser(
        "rules",
        help="list the scenes of the running OBS and what each would do",
        description="Lists the scenes of the running OBS, the one on air with a star, and what the"
        " rules of koed.yaml make of each: voice and mode. Changes nothing.",
        epilog="example: koed obs --config koed.yaml rules --json",
    )
    child.add_argument("--json", action="store_true", default=argparse.SUPPRESS)
    for child in actions.choices.values():  # before the action or behind it
        child.add_argument("--config", type=Path, metavar="FILE", default=argparse.SUPPRESS)


def _worker_arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--listen", required=True, metavar="tcp://ADDRESS:PORT")
    sub.add_argument("--engine", default="embedded", metavar="NAME")
    sub.add_argument(
        "--keys", type=Path, metavar="FOLDER", help="of whom it admits; else where koed keys writes"
    )


def _complain(args: argparse.Namespace, error: KoedError) -> None:
    if args.json:
        print(json.dumps({"error": error.code, "message": error.message, "hint": error.hint}))
    print(f"koed: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"      {error.hint}", file=sys.stderr)


def main(argv: list[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    quiet.keep(os.environ, fetching=args.function is models)
    try:
        return int(args.function(args))
    except KoedError as error:
        _complain(args, error)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
