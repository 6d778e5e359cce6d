"""What koed tells the service manager that started it (sd_notify(3)), without libsystemd.

The protocol is one datagram of ``KEY=value`` lines to the socket that ``$NOTIFY_SOCKET`` names.
A manager that is absent, gone or deaf must never stop a voice: nothing here raises, and nothing
waits longer than `SEND_S`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

SEND_S = 0.5
"""How long a word that must arrive (ready, stopping) waits for room in the socket."""

MAX_STATUS_CHARS = 200


class Notifier:
    """Speaks to one service manager, or to nobody.

    Every verb returns whether the datagram was handed to the kernel: False without a manager,
    and when its socket is gone or full. Use it from one thread.
    """

    def __init__(self, address: str | None, watchdog_interval_s: float | None = None) -> None:
        """``address``: path of the socket, or ``@name`` for an abstract one; None = nobody."""
        self._address = _sockaddr(address)
        self.watchdog_interval_s = watchdog_interval_s
        """Call `watchdog` this often (half of what the manager allows); None = no watchdog."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], pid: int | None = None) -> Notifier:
        """``environ`` is read, not changed; ``pid`` is the process that is watched (default: us).

        ``WATCHDOG_PID`` may name another process: then the watchdog is none of our business.
        """
        pid = os.getpid() if pid is None else pid
        interval_s = None
        usec = environ.get("WATCHDOG_USEC", "")
        # ASCII digits only: isdigit() alone also admits "²", which int() refuses.
        ours = environ.get("WATCHDOG_PID", str(pid)) == str(pid)
        if ours and usec.isascii() and usec.isdigit() and int(usec) > 0:
            interval_s = int(usec) / 1e6 / 2
        return cls(environ.get("NOTIFY_SOCKET") or None, interval_s)

    @property
    def connected(self) -> bool:
        """Whether somebody asked to be told; not whether they still listen."""
        return self._address is not None

    def ready(self, status: str = "") -> bool:
        """Start-up is over."""
        return self._send("READY=1", *_status(status), wait_s=SEND_S)

    def status(self, text: str) -> bool:
        """One line for ``systemctl status``."""
        return self._send(*_status(text))

    def watchdog(self) -> bool:
        """Real progress was made. Never waits: a missed one is made good by the next."""
        return self._send("WATCHDOG=1")

    def stopping(self, status: str = "") -> bool:
        return self._send("STOPPING=1", *_status(status), wait_s=SEND_S)

    def _send(self, *lines: str, wait_s: float = 0.0) -> bool:
        if self._address is None or not lines:
            return False
        try:
            # A socket per word: a few a minute, and a manager that re-executes is found again.
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.settimeout(wait_s)
                sock.sendto("\n".join(lines).encode("utf-8", "replace"), self._address)
        except OSError:
            return False  # gone, full, or out of file descriptors: the voice goes on
        return True


class Watchdog:
    """Gets its food only if every device that plays moves on."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self._fed_at = float("-inf")
        self._clocks: dict[str, int] = {}

    def feed(self, now: float, clocks: Mapping[str, tuple[int, bool]]) -> None:
        """Call at every turn of the loop. ``clocks``: of each device the frames that it took so
        far, and whether it plays."""
        interval_s = self._notifier.watchdog_interval_s
        if interval_s is None or now - self._fed_at < interval_s / 2:
            return
        for name, (frames, playing) in clocks.items():
            if playing and self._clocks.get(name) == frames:
                return
            self._clocks[name] = frames
        self._fed_at = now
        self._notifier.watchdog()


def _sockaddr(address: str | None) -> bytes | None:
    """``@name`` becomes the abstract address; anything that is not a UNIX socket is nobody."""
    if not address or address[0] not in "@/" or "\0" in address:
        return None
    raw = os.fsencode(address)
    return b"\0" + raw[1:] if address[0] == "@" else raw


def _status(text: str) -> list[str]:
    # A line break would end the value and begin another key.
    line = " ".join(text.split())[:MAX_STATUS_CHARS]
    return [f"STATUS={line}"] if line else []
