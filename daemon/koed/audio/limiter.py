"""A true-peak limiter with look-ahead for one mono bus, made for short blocks of any size.

The gain is a line through nodes that lie `GRID` samples apart on an absolute grid, so that the
result does not depend on how the sound was cut into blocks. Almost every block of speech takes
the short way: nothing is near the ceiling, the gain is 1, the block is copied.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

GRID = 8
"""Samples between two nodes of the gain line."""
LOOKAHEAD_S = 0.0015
"""Upper bound of what the limiter delays the sound by."""
RELEASE_S = 0.08
"""Time constant with which the gain comes back."""
HEADROOM_DB = 0.4
"""Aimed below the ceiling by so much: a gain that moves between two samples, and four-fold
oversampling, let a little through (measured: 0.33 dB on low-passed noise 8 dB over)."""

# ITU-R BS.1770-4, Annex 2: the 48-tap interpolator for four-fold oversampling, one row per phase.
# The four values lie 1/8, 3/8, 5/8 and 7/8 of the way from one sample to the next.
_HALF = (
    (0.0017089843750, 0.0109863281250, -0.0196533203125, 0.0332031250000, -0.0594482421875,
     0.1373291015625, 0.9721679687500, -0.1022949218750, 0.0476074218750, -0.0266113281250,
     0.0148925781250, -0.0083007812500),
    (-0.0291748046875, 0.0292968750000, -0.0517578125000, 0.0891113281250, -0.1665039062500,
     0.4650878906250, 0.7797851562500, -0.2003173828125, 0.1015625000000, -0.0582275390625,
     0.0330810546875, -0.0189208984375),
)  # fmt: skip
PHASES: NDArray[np.float32] = np.array([*_HALF, *(row[::-1] for row in _HALF)], dtype=np.float32)
"""[4, 12] taps; rows 2 and 3 are rows 1 and 0 read backwards (in no particular order of time)."""

_BEFORE = 5  # a window of 12 taps around the gap behind sample m begins at m - 5 ...
_AFTER = 6  # ... and ends with m + 6


class Limiter:
    """Keeps the true peak of a bus at or below ``true_peak_db`` (dBTP).

    Use: fill `room`, then `process`. ``delay`` is the constant number of samples between the two.
    """

    def __init__(self, rate_hz: int, true_peak_db: float) -> None:
        self._ceiling = 10.0 ** ((true_peak_db - HEADROOM_DB) / 20.0)
        # Below this sample peak no interpolated value can reach the ceiling.
        self._safe = self._ceiling / float(np.abs(PHASES).sum(axis=1).max())
        self._attack = max(1, (int(LOOKAHEAD_S * rate_hz) - _BEFORE) // GRID - 1)
        self.delay = (self._attack + 1) * GRID + _BEFORE
        # What is kept of the past: the delay line and the left half of the longest window.
        self.span = self.delay + GRID + _BEFORE + _AFTER
        self._release = math.exp(-GRID / (RELEASE_S * rate_hz))
        self._work = np.zeros(self.span + 4096, dtype=np.float32)
        self._steps = np.arange(4096 + GRID, dtype=np.float64)
        self.limited_blocks = 0
        self.reset()

    def reset(self) -> None:
        """Forget the past, as after a long silence."""
        self._work[: self.span] = 0.0
        self._count = self.span + GRID - self.span % GRID  # any multiple of GRID beyond the delay
        self._nodes = (1.0, 1.0)  # gain at the last two nodes
        # Gain that each grid cell between the last node and the newest whole cell asks for:
        # float32, None = 1 everywhere.
        self._asked: NDArray[np.float32] | None = None

    def room(self, frames: int) -> NDArray[np.float32]:
        """[frames] float32 to be filled with the next block; holds garbage until then."""
        if self.span + frames > len(self._work):
            work = np.zeros(self.span + 2 * frames, dtype=np.float32)
            work[: self.span] = self._work[: self.span]
            self._work = work
            self._steps = np.arange(2 * frames + GRID, dtype=np.float64)
        return self._work[self.span : self.span + frames]

    def process(self, out: NDArray[np.float32]) -> None:
        """Consume the block in `room` and write as many samples, ``delay`` older, into ``out``."""
        frames = len(out)
        work = self._work
        recent = work[: self.span + frames]
        begin = self.span - self.delay
        delayed = work[begin : begin + frames]
        if self._nodes == (1.0, 1.0) and max(recent.max(), -recent.min()) < self._safe:
            out[:] = delayed
            self._asked = None
        else:
            np.multiply(delayed, self._gains(frames), out=out)
            np.clip(out, -self._ceiling, self._ceiling, out=out)  # rounding only
        work[: self.span] = work[frames : frames + self.span]
        self._count += frames

    def _gains(self, frames: int) -> NDArray[np.float64]:
        """[frames] gain of each delayed sample; moves the nodes on."""
        start, stop = self._count, self._count + frames
        known = -((self.delay - start) // GRID)  # the last node that has a gain; ceil division
        last = -((self.delay - stop) // GRID)
        cells = ((start - _AFTER) // GRID, (stop - _AFTER) // GRID)
        asked = self._asked
        if asked is None:
            asked = np.ones(cells[0] - known, dtype=np.float32)
        asked = np.concatenate((asked, self._cells(*cells)))
        gains = [*self._nodes]
        gain = gains[1]
        for bound in self._bounds(asked, last - known):
            gain = min(bound, 1.0 - (1.0 - gain) * self._release)
            if gain > 0.9999:  # else it would never be 1 again, and never the short way
                gain = min(bound, 1.0)
            gains.append(gain)
        self._nodes = (gains[-2], gains[-1])
        self._asked = asked[last - known :]
        self.limited_blocks += gain < 1.0
        first = self._steps[:frames] + (start - self.delay - (known - 1) * GRID)
        return np.interp(first, self._steps[: len(gains)] * GRID, gains)

    def _bounds(self, asked: NDArray[np.float32], nodes: int) -> list[float]:
        """The highest gain at each node so that, going down in a straight line over the
        look-ahead, every cell gets what it asked for at both of its ends."""
        at_node = np.minimum(asked[:-1], asked[1:])
        bounds = at_node[:nodes].copy()
        for step in range(1, self._attack):
            slack = step / self._attack
            np.minimum(bounds, at_node[step : step + nodes] * (1.0 - slack) + slack, out=bounds)
        values: list[float] = bounds.tolist()
        return values

    def _cells(self, first: int, stop: int) -> NDArray[np.float32]:
        """[stop - first] gain that each grid cell needs for itself, 1 where there is no peak."""
        if first == stop:
            return np.empty(0, dtype=np.float32)
        begin = first * GRID - self._count + self.span
        end = begin + (stop - first) * GRID
        peaks = np.abs(self._work[begin:end])
        around = self._work[begin - _BEFORE : end + _AFTER]
        for taps in PHASES:
            between = np.correlate(around, taps, "valid")
            np.maximum(peaks, np.abs(between, out=between), out=peaks)
        highest = peaks.reshape(-1, GRID).max(axis=1)
        gains: NDArray[np.float32] = self._ceiling / np.maximum(highest, self._ceiling)
        return gains
