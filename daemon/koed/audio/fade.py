"""Gains that glide: no step of a gain is heard as a click."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]


def rise_curve(frames: int) -> Samples:
    """[frames] raised cosine from 0 to 1; with its mirror image it adds up to 1."""
    phase = (np.arange(frames) + 0.5) / max(frames, 1)
    return (np.sin(0.5 * math.pi * phase) ** 2).astype(np.float32)


class Ramp:
    """A gain that glides along ``rise`` whenever it is set to another value."""

    __slots__ = ("_from", "_position", "_rise", "_target")

    def __init__(self, rise: Samples, value: float = 1.0) -> None:
        self._rise = rise
        self._from = self._target = value
        self._position = len(rise)

    @property
    def neutral(self) -> bool:
        return self._target == 1.0 and self._position >= len(self._rise)

    def set(self, target: float) -> None:
        if self._position < len(self._rise):
            self._from += (self._target - self._from) * float(self._rise[self._position])
        else:
            self._from = self._target
        self._target, self._position = target, 0

    def settle(self) -> None:
        """Be there at once: for when nothing sounds."""
        self._position = len(self._rise)

    def apply(self, block: Samples) -> None:
        curve = self._rise[self._position : self._position + len(block)]
        count = len(curve)
        if count:
            block[:count] *= self._from + (self._target - self._from) * curve
            self._position += count
        if self._target != 1.0 and count < len(block):
            block[count:] *= self._target
