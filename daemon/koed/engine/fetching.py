"""A file from elsewhere: whole and checked, or not there; a broken transfer goes on later."""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import koed
from koed.errors import EngineError

AGENT = {"user-agent": f"koed/{koed.__version__}"}
PATIENCE_S = 30.0
TRIES = 5
"""So often a line may break that has brought nothing since it broke last."""
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Source:
    url: str
    size: int
    digest: str
    """SHA-256, or the SHA-1 of git."""


@dataclass(frozen=True, slots=True)
class Pulled:
    path: Path
    bytes: int
    is_new: bool
    """False if it was there already, checksum and all."""


def bring(
    source: Source, target: Path, name: str, transfer: Callable[[BinaryIO], None],
    check: Callable[[Path], None] = lambda part: None,
) -> Pulled:  # fmt: skip
    """Make ``target`` be what ``source`` is. ``transfer`` appends what is missing to a file beside
    it, ``check`` looks at that before it takes its name.

    Raises EngineError ``pull_checksum``, ``pull_busy``, and what the two raise.
    """
    if target.is_file() and is_right(target, source):
        return Pulled(target, source.size, False)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{source.digest[:16]}.part")
    with part.open("ab") as file:
        _lock(file, name)
        if file.tell() > source.size:  # not a part of it
            file.seek(file.truncate(0))
        transfer(file)
    if not is_right(part, source):
        part.unlink()
        raise EngineError(
            "pull_checksum",
            f"{name}: what came is not what was promised; it was deleted",
            "run it again; if that does not help, use another mirror: --endpoint URL",
        )
    check(part)
    part.replace(target)
    return Pulled(target, source.size, True)


def download(source: Source, file: BinaryIO, told: Callable[[int], None]) -> None:
    """Append what is missing, asking again where a line broke; ``told`` the bytes that are there.

    Raises OSError or `http.client.HTTPException`.
    """
    tries = TRIES
    while (begin := file.tell()) < source.size:
        try:
            _ask(source, file, told)
        except urllib.error.HTTPError:  # it was answered
            raise
        except (OSError, http.client.HTTPException):
            tries = TRIES if file.tell() > begin else tries - 1
            if not tries:
                raise


def _ask(source: Source, file: BinaryIO, told: Callable[[int], None]) -> None:
    ranges = {"range": f"bytes={file.tell()}-"} if file.tell() else {}
    request = urllib.request.Request(source.url, headers=AGENT | ranges)
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        if answer.status != http.HTTPStatus.PARTIAL_CONTENT:  # the whole of it comes again
            file.seek(file.truncate(0))
        while piece := answer.read(min(_PIECE, source.size + 1 - file.tell())):
            file.write(piece)
            told(file.tell())
            if file.tell() > source.size:
                return
        if file.tell() < source.size:
            raise http.client.IncompleteRead(b"", source.size - file.tell())


def is_right(path: Path, source: Source) -> bool:
    """Whether a file is what was promised."""
    if path.stat().st_size != source.size:
        return False
    if len(source.digest) == 64:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == source.digest
    # As git names a file's content.
    data = path.read_bytes()
    whole = b"blob %d\0" % len(data) + data
    return hashlib.sha1(whole, usedforsecurity=False).hexdigest() == source.digest


def _lock(file: BinaryIO, name: str) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        hint = "wait for the other `koed models pull`"
        raise EngineError("pull_busy", f"{name} is being fetched already", hint) from error
