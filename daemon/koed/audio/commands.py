"""What one thread asks of another before its next block."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any


class Commands:
    """One thread adds, another runs them, and may sleep until there is something to run."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._come = threading.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, command: Callable[..., Any], *arguments: Any) -> None:
        self._waiting.append((command, arguments))
        if not self._come.is_set():
            self._come.set()

    def run(self, count: int) -> None:
        """Carry out the next ``count``, which must be there; what came since waits."""
        for _ in range(count):
            command, arguments = self._waiting.popleft()
            command(*arguments)

    def wait(self, timeout_s: float) -> None:
        """Until something is to be run, or the timeout."""
        self._come.clear()
        if not self._waiting:
            self._come.wait(timeout_s)
