"""Pitch, intonation and effort of a plan."""

from __future__ import annotations

import numpy as np
import pytest

from koed.engine.kokoro.model import SentencePlan
from koed.engine.kokoro.prosody import Prosody, gains, shaped

F0 = np.array([8, 8, 100, 200, 200, 100, 8, 150], np.float32)
ENERGY = np.array([-9, -9, 5, 6, 6, 5, -9, 4], np.float32)


def plan() -> SentencePlan:
    return SentencePlan(
        np.zeros((1, 512, 4), np.float32), F0.copy(), ENERGY.copy(),
        np.arange(3), np.zeros((1, 256), np.float32),
    )  # fmt: skip


def test_a_plain_manner_changes_nothing() -> None:
    found = shaped(plan(), Prosody())
    assert np.array_equal(found.f0, F0)
    assert np.array_equal(found.energy, ENERGY)


def test_pitch_moves_what_has_a_voice_by_one_ratio() -> None:
    ratio = shaped(plan(), Prosody(pitch=6)).f0 / F0
    voiced = F0 > 40
    assert np.allclose(ratio[voiced], ratio[2])
    assert ratio[2] == pytest.approx(2 ** (6 / 12), rel=1e-3)
    assert np.array_equal(ratio[~voiced], np.ones(3))


def test_range_is_of_the_intonation_around_its_mean() -> None:
    voiced = F0 > 40
    flat, wide = (shaped(plan(), Prosody(range=r)).f0[voiced] for r in (0.0, 2.0))
    assert np.allclose(flat, flat[0])
    assert np.std(np.log(wide)) == pytest.approx(2 * np.std(np.log(F0[voiced])), rel=1e-3)
    assert np.mean(np.log(wide)) == pytest.approx(np.mean(np.log(F0[voiced])), rel=1e-3)


def test_energy_leaves_pauses_alone() -> None:
    found = shaped(plan(), Prosody(energy=6)).energy - ENERGY
    assert np.array_equal(found > 0, ENERGY > 0)


def test_the_sound_goes_over_to_another_gain_behind_its_frame() -> None:
    plain = gains(4, Prosody())
    assert np.array_equal(plain, np.ones(5))
    found = gains(4, Prosody(energy=6), start=2, before=plain)
    assert np.array_equal(found[:3], np.ones(3))
    assert 1.0 < found[3] == found[4] < 2.0


def test_a_change_begins_at_its_frame() -> None:
    low = shaped(plan(), Prosody(pitch=-5))
    found = shaped(plan(), Prosody(pitch=5), start=2, before=low)
    assert np.array_equal(found.f0[:4], low.f0[:4])
    assert np.array_equal(found.f0[4:], shaped(plan(), Prosody(pitch=5)).f0[4:])
