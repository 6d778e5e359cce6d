"""Integrated loudness after ITU-R BS.1770-4 of one channel, with numpy alone.

The K-weighting is applied in the frequency domain: the standard's two biquads, redesigned for the
signal's own rate (their analogue prototypes are those of the standard's 48 kHz coefficients, after
B. De Man, "Evaluation of implementations of the EBU R128 loudness measurement", AES 2018).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from koed.errors import EngineError

VOICE_LUFS = (-70.0, 0.0)
"""What a voice can measure: below is what the standard takes for silence."""

BLOCK_S = 0.4
STEP_S = 0.1
ABSOLUTE_GATE_LUFS = -70.0
RELATIVE_GATE_LU = -10.0
_OFFSET_LU = -0.691
_DECAY_S = 0.5
"""After so long the high-pass (38 Hz) has rung out by more than 100 dB."""

_SHELF_HZ, _SHELF_DB, _SHELF_Q = 1681.974450955533, 3.999843853973347, 0.7071752369554196
_PASS_HZ, _PASS_Q = 38.13547087602444, 0.5003270373238773


def _shelf(rate_hz: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    k = math.tan(math.pi * _SHELF_HZ / rate_hz)
    high = 10.0 ** (_SHELF_DB / 20.0)
    band = high**0.4996667741545416
    damped = k / _SHELF_Q
    b = [high + band * damped + k * k, 2.0 * (k * k - high), high - band * damped + k * k]
    a = [1.0 + damped + k * k, 2.0 * (k * k - 1.0), 1.0 - damped + k * k]
    return np.array(b) / a[0], np.array(a) / a[0]


def _high_pass(rate_hz: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    k = math.tan(math.pi * _PASS_HZ / rate_hz)
    damped = k / _PASS_Q
    a = [1.0 + damped + k * k, 2.0 * (k * k - 1.0), 1.0 - damped + k * k]
    return np.array([1.0, -2.0, 1.0]), np.array(a) / a[0]


def k_weighted(pcm: NDArray[np.floating], rate_hz: int) -> NDArray[np.float64]:
    """``pcm`` ``[S]`` at ``rate_hz`` through the two filters of the standard; ``[S]``."""
    size = 1 << math.ceil(math.log2(len(pcm) + _DECAY_S * rate_hz))
    z = np.exp(-2j * np.pi * np.arange(size // 2 + 1) / size)
    response = np.ones_like(z)
    for b, a in (_shelf(rate_hz), _high_pass(rate_hz)):
        response *= (b[0] + b[1] * z + b[2] * z**2) / (a[0] + a[1] * z + a[2] * z**2)
    spectrum = np.fft.rfft(pcm.astype(np.float64), size) * response
    return np.fft.irfft(spectrum, size)[: len(pcm)]


def checked_lufs(lufs: float) -> float:
    """``lufs`` if a voice can have it; raises `EngineError` ``bad_loudness`` for NaN, infinities
    and what no sound measures: its gain to the wanted level would be as senseless."""
    if not VOICE_LUFS[0] <= lufs <= VOICE_LUFS[1]:
        raise EngineError(
            "bad_loudness",
            f"its loudness came out as {lufs:g} LUFS, not {VOICE_LUFS[0]:g} to {VOICE_LUFS[1]:g}",
            "prepare it again (change its profile, or koed enroll); if it stays so, report it as a "
            "fault of the engine",
        )
    return lufs


def voice_lufs(pcm: NDArray[np.floating], rate_hz: int) -> float:
    """`integrated_lufs` of what a voice said, as one to be told: what is louder than can be told is
    told as the loudest. Raises `EngineError` ``voice_silent`` for silence."""
    lufs = integrated_lufs(pcm, rate_hz)
    if lufs == -math.inf:
        raise EngineError(
            "voice_silent",
            "the voice came out silent",
            "make it louder, or choose another voice",
        )
    return checked_lufs(min(lufs, VOICE_LUFS[1]))


def integrated_lufs(pcm: NDArray[np.floating], rate_hz: int) -> float:
    """Gated loudness of mono ``pcm`` ``[S]`` (full scale = 1) in LUFS; ``-inf`` for silence.

    Anything shorter than one block of 400 ms is measured as one block.
    """
    if len(pcm) == 0:
        return -math.inf
    power = np.concatenate(([0.0], np.cumsum(k_weighted(pcm, rate_hz) ** 2)))
    block = min(len(pcm), round(BLOCK_S * rate_hz))
    starts = np.arange(0, len(pcm) - block + 1, round(STEP_S * rate_hz))
    mean = np.maximum((power[starts + block] - power[starts]) / block, 0.0)
    mean = mean[mean > _power(ABSOLUTE_GATE_LUFS)]
    if len(mean) == 0:
        return -math.inf
    gate = _lufs(float(mean.mean())) + RELATIVE_GATE_LU
    return _lufs(float(mean[mean > _power(gate)].mean()))


def _lufs(power: float) -> float:
    return _OFFSET_LU + 10.0 * math.log10(power)


def _power(lufs: float) -> float:
    return math.pow(10.0, (lufs - _OFFSET_LU) / 10.0)
