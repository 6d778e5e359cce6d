"""Mel spectrograms, as all three judges were trained on: Slaney's scale (Auditory Toolbox, 1998),
triangles of equal area. Shapes: S samples, T frames, M bands, B bins.
"""

from __future__ import annotations

import functools
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from koed.bench.judges import RATE_HZ

HOP = 160
"""10 ms at 16 kHz."""
_LINEAR_HZ, _BREAK_HZ, _LOG_STEP = 200.0 / 3, 1000.0, np.log(6.4) / 27


def mel_spectrogram(
    pcm: NDArray[np.float32], window: int, bands: int, padding: Literal["constant", "reflect"]
) -> NDArray[np.float64]:
    """``pcm`` [S] at 16 kHz -> power [T, M]; frames are centred, T = 1 + S // 160.

    ``window`` samples long, Hann; ``padding``: what lies beyond the ends (see `numpy.pad`).
    """
    padded = np.pad(pcm.astype(np.float64), window // 2, mode=padding)
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::HOP]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    power = np.abs(np.fft.rfft(frames * hann)) ** 2
    return power @ filters(window, bands).T


@functools.cache
def filters(window: int, bands: int) -> NDArray[np.float64]:
    """[M, B]: a triangle for each band, from the centre below it to the one above."""
    edges = _hz(np.linspace(0.0, _mel(RATE_HZ / 2), bands + 2))
    bins = np.arange(window // 2 + 1) * RATE_HZ / window
    slopes = (bins[None] - edges[:, None]) / np.diff(edges, append=np.inf)[:, None]
    widths = np.diff(edges)
    rise = slopes[:-2]
    fall = (edges[2:, None] - bins[None]) / widths[1:, None]
    triangles = np.maximum(0.0, np.minimum(rise, fall))
    return triangles * (2.0 / (edges[2:] - edges[:-2]))[:, None]


def _mel(hz: float) -> float:
    """Linear below 1 kHz, logarithmic above."""
    if hz < _BREAK_HZ:
        return hz / _LINEAR_HZ
    return float(_BREAK_HZ / _LINEAR_HZ + np.log(hz / _BREAK_HZ) / _LOG_STEP)


def _hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    """The reverse of `_mel`."""
    above = mel - _BREAK_HZ / _LINEAR_HZ
    return np.where(above < 0, mel * _LINEAR_HZ, _BREAK_HZ * np.exp(_LOG_STEP * above))
