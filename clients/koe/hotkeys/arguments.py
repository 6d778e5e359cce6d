"""The command line of ``koe hotkeys``. It loads nothing of it."""

from __future__ import annotations

from argparse import ArgumentParser


def fill(command: ArgumentParser) -> None:
    """Complete the parser of ``koe hotkeys``."""
    command.add_argument(
        "--config",
        metavar="FILE",
        help="the koed.yaml with hotkeys:; by default found as koed finds it",
    )
    command.add_argument(
        "--check",
        action="store_true",
        help="print the keys, and which of them cannot be had; 1 if any",
    )
    command.add_argument(
        "--print",
        dest="desktop",
        choices=("gnome", "kde", "sway"),
        help="print the shortcut commands of a Wayland desktop for these keys",
    )
    command.add_argument(
        "--do",
        dest="action",
        metavar="ACTION",
        help='what a key with this action does, once: "voice rin", mute, panic',
    )
    command.add_argument("--output", metavar="O", help="for --do: one of koed's outputs")
    command.add_argument("--display", metavar="D", help="the X server; by default $DISPLAY")
    command.add_argument(
        "--force",
        action="store_true",
        help="take X keys in a Wayland session: they reach X windows only",
    )
    command.add_argument(
        "--patience",
        dest="patience_s",
        metavar="S",
        type=float,
        default=30.0,
        help="wait so long for an X server that has gone (30), then end with 1",
    )
