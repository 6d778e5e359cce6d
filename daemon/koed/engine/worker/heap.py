"""The worker's heap: what lines leave behind in it goes back to the system now and then.

The C library keeps what was freed for later, in pieces between what is still used. Over thousands
of lines of different lengths these pieces become more: some per cent of a worker's memory, although
nothing is lost.
"""

from __future__ import annotations

import ctypes

EVERY = 100
"""Jobs, in a stream of lines that never pauses. It takes some hundredths of a second, which the
sound that was made ahead covers."""


class Heap:
    """Counts jobs; glibc only (elsewhere it does nothing)."""

    def __init__(self, every: int = EVERY) -> None:
        self._every = every
        self._jobs = 0
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)

    def job_done(self) -> bool:
        """After each job; whether it gave something back."""
        self._jobs += 1
        return self._jobs >= self._every and self.rest()

    def rest(self) -> bool:
        """When there is nothing to do; whether it gave something back."""
        worked, self._jobs = self._jobs > 0, 0
        return worked and self._trim is not None and bool(self._trim(0))
