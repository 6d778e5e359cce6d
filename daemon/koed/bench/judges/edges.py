"""Silence before the first and behind the last sound of a line."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

AUDIBLE = 0.001
"""Of full scale: -60 dB."""


class Edges(NamedTuple):
    """Seconds; both are the whole length where nothing is heard."""

    before_s: float
    after_s: float


def edges(pcm: NDArray[np.float32], rate_hz: int) -> Edges:
    """Of mono ``pcm`` [S]."""
    loud = np.flatnonzero(np.abs(pcm) > AUDIBLE)
    if len(loud) == 0:
        return Edges(len(pcm) / rate_hz, len(pcm) / rate_hz)
    return Edges(int(loud[0]) / rate_hz, (len(pcm) - 1 - int(loud[-1])) / rate_hz)
