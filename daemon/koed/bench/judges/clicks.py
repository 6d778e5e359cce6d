"""Clicks: steps of the waveform that stand alone. A voice's steep places return with each period,
and noise is steep all over; a seam that does not fit is steep once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STEP = 0.02
"""Of full scale, from one sample to the next: less is not heard."""
TIMES = 3.0
"""Steeper than everything near."""
NEAR_S, APART_S = 0.015, 0.0004
"""How far around is compared, and what still belongs to the step itself."""


def clicks(pcm: NDArray[np.float32], rate_hz: int) -> NDArray[np.int64]:
    """Samples of mono ``pcm`` [S] behind which a click is."""
    steep = np.abs(np.diff(pcm.astype(np.float64)))
    near, apart = round(NEAR_S * rate_hz), max(1, round(APART_S * rate_hz))
    found = []
    for at in np.flatnonzero(_stands_out(steep, near)):
        before = steep[max(0, at - near) : max(0, at - apart)]
        after = steep[at + apart + 1 : at + near]
        if steep[at] > TIMES * max(before.max(initial=0.0), after.max(initial=0.0)):
            found.append(at)
    return np.array(found, dtype=np.int64)


def _stands_out(steep: NDArray[np.float64], near: int) -> NDArray[np.bool_]:
    """The steepest sample of each block of ``near``, if it can be heard: no other can be a click
    unless a neighbour within reach is one too."""
    chosen = np.zeros(len(steep), bool)
    for start in range(0, len(steep), near):
        chosen[start + int(np.argmax(steep[start : start + near]))] = True
    return chosen & (steep > STEP)
