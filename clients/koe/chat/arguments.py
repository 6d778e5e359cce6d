"""The command line of ``koe chat``: a row per command. It loads none of them."""

from __future__ import annotations

from argparse import ArgumentParser

from koe.cli.parser import OUTPUT, Spec, add_command, option

CHATS: dict[str, tuple[str, str, tuple[Spec, ...]]] = {
    "twitch": (
        "read the chat of a Twitch channel; no account is needed",
        "koe chat twitch mychannel",
        (
            option("channel", metavar="CHANNEL", help="the name, or the page's address"),
            option("--shared", action="store_true",
                    help="in a shared chat, read the other channels' viewers as well"),
            option("--record", metavar="FILE",
                    help="append all that comes to a raw log, for `koe chat rehearse`"),
            option("--server", metavar="HOST:PORT", default="irc.chat.twitch.tv:6697",
                    help="another server that speaks Twitch's IRC"),
            option("--no-tls", action="store_true", help="without encryption, for such a server"),
            OUTPUT,
        ),
    ),
    "lines": (
        "read JSON lines of a chat from standard input, or from other programs",
        "mychat | koe chat lines",
        (
            option("--pull", metavar="ENDPOINT",
                    help="take messages that programs PUSH by ZeroMQ, instead of standard input:"
                    " ipc://PATH or tcp://127.0.0.1:PORT; elsewhere with --pull-keys"),
            option("--pull-keys", metavar="DIR",
                    help="folder with server.key_secret and clients/*.key, as `koed keys` makes"),
            option("--platform", metavar="P", default="", help="for lines that name none"),
            OUTPUT,
        ),
    ),
    "delete": (
        "take lines of the chat back, even in mid-word",
        "koe chat delete 8f2c --platform twitch",
        (
            option("line", nargs="?", metavar="ID", help="the platform's id of the line"),
            option("--author", metavar="A", help="all lines of this author"),
            option("--platform", metavar="P", default="", help="twitch, youtube, ..."),
            option("--everything", action="store_true",
                    help="all lines of the chat, or of one --platform"),
        ),
    ),
    "rehearse": (
        "play a recorded chat against the configuration, without a sound",
        "koe chat rehearse yesterday.jsonl --config koed.yaml",
        (
            option("log", metavar="LOG", help="JSON lines with a time each; - = standard input"),
            option("--config", metavar="FILE", help="the koed.yaml of tonight"),
            option("--summary", action="store_true", help="only the sums"),
        ),
    ),
}  # fmt: skip


def fill(group: ArgumentParser) -> None:
    """Add the commands to the parser of ``koe chat``."""
    chats = group.add_subparsers(
        dest="chat", metavar="COMMAND", required=True, parser_class=type(group)
    )
    for name, (summary, example, options) in CHATS.items():
        add_command(chats, name, summary, example, options)
