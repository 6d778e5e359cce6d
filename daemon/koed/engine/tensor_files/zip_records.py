"""Where the records of a zip of torch or numpy lie. Torch only stores: a record is a stretch of the
file. Numpy may deflate.

Only the directory at the end is believed, and only after it has been checked against the file:
nothing is unpacked and no name ever becomes a path. PKWARE's APPNOTE 6.3.10 is the source of the
formats (4.3.7 local header, 4.3.12 central directory, 4.3.14 and 4.3.15 zip64, 4.3.16 the end).
"""

from __future__ import annotations

import itertools
import mmap
import struct
from dataclasses import dataclass

from koed.errors import EngineError

MAX_RECORDS = 100_000
_END, _END_64 = struct.Struct("<4s4H2LH"), struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_ENTRY, _LOCAL = struct.Struct("<4s6H3L5H2L"), struct.Struct("<4s5H3L2H")
_FULL = 0xFFFFFFFF
_STORED, _DEFLATED = 0, 8

Bytes = mmap.mmap | bytes
"""A file, mapped or read."""


@dataclass(frozen=True, slots=True)
class Record:
    """Bytes ``start`` to ``start + size`` of the file."""

    start: int
    size: int
    crc32: int
    """Of what it holds when unpacked."""
    deflated: bool = False


@dataclass(frozen=True, slots=True)
class _Directory:
    start: int
    size: int
    count: int


def records(data: Bytes, name: str, deflated: bool = False) -> dict[str, Record]:
    """The records of a zip by their names; ``name`` of the file is for messages.

    The first two bytes of the file may be anything; records may be ``deflated``, or not. Raises
    EngineError: ``model_damaged`` if the file is cut off or contradicts itself,
    ``checkpoint_unsafe`` for what its writers never do.
    """
    found: dict[str, Record] = {}
    ends: list[tuple[int, int]] = []
    methods = (_STORED, _DEFLATED) if deflated else (_STORED,)
    try:
        directory = _directory(data, name)
        at = directory.start
        for _ in range(directory.count):
            key, record, header, at = _entry(data, at, directory, name, methods)
            if key in found:
                raise _unsafe(name, f"two records are called {key[:60]!r}")
            found[key] = record
            ends.append((header, record.start + record.size))
    except (struct.error, UnicodeDecodeError, IndexError) as error:
        raise _damaged(name, "its directory makes no sense") from error
    ends.sort()
    for (_, end), (start, _) in itertools.pairwise(ends):
        if start < end:
            raise _unsafe(name, "two records share bytes")
    return found


def _directory(data: Bytes, name: str) -> _Directory:
    end = data.rfind(b"PK\5\6", max(0, len(data) - _END.size - 0xFFFF))
    if end < 0:
        raise _damaged(name, "it is cut off: the directory at its end is missing")
    _, _, _, _, count, size, start, _ = _END.unpack_from(data, end)
    limit = end
    if _FULL in (size, start) or count == 0xFFFF:
        mark, _, limit, _ = _LOCATOR.unpack_from(data, max(0, end - _LOCATOR.size))
        if mark != b"PK\6\7" or limit >= end:
            raise _damaged(name, "its directory makes no sense")
        mark, *_, count, size, start = _END_64.unpack_from(data, limit)
        if mark != b"PK\6\6":
            raise _damaged(name, "its directory makes no sense")
    if start + size > limit or count > size // _ENTRY.size:
        raise _damaged(name, "its directory does not lie within it")
    if count > MAX_RECORDS:
        raise _unsafe(name, f"it has {count} records")
    return _Directory(start, size, count)


def _entry(
    data: Bytes, at: int, directory: _Directory, name: str, methods: tuple[int, ...]
) -> tuple[str, Record, int, int]:
    """The entry of the directory at byte ``at``: name, record, its header's place, next entry."""
    mark, _, _, flags, method, _, _, crc, packed, size, *lengths = _ENTRY.unpack_from(data, at)
    key_length, extra_length, comment_length, _, _, _, header = lengths
    if mark != b"PK\1\2":
        raise _damaged(name, "its directory makes no sense")
    key_end = at + _ENTRY.size + key_length
    key_bytes = data[at + _ENTRY.size : key_end]
    extra = data[key_end : key_end + extra_length]
    size, packed, header = _wide(extra, [size, packed, header])
    key = key_bytes.decode("utf-8")
    if method not in methods or (method == _STORED and packed != size) or flags & 1:
        raise _unsafe(name, f"the record {key[:60]!r} is packed or locked")
    if key.startswith("/") or "\\" in key or ".." in key.split("/") or "\0" in key:
        raise _unsafe(name, f"a record is called {key[:60]!r}")
    record = Record(_data_start(data, header, key_bytes, name), packed, crc, method == _DEFLATED)
    if record.start + packed > directory.start:
        raise _damaged(name, f"the record {key[:60]!r} does not lie within it")
    return key, record, header, key_end + extra_length + comment_length


def _data_start(data: Bytes, header: int, key: bytes, name: str) -> int:
    """First byte after the local header at byte ``header``."""
    if header + _LOCAL.size > len(data):
        raise _damaged(name, "a record does not lie within it")
    mark, *_, key_length, extra_length = _LOCAL.unpack_from(data, header)
    start = header + _LOCAL.size
    # The very first two bytes are where some savers write the model's version.
    marked = mark == b"PK\3\4" or (header == 0 and mark[2:] == b"\3\4")
    if not marked or data[start : start + key_length] != key:
        raise _damaged(name, f"the record {key[:60]!r} is not where it should be")
    return int(start + key_length + extra_length)


def _wide(extra: bytes, values: list[int]) -> list[int]:
    """``values`` with each that did not fit 32 bits taken from the zip64 extra field."""
    at = 0
    while at + 4 <= len(extra):
        tag, length = struct.unpack_from("<2H", extra, at)
        if tag == 1:
            field = extra[at + 4 : at + 4 + length]
            wide = iter(struct.unpack_from(f"<{length // 8}Q", field))
            return [next(wide, _FULL) if value == _FULL else value for value in values]
        at += 4 + length
    return values


def _damaged(name: str, what: str) -> EngineError:
    return EngineError("model_damaged", f"{name}: {what}", "get the file anew")


def _unsafe(name: str, what: str) -> EngineError:
    return EngineError(
        "checkpoint_unsafe", f"{name} is refused: {what}", "get the file from its author again"
    )
