"""What a running daemon owns: a folder with sockets and a lock, its loop's bell, its signals."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

from koed.errors import KoedError


class RuntimeDir:
    """A private folder (0700) with a lock that says which daemon is running here."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock_fd: int | None = None

    def acquire(self) -> None:
        """Make the folder and take its lock.

        Raises `KoedError` ``runtime_dir`` if somebody else owns it, ``already_running`` (with the
        process id) if a daemon does.
        """
        self._make()
        fd = os.open(self.path / "koed.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = os.read(fd, 32).decode(errors="replace").strip() or "unknown"
            os.close(fd)
            raise KoedError(
                "already_running",
                f"koed is already running here: process {pid}, in {self.path}",
                f"talk to it with koe; end it with: kill {pid}; a second needs KOED_RUNTIME_DIR",
            ) from error
        os.ftruncate(fd, 0)
        os.write(fd, f"{os.getpid()}\n".encode())
        self._lock_fd = fd

    def _make(self) -> None:
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            info = os.lstat(self.path)
        except OSError as error:
            raise KoedError(
                "runtime_dir",
                f"cannot make {self.path}: {error.strerror}",
                "set KOED_RUNTIME_DIR to a folder that you may write",
            ) from error
        if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid():
            raise KoedError(
                "runtime_dir",
                f"{self.path} belongs to somebody else",
                "remove it, or set KOED_RUNTIME_DIR to a folder of your own",
            )
        os.chmod(self.path, 0o700)

    def release(self) -> None:
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None


class Bell:
    """An eventfd: any thread, even an audio callback, wakes the loop without waiting."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def ring(self) -> None:
        with contextlib.suppress(OSError):  # full means that it rings already
            os.eventfd_write(self.fd, 1)

    def silence(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.fd)

    def close(self) -> None:
        os.close(self.fd)


def on_terminal() -> bool:
    """Whether this process ends with its terminal: it was started from one, and not by nohup."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return False
    return any(os.isatty(number) for number in (0, 2))


class Signals:
    """SIGTERM and SIGINT ask to stop, SIGHUP to reload; the bell tells the loop.

    ``hangup_ends``: SIGHUP means that the terminal was closed, and asks to stop as well: a voice
    that speaks on without its window can be ended by nobody who looks for it there.
    """

    def __init__(self, bell: Bell, hangup_ends: bool = False) -> None:
        self._hangup_ends = hangup_ends
        self.stop: str | None = None
        """Name of the signal that asked for it."""
        self._reload = False
        self._bell = bell

    def take_reload(self) -> bool:
        """Whether a reload was asked for since the last call."""
        asked, self._reload = self._reload, False
        return asked

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        wanted = {
            signal.SIGTERM: self._ask_stop,
            signal.SIGINT: self._ask_stop,
            signal.SIGHUP: self._ask_stop if self._hangup_ends else self._ask_reload,
        }
        before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask_stop(self, number: int, _: object) -> None:
        self.stop = signal.Signals(number).name
        self._bell.ring()

    def _ask_reload(self, _number: int, _: object) -> None:
        self._reload = True
        self._bell.ring()
