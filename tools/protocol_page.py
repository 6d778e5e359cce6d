"""`python -m tools.protocol_page` writes the tables of docs/protocol.md from the wire's classes.

A test holds the page against them, so a field that is added and not written down is noticed.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import re
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from koe.wire.events import EVENTS, Event
from koe.wire.requests import REQUESTS, Request

PAGE = Path(__file__).resolve().parent.parent / "docs" / "protocol.md"
COMMON = {
    "author": "Who wrote it, as the platform knows them.",
    "by": "Who did it.",
    "code": "What went wrong, as a word that does not change.",
    "currency": "Of `donation`.",
    "device": "What plays: `pulse:SINK`, or `null`.",
    "donation": "Amount that came with the line.",
    "engine": "Name of an engine, with `@ADDRESS` if it is on another machine.",
    "fallback": "The voice that speaks instead.",
    "heard": "The part of the text that was heard.",
    "heard_t": "Monotonic seconds of the daemon's machine when it reaches the ear.",
    "hint": "What to do now.",
    "key": "A later line with the same key replaces this one while it waits.",
    "kind": "Of what kind it is.",
    "lang": "zh, ja, ko, en, ...; none = by the voice and by script.",
    "line": "The platform's id of the line.",
    "live": "OBS streams.",
    "lost_s": "Seconds for which it was away.",
    "message": "What happened, for people.",
    "output": "Name of an output of `koed.yaml`; none = all of them, or the voice's.",
    "peak_db": "The highest sample.",
    "phrase": "Its name in `phrases:` of `koed.yaml`.",
    "pid": "Its process; 0 on another machine.",
    "platform": "twitch, youtube, ...",
    "prepare_s": "Seconds that it took.",
    "previous": "What it was before.",
    "priority": "`urgent` interrupts, `chatter` comes last and expires.",
    "ready_s": "Seconds from its start until it could speak.",
    "reason": "Why, as a word; see above.",
    "reply_to": "Id of the line that it answers.",
    "retry_s": "Seconds until it is tried again.",
    "rms_db": "Mean level.",
    "roles": "broadcaster, mod, vip, sub, member, first, bot.",
    "scene": "Name of the scene on air.",
    "seconds": "How long it is.",
    "spoken_s": "Seconds that sounded.",
    "state": "See above.",
    "text": "What is said.",
    "ttl_s": "Dropped (`expired`) if it has not begun to sound after so many seconds.",
    "utterance": "Number of the line, from this start of koed on.",
    "verdict": "What became of it.",
    "voice": "Name of a voice.",
    "wait": "The reply comes when the line is over.",
    "when": "`next`, `line` or `now`.",
}
"""What a field means whose class says nothing of it."""
WHAT = {str: "text", int: "whole number", float: "number", bool: "true or false"}
SHARED = {"id", "seq", "t", "boot"}


def page(text: str) -> str:
    """``text`` with its tables as the classes are now."""
    for name, lines in (("operations", _all(REQUESTS)), ("events", _all(EVENTS))):
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = before + begin + "\n" + "\n".join(lines) + "\n" + end + after
    return text


def _all(classes: dict[str, type[Request]] | dict[str, type[Event]]) -> Iterable[str]:
    for name, cls in classes.items():
        yield f"### `{name}`\n"
        said = cls.__dict__.get("__doc__") or ""
        if said and not said.startswith(f"{cls.__name__}("):  # a dataclass makes itself one
            yield _plain(said) + "\n"
        rows = [_row(cls, field) for field in _fields(cls) if field.name not in SHARED]
        if rows and issubclass(cls, Request):
            yield from ("| field | | if left out | meaning |", "|---|---|---|---|", *rows, "")
        elif rows:
            yield from ("| field | | meaning |", "|---|---|---|", *rows, "")


def _fields(cls: type[Request] | type[Event]) -> list[dataclasses.Field[Any]]:
    """Its own first, then what it shares with others."""
    own = inspect.get_annotations(cls)
    return sorted(dataclasses.fields(cls), key=lambda field: field.name not in own)


def _row(cls: type, field: dataclasses.Field[Any]) -> str:
    kind = _kind(get_type_hints(cls)[field.name])
    meaning = field_docs(cls).get(field.name) or COMMON[field.name]
    kind += f" | {_default(field)}" if issubclass(cls, Request) else _or_none(field)
    return f"| `{field.name}` | {kind} | {_plain(meaning)} |"


def _or_none(field: dataclasses.Field[Any]) -> str:
    return " or none" if field.default is None else ""


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default_factory is not dataclasses.MISSING:
        return "empty"
    if field.default is dataclasses.MISSING:
        return "needed"
    return "none" if field.default in (None, "") else f"`{str(field.default).lower()}`"


def _kind(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(hint))
    if get_origin(hint) is list:
        return f"list of {_kind(get_args(hint)[0])}"
    if get_origin(hint) is dict:
        return f"map of {_kind(get_args(hint)[1])}s"
    others = [arg for arg in get_args(hint) if arg is not type(None)]
    return " or ".join(map(_kind, others)) if others else WHAT.get(hint, str(hint))


def _plain(text: str) -> str:
    """A docstring as a line of Markdown."""
    text = " ".join(inspect.cleandoc(text).split())
    text = re.sub(r"``([^`]*)``", r"`\1`", text).replace("|", "\\|")
    return re.sub(r"\bNone\b", "none", text)


def field_docs(cls: type) -> dict[str, str]:
    """The string under each field, those of its bases included."""
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__[:-1]):
        tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
        body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
        for above, below in itertools.pairwise(body):
            if isinstance(above, ast.AnnAssign) and isinstance(above.target, ast.Name):
                match below:
                    case ast.Expr(value=ast.Constant(value=str(text))):
                        docs[above.target.id] = text
    return docs


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
