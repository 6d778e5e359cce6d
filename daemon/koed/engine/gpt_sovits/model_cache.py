"""What stays in memory: values by key under a budget, the longest unused leave first.

Loading runs beside, in one thread, so that whoever speaks goes on speaking. Pinned values never
leave, nor does the one used last; what is in use elsewhere lives on until it is let go there. When
memory ran out the budget is smaller for a while: what took it may have been a game that is over.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

K = TypeVar("K")
V = TypeVar("V")

SHRINK = 0.75
QUIET_S = 300.0
"""After so long without running out of memory the budget takes back a step of `SHRINK`."""


class ModelCache(Generic[K, V]):
    """``load`` makes a value and ``size`` says its bytes. Errors of ``load`` reach who asked."""

    def __init__(
        self, load: Callable[[K], V], size: Callable[[V], int], allowed: Callable[[int], int],
        dropped: Callable[[], None] = lambda: None, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """``allowed``: bytes that are in use here -> bytes that may be, if memory never ran out."""
        self._load, self._size, self._dropped = load, size, dropped
        self._allowed, self._clock = allowed, clock
        self._ceiling, self._full_at = float("inf"), 0.0
        self._values: OrderedDict[K, V] = OrderedDict()
        self._pinned: set[K] = set()
        self._coming: dict[K, Future[V]] = {}
        self._lock = threading.Lock()
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="models")

    @property
    def budget_bytes(self) -> int:
        """What the values may take now."""
        steps = min(64, (self._clock() - self._full_at) // QUIET_S)
        return int(min(self._allowed(self.used_bytes), self._ceiling / SHRINK**steps))

    def get(self, key: K) -> Future[V]:
        """The value; done if it is there, else it is being loaded."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                there: Future[V] = Future()
                there.set_result(self._values[key])
                return there
            if key not in self._coming:
                self._coming[key] = self._loader.submit(self._bring, key)
            return self._coming[key]

    def pin(self, key: K, keep: bool = True) -> None:
        """Never let ``key`` go, or do so again."""
        with self._lock:
            (self._pinned.add if keep else self._pinned.discard)(key)

    @property
    def resident(self) -> tuple[K, ...]:
        """Keys, the longest unused first."""
        with self._lock:
            return tuple(self._values)

    @property
    def used_bytes(self) -> int:
        with self._lock:
            return sum(map(self._size, self._values.values()))

    def shrink(self) -> None:
        """Memory ran out: the budget becomes smaller than what is used now, for some minutes."""
        budget = self.budget_bytes
        self._ceiling, self._full_at = (
            SHRINK * min(budget, self.used_bytes or budget),
            self._clock(),
        )
        log.warning("memory ran out: models may take %d MB for now", int(self._ceiling) >> 20)
        self._evict(None)

    def forget(self, key: K) -> None:
        """Let a value go now."""
        with self._lock:
            self._values.pop(key, None)
        self._dropped()

    def close(self) -> None:
        """Forget everything; what is loading is waited for."""
        self._loader.shutdown(cancel_futures=True)
        with self._lock:
            self._values.clear()
            self._coming.clear()

    def _bring(self, key: K) -> V:
        try:
            value = self._load(key)
            with self._lock:
                self._values[key] = value
        finally:
            with self._lock:
                self._coming.pop(key, None)
        self._evict(key)
        return value

    def _evict(self, kept: K | None) -> None:
        gone, budget = [], self.budget_bytes
        with self._lock:
            used = sum(map(self._size, self._values.values()))
            stays = {*self._pinned, kept, *list(self._values)[-1:]}
            for key in [key for key in self._values if key not in stays]:
                if used <= budget:
                    break
                used -= self._size(self._values[key])
                gone.append(self._values.pop(key))
        if gone:
            gone.clear()
            self._dropped()
