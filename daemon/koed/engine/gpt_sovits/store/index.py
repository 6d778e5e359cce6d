"""What the files of the models folder hold, remembered: nobody wants to hash gigabytes at a start.

A file counts as the one that was hashed while its size, its times and its number on the disk are
the same. The index lies in the folder as ``.index.json``; where it cannot be written or read,
hashing takes its time again, and nothing else happens.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import tempfile
import threading
from pathlib import Path
from typing import Any

from koed.engine.gpt_sovits.checkpoints import checkpoint

log = logging.getLogger(__name__)

NAME = ".index.json"
SCHEMA = 1

Stamp = tuple[int, int, int, int]
"""Size, time of the last change of the content and of anything (ns), number on the disk."""


def stamp(path: Path) -> Stamp:
    """Raises `OSError`."""
    found = path.stat()
    # Tools may set the time of the content back; that of the last change of anything they cannot.
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


class Index:
    """Of one folder; for any thread."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._lock = threading.Lock()
        self._hashes: dict[str, tuple[Stamp, str]] | None = None
        """By path."""

    def sha256(self, path: Path) -> str:
        """Of a file's content; read only if it has changed. Raises `OSError`."""
        with self._lock:
            if self._hashes is None:
                self._hashes = self._read()
            before = stamp(path)
            known = self._hashes.get(str(path))
            if known is not None and known[0] == before:
                return known[1]
            digest = checkpoint.sha256(path)
            if stamp(path) == before:  # nobody wrote meanwhile
                self._hashes[str(path)] = before, digest
                self._write(self._hashes)
            return digest

    def _read(self) -> dict[str, tuple[Stamp, str]]:
        try:
            loaded = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        if not isinstance(loaded, dict) or loaded.get("schema") != SCHEMA:
            return {}
        files = loaded.get("files")
        entries = files.items() if isinstance(files, dict) else ()
        return {path: entry for path, value in entries if (entry := _entry(value)) is not None}

    def _write(self, hashes: dict[str, tuple[Stamp, str]]) -> None:
        """Without those that are gone."""
        kept = {path: [*when, digest] for path, (when, digest) in hashes.items() if _is_file(path)}
        try:
            handle, fresh = tempfile.mkstemp(prefix=NAME, dir=self._path.parent)
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    json.dump({"schema": SCHEMA, "files": kept}, file)
                os.replace(fresh, self._path)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(fresh)
                raise
        except OSError as error:
            log.debug("cannot write %s: %s", self._path, error.strerror)


def _entry(value: Any) -> tuple[Stamp, str] | None:
    if not isinstance(value, list) or len(value) != 5:
        return None
    *when, digest = value
    if not all(type(number) is int for number in when) or not isinstance(digest, str):
        return None
    return (when[0], when[1], when[2], when[3]), digest


def _is_file(path: str) -> bool:
    return os.path.isfile(path)
