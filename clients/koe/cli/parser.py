"""The command line of ``koe`` as a parser. Nothing else is loaded: ``koe --help`` is instant."""

from __future__ import annotations

import argparse
import functools
import importlib
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from typing import Any

DESCRIPTION = """\
Talk to koed, the resident voice of a live stream.

exit status: 0 done, 1 refused with a reason, 2 usage, 3 no daemon"""

Spec = tuple[tuple[str, ...], dict[str, Any]]


def option(*names: str, **settings: Any) -> Spec:
    return names, settings


OUTPUT = option("--output", metavar="O", help="one of koed's outputs; by default the voice's")
ANY_OUTPUT = option("--output", metavar="O", help="one of koed's outputs; by default all")
PRIORITY = ("urgent", "normal", "chatter")
SPOKEN_FIELDS: dict[str, Spec] = {
    "speed": option("--speed", metavar="X", type=float, help="0.5 to 2; 2 is twice as fast"),
    "pitch": option("--pitch", metavar="X", type=float, help="-12 to 12 semitones above its own"),
    "range": option("--range", metavar="X", type=float,
                    help="of its intonation, 0 to 2: 0 is monotone, 2 twice as lively"),
    "energy": option("--energy", metavar="DB", type=float, help="-12 to 12: effort of speaking"),
    "volume": option("--volume", metavar="DB", type=float, help="-24 to 12: as loud, any voice"),
    "temperature": option("--temperature", metavar="X", type=float,
                          help="of a neural voice, 0.01 to 2: low is steady, high is lively"),
    "top_k": option("--top-k", dest="top_k", metavar="N", type=int,
                    help="of a neural voice: choose among so many of the likeliest sounds"),
    "seed": option("--seed", metavar="N", type=int,
                   help="of a neural voice: the same one makes the same text sound the same"),
}  # fmt: skip
"""By their names on the wire."""
LINE_FIELDS: dict[str, Spec] = {
    "style": option("--style", metavar="S", help="a style of the voice; koe voices lists them"),
    "reference": option("--reference", metavar="S",
                        help="imitate the clip of this style, and nothing else of it"),
    **SPOKEN_FIELDS,
}  # fmt: skip
LINE = (
    option("--voice", metavar="V", help="the profile to speak with; by default the current one"),
    option("--lang", metavar="L", help="zh, ja, ko, en, ...; by default by voice and script"),
    option("--priority", choices=PRIORITY, default="normal",
            help="urgent interrupts; chatter may be dropped when there is much of it"),
    option("--ttl", dest="ttl_s", metavar="S", type=float,
            help="drop it if it does not sound within S seconds"),
    option("--key", metavar="K", help="a later line with this key replaces it while it waits"),
    option("--author", metavar="A", help="who wrote it: for limits per author and for cancel"),
    OUTPUT,
    *LINE_FIELDS.values(),
)  # fmt: skip

COMMANDS: dict[str, tuple[str, str, tuple[Spec, ...]]] = {
    "say": ("speak a line", 'koe say --voice hana --wait "good evening"', (
        option("text", nargs="+", help='what to say; "-" reads it from standard input'),
        *LINE,
        option("--wait", action="store_true",
                help="return when it is over; 1 if it was not spoken to its end"),
    )),
    "pipe": ("speak each line of standard input", "chatbot | koe pipe --stream --author bot", (
        *LINE,
        option("--stream", action="store_true",
                help="all of the input is one line, spoken while it still comes"),
    )),
    "voice": ("tell or change the current voice, or how it speaks",
              "koe voice rin --when now; koe voice --pitch 3 --range 1.4", (
        option("name", nargs="?", metavar="NAME", help="the new voice; none = the current one"),
        option("--when", choices=("next", "line", "now"), default="next",
                help="from the next line on; also for waiting lines; in mid-sentence"),
        OUTPUT,
        *SPOKEN_FIELDS.values(),
        option("--plain", action="store_true", default=None,
                help="as its profile says again; fields hold until then or another voice"),
    )),
    "voices": ("list the voices", "koe voices", ()),
    "phrase": ("speak a phrase of the configuration at once", "koe phrase welcome --voice hana", (
        option("name", metavar="NAME", help="its name under phrases: in koed.yaml"),
        option("--voice", metavar="V", help="the profile to speak with; by default the current"),
        option("--priority", choices=PRIORITY, default="urgent", help="by default urgent"),
        option("--ttl", dest="ttl_s", metavar="S", type=float,
               help="drop it if it does not sound within S seconds"),
        option("--key", metavar="K", help="a later line with this key replaces it while it waits"),
        option("--author", metavar="A", help="who wants it: for cancel"),
        OUTPUT,
        option("--wait", action="store_true",
               help="return when it is over; 1 if it was not spoken to its end"),
    )),
    "phrases": ("list the phrases and the voices they are ready in", "koe phrases", ()),
    "queue": ("list what sounds and what waits", "koe queue --json", ()),
    "stop": ("silence now, forget every line", "koe stop", (ANY_OUTPUT,)),
    "skip": ("end the line that sounds", "koe skip", (ANY_OUTPUT,)),
    "pause": ("hold the voice where it is", "koe pause", (ANY_OUTPUT,)),
    "resume": ("go on where pause held", "koe resume", (ANY_OUTPUT,)),
    "clear": ("forget the waiting lines", "koe clear --priority chatter", (
        option("--priority", choices=PRIORITY, help="only these"), ANY_OUTPUT,
    )),
    "mute": ("silence until unmute", "koe mute", (ANY_OUTPUT,)),
    "unmute": ("speak again", "koe unmute", (ANY_OUTPUT,)),
    "panic": ("silence on all outputs until release", "koe panic --by moderator", (
        option("--by", metavar="NAME", help="who it was, for people to read"),
    )),
    "release": ("end a panic; what waits and is still fresh is spoken", "koe release", ()),
    "mode": ("tell or change what may sound", "koe mode chat_muted", (
        option("mode", nargs="?", choices=("speak", "chat_muted", "all_muted"),
                help="all lines; none from a chat; none at all; nothing = tell"),
        ANY_OUTPUT,
    )),
    "cancel": ("take lines back, even the one that sounds", "koe cancel --author troll42", (
        option("utterance", nargs="?", type=int, metavar="UTTERANCE", help="the line's number"),
        option("--key", metavar="K", help="all lines with this key"),
        option("--author", metavar="A", help="all lines of this author"),
    )),
    "status": ("tell how koed is", "koe status", ()),
    "watch": ("print what happens until interrupted", "koe watch utterance. voice.", (
        option("topic", nargs="*", metavar="TOPIC",
                help="beginnings of event names; none = all but levels and mouth"),
    )),
    "save": ("write what was heard last to a WAV file", "koe save last.wav --seconds 30", (
        option("file", metavar="FILE", help="the WAV file"),
        option("--seconds", metavar="S", type=float, help="how far back; by default all"),
        OUTPUT,
    )),
    "reload": ("read configuration and profiles again", "koe reload", ()),
}  # fmt: skip

