"""``koe``: every request of koed as a command. Hotkeys run it, so it loads only what it needs.

Exit codes: 0 done, 1 refused with a reason, 2 usage, 3 no daemon.
"""

from __future__ import annotations

import io
import json
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from koe.cli.parser import GROUPS, fields, parser

if TYPE_CHECKING:
    from koe.client import Client
    from koe.transport.blocking import Caller
    from koe.wire.framing import WireError

DONE, REFUSED, USAGE, ABSENT, INTERRUPTED = 0, 1, 2, 3, 130

PIECE_BYTES = 4096
"""How much of a stream is sent at once; koed takes 5000 characters unless told otherwise."""


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser()
    args = arguments.parse_args(argv)
    if args.command == "cancel" and (args.utterance, args.key, args.author) == (None,) * 3:
        arguments.error("cancel what? give a line's number, --key or --author")
    _speak_any_text(args)
    try:
        code = _run(args)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return DONE if args.command == "watch" else INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return DONE


def _run(args: Namespace) -> int:
    from koe.wire.framing import WireError

    name = "stream" if args.command == "pipe" and args.stream else args.command
    try:
        if name in GROUPS:
            import importlib

            code: int = importlib.import_module(f"koe.{name}.cli").run(args, _place(args))
            return code
        if name in WITH_VERBS:
            from koe.client import Client

            with Client(**_place(args)) as client:
                return WITH_VERBS[name](client, args)
        from koe.transport.blocking import Caller

        with Caller(**_place(args)) as caller:
            return WITH_MAPS.get(name, _ask)(caller, args)
    except WireError as error:
        return _complain(args, error)


def _place(args: Namespace) -> dict[str, Any]:
    """Where koed is, as the clients' arguments."""
    return {
        "directory": getattr(args, "runtime_dir", None),
        "endpoint": getattr(args, "endpoint", None),
        "events": getattr(args, "events_endpoint", None),
        "keys": getattr(args, "keys", None),
        "timeout_s": getattr(args, "timeout", 5.0),
    }


def _speak_any_text(args: Namespace) -> None:
    """No text may make printing fail, whatever the locale; JSON is always UTF-8."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            encoding = "utf-8" if _wants_json(args) else None
            stream.reconfigure(encoding=encoding, errors="backslashreplace")


# --- output ----------------------------------------------------------------------------------


def _wants_json(args: Namespace) -> bool:
    return getattr(args, "json", False)


def _print_json(value: Mapping[str, Any]) -> None:
    text = json.dumps(value, ensure_ascii=False, default=str)
    if not text.isprintable():  # some readers take U+2028 and its like for the end of a line
        text = json.dumps(value, default=str)
    print(text, flush=True)


def _tell(args: Namespace, result: Mapping[str, Any]) -> None:
    if _wants_json(args):
        _print_json(result)
        return
    from koe.cli.format import reply

    for line in reply(args.command, result):
        print(line)
    sys.stdout.flush()


def _complain(args: Namespace, error: WireError) -> int:
    """Tell an error to people (stderr) or programs (stdout); the exit code that it means."""
    from koe.transport.connection import NoDaemon

    if _wants_json(args):
        _print_json({"error": error.to_map()})
    else:
        from koe.cli.format import plain

        print(f"koe: {plain(error.message)}", file=sys.stderr)
        if error.hint:
            print(f"     {plain(error.hint)}", file=sys.stderr)
    if isinstance(error, NoDaemon):
        return ABSENT
    return USAGE if error.code in ("bad_argument", "bad_endpoint", "bad_keys") else REFUSED


# --- commands --------------------------------------------------------------------------------


def _given(args: Namespace, **instead: Any) -> dict[str, Any]:
    """The command's own arguments by their names on the wire; None = was not given."""
    values = {name: getattr(args, name) for name in fields(args.command)} | instead
    return {name: value for name, value in values.items() if value is not None}


def _ask(caller: Caller, args: Namespace) -> int:
    result = caller.call({"op": args.command} | _given(args))
    _tell(args, result)
    return REFUSED if args.command == "reload" and result.get("errors") else DONE


def _warn_of_a_wait(caller: Caller, args: Namespace) -> None:
    """Tell people why a line that they wait for does not sound: the reply comes much later."""
    if not args.wait or _wants_json(args):
        return
    outputs = caller.call({"op": "status"}).get("outputs") or {}
    held = {outputs[name].get("held") for name in outputs if args.output in (None, name)}
    if held and all(held):
        from koe.cli.format import waits

        print(f"koe: {waits(str(held.pop()))}", file=sys.stderr, flush=True)


