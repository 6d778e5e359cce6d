"""What one thread asks of another before its next block."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any


class Orders:
    """One thread adds, another obeys, and may sleep until there is something to obey."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._come = threading.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, order: Callable[..., Any], *arguments: Any) -> None:
        self._waiting.append((order, arguments))
        if not self._come.is_set():
            self._come.set()

    def obey(self, count: int) -> None:
        """Carry out the next ``count``, which must be there; what came since waits."""
        for _ in range(count):
            order, arguments = self._waiting.popleft()
            order(*arguments)

    def wait(self, timeout_s: float) -> None:
        """Until something is to be obeyed, or the timeout."""
        self._come.clear()
        if not self._waiting:
            self._come.wait(timeout_s)