COMMON = (
    option("--json", action="store_true", help="print JSON, one object per line"),
    option("--runtime-dir", metavar="DIR", help="the folder of koed's sockets"),
    option("--endpoint", metavar="E", help="koed on another machine: tcp://HOST:PORT"),
    option("--events-endpoint", metavar="E",
            help="its events; by default tcp://HOST:PORT+1"),
    option("--keys", metavar="FILE", help="the keys for it, from `koed keys new`"),
    option("--timeout", metavar="S", type=float, help="wait so long for an answer (5)"),
)  # fmt: skip


GROUPS: dict[str, tuple[str, str]] = {
    "bridge": ("speak for programs that know other readers", "koe bridge bouyomi"),
    "hotkeys": ("keys that work whatever window is in front", "koe hotkeys --check"),
    "chat": ("read a chat aloud", "mychat | koe chat lines"),
}
"""Commands with commands of their own. The package ``koe.NAME`` holds them: its ``arguments.fill``
completes the parser, its ``cli.run`` carries them out. Neither is loaded before it is asked for."""


def fields(command: str) -> list[str]:
    """The names under which a parsed command's own arguments are found."""
    specs = COMMANDS[command][2]
    return [spec.get("dest") or names[0].lstrip("-") for names, spec in specs]


class Version(argparse.Action):
    """Looks the version up only when asked: the look-up is slower than all the rest."""

    def __call__(self, parser: ArgumentParser, *args: Any, **settings: Any) -> None:
        from importlib.metadata import version

        print(f"koe {version('koed')}")
        parser.exit(0)


class Late(ArgumentParser):
    """A parser whose arguments are added when it is used for the first time."""

    fill: Callable[[], None] | None = None

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        fill, self.fill = self.fill, None
        if fill is not None:
            fill()
        return super().parse_known_args(args, namespace)


@functools.cache
def _common() -> ArgumentParser:
    common = ArgumentParser(add_help=False)
    for names, settings in COMMON:  # suppressed: a command's default must not undo what came before
        common.add_argument(*names, default=argparse.SUPPRESS, **settings)
    return common


def add_command(
    commands: Any, name: str, summary: str, example: str, options: Sequence[Spec] = ()
) -> Late:
    """A command among ``commands`` (from ``add_subparsers``), with the common options."""
    command: Late = commands.add_parser(
        name, help=summary, description=summary, parents=[_common()], allow_abbrev=False,
        epilog=f"example: {example}", formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    for names, settings in options:
        command.add_argument(*names, **settings)
    return command


def parser() -> ArgumentParser:
    """The parser of ``koe``. ``command`` is always set; common options may stand anywhere."""
    top = ArgumentParser(
        "koe", description=DESCRIPTION, parents=[_common()], allow_abbrev=False,
        epilog='example: koe say "hello"',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    top.add_argument("--version", action=Version, nargs=0, help="print the version")
    commands = top.add_subparsers(
        dest="command", metavar="COMMAND", required=True, parser_class=Late
    )
    for name, (summary, example, options) in COMMANDS.items():
        add_command(commands, name, summary, example, options)
    for name, (summary, example) in GROUPS.items():
        group = add_command(commands, name, summary, example)
        group.fill = _filler(name, group)
    return top


def _filler(name: str, group: ArgumentParser) -> Callable[[], None]:
    def fill() -> None:
        importlib.import_module(f"koe.{name}.arguments").fill(group)

    return fill