def _say(caller: Caller, args: Namespace) -> int:
    from koe.transport.connection import Refused

    text = " ".join(args.text)
    if text == "-":
        text = _decode(sys.stdin.buffer.read())
    _warn_of_a_wait(caller, args)
    result = caller.call({"op": "say"} | _given(args, text=text))
    outcome = result.get("outcome")
    if args.wait and outcome != "finished":
        reason = result.get("reason") or "no reason given"
        number = result.get("utterance")
        if _wants_json(args):
            _print_json(result)
            return REFUSED
        raise Refused(str(outcome), f"line {number} was {outcome}: {reason}")
    _tell(args, result)
    return DONE


def _phrase(caller: Caller, args: Namespace) -> int:
    from koe.transport.connection import Refused

    _warn_of_a_wait(caller, args)
    result = caller.call({"op": "phrase"} | _given(args))
    if args.wait and result.get("outcome") != "finished" and not _wants_json(args):
        outcome, number = result.get("outcome"), result.get("utterance")
        reason = result.get("reason") or "no reason given"
        raise Refused(str(outcome), f"line {number} was {outcome}: {reason}")
    _tell(args, result)
    return REFUSED if args.wait and result.get("outcome") != "finished" else DONE


def _decode(data: bytes) -> str:
    from koe.transport.connection import Refused

    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(
            "invalid_utf8", f"byte {error.start} of the text is not UTF-8",
            "convert it, for instance with iconv",
        ) from error  # fmt: skip


def _pipe(caller: Caller, args: Namespace) -> int:
    from koe.transport.connection import Refused

    code = DONE
    for data in sys.stdin.buffer:
        if not data.strip():
            continue
        try:
            line = _given(args, text=_decode(data).rstrip("\r\n"), stream=None)
            _tell_piped(args, caller.call({"op": "say"} | line))
        except Refused as error:
            code = _complain(args, error)
    return code


def _tell_piped(args: Namespace, result: Mapping[str, Any]) -> None:
    """A pipe is quiet: only programs want to hear of every line."""
    if _wants_json(args):
        _print_json(result)


def _stream(client: Client, args: Namespace) -> int:
    """Speak standard input as one line while it comes."""
    pieces = _pieces(sys.stdin.fileno())
    first = next((text for text in pieces if text.strip()), None)
    if first is None:
        return DONE  # no line is begun for nothing
    with client.open_line(**_given(args, stream=None)) as line:
        try:
            line.append(first.lstrip())
            for text in pieces:
                line.append(text)
        except KeyboardInterrupt:
            line.cancel()
            raise
    _tell_piped(args, {"utterance": line.utterance, "voice": line.voice})
    return DONE


def _pieces(file: int) -> Iterator[str]:
    """Text as it arrives. A character that is cut in two waits for its other half."""
    import codecs

    from koe.transport.connection import Refused

    decoder = codecs.getincrementaldecoder("utf-8")()
    while True:
        data = os.read(file, PIECE_BYTES)
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            raise Refused(
                "invalid_utf8", "standard input is not UTF-8; the line ends there",
                "convert it, for instance with iconv",
            ) from error  # fmt: skip
        if text:
            yield text
        if not data:
            return


def _watch(caller: Caller, args: Namespace) -> int:
    import time

    from koe.cli import format
    from koe.transport.address import absence

    there = True
    with caller.events(args.topic) as events:
        while True:
            message = events.next_map(1.0)
            if message is None:
                gone = absence(caller.address.events)
                if bool(gone) == there:
                    there = not gone
                    note = "koed is back" if there else f"koed is gone ({gone}); waiting for it"
                    print(f"koe: {note}", file=sys.stderr, flush=True)
            elif message.get("event") in ("levels", "mouth") and not args.topic:
                continue
            elif _wants_json(args):
                _print_json(message)
            else:
                print(time.strftime("%H:%M:%S"), format.event(message), flush=True)


def _save(client: Client, args: Namespace) -> int:
    from koe.transport.connection import Refused

    try:
        saved = client.save(args.file, output=args.output, seconds=args.seconds)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Refused(
            "cannot_write", f"cannot write {args.file}: {error.strerror or error}",
            "choose another file",
        ) from error  # fmt: skip
    seconds = round(saved.seconds, 3)
    if _wants_json(args):
        _print_json({"file": saved.path, "seconds": seconds, "rate_hz": saved.rate_hz})
    else:
        print(f"{seconds:.1f} s at {saved.rate_hz} Hz in {saved.path}", file=sys.stderr)
    return DONE


# What is wanted at once speaks in maps; what is long anyway may load the verbs and their classes.
WITH_MAPS: dict[str, Callable[[Caller, Namespace], int]] = {
    "say": _say,
    "phrase": _phrase,
    "pipe": _pipe,
    "watch": _watch,
}
WITH_VERBS: dict[str, Callable[[Client, Namespace], int]] = {
    "stream": _stream,
    "save": _save,
}
