"""The lines that wait, on disk: what was promised when koed is killed.

Each change is a record at the end of the file; when that would be too long, it is written anew with
what still waits. Times are monotonic ones of the machine, which a killed koed and the next one
share, whatever happens to the wall clock; after a start of the machine they mean nothing, and no
line is young enough to come back.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack

from koed.config import delivery
from koed.config.delivery import Delivery
from koed.playback.queue import PRIORITIES, Line
from koed.service import files

NAME = "koed journal"
VERSION = 1
MAX_BYTES = 512 * 1024
WHOLE_BYTES = MAX_BYTES // 2
"""So much of it are lines with all their text; of the others a beginning is kept, to be told."""
LIVING_BYTES = 3 * MAX_BYTES // 4
"""So much is left when it is written anew, so that this is not done at each line."""
CUT_CHARS = 80
MAX_NAME_CHARS = 200
RETRY_S = 10.0
FIELDS = (
    "text", "voice", "output", "priority", "lang", "key", "author", "queued_at", "expires_at",
    "explicit_voice", "style",
)  # fmt: skip
"""Of a `Line`, in the order in which they are written; those of its delivery follow."""
OLDEST = (10, len(FIELDS) + 4)
"""So long lines were written before: koed was updated when it was killed."""
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class BadJournal(ValueError):
    """Bytes are no journal of this version of koed."""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A line that was not over."""

    line: Line
    whole: bool = True
    """Its text is here, and all of it was known."""
    sounding: bool = False


def machine() -> str:
    """Which start of the machine this is; empty where nothing tells."""
    try:
        return BOOT_ID.read_text().strip()[:MAX_NAME_CHARS]
    except OSError:
        return ""


def restorable(entry: Unfinished, now: float, restore_s: float) -> bool:
    """Whether it may be spoken after all: it waited, it is young, and it is no chatter."""
    line = entry.line
    return (
        entry.whole
        and not entry.sounding
        and line.priority != "chatter"
        and 0.0 <= now - line.queued_at <= restore_s
        and (line.expires_at is None or line.expires_at > now)
    )


# --- reading ----------------------------------------------------------------------------------


def read(data: bytes, this_machine: str) -> list[Unfinished]:
    """What was not over, in the order of the queue; raises `BadJournal` for what is no journal. A
    damaged end loses only itself. Of another start of the machine nothing is ``whole``."""
    unpacker = msgpack.Unpacker(
        max_buffer_size=MAX_BYTES, max_array_len=32, max_map_len=0, max_ext_len=0, max_bin_len=0
    )
    found: dict[int, Unfinished] = {}
    try:
        unpacker.feed(data[:MAX_BYTES])
        name, version, where = unpacker.unpack()
    except Exception as error:
        raise BadJournal(f"not even its head can be read: {type(error).__name__}") from error
    if (name, version) != (NAME, VERSION):
        raise BadJournal("of another version of koed, or something else")
    with contextlib.suppress(
        Exception
    ):  # what a killed process has written half is its last record
        for record in unpacker:
            _apply(record, found)
    if where != this_machine or not where:
        return [dataclasses.replace(entry, whole=False) for entry in found.values()]
    return list(found.values())


def _apply(record: Any, found: dict[int, Unfinished]) -> None:
    match record:
        case ["+", int(number), bool(whole), *values]:
            found[number] = Unfinished(_line(number, values), whole)
        case ["~", int(number), str(text)] if number in found:
            line = found[number].line
            line = dataclasses.replace(line, text=text or line.text)
            found[number] = Unfinished(line, found[number].whole, sounding=True)
        case ["-", int(number)]:
            found.pop(number, None)
        case _:
            raise BadJournal("a record of an unknown kind")


def _line(number: int, values: list[Any]) -> Line:
    """Raises `BadJournal`."""
    if len(values) not in (*OLDEST, len(FIELDS) + len(delivery.NAMES)):
        raise BadJournal("a line of another length")
    told = {"style": ""} | dict(zip(FIELDS, values, strict=False))
    texts = [told[name] for name in ("voice", "output", "style")]
    texts += [told[name] for name in ("lang", "key", "author") if told[name] is not None]
    if not all(isinstance(text, str) and len(text) <= MAX_NAME_CHARS for text in texts):
        raise BadJournal("a name is no text, or a novel")
    times = [told["queued_at"], 0.0 if told["expires_at"] is None else told["expires_at"]]
    if not all(isinstance(t, float) for t in times) or told["priority"] not in PRIORITIES:
        raise BadJournal("a time is no number, or an unknown priority")
    if not isinstance(told["text"], str) or not isinstance(told["explicit_voice"], bool):
        raise BadJournal("no text")
    return Line(number, delivery=_manner(values[len(FIELDS) :]), **told)


