"""Pitch, intonation and effort, changed between the model's two halves. Pure."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from koed.engine.kokoro.model import Floats, SentencePlan

_VOICED_HZ = 40.0
_SPOKEN = -4.0
"""Energy above which something is said: only that is raised, so that pauses stay pauses."""
_ENERGY_PER_DB = 0.15
"""Of the plan, a third of what is asked: it changes the sound of the voice as effort does. All of
it from there would cost a voice its periods when it is soft, and hardly be heard in short lines,
whose layers normalise it away."""
_GAIN_PER_DB = 0.8
"""Of the sound, the rest."""
PLAN_DB_PER_DB = 0.3
"""By what a piece is louder for its plan; where a line is decoded whole it is 0.05."""


@dataclass(frozen=True, slots=True)
class Prosody:
    """How a voice is to speak."""

    speed: float = 1.0
    pitch: float = 0.0
    """Semitones."""
    range: float = 1.0
    """Of the intonation, around the sentence's mean pitch: 0 = monotone."""
    energy: float = 0.0
    """dB."""


def shaped(
    plan: SentencePlan, prosody: Prosody, start: int = 0, before: SentencePlan | None = None
) -> SentencePlan:
    """``plan``, as the model made it, spoken in this ``prosody`` from frame ``start`` on; up to
    there it is as in ``before``."""
    f0, energy = plan.f0.astype(np.float64), plan.energy.copy()
    voiced = f0 > _VOICED_HZ
    if voiced.any() and (prosody.pitch or prosody.range != 1.0):
        mean = np.exp(np.log(f0[voiced]).mean())
        moved = 2.0 ** (prosody.pitch / 12.0)
        f0[voiced] = mean * (f0[voiced] / mean) ** prosody.range * moved
    energy[energy > _SPOKEN] += np.float32(prosody.energy * _ENERGY_PER_DB)
    pitch = f0.astype(np.float32)
    if before is not None:
        pitch[: 2 * start] = before.f0[: 2 * start]
        energy[: 2 * start] = before.energy[: 2 * start]
    return dataclasses.replace(plan, f0=pitch, energy=energy)


def gains(frames: int, prosody: Prosody, start: int = 0, before: Floats | None = None) -> Floats:
    """By what sound is louder where each frame begins, and at the end ``[T + 1]``; in between it
    goes over, so that a change behind frame ``start`` is no click."""
    found = np.full(frames + 1, 10.0 ** (prosody.energy * _GAIN_PER_DB / 20.0), np.float32)
    if before is not None:
        found[: start + 1] = before[: start + 1]
    return found
