"""The measures that need no network: words, pitch, clicks, silence at the ends."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from koed.bench.judges.clicks import clicks
from koed.bench.judges.edges import edges
from koed.bench.judges.f0 import pitch
from koed.bench.judges.wer import errors, wer, words

RATE_HZ = 24_000
SECOND = np.arange(RATE_HZ) / RATE_HZ


def buzz(hz: NDArray[np.float64] | float) -> NDArray[np.float32]:
    """A second of a voice-like sound: harmonics that fall with their number, the first one weak."""
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(hz, SECOND.shape)) / RATE_HZ
    sound = 0.3 * np.sin(phase) + sum(np.sin(n * phase) / n for n in range(2, 12))
    return (0.2 * sound).astype(np.float32)


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("It's 2026!", "its twenty twenty-six"),
        ("That is 50% of $5.", "that is fifty percent of five dollars"),
        ("OK, the live stream starts at 8:30.", "okay the livestream starts at eight thirty"),
        ("Goodnight, all.", "Good night all"),
    ],
)
def test_what_sounds_the_same_is_no_error(said: str, heard: str) -> None:
    assert errors(words(said), words(heard)) == 0


@pytest.mark.parametrize(
    ("heard", "count"),
    [("a b d", 1), ("a b", 1), ("a x b c", 1), ("", 3), ("x y z", 3), ("b c a", 2)],
)
def test_words_that_are_changed_left_out_and_added(heard: str, count: int) -> None:
    assert errors(["a", "b", "c"], heard.split()) == count


def test_the_rate_is_of_all_words_together() -> None:
    assert wer([("one two three", "one two three"), ("four", "for")]) == pytest.approx(0.25)
    assert wer([("", "")]) == 0.0


@pytest.mark.parametrize("hz", [75.0, 115.0, 195.0, 268.0, 380.0, 560.0])
def test_pitch_is_found_and_no_octave_beside_it(hz: float) -> None:
    found = pitch(buzz(hz), RATE_HZ)
    assert found is not None
    assert found.median_hz == pytest.approx(hz, rel=0.005)
    assert found.range_semitones < 0.2


def test_range_of_a_gliding_voice() -> None:
    found = pitch(buzz(200 * 2 ** (SECOND - 0.5)), RATE_HZ)
    assert found is not None
    assert found.median_hz == pytest.approx(200, rel=0.02)
    assert found.range_semitones == pytest.approx(0.8 * 12, abs=0.5)


def test_noise_and_silence_have_no_pitch() -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, RATE_HZ).astype(np.float32)
    for sound in (noise, np.zeros(RATE_HZ, np.float32), np.zeros(10, np.float32)):
        assert pitch(sound, RATE_HZ) is None


def test_a_step_is_a_click_and_a_voice_is_none() -> None:
    sound = buzz(120.0)
    assert len(clicks(sound, RATE_HZ)) == 0
    quiet = (0.1 * np.sin(2 * np.pi * 200 * SECOND)).astype(np.float32)
    quiet[9_000:] += 0.1
    assert clicks(quiet, RATE_HZ).tolist() == [8_999]


def test_a_hard_start_of_noise_is_no_click() -> None:
    noise = np.random.default_rng(2).uniform(-0.2, 0.2, RATE_HZ).astype(np.float32)
    noise[:12_000] = 0
    assert len(clicks(noise, RATE_HZ)) == 0
    assert len(clicks(np.zeros(1, np.float32), RATE_HZ)) == 0


def test_silence_at_both_ends() -> None:
    sound = np.concatenate([np.zeros(2_400), np.ones(100), np.full(4_800, 0.0005)])
    assert edges(sound.astype(np.float32), RATE_HZ) == (0.1, 0.2)
    assert edges(np.zeros(240, np.float32), RATE_HZ) == (0.01, 0.01)
