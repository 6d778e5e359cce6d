"""A recorded chat, whatever wrote it: the format is known by the first line."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Iterator

from koe.chat.record import Record
from koe.wire.framing import WireError

Parse = Callable[[bytes], Record | None]
"""One line; None = nothing to read in it. Raises `WireError`."""

FORMATS: tuple[tuple[re.Pattern[bytes], str, str], ...] = (
    (re.compile(rb"\s*\{"), "JSON lines", "koe.chat.record"),
    (
        re.compile(rb"(\S+ )?(@\S+ )?(:\S+ )?(PRIVMSG|CLEARCHAT|CLEARMSG|USERNOTICE|CAP|\d{3}) "),
        "a raw log of Twitch's IRC",
        "koe.chat.irc",
    ),
)
"""(first line, what it is, the module whose ``parse_record`` reads a line)."""


def parser_for(first: bytes) -> Parse:
    """Raises `WireError` ``unknown_log``."""
    for pattern, name, module in FORMATS:
        if pattern.match(first):
            try:
                parse: Parse = importlib.import_module(module).parse_record
            except (ModuleNotFoundError, AttributeError) as error:
                raise WireError(
                    "unknown_log", f"the log is {name}, which this version cannot read",
                    'make JSON lines of it: {"at": 0, "author": "bob", "text": "hi"}',
                ) from error  # fmt: skip
            return parse
    shown = first[:60].decode(errors="replace")
    raise WireError(
        "unknown_log", f"no chat log begins with {shown!r}",
        'JSON lines are read, such as {"at": 0, "author": "bob", "text": "hi"}',
    )  # fmt: skip


def read(lines: Iterable[bytes]) -> Iterator[tuple[int, Record | WireError]]:
    """``(number, record)`` of each line; a broken one is a `WireError` and the next is read.

    Raises `WireError` ``unknown_log``.
    """
    parse: Parse | None = None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        parse = parse or parser_for(line)
        try:
            found = parse(line)
        except WireError as error:
            yield number, error
            continue
        if found is not None:
            yield number, found
