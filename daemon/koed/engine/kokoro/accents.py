"""Japanese accents, which the model's symbols do not tell, put into its pitch. Pure.

In the Japanese of Tokyo an accent is where pitch falls: 箸 (HL), 橋 and 端 (LH, and the fall after
橋). The model plans one melody for all three. That melody is changed as little as makes the steps
from mora to mora what they are to be: the rest of its intonation, and each phrase's height, stay.
Which steps are heard as accents: Pierrehumbert & Beckman, "Japanese Tone Structure", 1988.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from koed.engine.kokoro.model import SentencePlan
from koed.engine.kokoro.onsets import AHEAD
from koed.engine.kokoro.phonemes.values import Mora

_VOICED_HZ = 40.0
_FADING = 0.5
"""Of its usual pitch: what is lower is a voice that stops."""
_FREE = float("inf")
_STEPS = {
    (False, True): (1.0, _FREE),
    (True, False): (-_FREE, -3.5),
    (True, True): (-1.0, 1.0),
    (False, False): (-1.5, 0.5),
}
"""Semitones from a low or high mora to the next of its phrase: at least, at most."""
_RISE = 6.0
"""Semitones, over the last mora of a question: this model asks as it tells."""
_PASSES = 3
"""Between the middles of two morae the change goes over from one to the other, which takes some of
each back."""


@dataclass(frozen=True, slots=True)
class _Beat:
    mora: Mora
    frames: NDArray[np.int64]
    """Half frames in which it has a pitch."""


def accented(plan: SentencePlan, morae: Sequence[Mora]) -> SentencePlan:
    """``plan`` with the steps of ``morae`` and the rise at the end of a question; without any, as
    it is."""
    voiced = plan.f0 > _VOICED_HZ
    if not morae or not voiced.any():
        return plan
    semitones = 12.0 * np.log2(np.maximum(plan.f0.astype(np.float64), 1.0))
    beats = list(_beats(plan, morae, plan.f0 > _FADING * np.median(plan.f0[voiced])))
    if not beats:
        return plan
    times, middles = np.arange(len(semitones)), [beat.frames.mean() for beat in beats]
    for _ in range(_PASSES):
        semitones += np.interp(times, middles, list(_shifts(beats, semitones)))
    for beat in beats:
        if beat.mora.asks:
            first, last = beat.frames[[0, -1]]
            rise = np.interp(times, (first, last), (0.0, _RISE))
            end = _heard(plan, beat.mora.end)
            semitones[:end] += rise[:end]
    f0 = np.where(voiced, 2.0 ** (semitones / 12.0), plan.f0).astype(np.float32)
    return dataclasses.replace(plan, f0=f0)


def _heard(plan: SentencePlan, at: int) -> int:
    """The half frame in which a symbol is heard, about."""
    return max(0, round(2 * (int(plan.starts[1 + at]) - AHEAD)))


def _beats(plan: SentencePlan, morae: Sequence[Mora], spoken: NDArray[np.bool_]) -> Iterator[_Beat]:
    """Those that have a pitch; ``spoken``: half frames that do."""
    for mora in morae:
        start, end = (_heard(plan, at) for at in (mora.at, mora.end))
        frames = start + np.flatnonzero(spoken[start:end])
        if len(frames):
            yield _Beat(mora, frames)


def _shifts(beats: Sequence[_Beat], semitones: NDArray[np.float64]) -> Iterator[float]:
    """How much higher each is to be; in a phrase, 0 on average."""
    phrases: list[list[tuple[bool, float]]] = []
    for beat in beats:
        if beat.mora.begins or not phrases:
            phrases.append([])
        phrases[-1].append((beat.mora.high, float(semitones[beat.frames].mean())))
    for phrase in phrases:
        shifts = [0.0]
        for (high, height), (next_high, next_height) in itertools.pairwise(phrase):
            step = next_height - height
            least, most = _STEPS[high, next_high]
            shifts.append(shifts[-1] + min(most, max(least, step)) - step)
        mean = sum(shifts) / len(shifts)
        yield from (shift - mean for shift in shifts)
