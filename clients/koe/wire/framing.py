"""How a message becomes bytes and where the sockets are.

Apart from the classes of the messages because a hotkey that runs ``koe stop`` needs no more than
this, and to make those classes takes longer than the request itself.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from typing import Any, Literal

import msgpack

MAX_FRAME_BYTES = 4 * 1024 * 1024
"""A larger frame closes the connection that sent it (ZeroMQ's MAXMSGSIZE)."""

NESTED_BYTES = 65536
"""A larger request must be flat; see `unpack_request`."""


class WireError(Exception):
    """What goes wrong with a message, in the shape that the wire carries.

    ``code`` is for programs, ``message`` says what happened, ``hint`` what to do now.
    """

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint

    def to_map(self) -> dict[str, str]:
        return {"code": self.code, "message": self.message, "hint": self.hint}


def pack(message: dict[str, Any]) -> bytes:
    """A map as msgpack bytes (strings as UTF-8, bytes as bin)."""
    data: bytes = msgpack.packb(message, use_bin_type=True)
    return data


def unpack(data: bytes, **limits: Any) -> dict[str, Any]:
    """msgpack bytes as a map; raises `WireError` ``bad_message`` for anything else.

    ``limits`` are those of `msgpack.unpackb`.
    """
    try:
        message = msgpack.unpackb(data, raw=False, strict_map_key=True, **limits)
    except UnicodeDecodeError as error:
        raise WireError(
            "invalid_utf8",
            f"a string of the message is not UTF-8: {error.reason}",
            "encode every string as UTF-8",
        ) from error
    except Exception as error:
        raise WireError(
            "bad_message",
            f"not one whole msgpack map: {type(error).__name__}",
            'send one msgpack map per message, for instance {"op": "status", "id": 1}',
        ) from error
    if not isinstance(message, dict):
        raise WireError(
            "bad_message",
            f"the message is a {type(message).__name__}, not a map",
            'send one msgpack map per message, for instance {"op": "status", "id": 1}',
        )
    return message


def unpack_request(data: bytes) -> dict[str, Any]:
    """`unpack` for whoever listens to strangers.

    A large message may hold a long text, but no lists and maps within the map: millions of small
    objects in four megabytes would hold the interpreter for half a second, and with it the sound.
    """
    if len(data) <= NESTED_BYTES:
        return unpack(data)
    maps = 0

    def count(message: dict[str, Any]) -> dict[str, Any]:
        nonlocal maps
        maps += 1
        if maps > 1:
            raise ValueError("a map within the map")
        return message

    def refuse(_: list[Any]) -> None:
        raise ValueError("a list within the map")

    return unpack(data, object_hook=count, list_hook=refuse, max_map_len=64, max_array_len=64)


def runtime_dir(environ: Mapping[str, str] | None = None, users: str = "/run/user") -> str:
    """The folder of the sockets: ``$KOED_RUNTIME_DIR``, else ``$XDG_RUNTIME_DIR/koed``, else
    ``/run/user/$UID/koed`` (over ssh, in cron and after su the variable is missing, but not the
    folder), else ``/tmp/koed-$UID``. ``users``: where the sessions' folders lie."""
    environ = os.environ if environ is None else environ
    if environ.get("KOED_RUNTIME_DIR"):
        return environ["KOED_RUNTIME_DIR"]
    if environ.get("XDG_RUNTIME_DIR"):
        return os.path.join(environ["XDG_RUNTIME_DIR"], "koed")
    session = os.path.join(users, str(os.getuid()))
    return os.path.join(session, "koed") if _private(session) else f"/tmp/koed-{os.getuid()}"


def _private(folder: str) -> bool:
    """Whether it is a folder of this user's that nobody else may look into."""
    try:
        info = os.lstat(folder)
    except OSError:
        return False
    return stat.S_ISDIR(info.st_mode) and info.st_uid == os.getuid() and not info.st_mode & 0o077


def endpoint(directory: str, name: Literal["control", "events", "text"]) -> str:
    return f"ipc://{os.path.join(directory, name)}"
