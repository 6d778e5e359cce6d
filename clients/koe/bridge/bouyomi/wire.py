"""The bytes of Bouyomi-chan's TCP protocol: one command per connection, all numbers little-endian.

The protocol has no specification; this is what the clients that are in use send.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

TALK = 0x0001
PAUSE, RESUME, SKIP, CLEAR = 0x0010, 0x0020, 0x0030, 0x0040
GET_PAUSE, GET_NOW_PLAYING, GET_TASK_COUNT = 0x0110, 0x0120, 0x0130
COMMANDS = frozenset((TALK, PAUSE, RESUME, SKIP, CLEAR, GET_PAUSE, GET_NOW_PLAYING, GET_TASK_COUNT))

TALK_HEAD = struct.Struct("<hhhhBi")
"""After the command: speed, tone, volume, voice, charset, length of the text in bytes."""

CHARSETS = {0: "utf-8", 1: "utf-16-le", 2: "cp932"}
"""2 is called Shift-JIS; what Windows sends under that name is cp932."""

MAX_TEXT_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Talk:
    """A text to be read. ``voice`` 0 = the current one. Speed, tone and volume are not koed's to
    change: a profile has its own."""

    text: str
    voice: int = 0


def command(data: bytes) -> int | None:
    """The command that two bytes stand for; None for anything else, an HTTP verb for instance."""
    code = int.from_bytes(data, "little")
    return code if code in COMMANDS else None


def text_bytes(head: bytes) -> int | None:
    """How many bytes of text follow the rest of a talk header; None = this is no talk."""
    *_, charset, length = TALK_HEAD.unpack(head)
    return length if charset in CHARSETS and 0 <= length <= MAX_TEXT_BYTES else None


def talk(head: bytes, data: bytes) -> Talk:
    """The talk of a header, of which `text_bytes` was not None, and its text."""
    *_, voice, charset, _length = TALK_HEAD.unpack(head)
    return Talk(clean(data.decode(CHARSETS[charset], "replace")), max(0, voice))


def clean(text: str) -> str:
    """Without the marks that some clients leave around a text: a byte order mark, a final NUL."""
    return text.removeprefix("\ufeff").rstrip("\0").strip()
