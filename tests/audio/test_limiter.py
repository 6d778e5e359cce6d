"""The limiter holds the true peak, not only the samples, whatever the block sizes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from koed.audio.limiter import LOOKAHEAD_S, Limiter

RATE = 48000
CEILING_DB = -1.0


def limited(
    x: NDArray[np.float32], blocks: list[int], rate_hz: int = RATE
) -> tuple[NDArray[np.float32], Limiter]:
    """[S] through a fresh limiter in blocks of the sizes given, over and over."""
    limiter = Limiter(rate_hz, CEILING_DB)
    out, at, turn = np.empty_like(x), 0, 0
    while at < len(x):
        piece = x[at : at + blocks[turn % len(blocks)]]
        limiter.room(len(piece))[:] = piece
        limiter.process(out[at : at + len(piece)])
        at, turn = at + len(piece), turn + 1
    return out, limiter


def true_peak_db(x: NDArray[np.float32], times: int = 16) -> float:
    """Highest value of the band-limited signal through the samples, by zero-padding its spectrum:
    not the interpolator that the limiter itself uses."""
    spectrum = np.zeros(len(x) * times // 2 + 1, dtype=np.complex128)
    half = np.fft.rfft(x.astype(np.float64))
    spectrum[: len(half)] = half
    dense = np.abs(np.fft.irfft(spectrum, len(x) * times)) * times
    return float(20 * np.log10(dense.max()))


def faded(x: NDArray[np.float64]) -> NDArray[np.float32]:
    """Ends at zero, so that the spectrum of the whole has no jump in it."""
    edge = np.minimum(1.0, np.minimum(np.arange(len(x)), np.arange(len(x))[::-1]) / 2000)
    return (x * edge).astype(np.float32)


N = np.arange(RATE)
LOUD = {
    "between samples, 0 dBFS": np.sin(N * np.pi / 2 + np.pi / 4) * np.sqrt(2),
    "between samples, +3 dBFS": np.sin(N * np.pi / 2 + np.pi / 4) * 2,
    "low": 1.5 * np.sin(N * 2 * np.pi * 220 / RATE),
    "7 kHz": 1.2 * np.sin(N * 2 * np.pi * 7000 / RATE + 0.3),
    "square-ish": np.clip(5 * np.sin(N * 0.0531), -1, 1),
    "far over": 8 * np.sin(N * 0.3),
    "clicks": (N % 997 == 0) * 1.9,
    "bursts": np.where((N // 3000) % 2, 2.0, 0.1) * np.sin(N * 0.2),
}


@pytest.mark.parametrize("name", LOUD)
@pytest.mark.parametrize("rate_hz", [44100, 48000])
def test_true_peak_stays_below_the_ceiling(name: str, rate_hz: int) -> None:
    x = faded(LOUD[name])
    assert true_peak_db(x) > -0.1
    out, _ = limited(x, [480], rate_hz)
    assert true_peak_db(out) <= CEILING_DB
    assert true_peak_db(out) > CEILING_DB - 1.0  # and no lower than need be


def test_intersample_peak_is_seen_where_the_samples_are_low() -> None:
    x = faded(np.sin(N * np.pi / 2 + np.pi / 4) * 1.27)
    assert np.abs(x).max() < 10 ** (-0.9 / 20)
    assert true_peak_db(x) > 2.0
    assert true_peak_db(limited(x, [480])[0]) <= CEILING_DB


def test_quiet_sound_passes_unchanged_after_a_short_delay() -> None:
    x = (0.4 * np.sin(N * 0.05)).astype(np.float32)
    out, limiter = limited(x, [480, 7, 1000])
    assert limiter.delay <= LOOKAHEAD_S * RATE
    assert np.array_equal(out[limiter.delay :], x[: -limiter.delay])
    assert limiter.limited_blocks == 0


def test_gain_goes_down_gently_ahead_of_a_peak() -> None:
    x = np.full(9600, 0.4, dtype=np.float32)
    x[4800] = 4.0
    out, limiter = limited(x, [480])
    gain = out[limiter.delay :] / x[: -limiter.delay]
    assert gain.min() < 0.25
    assert np.diff(gain).min() > -1.05 / (limiter.delay - 13)
    assert (gain[: 4800 - limiter.delay] == 1.0).all()


def test_gain_comes_back_after_a_peak() -> None:
    x = (0.4 * np.sin(N * 0.05)).astype(np.float32)
    x[4800:4900] *= 5
    out, limiter = limited(x, [480])
    assert limiter.limited_blocks > 0
    tail = slice(-4800 + limiter.delay, None)
    assert np.array_equal(out[tail], x[-4800 : -limiter.delay])


@settings(max_examples=25, deadline=None)
@given(blocks=st.lists(st.integers(1, 1500), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_blocks_of_any_size_give_the_same_sound(blocks: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    level = np.repeat(rng.choice([0.0, 0.1, 0.5, 2.0], size=10), 800)
    x = (level * np.sin(np.arange(8000) * 0.21)).astype(np.float32)
    assert np.array_equal(limited(x, blocks)[0], limited(x, [8000])[0])


def test_reset_forgets_the_past() -> None:
    limiter = Limiter(RATE, CEILING_DB)
    out = np.empty(480, dtype=np.float32)
    limiter.room(480)[:] = 5.0
    limiter.process(out)
    limiter.reset()
    limiter.room(480)[:] = 0.25
    limiter.process(out)
    assert not out[: limiter.delay].any()
    assert (out[limiter.delay :] == 0.25).all()
