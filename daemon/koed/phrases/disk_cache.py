"""Takes on disk, read and written by a thread of its own: a slow disk delays no line.

One file per take, ``KEY.take``, readable by its owner only. A file that cannot be used is as good
as none; a disk that cannot be written costs the rendering at the next start and nothing else.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from koed.phrases.takes import from_bytes, to_bytes
from koed.playback.takes import Take
from koed.service import files

log = logging.getLogger(__name__)

SUFFIX = ".take"
MAX_WAITING = 256
"""Requests that wait for the disk; more are not taken, as if there were no disk."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What became of a request to fetch; ``take`` None = there is none that can be used."""

    key: str
    take: Take | None


class DiskCache:
    """``folder`` is made (0700) at the first write. ``wake`` is called from the thread."""

    def __init__(self, folder: Path, max_bytes: int, wake: Callable[[], None]) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._wake = wake
        self._requests: queue.Queue[str | Take | None] = queue.Queue(MAX_WAITING)
        self._fetched: deque[Fetched] = deque()
        self._thread = threading.Thread(target=self._run, name="phrases", daemon=True)
        self._warned = False

    def start(self) -> None:
        self._thread.start()

    def fetch(self, key: str) -> bool:
        """Read a take; it comes through `fetched`. False = too much waits, ask again later."""
        return self._ask(key)

    def keep(self, take: Take) -> None:
        """Write a take, unless there is no room for any."""
        if take.size_bytes <= self._max_bytes:
            self._ask(take)

    def fetched(self) -> list[Fetched]:
        """What was read since the last call."""
        return [self._fetched.popleft() for _ in range(len(self._fetched))]

    def close(self, deadline_s: float) -> None:
        """End after what was ordered; a hung disk is not waited for longer than this."""
        if self._thread.is_alive() and self._ask(None):
            self._thread.join(deadline_s)

    def _ask(self, request: str | Take | None) -> bool:
        try:
            self._requests.put_nowait(request)
        except queue.Full:
            return False
        return True

    # --- the thread --------------------------------------------------------------------------

    def _run(self) -> None:
        while (request := self._requests.get()) is not None:
            if isinstance(request, Take):
                self._write(request)
            else:
                self._fetched.append(Fetched(request, self._read(request)))
                self._wake()

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}{SUFFIX}"

    def _read(self, key: str) -> Take | None:
        if not self._max_bytes:
            return None
        path = self._path(key)
        try:
            if path.stat().st_size > self._max_bytes:
                return None
            data = path.read_bytes()
            os.utime(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._warn(f"cannot read {path}: {error.strerror}")
            return None
        take = from_bytes(data, key)
        if take is None:
            log.info("%s is damaged or of another version; making it anew", path)
        return take

    def _write(self, take: Take) -> None:
        try:
            files.write(self._path(take.key), to_bytes(take))
            self._evict()
        except OSError as error:
            self._warn(f"cannot keep phrases in {self._folder}: {error.strerror}")

    def _evict(self) -> None:
        """Remove the longest unused files above the limit."""
        found = []
        for path in self._folder.glob(f"*{SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):  # another daemon removed it
                status = path.stat()
                found.append((status.st_mtime, status.st_size, path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= self._max_bytes:
                break
            path.unlink(missing_ok=True)
            total -= size

    def _warn(self, text: str) -> None:
        """Once: a full disk would fill the log as well."""
        log.log(logging.INFO if self._warned else logging.WARNING, "%s", text)
        self._warned = True