def _manner(values: list[Any]) -> Delivery:
    if not all(value is None or type(value) in (int, float) for value in values):
        raise BadJournal("how it is spoken is no number")
    return Delivery(*values).checked()


# --- writing ----------------------------------------------------------------------------------


class Journal:
    """``trouble`` hears of an outage once, at its beginning. No method raises, and none waits."""

    def __init__(
        self,
        path: Path,
        trouble: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self._trouble = trouble
        self._clock = clock
        self._known: dict[int, Unfinished] = {}
        self._fd = -1
        self._size = 0
        self.stale = True
        """It is to be written anew."""
        self._retry_at: float | None = None

    def add(self, line: Line, whole: bool) -> None:
        """A line waits now; ``whole``: all its text is known."""
        entry = Unfinished(line, whole)
        self._known[line.utterance] = entry
        self._append(_added(entry))

    def keep(self, entry: Unfinished) -> None:
        """One of an earlier start is not over; written with the next `look`."""
        self._known[entry.line.utterance] = entry
        self.stale = True

    def begin(self, number: int, text: str) -> None:
        """A line sounds now; ``text``: as far as it is known."""
        entry = self._known.get(number)
        if entry is not None and not entry.sounding:
            line = dataclasses.replace(entry.line, text=text or entry.line.text)
            self._known[number] = Unfinished(line, entry.whole, sounding=True)
            self._append(_begun(number, "" if entry.whole else text))

    def drop(self, number: int, reorder: bool = False) -> None:
        """A line is over; ``reorder``: another one takes its place."""
        self.stale |= reorder
        if self._known.pop(number, None) is not None:
            self._append(_pack(["-", number]))

    def look(self, waiting: Iterable[Line]) -> None:
        """What waits as it is now: lines may have been changed where they stand."""
        changed = False
        order: dict[int, Unfinished] = {}
        for line in waiting:
            entry = self._known.get(line.utterance)
            if entry is not None:
                if entry.line is not line:
                    entry, changed = dataclasses.replace(entry, line=line), True
                order[line.utterance] = entry
        if changed or self.stale:
            rest = {number: e for number, e in self._known.items() if number not in order}
            self._known = rest | order
            self._rewrite()

    def forget(self) -> None:
        """koed ends in order: there is nothing that was promised."""
        self._close()
        self._known.clear()
        with contextlib.suppress(OSError):
            files.remove(self.path)

    # --- the file -----------------------------------------------------------------------------

    def _append(self, record: bytes) -> None:
        if self._fd < 0 or self._size + len(record) > MAX_BYTES:
            self._rewrite()  # the record is in it
            return
        try:
            self._write(record)
        except OSError as error:
            self._failed(error)

    def _write(self, data: bytes) -> None:
        """Raises `OSError` if not all of it can be written."""
        if os.write(self._fd, data) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._size += len(data)

    def _rewrite(self) -> None:
        now = self._clock()
        if self._retry_at is not None and now < self._retry_at:
            return
        data = b"".join([_pack([NAME, VERSION, machine()]), *self._records()])
        self._close()
        try:
            files.write(self.path, data)
            self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except OSError as error:
            self._failed(error)
            return
        self._size, self.stale, self._retry_at = len(data), False, None

    def _records(self) -> Iterable[bytes]:
        size = 0
        for number, entry in self._known.items():
            record = _added(entry)
            if size + len(record) > WHOLE_BYTES:
                record = _added(_cut(entry))
            record += _begun(number, "") if entry.sounding else b""
            size += len(record)
            if size > LIVING_BYTES:
                return
            yield record

    def _failed(self, error: OSError) -> None:
        self._close()
        if self._retry_at is None:
            self._trouble(f"{self.path} cannot be written: {error.strerror or error}")
        self._retry_at = self._clock() + RETRY_S
        self.stale = True

    def _close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            with contextlib.suppress(OSError):
                os.close(fd)


def _cut(entry: Unfinished) -> Unfinished:
    """Enough of it to be told."""
    text = entry.line.text
    if len(text) <= CUT_CHARS:
        return entry
    return Unfinished(dataclasses.replace(entry.line, text=text[:CUT_CHARS]), False, entry.sounding)


def _added(entry: Unfinished) -> bytes:
    line = entry.line
    values = [getattr(line, name) for name in FIELDS]
    spoken = [getattr(line.delivery, name) for name in delivery.NAMES]
    return _pack(["+", line.utterance, entry.whole, *values, *spoken])


def _begun(number: int, text: str) -> bytes:
    return _pack(["~", number, text])


def _pack(record: list[Any]) -> bytes:
    data: bytes = msgpack.packb(record, unicode_errors="replace")
    return data
