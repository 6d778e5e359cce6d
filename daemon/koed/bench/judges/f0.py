"""Fundamental frequency of a voice, by autocorrelation: the first high peak of each frame (after
Boersma 1993, with the window's own autocorrelation divided out)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LOWEST_HZ, HIGHEST_HZ = 60.0, 650.0
FRAME_S, HOP_S = 0.04, 0.01
VOICED = 0.6
"""Correlation of a frame with itself a period later, at least."""
AS_HIGH = 0.9
"""Of the highest peak: an earlier peak so high is the period, the later ones its multiples."""
QUIET_DB = -35.0
"""Below the loudest frame; what is softer has no pitch that counts."""


class Pitch(NamedTuple):
    median_hz: float
    range_semitones: float
    """From the 10th to the 90th percentile."""


def pitch(pcm: NDArray[np.float32], rate_hz: int) -> Pitch | None:
    """Of mono ``pcm`` [S]; None where nothing is voiced."""
    hz = track(pcm, rate_hz)
    hz = hz[hz > 0]
    if len(hz) == 0:
        return None
    low, high = np.percentile(hz, (10, 90))
    return Pitch(float(np.median(hz)), float(12 * np.log2(high / low)))


def track(pcm: NDArray[np.float32], rate_hz: int) -> NDArray[np.float64]:
    """[F] Hz every 10 ms, 0 where unvoiced."""
    size, hop = round(FRAME_S * rate_hz), round(HOP_S * rate_hz)
    if len(pcm) < size:
        return np.zeros(0)
    frames = np.lib.stride_tricks.sliding_window_view(pcm.astype(np.float64), size)[::hop]
    frames = frames - frames.mean(axis=1, keepdims=True)
    power = np.mean(frames**2, axis=1)
    loud = power > max(1e-9, float(power.max()) * 10 ** (QUIET_DB / 10))
    hz = np.zeros(len(frames))
    hz[loud] = [_period(frame, rate_hz) for frame in frames[loud]]
    return hz


def _period(frame: NDArray[np.float64], rate_hz: int) -> float:
    """Hz of a frame, 0 if unvoiced."""
    first, last = int(rate_hz / HIGHEST_HZ), int(rate_hz / LOWEST_HZ)
    hann = np.hanning(len(frame))
    alike = _correlated(frame * hann)[: last + 2] / _correlated(hann)[: last + 2]
    alike /= alike[0]
    inner = alike[1:-1]
    peaks = 1 + np.flatnonzero((inner > alike[:-2]) & (inner >= alike[2:]))
    peaks = peaks[peaks >= first]
    if len(peaks) == 0 or alike[peaks].max() < VOICED:
        return 0.0
    at = int(peaks[alike[peaks] >= AS_HIGH * alike[peaks].max()][0])
    return rate_hz / (at + _offset(*alike[at - 1 : at + 2]))


def _correlated(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """[S] with itself at lags 0 to S - 1."""
    power = np.abs(np.fft.rfft(x, 2 * len(x))) ** 2
    return np.fft.irfft(power)[: len(x)]


def _offset(before: float, at: float, after: float) -> float:
    """Where the top of the parabola through three points lies, from the middle one."""
    return 0.5 * (before - after) / min(before - 2 * at + after, -1e-12)
