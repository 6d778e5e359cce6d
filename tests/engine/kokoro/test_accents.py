"""Japanese accents in a planned melody."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from koed.engine.kokoro.accents import accented
from koed.engine.kokoro.model import SentencePlan
from koed.engine.kokoro.onsets import AHEAD
from koed.engine.kokoro.phonemes.values import Mora

FRAMES = 4
"""Of each mora."""
EDGE = 2
"""Frames before the first, without voice, and after the last."""


def plan(heights: list[float | None]) -> SentencePlan:
    """One symbol a mora, at so many semitones above 200 Hz; None has no voice."""
    edge = [8.0] * 2 * EDGE
    spoken = [
        8.0 if h is None else 200.0 * 2 ** (h / 12) for h in heights for _ in range(2 * FRAMES)
    ]
    f0 = np.array(edge + spoken + edge, np.float32)
    late = EDGE + round(AHEAD)  # the plan tells of a symbol when it has been heard for a while
    starts = np.array([0, *(late + FRAMES * n for n in range(len(heights) + 1)), len(f0) // 2])
    features = np.zeros((1, 512, len(f0) // 2), np.float32)
    return SentencePlan(features, f0, np.zeros_like(f0), starts, np.zeros((1, 256), np.float32))


def morae(levels: str) -> list[Mora]:
    """``H`` and ``L``; a phrase begins behind each space, ``?`` ends a question."""
    found: list[Mora] = []
    for phrase in levels.split():
        for number, level in enumerate(phrase.rstrip("?")):
            asks = phrase.endswith("?") and number == len(phrase) - 2
            found.append(Mora(len(found), len(found) + 1, level == "H", number == 0, asks))
    return found


def heights(found: SentencePlan) -> list[float]:
    """Of each mora, in semitones above 200 Hz."""
    spoken = found.f0[2 * EDGE : len(found.f0) - 2 * EDGE].reshape(-1, 2 * FRAMES)
    semitones: NDArray[Any] = 12 * np.log2(spoken.astype(np.float64) / 200)
    return [float(each) for each in semitones.mean(axis=1)]


@pytest.mark.parametrize("levels", ["HLL", "LHL", "LHH", "LHHHL", "HLLL LHHL"])
def test_one_melody_becomes_that_of_each_word(levels: str) -> None:
    given_morae = morae(levels)
    found = heights(accented(plan([0.0] * len(given_morae)), given_morae))
    pairs = zip(itertools.pairwise(given_morae), itertools.pairwise(found), strict=True)
    for (one, other), (before, after) in pairs:
        if other.begins:
            continue
        if one.high and not other.high:
            assert after - before < -2.5
        elif other.high and not one.high:
            assert after - before > 0.7
        else:
            assert abs(after - before) < 1.5


def test_a_melody_that_has_its_accents_stays() -> None:
    right = plan([0.0, 3.0, 3.5, -1.0, -2.0])
    assert np.allclose(accented(right, morae("LHHLL")).f0, right.f0, rtol=1e-5)


def test_without_morae_nothing_changes() -> None:
    assert accented(before := plan([0.0, 5.0]), []) is before


def test_a_question_rises_on_its_last_mora() -> None:
    told, asked = (accented(plan([0.0] * 3), morae(levels)) for levels in ("LHH", "LHH?"))
    ratio = asked.f0 / told.f0
    last = 2 * (EDGE + 2 * FRAMES)
    assert np.allclose(ratio[:last], 1.0)
    assert np.all(np.diff(ratio[last : last + 2 * FRAMES]) > 0)
    assert 12 * math.log2(ratio[last + 2 * FRAMES - 1]) == pytest.approx(6.0, abs=0.1)
    assert np.allclose(ratio[last + 2 * FRAMES :], 1.0)


melodies = st.lists(st.none() | st.floats(-5.0, 5.0), min_size=1, max_size=12)  # within an octave


@given(melodies, st.data())
def test_whatever_the_melody_a_phrase_stays_where_it_is(
    melody: list[float | None], data: st.DataObject
) -> None:
    levels = data.draw(st.text("HL", min_size=len(melody), max_size=len(melody)))
    before = plan(melody)
    after = accented(before, morae(levels))
    unvoiced = before.f0 < 40
    assert np.array_equal(after.f0[unvoiced], before.f0[unvoiced])
    assert np.isfinite(after.f0).all()
    voiced = [n for n, height in enumerate(melody) if height is not None]
    if voiced:
        was, now = (np.mean([heights(p)[n] for n in voiced]) for p in (before, after))
        assert now == pytest.approx(was, abs=1.0)
    for one, other in itertools.pairwise(voiced):
        step = heights(after)[other] - heights(after)[one]
        if levels[one] == "H" and levels[other] == "L":
            assert step < -1.0
        elif levels[one] == "L" and levels[other] == "H":
            assert step > -1.0
