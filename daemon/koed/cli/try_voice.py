"""`koed voices try NAME`: hear a voice on the speakers and measure it, without a daemon.

A line is made as a whole, then played: neither is disturbed by the other.
"""

from __future__ import annotations

import argparse
import json
import logging
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from koed.errors import DeviceError, KoedError, did_you_mean

if TYPE_CHECKING:
    from koed.config.daemon import Config
    from koed.config.profile import Profile
    from koed.in_process import LoadedVoice, Spoken

ROUNDS = 2
"""A, B, A, B: who hears A again knows what was different."""
COLUMNS = (("voice", 14), ("engine", 12), ("model", 20), ("device", 22), ("precision", 10))
FIGURES = (("first_chunk_ms", "first chunk ms", 15), ("rtf", "RTF", 8), ("seconds", "seconds", 8))


def arguments(actions: Any) -> None:
    """Adds `try` to the actions of `koed voices`."""
    sub = actions.add_parser(
        "try",
        help="hear a voice on the speakers, and measure it",
        description="Speaks on the default output of this desktop (which OBS hears too, if it"
        " records that) and measures. It needs no running koed and disturbs none.",
        epilog='example: koed voices try mika "Good evening" --against hana',
    )
    sub.add_argument("name", metavar="NAME")
    sub.add_argument("text", nargs="?", metavar="TEXT", help="else a greeting in its language")
    sub.add_argument("--against", metavar="OTHER", help="the two in turns, each twice")
    sub.add_argument("--lang", metavar="CODE", help="of the text")
    sub.add_argument("--out", metavar="FILE.wav", type=Path, help="there, and not on the speakers")
    sub.add_argument("--json", action="store_true", default=argparse.SUPPRESS)
    sub.add_argument("--config", type=Path, metavar="FILE", default=argparse.SUPPRESS)


def run(config: Config, args: argparse.Namespace) -> int:
    """The command; raises `KoedError`. ``--json``: an object for each line that was spoken."""
    from koed.in_process import write
    from koed.text.greeting import greeting

    profiles = [find(config, name) for name in (args.name, args.against) if name]
    text = args.text or greeting(args.lang or profiles[0].lang)
    sink = "" if args.out else _speakers()
    if args.out and not args.out.absolute().parent.is_dir():  # known before a minute of loading
        raise KoedError("no_folder", f"there is no folder {args.out.parent}", "make it first")
    logging.getLogger("koed").setLevel(logging.WARNING)
    lines: list[Spoken] = []
    with ExitStack() as stack:
        voices = _loaded(config, profiles, stack)
        for voice in voices:  # what loads with the first line is not measured
            voice.begin(text, args.lang)
        if not args.json:
            print(_heads())
        for seed in range(ROUNDS if args.against else 1):
            for voice in voices:
                spoken = voice.speak(text, args.lang, seed)
                _tell(voice, spoken, args.json)
                lines.append(spoken)
                _play(spoken, sink)
    if args.out:
        write(args.out, lines)
    return 0


def find(config: Config, name: str) -> Profile:
    """A profile by name; raises `KoedError` ``unknown_voice``, or what is wrong with it."""
    from koed.config.daemon import resolve
    from koed.config.profile_folder import ProfileFolder

    scan = ProfileFolder(resolve(config, "profiles"), outputs=tuple(config.outputs)).scan()
    if name in scan.broken:
        raise scan.broken[name]
    if name not in scan.profiles:
        hint = did_you_mean(name, scan.profiles)
        raise KoedError("unknown_voice", f"there is no voice {name[:40]!r}", hint or "koed voices")
    return scan.profiles[name]


def _speakers() -> str:
    from koed.audio import speakers

    try:
        return speakers.find()
    except DeviceError as error:
        hint = "; ".join(filter(None, (error.hint, "or write it into a file: --out FILE.wav")))
        raise DeviceError(error.code, error.message, hint.removeprefix("or ")) from error


def _loaded(config: Config, profiles: list[Profile], stack: ExitStack) -> list[LoadedVoice]:
    from koed.in_process import LoadedVoice

    first = stack.enter_context(LoadedVoice(profiles[0], config))
    others = [stack.enter_context(LoadedVoice(p, config, beside=first)) for p in profiles[1:]]
    return [first, *others]


def _heads() -> str:
    heads = [*COLUMNS, *((head, width) for _, head, width in FIGURES)]
    return "".join(f"{head:<{width}}" for head, width in heads)


def _tell(voice: LoadedVoice, spoken: Spoken, as_json: bool) -> None:
    row: dict[str, Any] = {
        **voice.facts(),
        "first_chunk_ms": round(1000 * spoken.first_chunk_s, 1),
        "rtf": round(spoken.rtf, 3),
        "seconds": round(spoken.seconds, 2),
    }
    if as_json:
        print(json.dumps(row, ensure_ascii=False), flush=True)
        return
    widths = [*COLUMNS, *((key, width) for key, _, width in FIGURES)]
    print("".join(f"{row.get(key, '-')!s:<{width}}" for key, width in widths), flush=True)


def _play(spoken: Spoken, sink: str) -> None:
    from koed.audio import speakers

    if sink:
        speakers.play(spoken.pcm, spoken.rate_hz, sink)
