"""The command line of ``koe bridge``: a row per bridge. It loads none of them."""

from __future__ import annotations

import argparse
import re
from argparse import ArgumentParser

from koe.cli.parser import OUTPUT, Spec, add_command, option

ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[a-z0-9_.\[\]:-]+")


def _voice(text: str) -> tuple[int, str]:
    """``1=hana`` as ``(1, "hana")``."""
    number, equals, name = text.partition("=")
    if not (equals and name and number.isascii() and number.isdecimal() and int(number) < 1 << 16):
        raise argparse.ArgumentTypeError(f"{text!r} is not NUMBER=VOICE, as in 1=hana")
    return int(number), name


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) < 1 << 16):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port (0 to 65535)")
    return int(text)


def _origin(text: str) -> str:
    """An origin as a browser writes it."""
    if text in ("*", "null"):
        raise argparse.ArgumentTypeError(
            f"{text!r} would let in every web page that you visit; name each origin"
        )
    if not ORIGIN.fullmatch(text.lower()):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not an origin such as https://chat.example or chrome-extension://ID,"
            " without a path"
        )
    return text.lower()


BRIDGES: dict[str, tuple[str, str, tuple[Spec, ...]]] = {
    "bouyomi": (
        "be Bouyomi-chan for comment viewers on this machine",
        "koe bridge bouyomi --voice 1=hana --voice 2=rin",
        (
            option("--voice", dest="voices", metavar="N=V", type=_voice, action="append",
                    default=[], help="voice number N is the profile V (may be repeated);"
                    " otherwise number N is the N-th of `koe voices`, 0 the current one"),
            option("--priority", choices=("chatter", "normal"), default="chatter",
                    help="chatter: may be cut or dropped in a flood, silent in mode chat_muted"),
            OUTPUT,
            option("--tcp-port", metavar="P", type=_port, default=50001,
                    help="50001; 0 = any that is free"),
            option("--http-port", metavar="P", type=_port, default=50080,
                    help="50080; 0 = any that is free"),
            option("--no-tcp", action="store_true", help="open the HTTP door only"),
            option("--no-http", action="store_true", help="open the TCP door only"),
            option("--allow-origin", dest="origins", metavar="ORIGIN", type=_origin,
                    action="append", default=[], help="a web page or browser extension that may"
                    " use the HTTP door (may be repeated); by default none"),
        ),
    ),
    "vts": (
        "move the mouth of an avatar in VTube Studio",
        "koe bridge vts --vowels",
        (
            option("--address", metavar="URL", default="ws://localhost:8001",
                    help="where VTube Studio's API listens (its settings say)"),
            option("--vowels", action="store_true",
                    help="also make and set KoedMouthA, I, U, E and O, for vowel shapes"),
            option("--voice", metavar="V", help="only while this voice speaks"),
            OUTPUT,
            option("--lead-ms", metavar="MS", type=float, default=0.0,
                    help="move so much earlier, if VTube Studio shows it late"),
            option("--token-file", metavar="FILE",
                    help="where the token is kept that VTube Studio grants"),
        ),
    ),
}  # fmt: skip


def fill(group: ArgumentParser) -> None:
    """Add the bridges to the parser of ``koe bridge``."""
    bridges = group.add_subparsers(
        dest="bridge", metavar="BRIDGE", required=True, parser_class=type(group)
    )
    for name, (summary, example, options) in BRIDGES.items():
        add_command(bridges, name, summary, example, options)
