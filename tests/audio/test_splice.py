"""A track replaced in mid-sound, and what is heard when samples are late."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mixer_rig import BLOCK, FADE, RATE, Rig, last_sound, ramp, smooth, tone

WHOLE = tone(1.0)


def spliced(at: int, run: int, *, aligned: bool, new: np.ndarray, block: int = BLOCK) -> Rig:
    """Track 1 is `WHOLE`; after ``run`` frames track 2 = ``new`` replaces it from ``at`` on."""
    rig = Rig()
    rig.add(1, WHOLE)
    rig.add(3, tone(1.0))
    rig.run(run, [block])
    rig.mixer.splice(0, 1, 2, at / RATE, aligned=aligned)
    rig.mixer.feed(2, new, RATE)
    rig.mixer.end(2)
    rig.run(2 * RATE, [block])
    assert rig.kinds(3) == ["cut"]
    assert rig.mixer.ahead_s(0) == 0.0
    return rig


@settings(max_examples=40, deadline=None)
@given(at=st.integers(0, RATE), run=st.integers(0, 40000), block=st.sampled_from([100, 480, 1111]))
def test_aligned_splice_of_the_same_sound_is_not_heard(at: int, run: int, block: int) -> None:
    """The new track says what the old one would have: nothing may be lost, doubled or dipped."""
    rig = spliced(at, run, aligned=True, new=WHOLE[at:], block=block)
    assert np.allclose(rig.out[: len(WHOLE)], WHOLE, atol=1e-5)
    assert last_sound(rig.out) <= len(WHOLE) + FADE


def test_aligned_splice_before_its_point() -> None:
    new = tone(0.5, hz=450)
    rig = spliced(RATE // 2 + 7, 4800, aligned=True, new=new)
    joint = RATE // 2 + 7
    assert np.array_equal(rig.out[:joint], WHOLE[:joint])
    assert np.array_equal(rig.out[joint + FADE : joint + len(new)], new[FADE:])
    assert smooth(rig.out, hz=750)
    assert rig.report(1, "cut").played_s == pytest.approx(joint / RATE)
    assert rig.onset(rig.report(2, "started")) == joint
    assert rig.kinds(2) == ["started", "ended"]


def test_aligned_splice_after_its_point_leaves_out_what_is_late() -> None:
    new = tone(0.5, hz=450)
    rig = spliced(1000, 4800, aligned=True, new=new)
    assert np.array_equal(rig.out[4800 + FADE : 1000 + len(new)], new[3800 + FADE :])
    assert last_sound(rig.out) == 1000 + last_sound(new)
    assert rig.report(2, "ended").played_s == pytest.approx(0.5)


def test_plain_splice_plays_all_of_the_new_track() -> None:
    new = ramp(9600)
    rig = spliced(1000, 4800, aligned=False, new=new)
    assert np.array_equal(rig.out[4800 + FADE : 4800 + 9600], new[FADE:])
    assert rig.onset(rig.report(2, "started")) == 4800


def test_old_goes_on_until_new_has_samples() -> None:
    rig = Rig()
    rig.mixer.open(0, 1)
    rig.mixer.feed(1, WHOLE[:30000], RATE)
    rig.run(4800)
    rig.mixer.splice(0, 1, 2, 0.1, aligned=True)
    rig.mixer.feed(1, WHOLE[30000:40000], RATE)  # old may still be fed
    rig.run(4800 * 2)
    assert rig.mixer.position(0) == (1, pytest.approx(0.3))
    rig.mixer.feed(2, WHOLE[4800:9600], RATE)  # all of it too late
    rig.run(BLOCK)
    assert rig.mixer.position(0)[0] == 1
    rig.mixer.feed(2, WHOLE[9600:], RATE)
    rig.mixer.end(2)
    rig.run(2 * RATE)
    assert np.allclose(rig.out[: len(WHOLE)], WHOLE, atol=1e-5)
    assert rig.report(1, "cut").played_s == pytest.approx(0.3 + BLOCK / RATE)
    rig.mixer.feed(1, WHOLE, RATE)
    assert rig.mixer.ahead_s(0) == 0.0


def test_old_that_runs_dry_is_joined_where_it_is() -> None:
    rig = Rig()
    rig.mixer.open(0, 1)
    rig.mixer.feed(1, WHOLE[:4800], RATE)
    rig.mixer.splice(0, 1, 2, 0.5, aligned=True)
    rig.run(9600)
    assert rig.kinds(1) == ["started", "starved"]
    rig.mixer.feed(2, ramp(4800), RATE)
    rig.mixer.end(2)
    rig.run(9600)
    assert np.array_equal(rig.out[9600 : 9600 + 4800 - 69], ramp(4800)[: 4800 - 69])
    assert rig.kinds(1) == ["started", "starved", "cut"]
    assert rig.report(1, "cut").starved_s == pytest.approx(0.1)


def test_old_that_has_ended_naturally_is_followed_at_its_place() -> None:
    rig = Rig()
    rig.add(1, WHOLE[:4800], pause_s=0.05)
    rig.run(5280)
    rig.mixer.splice(0, 1, 2, 0.05, aligned=True)
    rig.run(BLOCK)
    rig.mixer.feed(2, WHOLE[2400:9600], RATE)
    rig.mixer.end(2)
    rig.run(9600)
    assert rig.kinds(1) == ["started", "ended"]
    begin = rig.onset(rig.report(2, "started"))
    assert begin == 5280 + BLOCK
    assert np.array_equal(rig.out[begin + FADE : begin + 4800], WHOLE[4800 + FADE : 9600])


def test_old_that_is_gone_is_replaced_with_all_that_followed() -> None:
    rig = Rig()
    rig.add(1, WHOLE[:4800])
    rig.add(2, tone(1.0))
    rig.run(9600)
    rig.mixer.splice(0, 1, 3, 0.05, aligned=True)
    rig.mixer.feed(3, WHOLE[2400:], RATE)
    rig.mixer.end(3)
    rig.run(2 * RATE)
    assert rig.kinds(2) == ["started", "cut"]
    assert np.array_equal(rig.out[9600 + FADE : 9600 + 43200], WHOLE[4800 + FADE :])
    assert smooth(rig.out)


def test_splices_in_a_chain_and_a_new_track_taken_back() -> None:
    rig = Rig()
    rig.add(1, WHOLE)
    rig.run(4800)
    rig.mixer.splice(0, 1, 2, 0.2, aligned=True)
    rig.mixer.splice(0, 2, 3, 0.1, aligned=True)
    rig.mixer.feed(3, WHOLE[14400:], RATE)
    rig.mixer.feed(2, WHOLE[9600:], RATE)
    rig.mixer.end(3)
    rig.mixer.splice(0, 3, 4, 0.0, aligned=True)
    rig.mixer.end(4)
    rig.mixer.drop(0, [4])
    rig.run(2 * RATE)
    assert np.allclose(rig.out[: len(WHOLE)], WHOLE, atol=1e-5)
    assert [rig.kinds(s) for s in (1, 2, 3, 4)] == [
        ["started", "cut"], ["started", "cut"], ["started", "ended"], ["cut"],
    ]  # fmt: skip


def test_floor_during_a_splice() -> None:
    rig = Rig()
    rig.add(1, WHOLE)
    rig.run(4800)
    rig.mixer.splice(0, 1, 2, 0.5, aligned=True)
    rig.mixer.feed(2, WHOLE, RATE)
    rig.mixer.floor(0, 3)
    rig.run(9600)
    assert last_sound(rig.out) <= 4800 + FADE
    assert rig.kinds(2) == ["cut"]
    assert rig.mixer.ahead_s(0) == 0.0


# --- late samples ---


def test_an_outage_is_counted_once_and_faded() -> None:
    rig = Rig()
    rig.mixer.open(0, 1)
    rig.mixer.feed(1, WHOLE[:5000], RATE)
    rig.run(9600)
    rig.mixer.feed(1, WHOLE[5000:9000], RATE)
    rig.mixer.end(1)
    rig.run(9600)
    assert rig.kinds(1) == ["started", "starved", "resumed", "ended"]
    assert rig.onset(rig.report(1, "starved")) == 5000
    assert rig.onset(rig.report(1, "resumed")) == 9600
    assert rig.report(1, "ended").starved_s == pytest.approx(4600 / RATE)
    assert rig.mixer.starved_frames == 4600
    assert smooth(rig.out[:13000])
    assert not rig.out[5000 + FADE : 9600].any()
    assert np.array_equal(rig.out[9600 + FADE : 13600], WHOLE[5000 + FADE : 9000])


def test_waiting_for_a_first_sample_is_an_outage_only_behind_another_track() -> None:
    rig = Rig()
    rig.mixer.open(0, 1)
    rig.run(9600)
    assert rig.mixer.starved_frames == 0
    rig.mixer.feed(1, ramp(BLOCK), RATE)
    rig.mixer.end(1)
    rig.mixer.open(0, 2)
    rig.run(BLOCK * 3)
    assert rig.mixer.starved_frames == BLOCK * 2
    rig.mixer.feed(2, ramp(BLOCK), RATE)
    rig.run(BLOCK)
    assert rig.kinds(1) == ["started", "ended"]
    assert rig.kinds(2) == ["starved", "resumed", "started"]
    assert rig.out[9600 + BLOCK * 3] == ramp(1)[0]  # a beginning is not faded in


def test_no_outage_while_paused_and_none_for_a_track_without_sound() -> None:
    rig = Rig()
    rig.mixer.open(0, 1)
    rig.mixer.feed(1, WHOLE[:4800], RATE)
    rig.run(2400)
    rig.mixer.pause(True)
    rig.run(9600)
    rig.mixer.end(1)
    rig.mixer.open(0, 2)
    rig.mixer.end(2, 0.01)
    rig.mixer.pause(False)
    rig.run(9600)
    assert rig.mixer.starved_frames == 0
    assert rig.kinds(1) == ["started", "ended"]
    assert rig.kinds(2) == ["ended"]
