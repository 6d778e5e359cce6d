"""A worker as a child process of the stage: start it, hear of its end at once, say why it ended.

Nothing here blocks: the process is watched through a pidfd, and what it prints is read from a
non-blocking pipe, of which the last lines are kept as the reason of a crash.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from koed.config.daemon import WorkerConfig
from koed.engine.base import DEVICE_VARIABLE, THREADS_VARIABLE

log = logging.getLogger(__name__)

TAIL_LINES = 12
LINE_CHARS = 300
READ_BYTES = 65536

_UNFIT = (
    "killed by SIGILL: a library of this engine has instructions that this processor lacks; "
    "voices of other engines can speak (koe voices), or install that library for this processor"
)
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def worker_command(engine: str, endpoint: str, identity: str, cache: Path | None) -> list[str]:
    """The command line of a worker that connects to ``endpoint``."""
    command = [sys.executable, "-P", "-m", "koed.engine.worker.main", "--engine", engine]
    command += ["--connect", endpoint, "--identity", identity, "--parent", str(os.getpid())]
    return command + ([f"--cache={cache}"] if cache else [])


def environment(config: WorkerConfig) -> dict[str, str]:
    """What an engine is told in the environment of its worker: only what is not left to it."""
    told = {} if config.device == "auto" else {DEVICE_VARIABLE: config.device}
    return told if config.threads is None else {**told, THREADS_VARIABLE: str(config.threads)}


class ChildProcess:
    """``events`` is an epoll object that becomes readable when the child prints or ends;
    ``environ`` is added to our environment."""

    def __init__(
        self, command: Sequence[str], events: select.epoll, environ: Mapping[str, str]
    ) -> None:
        self._events = events
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            # Blocking for the child: a library that prints must not get EAGAIN.
            os.set_blocking(writer, True)
            # In a process group of its own: Ctrl-C, or what a shell or `timeout` sends to all that
            # they started, is for the stage, and it is the stage that decides when a worker ends.
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=writer, stderr=writer, process_group=0,
                env={**os.environ, **environ},
            )  # fmt: skip
        except OSError:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        self.pid = self._process.pid
        self._reader = reader
        self._rest = b""
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._pidfd = _pidfd(self.pid)
        for fd in (self._reader, self._pidfd):
            if fd >= 0:
                events.register(fd, select.EPOLLIN)

    def read(self) -> None:
        """Take in what was printed; at most `READ_BYTES` a call, so a flood only slows itself."""
        if self._reader < 0:
            return
        try:
            data = os.read(self._reader, READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._reader = self._close(self._reader)
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-LINE_CHARS:]
        for line in lines:
            text = line.decode("utf-8", "replace").rstrip()[:LINE_CHARS]
            if text:
                self._tail.append(text)
                log.debug("worker %d: %s", self.pid, text)

    def ended(self) -> bool:
        """Whether it has exited; reaps it."""
        if self._process.poll() is None:
            return False
        self._pidfd = self._close(self._pidfd)
        return True

    def reason(self) -> tuple[str, str]:
        """Code and words for how it ended; call after `ended`."""
        self.read()
        status = self._process.returncode
        last = self._tail[-1] if self._tail else ""
        if status == -signal.SIGILL:
            return "worker_unfit", _UNFIT
        if status is not None and status < 0:
            try:
                name = signal.Signals(-status).name
            except ValueError:
                name = f"signal {-status}"
            return "worker_killed", f"killed by {name}" + (f": {last}" if last else "")
        return "worker_exited", f"exited with status {status}" + (f": {last}" if last else "")

    def rss_mb(self) -> float:
        """Resident memory; 0 once it has gone."""
        try:
            with open(f"/proc/{self.pid}/statm", encoding="ascii") as file:
                return int(file.read().split()[1]) * _PAGE_BYTES / 2**20
        except (OSError, IndexError):
            return 0.0

    def kill(self) -> None:
        self._process.kill()

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end; only for shutting down. False = it still runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
        return self.ended()

    def release(self) -> None:
        """Forget the file descriptors of an ended child."""
        self.read()
        self._reader = self._close(self._reader)
        self._pidfd = self._close(self._pidfd)

    def _close(self, fd: int) -> int:
        if fd >= 0:
            # A closed descriptor can stay in an epoll set if a child has inherited it.
            with contextlib.suppress(OSError):
                self._events.unregister(fd)
            os.close(fd)
        return -1


def _pidfd(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except OSError:  # an old kernel: its end is noticed at the next tick instead
        return -1
