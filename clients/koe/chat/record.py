"""A line of a chat as JSON: what `koe chat lines` reads, and what a recorded log is made of.

    {"author": "bob", "text": "hello", "id": "8f2c", "roles": ["sub"], "platform": "twitch"}
    {"delete": "8f2c", "platform": "twitch"}
    {"delete_author": "bob", "platform": "twitch"}
    {"delete_everything": true}

In a log each has a time: ``at``, in seconds or as ISO 8601. What ``koe watch --json chat.`` prints
is such a log as well.
"""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from koe.wire.fields import fields_from_map
from koe.wire.framing import WireError
from koe.wire.requests import Chat, ChatDelete

MAX_LINE_BYTES = 65536
"""koed takes no larger message with a list in it."""

TIMES = ("at", "t", "time", "timestamp")
RENAMED = {"id": "line", "message": "text", "display_name": "name", "user": "author"}
"""Other names under which a field is understood."""
IGNORED = frozenset({"event", "seq", "verdict", "reason", "utterance", "voice", *TIMES})
DELETIONS = ("delete", "delete_author", "delete_everything")


@dataclass(frozen=True, slots=True)
class Record:
    """One line of a file or a stream."""

    request: Chat | ChatDelete
    at: float | None = None
    """Seconds; None = it names no time."""


def parse(data: bytes | str) -> Record:
    """A record from one line of JSON; raises `WireError` with a code and a hint."""
    if len(data) > MAX_LINE_BYTES:
        raise WireError(
            "line_too_long",
            f"the line has {len(data)} bytes or more",
            f"at most {MAX_LINE_BYTES} are taken; nobody wants to hear more",
        )
    try:
        values = json.loads(data)
    except UnicodeDecodeError as error:
        raise WireError("invalid_utf8", "the line is not UTF-8", "convert it") from error
    except (ValueError, RecursionError) as error:
        what = getattr(error, "msg", type(error).__name__)
        raise WireError(
            "bad_json",
            f"the line is not JSON: {what}",
            'one object per line, such as {"author": "bob", "text": "hello"}',
        ) from error
    if not isinstance(values, dict):
        raise WireError(
            "bad_json",
            f"the line is a {type(values).__name__}, not an object",
            'such as {"author": "bob", "text": "hello"}',
        )
    return Record(_request(values), _time(values))


def parse_record(data: bytes) -> Record | None:
    """For `koe.chat.logs`."""
    return parse(data)


def to_map(request: Chat | ChatDelete) -> dict[str, Any]:
    """For the wire; what is empty is left out."""
    return {name: value for name, value in request.to_map().items() if value != []}


def _request(values: Mapping[str, Any]) -> Chat | ChatDelete:
    wanted = {
        RENAMED.get(name, name): value
        for name, value in values.items()
        if name not in IGNORED and value is not None
    }
    _check_strings(wanted)
    request: Chat | ChatDelete
    if any(name in wanted for name in DELETIONS):
        renamed = {"delete": "line", "delete_author": "author", "delete_everything": "everything"}
        wanted = {renamed.get(name, name): value for name, value in wanted.items()}
        request = fields_from_map(ChatDelete, _with_text_id(wanted), "a deletion")
    else:
        request = fields_from_map(Chat, _with_text_id(wanted), "a line of the chat")
    return request


def _with_text_id(values: dict[str, Any]) -> dict[str, Any]:
    """Some platforms have numbers for ids."""
    line = values.get("line")
    if isinstance(line, int) and not isinstance(line, bool):
        values["line"] = str(line)
    return values


def _check_strings(values: Mapping[str, Any]) -> None:
    """JSON may hold half characters (``\\ud83d`` alone), which no other format can."""
    for name, value in values.items():
        for text in value if isinstance(value, list) else [value]:
            try:
                if isinstance(text, str):
                    text.encode("utf-8")
            except UnicodeEncodeError as error:
                raise WireError(
                    "invalid_utf8",
                    f"{name[:40]} has half a character at position {error.start}",
                    "it was cut in the wrong place before it came here",
                ) from error


def _time(values: Mapping[str, Any]) -> float | None:
    name = next((name for name in TIMES if values.get(name) is not None), None)
    if name is None:
        return None
    value = values[name]
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    if isinstance(value, str):
        try:
            return datetime.datetime.fromisoformat(value).timestamp()
        except (ValueError, OverflowError, OSError):
            pass
    raise WireError(
        "bad_field",
        f"{name} is no time",
        'seconds, such as 12.5, or ISO 8601, such as "2026-03-01T20:15:00Z"',
    )
