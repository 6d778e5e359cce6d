"""What was said when, by whom, in which voice, and how much of it was heard: JSON, a line each.

A record and nothing more: it never blocks and never ends the daemon. When the disk is full, one
trouble is reported, what could not be written is counted, and the disk is tried again with
growing pauses; when it works again, that is reported too. Wall-clock times are only written down.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import json
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from koe.protocol import (
    Event,
    UtteranceDropped,
    UtteranceFailed,
    UtteranceFinished,
    UtteranceQueued,
    UtteranceSkipped,
    UtteranceStarted,
)
from koed.config.daemon import TranscriptConfig
from koed.errors import KoedError

MAX_OPEN_LINES = 10_000
"""More lines than the queue can hold; a bound against events that never come."""
RETRY_S = 1.0
MAX_RETRY_S = 60.0


@dataclass(slots=True)
class _Line:
    """What is known of an utterance that is not over."""

    text: str
    voice: str
    output: str
    priority: str = "normal"
    author: str | None = None
    started: str | None = None


class LineFile:
    """An append-only file of lines, rotated by size; raises OSError."""

    def __init__(self, path: Path, max_bytes: int, keep: int) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._keep = keep
        self._fd = -1

    def append(self, data: bytes) -> None:
        """One whole line or nothing."""
        if self._fd >= 0 and self._moved():
            self.close()  # somebody removed or rotated it
        if self._fd < 0:
            self._open()
        status = os.fstat(self._fd)
        plain = stat.S_ISREG(status.st_mode)
        if plain and status.st_size and status.st_size + len(data) > self._max_bytes:
            self._rotate()
            status = os.fstat(self._fd)
        written = os.write(self._fd, data)
        if written < len(data):  # the disk is full in the middle of the line: take the piece back
            if plain:
                os.ftruncate(self._fd, status.st_size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _moved(self) -> bool:
        mine = os.fstat(self._fd)
        try:
            there = os.stat(self.path)
        except FileNotFoundError:
            return True
        return (mine.st_dev, mine.st_ino) != (there.st_dev, there.st_ino)

    def _open(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Non-blocking: a FIFO that nobody reads is an error and not a hang.
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        self._fd = os.open(self.path, flags, 0o600)
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode):
            return
        os.fchmod(self._fd, 0o600)
        if status.st_size and os.pread(self._fd, 1, status.st_size - 1) != b"\n":
            os.write(self._fd, b"\n")  # a crash left half a line: keep it off the next one

    def _rotate(self) -> None:
        """path -> path.1 -> path.2 ...; the oldest goes."""
        names = [self.path, *(Path(f"{self.path}.{n}") for n in range(1, self._keep + 1))]
        with contextlib.suppress(FileNotFoundError):
            names[-1].unlink()
        for older, newer in zip(reversed(names), reversed(names[:-1]), strict=False):
            with contextlib.suppress(FileNotFoundError):
                newer.rename(older)
        self.close()
        self._open()

    def close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            with contextlib.suppress(OSError):  # the lines were written or reported before
                os.close(fd)


class Transcript:
    """Listens to the bus and writes a line per utterance that is over.

    ``trouble`` is called with a `KoedError`: ``disk_full`` or ``transcript_unwritable`` once per
    outage, ``transcript_back`` at its end.
    """

    def __init__(
        self,
        config: TranscriptConfig,
        path: Path,
        trouble: Callable[[KoedError], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``path``: what the configuration means, unless it wants none. Touches no disk before the
        first line."""
        self._file: LineFile | None = None
        if config.path != "":
            self._file = LineFile(path, int(config.max_mb * 1024 * 1024), config.keep)
        self._trouble = trouble
        self._clock = clock
        self._open: dict[int, _Line] = {}
        self._retry_at: float | None = None
        """Monotonic; None = no outage."""
        self._retry_s = RETRY_S
        self._lost = 0
        self._lost_in_all = 0
        self._written = 0

    def status(self) -> dict[str, Any]:
        """For the `status` reply."""
        return {
            "path": str(self._file.path) if self._file else "",
            "ok": self._retry_at is None,
            "written": self._written,
            "lost": self._lost_in_all,
        }

    def listen(self, event: Event) -> None:
        """Any event of the bus."""
        if self._file is None:
            return
        match event:
            case UtteranceQueued():
                line = _Line(event.text, event.voice, event.output, event.priority, event.author)
                self._open[event.utterance] = line
                if len(self._open) > MAX_OPEN_LINES:
                    del self._open[next(iter(self._open))]
            case UtteranceStarted():
                self._begin(event)
            case UtteranceFinished():
                self._end(event.utterance, "finished", spoken_s=round(event.spoken_s, 3))
            case UtteranceSkipped():
                self._end(event.utterance, "skipped", reason=event.reason, heard=event.heard)
            case UtteranceDropped():
                self._end(event.utterance, "dropped", reason=event.reason)
            case UtteranceFailed():
                self._end(event.utterance, "failed", reason=event.code, heard=event.heard)

    def _begin(self, event: UtteranceStarted) -> None:
        line = self._open.setdefault(
            event.utterance, _Line(event.text, event.voice, event.output, author=event.author)
        )
        # By now it may be in another voice, and an open line has got its text.
        line.text, line.voice = event.text, event.voice
        line.started = _wall_clock(event.heard_t - self._clock())

    def _end(self, utterance: int, outcome: str, **more: Any) -> None:
        line = self._open.pop(utterance, None)
        if line is None:
            return
        self.write(
            {
                "time": _wall_clock(),
                "started": line.started,
                "utterance": utterance,
                "author": line.author,
                "voice": line.voice,
                "output": line.output,
                "priority": line.priority,
                "outcome": outcome,
                "text": line.text,
            }
            | more
        )

    def write(self, record: dict[str, Any]) -> None:
        """Append one record now, or count it as lost."""
        if self._file is None:
            return
        now = self._clock()
        if self._retry_at is not None and now < self._retry_at:
            self._lost += 1
            self._lost_in_all += 1
            return
        text = json.dumps(record, ensure_ascii=False) + "\n"
        try:
            self._file.append(text.encode("utf-8", "backslashreplace"))
        except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
            self._failed(error, now)
            return
        self._written += 1
        if self._retry_at is not None:
            self._back()

    def _failed(self, error: OSError | ValueError, now: float) -> None:
        first = self._retry_at is None
        self._lost += 1
        self._lost_in_all += 1
        self._retry_s = RETRY_S if first else min(2 * self._retry_s, MAX_RETRY_S)
        self._retry_at = now + self._retry_s
        if self._file is not None:
            self._file.close()  # of a file system that went away, only a new descriptor works
        if not first:
            return
        number = error.errno if isinstance(error, OSError) else None
        full = number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        path = self._file.path if self._file else ""
        self._trouble(
            KoedError(
                "disk_full" if full else "transcript_unwritable",
                f"the transcript {path} cannot be written: {reason}",
                "koed speaks on and tries again; what is said meanwhile is not recorded",
            )
        )

    def _back(self) -> None:
        lost, self._lost, self._retry_at = self._lost, 0, None
        self._trouble(
            KoedError(
                "transcript_back", f"the transcript is written again; {lost} lines are missing"
            )
        )

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _wall_clock(offset_s: float = 0.0) -> str:
    """Local time with its zone, ISO 8601, to the millisecond; ``offset_s`` from now."""
    moment = datetime.datetime.now().astimezone() + datetime.timedelta(seconds=offset_s)
    return moment.isoformat(timespec="milliseconds")
