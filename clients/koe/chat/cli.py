"""``koe chat``: each command is a module of its own, loaded when it is asked for."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import Any


def run(args: Namespace, place: dict[str, Any]) -> int:
    """Carry out the command ``args.chat``; the exit code.

    ``place``: where koed is, as the clients' arguments. Raises `koe.wire.framing.WireError`.
    """
    if args.chat == "lines":
        from koe.chat import lines

        return lines.run(args, place)
    if args.chat == "twitch":
        from koe.chat import twitch

        return twitch.run(args, place)
    if args.chat == "delete":
        return _delete(args, place)
    if args.chat == "rehearse":
        from koe.chat import rehearse

        return rehearse.run(args)
    raise AssertionError(args.chat)


def _delete(args: Namespace, place: dict[str, Any]) -> int:
    from koe.cli.format import reply
    from koe.transport.blocking import Caller
    from koe.wire.framing import WireError

    if args.line is None and args.author is None and not args.everything:
        raise WireError(
            "bad_argument", "delete what?", "give the id of a line, --author or --everything"
        )
    wanted = {"op": "chat_delete", "platform": args.platform, "everything": args.everything}
    for name in ("line", "author"):
        if getattr(args, name) is not None:
            wanted[name] = getattr(args, name)
    with Caller(**place) as caller:
        result = caller.call(wanted)
    if getattr(args, "json", False):
        print(json.dumps(result))
    else:
        for line in reply("chat_delete", result):
            print(line)
    return 0
