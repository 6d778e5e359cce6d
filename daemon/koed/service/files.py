"""Small files of koed's own: for its user alone, whole or not there."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path


def read(path: Path, max_bytes: int) -> bytes | None:
    """All of it; None if there is none. Never waits, whatever lies there. Raises `OSError`, and
    `ValueError` for one that is of somebody else, no plain file, or larger than koed writes it."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        status = os.fstat(number)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is no plain file")
        if status.st_uid != os.getuid():
            raise ValueError("it belongs to somebody else")
        data = os.read(number, max_bytes + 1)
    finally:
        os.close(number)
    if len(data) > max_bytes:
        raise ValueError(f"it has more than {max_bytes} bytes")
    return data


def write(path: Path, data: bytes) -> None:
    """In one step: whoever reads it finds the old one or the new one. Raises `OSError`.

    It is not forced to the disk, which could take seconds: what ends the process loses nothing of
    it, and what ends the machine leaves the old one or the new one, or one that is ignored.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    with contextlib.suppress(FileNotFoundError):
        part.unlink()  # left by a crash, or somebody's trap
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        with open(os.open(part, flags, 0o600), "wb") as file:
            file.write(data)
        part.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink()
        raise


def remove(path: Path) -> None:
    """Raises `OSError`; one that is not there is fine."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
