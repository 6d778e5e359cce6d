"""Silence at the ends of a segment, cut while the segment is being made.

Pauses belong to the stage. What is silent is held until sound follows; what is still held at the
end is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

BLOCK_S = 0.01
SILENT = 10.0 ** (-54.0 / 20.0)
"""Root mean square below which a block is silence."""
MARGIN_S = 0.02
"""Left standing at both ends: a soft consonant begins and ends below the threshold."""
HOLD_S = 0.4
"""More silence than this is a pause within the segment, and is not held back any longer."""

Sound = NDArray[np.float32]


@dataclass
class Trimmer:
    """Sound goes through it in pieces of any length."""

    rate_hz: int
    lead: int = 0
    """Samples that were cut from the beginning."""
    emitted: int = 0
    begun: bool = False
    _owed: int = 0
    """What is still to come of the margin behind the last loud block."""
    _held: Sound = field(default_factory=lambda: np.empty(0, np.float32))

    def begun_at(self, sample: int) -> Trimmer:
        """One for the same segment from ``sample`` (counted before trimming) on."""
        return Trimmer(self.rate_hz, self.lead, max(0, sample - self.lead), begun=True)

    def push(self, pcm: Sound, last: bool) -> Sound:
        """``[S]`` -> what of it, and of what was held, can be heard now."""
        held = np.concatenate([self._held, pcm])
        first, end = self._loud(held, last)
        margin = round(MARGIN_S * self.rate_hz)
        if not self.begun:
            start = len(held) if first < 0 else max(0, first - margin)
            if first < 0 and not last:
                start = max(0, start - margin - self._block)
            self.lead += start
            held = held[start:]
            if first < 0:
                self._held = held
                return held[:0]
            self.begun, end = True, end - start
        wanted = end + margin if first >= 0 else self._owed
        stop = min(len(held), wanted)
        self._owed = wanted - stop
        if not last and len(held) - stop > HOLD_S * self.rate_hz:
            stop = len(held)
        out, self._held = held[:stop], held[stop:]
        self.emitted += len(out)
        return out

    @property
    def _block(self) -> int:
        return max(1, round(BLOCK_S * self.rate_hz))

    def _loud(self, pcm: Sound, last: bool) -> tuple[int, int]:
        """First sample of the first loud block and the end of the last; (-1, 0) = none is loud."""
        blocks = -(-len(pcm) // self._block) if last else len(pcm) // self._block
        if not blocks:
            return -1, 0
        padded = np.zeros(blocks * self._block, np.float32)
        padded[: min(len(pcm), len(padded))] = pcm[: len(padded)]
        level = np.sqrt(np.mean(np.square(padded.reshape(blocks, self._block)), axis=1))
        loud = np.flatnonzero(level > SILENT)
        if not len(loud):
            return -1, 0
        return int(loud[0]) * self._block, (int(loud[-1]) + 1) * self._block
