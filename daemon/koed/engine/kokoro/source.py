"""The excitation that the sound half shapes: harmonics of the pitch, as a short-time spectrum.

It is the part of iSTFTNet's decoder with neural source filter that has no weights but ten numbers
(Kaneko et al., "iSTFTNet", 2022; Wang et al., "Neural source-filter waveform models", 2019). The
model's own graph counts the phase from the first frame it is given; here it is counted from the
first frame of the sentence, so that pieces decoded apart are in phase and can be joined anywhere.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 24000
STEP = 300
"""Samples for which one value of the pitch stands."""
HOP = 5
"""Samples between two spectra."""
_WINDOW = 20
_VOICED_HZ = 10.0
_AMPLITUDE = 0.1
_WEIGHTS = np.array(
    [
        -0.081541866, -0.185196668, -0.182633981, -0.178372055, -0.098738946,
        0.082640395, 0.087439992, -0.390685469, -0.547744334,
    ]
)  # fmt: skip
"""Of the harmonics, the fundamental first; and what is added to their sum: the model's own."""
_BIAS = -0.02945026
_HANN = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(_WINDOW) / _WINDOW)


def phases(f0: NDArray[np.float32]) -> NDArray[np.float64]:
    """Turns of the fundamental at the middle of each value of the pitch ``[2T]``, from the first.

    Harmonics turn by multiples; whole turns are kept, since parts of them are taken between
    values."""
    return np.cumsum(f0.astype(np.float64)) * STEP / RATE_HZ


def spectra(
    f0: NDArray[np.float32], turns: NDArray[np.float64], start: int, end: int
) -> NDArray[np.float32]:
    """``[1, 22, (end - start) * 60 + 1]``: magnitudes and phases of 11 bins, for the pitch values
    ``start`` to ``end`` of ``f0`` ``[2T]`` (Hz) and its `phases`."""
    at = np.arange(start * STEP - _WINDOW // 2, end * STEP + _WINDOW // 2)
    last = len(f0) * STEP - 1
    at = np.abs(at)  # at both ends the wave is mirrored
    at = np.where(at > last, 2 * last - at, at)
    wave = _wave(f0, turns, at)
    frames = np.lib.stride_tricks.sliding_window_view(wave, _WINDOW)[::HOP]
    bins = np.fft.rfft(frames * _HANN, axis=1).T
    return np.concatenate([np.abs(bins), np.angle(bins)])[None].astype(np.float32)


def _wave(
    f0: NDArray[np.float32], turns: NDArray[np.float64], at: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The excitation at the samples ``at``, in the order given."""
    middle = (at + 0.5) / STEP - 0.5
    fundamental = np.interp(middle, np.arange(len(turns)), turns)
    voiced = f0[at // STEP] > _VOICED_HZ
    # sin(n x) by the recurrence of Chebyshev: one sine and one cosine instead of nine sines
    angle = 2.0 * np.pi * (fundamental % 1.0)
    twice = 2.0 * np.cos(angle)
    before, now = np.zeros_like(angle), np.sin(angle)
    total = np.zeros_like(angle)
    for weight in _WEIGHTS:
        total += weight * now
        before, now = now, twice * now - before
    return np.tanh(np.where(voiced, _AMPLITUDE * total, 0.0) + _BIAS)
