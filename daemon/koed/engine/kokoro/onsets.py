"""When the symbols of a plan are heard. Pure.

The plan says how many frames each symbol takes, and the sound runs ahead of that: its text was
aligned by a network that is sure of a sound only once it has heard some of it. The plan's energy is
in time with the sound, so behind silence it tells; elsewhere the sound is ahead by as much as was
measured (`koed bench words`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from koed.engine.kokoro.phonemes.marks import PAUSES

HEARD = -2.0
"""Energy above which something is heard."""
AHEAD, HISSING_AHEAD = 2.0, 4.0
"""Frames that the sound is ahead of its symbol; a hissing one has the longest beginning."""
_HISSING = frozenset("szʃʒɕʂ")
_BEFORE, _BEHIND = 12, 4
"""Values of the energy, two a frame, around a symbol behind silence in which it sets in."""
_STRESS = frozenset("ˈˌ")
_BETWEEN = frozenset(' ()"“”')


def heard(
    symbols: str, starts: NDArray[np.int64], energy: NDArray[np.float32]
) -> NDArray[np.float64]:
    """``[N + 1]``, frames: when each of the ``symbols`` is heard, none before the one ahead of it,
    and the end of the last; ``starts`` and ``energy`` of their `SentencePlan`."""
    found = np.append(np.zeros(len(symbols)), starts[1 + len(symbols)])
    silent, begun = True, False
    for at, symbol in enumerate(symbols):
        sounds = symbols[at + 1 : at + 2] if symbol in _STRESS else symbol
        start = int(starts[1 + at])
        frame = start - (HISSING_AHEAD if sounds and sounds in _HISSING else AHEAD)
        if silent and symbol not in PAUSES | _BETWEEN:
            first = 2 * start - _BEFORE if begun else 0
            frame = _set_in(energy, max(0, first), 2 * start + _BEHIND, frame)
        found[at] = frame
        silent = symbol in PAUSES or (silent and symbol in _BETWEEN | _STRESS)
        begun = begun or not silent
    return np.maximum.accumulate(np.maximum(found, 0.0))


def _set_in(energy: NDArray[np.float32], first: int, last: int, otherwise: float) -> float:
    """The frame in which a silence ends that is among these values of the energy, the last one."""
    loud = energy[first:last] > HEARD
    ends = np.flatnonzero(loud[1:] & ~loud[:-1])
    return (first + int(ends[-1]) + 1) / 2 if len(ends) else otherwise
