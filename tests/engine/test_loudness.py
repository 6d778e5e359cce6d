"""Integrated loudness against the values of the standard and of another implementation.

``PYLOUDNORM`` holds what pyloudnorm 0.2.0 (filter class "DeMan") says about the same signals.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from koed.engine.loudness import checked_lufs, integrated_lufs, k_weighted, voice_lufs
from koed.errors import EngineError

PYLOUDNORM = {8000: -17.795, 16000: -17.226, 22050: -17.082, 44100: -16.878, 48000: -16.864}


def sine(hz: float, seconds: float, rate_hz: int = 48000, level_db: float = 0.0) -> np.ndarray:
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    return 10 ** (level_db / 20) * np.sin(2 * np.pi * hz * t)


@pytest.mark.parametrize("rate_hz", [8000, 16000, 32000, 48000, 53900, 96000])
def test_full_scale_sine_at_997_hz_is_minus_3_01(rate_hz: int) -> None:
    assert integrated_lufs(sine(997, 5, rate_hz), rate_hz) == pytest.approx(-3.01, abs=0.05)


def test_filter_is_that_of_the_standard_at_48_khz() -> None:
    # Table 1 and 2 of BS.1770-4: gain of both biquads together at some frequencies, in dB.
    b1, a1 = [1.53512485958697, -2.69169618940638, 1.19839281085285], [
        1.0, -1.69065929318241, 0.73248077421585,
    ]  # fmt: skip
    b2, a2 = [1.0, -2.0, 1.0], [1.0, -1.99004745483398, 0.99007225036621]
    for hz in (40.0, 200.0, 1000.0, 3000.0, 10000.0):
        z = np.exp(-2j * np.pi * hz / 48000 * np.arange(3))
        expected = abs(np.dot(b1, z) / np.dot(a1, z) * np.dot(b2, z) / np.dot(a2, z))
        middle = slice(24000, 72000)
        signal = sine(hz, 2)
        gain = np.std(k_weighted(signal, 48000)[middle]) / np.std(signal[middle])
        assert 20 * math.log10(gain / expected) == pytest.approx(0.0, abs=0.02), hz


def test_quiet_parts_are_gated_out() -> None:
    # EBU Tech 3341, case 3, in one channel (3 dB below the stereo value of -23).
    signal = np.concatenate([sine(1000, 10, 48000, -36), sine(1000, 60, 48000, -23),
                             sine(1000, 10, 48000, -36)])  # fmt: skip
    assert integrated_lufs(signal, 48000) == pytest.approx(-26.0, abs=0.1)
    pauses = np.concatenate([sine(997, 5), np.zeros(48000 * 5)])
    assert integrated_lufs(pauses, 48000) == pytest.approx(-3.01, abs=0.2)


@pytest.mark.parametrize("rate_hz", PYLOUDNORM)
def test_noise_agrees_with_pyloudnorm(rate_hz: int) -> None:
    noise = np.random.default_rng(3).standard_normal(rate_hz * 5) * 0.1
    assert integrated_lufs(noise, rate_hz) == pytest.approx(PYLOUDNORM[rate_hz], abs=0.002)


def test_silence_has_no_loudness_and_a_click_has_one() -> None:
    assert integrated_lufs(np.zeros(48000), 48000) == -math.inf
    assert integrated_lufs(np.zeros(0), 48000) == -math.inf
    assert math.isfinite(integrated_lufs(sine(997, 0.1), 48000))


def test_silence_is_no_voice_and_the_loudest_is_told_as_such() -> None:
    silence = np.zeros(48000, np.float32)
    assert integrated_lufs(silence, 48000) == -math.inf
    for nothing in (silence, silence[:0], sine(997, 1, level_db=-90.0)):
        with pytest.raises(EngineError) as caught:
            voice_lufs(nothing, 48000)
        assert caught.value.code == "voice_silent"
    assert voice_lufs(sine(997, 1, level_db=-66.0), 48000) == pytest.approx(-69.0, abs=0.1)
    square = np.sign(sine(3000, 1) + 1e-9)
    assert integrated_lufs(square, 48000) > 0.0
    assert voice_lufs(square, 48000) == 0.0


@pytest.mark.parametrize("lufs", [-70.0, -23.0, 0.0])
def test_a_loudness_that_can_be_is_left_as_it_is(lufs: float) -> None:
    assert checked_lufs(lufs) == lufs


@pytest.mark.parametrize("lufs", [-math.inf, -70.1, 0.1, math.inf, math.nan])
def test_a_loudness_that_cannot_be_is_named(lufs: float) -> None:
    with pytest.raises(EngineError, match=f"{lufs:g} LUFS") as caught:
        checked_lufs(lufs)
    assert caught.value.code == "bad_loudness"
