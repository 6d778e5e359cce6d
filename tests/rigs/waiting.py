"""Waiting for what is to come, and for how long the machine itself stood still."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

POLL_S = 0.02


def wait_for(condition: Callable[[], Any], timeout_s: float = 40.0, what: str = "") -> Any:
    """The first true value of ``condition()``; fails the test after ``timeout_s``."""
    deadline_s = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline_s:
            raise AssertionError(f"not within {timeout_s} s: {what or condition}")
        time.sleep(POLL_S)
    return value


class Stalls:
    """For how long the machine kept a thread waiting that only wanted to sleep: a limit of some
    hundredths of a second holds for a machine that goes on, and for any other so much later.

    with Stalls() as stalls: ...
    assert leaked_s < LEAK_S + stalls.worst_s
    """

    def __init__(self) -> None:
        self.worst_s = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Stalls:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.is_set():
            began_s = time.monotonic()
            time.sleep(0.005)
            self.worst_s = max(self.worst_s, time.monotonic() - began_s - 0.005)


def free_port(row: int = 1) -> int:
    """The first of so many free ports in a row, of those that the system gives to nobody by itself:
    it is free when it is used."""
    while True:
        port = random.randrange(20_000, 32_000 - row)
        with contextlib.ExitStack() as opened:
            try:
                for number in range(row):
                    probe = opened.enter_context(socket.socket())
                    probe.bind(("127.0.0.1", port + number))
            except OSError:
                continue
            return port
