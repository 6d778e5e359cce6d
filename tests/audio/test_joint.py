"""A track that takes over from another in mid-sound, and what is heard when samples are late."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mixer_rig import BLOCK, FADE, RATE, Rig, last_sound, ramp, smooth, tone

from koed.audio.arrangement import Joint

WHOLE = tone(1.0)


def joint_at(old: int, at: int) -> Joint:
    return Joint(old, at / RATE)


def joined(joint: Joint, run: int, new: np.ndarray, block: int = BLOCK) -> Rig:
    """Track 1 is `WHOLE`; after ``run`` frames track 2 = ``new`` takes over from it, and what was
    to follow it is left out."""
    rig = Rig()
    rig.add(1, WHOLE)
    rig.add(3, tone(1.0))
    rig.run(run, [block])
    rig.leave(3)
    rig.declare(2, joint=joint)
    rig.mixer.feed(2, new, RATE)
    rig.mixer.end(2)
    rig.run(2 * RATE, [block])
    assert rig.kinds(3) == (["cut"] if run else [])
    assert rig.mixer.ahead_s(0) == 0.0
    return rig


@settings(max_examples=40, deadline=None)
@given(at=st.integers(0, RATE), run=st.integers(0, 40000), block=st.sampled_from([100, 480, 1111]))
def test_a_joint_of_the_same_sound_is_not_heard(at: int, run: int, block: int) -> None:
    """The new track says what the old one would have: nothing may be lost, doubled or dipped."""
    rig = joined(joint_at(1, at), run, WHOLE[at:], block)
    assert np.allclose(rig.out[: len(WHOLE)], WHOLE, atol=1e-5)
    assert last_sound(rig.out) <= len(WHOLE) + FADE


def test_a_joint_before_its_point() -> None:
    new = tone(0.5, hz=450)
    joint = RATE // 2 + 7
    rig = joined(joint_at(1, joint), 4800, new)
    assert np.array_equal(rig.out[:joint], WHOLE[:joint])
    assert np.array_equal(rig.out[joint + FADE : joint + len(new)], new[FADE:])
    assert smooth(rig.out, hz=750)
    assert rig.report(1, "cut").played_s == pytest.approx(joint / RATE)
    assert rig.onset(rig.report(2, "started")) == joint
    assert rig.kinds(2) == ["started", "ended"]


def test_a_joint_after_its_point_leaves_out_what_is_late() -> None:
    new = tone(0.5, hz=450)
    rig = joined(joint_at(1, 1000), 4800, new)
    assert np.array_equal(rig.out[4800 + FADE : 1000 + len(new)], new[3800 + FADE :])
    assert last_sound(rig.out) == 1000 + last_sound(new)
    assert rig.report(2, "ended").played_s == pytest.approx(0.5)


def test_the_old_track_goes_on_until_the_new_one_has_samples() -> None:
    rig = Rig()
    rig.declare(1)
    rig.mixer.feed(1, WHOLE[:30000], RATE)
    rig.run(4800)
    rig.declare(2, joint=joint_at(1, 4800))
    rig.mixer.feed(1, WHOLE[30000:40000], RATE)  # the old one may still be fed
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


def test_an_old_track_that_runs_dry_is_taken_over_where_it_is() -> None:
    rig = Rig()
    rig.declare(1)
    rig.mixer.feed(1, WHOLE[:4800], RATE)
    rig.declare(2, joint=joint_at(1, RATE // 2))
    rig.run(9600)
    assert rig.kinds(1) == ["started", "starved"]
    rig.mixer.feed(2, ramp(4800), RATE)
    rig.mixer.end(2)
    rig.run(9600)
    assert np.array_equal(rig.out[9600 : 9600 + 4800 - 69], ramp(4800)[: 4800 - 69])
    assert rig.kinds(1) == ["started", "starved", "cut"]
    assert rig.report(1, "cut").starved_s == pytest.approx(0.1)


def test_an_old_track_that_ends_before_the_point_ends_by_itself() -> None:
    rig = Rig()
    rig.add(1, WHOLE[:4800], pause_s=0.01)
    rig.declare(2, joint=joint_at(1, 4900))
    rig.mixer.feed(2, ramp(4800), RATE)
    rig.mixer.end(2)
    rig.run(RATE)
    assert [rig.kinds(s) for s in (1, 2)] == [["started", "ended"]] * 2
    assert np.array_equal(rig.out[5280 : 5280 + 4800], ramp(4800)), "behind its pause, whole"


def test_an_old_track_in_its_pause_is_followed_at_its_place() -> None:
    rig = Rig()
    rig.add(1, WHOLE[:4800], pause_s=0.05)
    rig.run(5280)
    rig.declare(2, joint=joint_at(1, 2400))
    rig.run(BLOCK)
    rig.mixer.feed(2, WHOLE[2400:9600], RATE)
    rig.mixer.end(2)
    rig.run(9600)
    assert rig.kinds(1) == ["started", "ended"]
    begin = rig.onset(rig.report(2, "started"))
    assert begin == 5280 + BLOCK
    assert np.array_equal(rig.out[begin + FADE : begin + 4800], WHOLE[4800 + FADE : 9600])


@pytest.mark.parametrize("forget", [False, True])
def test_an_old_track_that_is_over_is_remembered_as_long_as_it_is_named(forget: bool) -> None:
    rig = Rig()
    rig.add(1, WHOLE[:4800])
    rig.add(2, tone(1.0))
    rig.run(9600)
    rig.leave(2)
    if forget:
        rig.leave(1)
    rig.declare(3, joint=joint_at(1, 2400))
    rig.mixer.feed(3, WHOLE[2400:], RATE)
    rig.mixer.end(3)
    rig.run(2 * RATE)
    assert rig.kinds(2) == ["started", "cut"]
    if forget:  # the joint is void
        assert np.array_equal(rig.out[9600 + FADE : 9600 + 45600], WHOLE[2400 + FADE :])
    else:
        assert np.array_equal(rig.out[9600 + FADE : 9600 + 43200], WHOLE[4800 + FADE :])
        assert smooth(rig.out)


def test_what_is_late_stays_late_when_the_old_track_is_named_no_more() -> None:
    """Its report makes the player leave it out, perhaps before the new track has any sound."""
    rig = Rig()
    rig.add(1, WHOLE[:4800])
    rig.declare(2, joint=joint_at(1, 2400))
    rig.run(9600)
    assert rig.kinds(1) == ["started", "ended"]
    rig.leave(1)
    rig.run(BLOCK)
    rig.mixer.feed(2, ramp(4800), RATE)
    rig.run(9600)
    begin = rig.onset(rig.report(2, "started"))
    assert np.array_equal(rig.out[begin + FADE : begin + 2400], ramp(4800)[2400 + FADE :])


@pytest.mark.parametrize(("order", "old"), [((1, 9, 2), 1), ((1, 2), 7), ((2, 1), 1), ((1, 2), 2)])
def test_a_joint_with_a_track_that_is_not_before_it_is_void(order, old: int) -> None:
    rig = Rig()
    for serial in order:
        rig.declare(serial, joint=joint_at(old, 100) if serial == 2 else None)
        rig.mixer.feed(serial, ramp(960, begin=1000 * serial), RATE)
        rig.mixer.end(serial)
    rig.run(9600)
    whole = np.concatenate([ramp(960, begin=1000 * serial) for serial in order])
    assert np.array_equal(rig.out[: len(whole)], whole)
    assert all(rig.kinds(serial) == ["started", "ended"] for serial in order)


def test_a_chain_and_a_new_track_left_out_again() -> None:
    rig = Rig()
    rig.add(1, WHOLE)
    rig.run(4800)
    rig.declare(2, joint=joint_at(1, 9600))
    rig.declare(3, joint=joint_at(2, 4800))
    rig.mixer.feed(3, WHOLE[14400:], RATE)
    rig.mixer.feed(2, WHOLE[9600:], RATE)
    rig.mixer.end(3)
    rig.declare(4, joint=joint_at(3, 0))
    rig.mixer.end(4)
    rig.run(BLOCK)
    rig.leave(4)
    rig.run(2 * RATE)
    assert np.allclose(rig.out[: len(WHOLE)], WHOLE, atol=1e-5)
    assert [rig.kinds(s) for s in (1, 2, 3, 4)] == [
        ["started", "cut"], ["started", "cut"], ["started", "ended"], ["cut"],
    ]  # fmt: skip


def test_a_new_track_without_any_sound_hangs_nothing() -> None:
    rig = Rig()
    rig.add(1, WHOLE)
    rig.declare(2, joint=joint_at(1, 9600))
    rig.mixer.end(2)
    rig.add(3, ramp(960))
    rig.run(RATE)
    assert [rig.kinds(s) for s in (1, 2, 3)] == [
        ["started", "cut"],
        ["ended"],
        ["started", "ended"],
    ]
    assert np.array_equal(rig.out[9600 + FADE : 9600 + 960], ramp(960)[FADE:])


@pytest.mark.parametrize("ended", [False, True])
def test_a_chain_goes_on_with_what_has_sound(ended: bool) -> None:
    """1 has run dry, 2 has nothing at all, 3 has sound: nobody waits for 1 or 2."""
    rig = Rig()
    rig.declare(1)
    rig.mixer.feed(1, WHOLE[:4800], RATE)
    rig.declare(2, joint=joint_at(1, 9600))
    rig.declare(3, joint=joint_at(2, 4800))
    if ended:
        rig.mixer.end(1)
    rig.run(9600)
    rig.mixer.feed(3, ramp(960), RATE)
    rig.mixer.end(3)
    rig.run(9600)
    last = "ended" if ended else "cut"
    assert [rig.kinds(s)[-1] for s in (1, 2, 3)] == [last, "cut", "ended"]
    assert np.array_equal(rig.out[9600:10560], ramp(960))


def test_what_is_late_is_late_for_the_whole_chain() -> None:
    """2 comes to nothing: what 1 has played of its time is left out of 3, with a fade-in."""
    rig = Rig()
    rig.add(1, WHOLE)
    rig.declare(2, joint=joint_at(1, 4800))
    rig.declare(3, joint=joint_at(2, 0))
    rig.mixer.feed(3, WHOLE[4800:], RATE)
    rig.run(9600)
    assert rig.mixer.position(0)[0] == 1
    rig.mixer.end(2)
    rig.mixer.end(3)
    rig.run(2 * RATE)
    assert np.allclose(rig.out[: len(WHOLE)], WHOLE, atol=1e-5)


def test_nothing_is_left_of_a_joint_after_the_empty_list() -> None:
    rig = Rig()
    rig.add(1, WHOLE)
    rig.run(4800)
    rig.declare(2, joint=joint_at(1, RATE // 2))
    rig.mixer.feed(2, WHOLE, RATE)
    rig.run(BLOCK)
    rig.leave()
    rig.run(9600)
    assert last_sound(rig.out) <= 4800 + BLOCK + FADE
    assert rig.kinds(2) == ["cut"]
    assert rig.mixer.ahead_s(0) == 0.0


def test_a_joint_waits_while_paused() -> None:
    rig = Rig()
    rig.add(1, WHOLE)
    rig.run(4800)
    rig.mixer.pause(True)
    rig.declare(2, joint=joint_at(1, 2400))
    rig.mixer.feed(2, ramp(4800), RATE)
    rig.run(4800)
    assert rig.mixer.position(0) == (1, pytest.approx(0.1))
    assert rig.kinds(1) == ["started"]
    rig.mixer.pause(False)
    rig.run(BLOCK)
    assert rig.kinds(1) == ["started", "cut"]
    assert rig.onset(rig.report(2, "started")) == 9600
    assert not rig.out[4800 + FADE : 9600].any()


# --- late samples ---


def test_an_outage_is_counted_once_and_faded() -> None:
    rig = Rig()
    rig.declare(1)
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
    rig.declare(1)
    rig.run(9600)
    assert rig.mixer.starved_frames == 0
    rig.mixer.feed(1, ramp(BLOCK), RATE)
    rig.mixer.end(1)
    rig.declare(2)
    rig.run(BLOCK * 3)
    assert rig.mixer.starved_frames == BLOCK * 2
    rig.mixer.feed(2, ramp(BLOCK), RATE)
    rig.run(BLOCK)
    assert rig.kinds(1) == ["started", "ended"]
    assert rig.kinds(2) == ["starved", "resumed", "started"]
    assert rig.out[9600 + BLOCK * 3] == ramp(1)[0]  # a beginning is not faded in


def test_no_outage_while_paused_and_none_for_a_track_without_sound() -> None:
    rig = Rig()
    rig.declare(1)
    rig.mixer.feed(1, WHOLE[:4800], RATE)
    rig.run(2400)
    rig.mixer.pause(True)
    rig.run(9600)
    rig.mixer.end(1)
    rig.declare(2)
    rig.mixer.end(2, 0.01)
    rig.mixer.pause(False)
    rig.run(9600)
    assert rig.mixer.starved_frames == 0
    assert rig.kinds(1) == ["started", "ended"]
    assert rig.kinds(2) == ["ended"]
