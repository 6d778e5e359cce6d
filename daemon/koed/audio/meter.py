"""How loud an output is: 20 times a second for meters, 50 times for mouths."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

WINDOW_S = 0.05
MOUTH_S = 0.02
SILENCE_DB = -120.0
KEPT = 1200
"""Windows that wait for a reader (a minute); older ones are forgotten."""

Level = tuple[int, float, float]
"""(frame after the window's last one, RMS in dBFS, sample peak in dBFS)"""


def to_db(value: float) -> float:
    """Amplitude as dBFS, not below `SILENCE_DB`."""
    return max(SILENCE_DB, 20.0 * math.log10(value)) if value > 1e-6 else SILENCE_DB


class Meter:
    """Written by the device side, drained by the main thread. Silent while nothing sounds, but
    for one last window that says so."""

    def __init__(self, rate_hz: int, window_s: float = WINDOW_S) -> None:
        self._window = round(window_s * rate_hz)
        self._frames = 0
        self._energy = 0.0
        self._peak = 0.0
        self._told_silence = True
        self.windows: deque[Level] = deque(maxlen=KEPT)

    def add(self, block: NDArray[np.float32], clock: int) -> None:
        """Count ``block`` [S] that begins at frame ``clock``. A window ends with a block, so with
        blocks that do not divide it, it is up to one block longer."""
        high = max(float(block.max()), -float(block.min()))
        if high > self._peak:
            self._peak = high
        self._energy += float(np.dot(block, block))
        self._frames += len(block)
        if self._frames >= self._window:
            self._close(clock + len(block))

    def silence(self, clock: int) -> None:
        """Nothing sounds any more, from frame ``clock`` on."""
        if self._frames:
            self._close(clock)
        self._close(clock)

    def _close(self, frame: int) -> None:
        if self._peak > 1e-6:
            rms = math.sqrt(self._energy / self._frames)
            self.windows.append((frame, to_db(rms), to_db(self._peak)))
            self._told_silence = False
        elif not self._told_silence:  # it plays, but into a muted output
            self.windows.append((frame, SILENCE_DB, SILENCE_DB))
            self._told_silence = True
        self._frames, self._energy, self._peak = 0, 0.0, 0.0
