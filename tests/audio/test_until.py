"""A track that is cut where its entry says so, and what goes on in its place."""

from __future__ import annotations

import numpy as np
import pytest
from mixer_rig import BLOCK, FADE, RATE, Rig, last_sound, ramp, smooth, tone

from koed.audio.arrangement import Entry, Joint

WHOLE = tone(1.0)


def cut_at(frames: int, run: int = 4800) -> Rig:
    """Track 1 is `WHOLE`; after ``run`` frames it is said where it is cut."""
    rig = Rig()
    rig.add(1, WHOLE)
    rig.run(run)
    rig.until(1, frames)
    return rig


def feed(rig: Rig, serial: int, pcm: np.ndarray) -> None:
    """All of a track that is named."""
    rig.mixer.feed(serial, pcm, RATE)
    rig.mixer.end(serial)


# --- where it is cut ---


@pytest.mark.parametrize("block", [100, 480, 1111])
def test_it_is_cut_to_the_sample_and_cross_fades_to_a_next_one_that_has_sound(block: int) -> None:
    rig, new, until = Rig(), tone(0.5, hz=450), RATE // 2 + 7
    rig.add(1, WHOLE, pause_s=1.0)
    rig.run(4800, [block])
    rig.until(1, until)
    rig.add(2, new)
    rig.run(2 * RATE, [block])
    assert np.array_equal(rig.out[:until], WHOLE[:until])
    assert np.array_equal(rig.out[until + FADE : until + len(new)], new[FADE:])
    assert smooth(rig.out, hz=750)
    assert rig.report(1, "cut").played_s == pytest.approx(until / RATE)
    assert rig.onset(rig.report(1, "cut")) == until + FADE, "the first one after its fade"
    assert rig.onset(rig.report(2, "started")) == until, "its pause is not kept"
    assert [rig.kinds(s) for s in (1, 2)] == [["started", "cut"], ["started", "ended"]]
    assert (rig.mixer.starved_frames, rig.mixer.ahead_s(0)) == (0, 0.0)


@pytest.mark.parametrize("until", [0, 1000, 4800, -5])
def test_beyond_its_place_it_is_cut_at_once_and_all_of_the_next_one_is_played(until: int) -> None:
    rig = cut_at(until)
    rig.add(2, ramp(9600))
    rig.run(RATE)
    assert np.array_equal(rig.out[:4800], WHOLE[:4800])
    assert np.array_equal(rig.out[4800 + FADE : 4800 + 9600], ramp(9600)[FADE:])
    assert rig.onset(rig.report(2, "started")) == 4800
    assert rig.report(1, "cut").played_s == pytest.approx(0.1)


@pytest.mark.parametrize("until", [4800, 4801, RATE])
def test_at_or_beyond_its_end_it_ends_by_itself_and_its_pause_is_kept(until: int) -> None:
    rig = Rig()
    rig.declare(1, until_s=until / RATE)
    rig.mixer.feed(1, ramp(4800), RATE)
    rig.mixer.end(1, 0.01)
    rig.add(2, ramp(4800))
    rig.run(RATE)
    assert [rig.kinds(s) for s in (1, 2)] == [["started", "ended"]] * 2
    assert rig.onset(rig.report(1, "ended")) == 4800
    assert rig.onset(rig.report(2, "started")) == 4800 + 480
    assert np.array_equal(rig.out[:4800], ramp(4800)), "no sample of it is faded"
    assert np.array_equal(rig.out[5280 : 5280 + 4800], ramp(4800)), "not faded in"


def test_in_its_pause_nothing_is_cut_any_more() -> None:
    rig = Rig()
    rig.add(1, ramp(4800), pause_s=0.05)
    rig.run(4800 + BLOCK)
    rig.until(1, 1000)
    rig.add(2, ramp(4800))
    rig.run(RATE)
    assert rig.kinds(1) == ["started", "ended"]
    assert rig.onset(rig.report(2, "started")) == 4800 + 2400


@pytest.mark.parametrize("first", [False, True])
def test_at_0_it_never_begins(first: bool) -> None:
    rig = Rig()
    if not first:
        rig.add(1, ramp(4800))
    rig.declare(2, until_s=0.0)
    feed(rig, 2, tone(0.5))
    rig.add(3, ramp(4800, begin=5000))
    rig.run(RATE)
    begin = 0 if first else 4800
    assert rig.kinds(2) == ["cut"]
    assert rig.report(2, "cut").played_s == 0.0
    assert rig.onset(rig.report(2, "cut")) == begin
    assert np.array_equal(rig.out[begin : begin + 4800], ramp(4800, begin=5000)), "not faded in"
    assert last_sound(rig.out) == begin + 4800
    assert rig.mixer.ahead_s(0) == 0.0


def test_through_one_that_never_begins_it_cross_fades_to_the_one_behind() -> None:
    rig = cut_at(RATE // 2)
    rig.declare(2, until_s=0.0)
    feed(rig, 2, ramp(960))
    rig.add(3, WHOLE[RATE // 2 :])
    rig.run(2 * RATE)
    assert np.allclose(rig.out[: len(WHOLE)], WHOLE, atol=1e-5)
    assert [rig.kinds(s) for s in (1, 2, 3)] == [["started", "cut"], ["cut"], ["started", "ended"]]


def test_with_nothing_behind_it_it_fades_and_the_lane_is_empty() -> None:
    rig = cut_at(5000)
    rig.run(9600)
    assert np.array_equal(rig.out[:5000], WHOLE[:5000])
    assert 5000 + FADE // 2 < last_sound(rig.out) <= 5000 + FADE
    assert smooth(rig.out)
    assert rig.kinds(1) == ["started", "cut"]
    assert rig.mixer.position(0) == (0, 0.0)
    assert (rig.mixer.starved_frames, rig.mixer.ahead_s(0)) == (0, 0.0)
    assert rig.mixer.idle
    rig.mixer.feed(1, WHOLE, RATE)
    rig.until(1, None)
    rig.run(BLOCK)
    assert rig.kinds(1) == ["started", "cut"], "over is over, whatever is said of it then"
    assert rig.mixer.ahead_s(0) == 0.0


# --- said anew ---


@pytest.mark.parametrize("until", [20000, None])
def test_before_it_is_reached_it_may_be_set_later_or_taken_away(until: int | None) -> None:
    rig = cut_at(9600)
    rig.run(2400)
    rig.until(1, until)
    rig.run(RATE)
    assert rig.kinds(1) == ["started", "cut" if until else "ended"]
    stop = until or RATE
    assert np.array_equal(rig.out[:stop], WHOLE[:stop])
    assert last_sound(rig.out) <= stop + FADE


def test_it_may_be_set_earlier_while_it_plays() -> None:
    rig = cut_at(9600)
    rig.run(BLOCK)
    rig.until(1, 6000)
    rig.run(RATE)
    assert rig.report(1, "cut").played_s == pytest.approx(6000 / RATE)
    assert last_sound(rig.out) <= 6000 + FADE


def test_of_one_that_waits_for_its_turn_it_may_be_set_and_taken_away() -> None:
    rig = Rig()
    for serial in (1, 2, 3):
        rig.add(serial, ramp(960, begin=1000 * serial))
    rig.until(2, 100)
    rig.until(3, 0)
    rig.run(480)
    rig.until(3, None)
    rig.run(9600)
    assert [rig.kinds(s)[-1] for s in (1, 2, 3)] == ["ended", "cut", "ended"]
    assert np.array_equal(rig.out[960:1060], ramp(100, begin=2000))
    begin = 960 + 100
    assert np.array_equal(rig.out[begin + FADE : begin + 960], ramp(960, begin=3000)[FADE:])


def test_one_that_was_put_off_is_cut_at_its_turn_without_a_second_fade() -> None:
    rig = Rig()
    rig.add(1, WHOLE)
    rig.run(4800)
    rig.mixer.arrange(0, [Entry(2), Entry(1, until_s=0.05), Entry(3)])
    feed(rig, 2, ramp(960))
    feed(rig, 3, ramp(960))
    rig.run(9600)
    assert rig.kinds(1) == ["started", "cut"]
    assert rig.onset(rig.report(1, "cut")) == 4800 + 960
    assert np.array_equal(rig.out[5760:6720], ramp(960))


# --- while nothing sounds ---


def test_while_paused_it_waits_and_is_then_cut_in_silence() -> None:
    rig = Rig()
    rig.add(1, WHOLE)
    rig.run(4800)
    rig.mixer.pause(True)
    rig.until(1, 2400)
    rig.add(2, ramp(4800))
    rig.run(4800)
    assert rig.mixer.position(0) == (1, pytest.approx(0.1))
    assert rig.kinds(1) == ["started"]
    assert rig.mixer.ready() == 0
    rig.mixer.pause(False)
    rig.run(9600)
    assert rig.kinds(1) == ["started", "cut"]
    assert rig.onset(rig.report(1, "cut")) == rig.onset(rig.report(2, "started")) == 9600
    assert not rig.out[4800 + FADE : 9600].any()
    assert np.array_equal(rig.out[9600 : 9600 + 4800], ramp(4800)), "whole, and not faded in"


def test_taken_away_while_paused_it_goes_on() -> None:
    rig = cut_at(2400, run=BLOCK)
    rig.mixer.pause(True)
    rig.run(BLOCK)
    rig.until(1, 100)
    rig.run(BLOCK)
    rig.until(1, None)
    rig.mixer.pause(False)
    rig.run(2 * RATE)
    assert rig.kinds(1) == ["started", "ended"]


def test_dry_before_its_place_it_is_waited_for_and_beyond_it_cut_at_once() -> None:
    """What is missing up to the place belongs to it: the next one does not say that."""
    rig = Rig()
    rig.declare(1, until_s=0.2)
    rig.mixer.feed(1, WHOLE[:4800], RATE)
    rig.add(2, ramp(4800))
    rig.run(7200)
    assert rig.kinds(1) == ["started", "starved"]
    rig.mixer.feed(1, WHOLE[4800:7200], RATE)
    rig.run(4800)
    assert rig.kinds(1) == ["started", "starved", "resumed", "starved"]
    assert np.array_equal(rig.out[7200 + FADE : 9600], WHOLE[4800 + FADE : 7200])
    rig.until(1, 7200)
    rig.run(9600)
    assert rig.kinds(1)[4:] == ["cut"]
    cut = rig.report(1, "cut")
    assert rig.onset(cut) == 12000, "it was faded out before"
    assert (cut.played_s, cut.starved_s) == (pytest.approx(0.15), pytest.approx(0.1))
    assert np.array_equal(rig.out[12000 : 12000 + 4800], ramp(4800)), "not faded in"


def test_waited_for_in_vain_it_is_cut_before_its_first_sample() -> None:
    rig = Rig()
    rig.add(1, ramp(960))
    rig.declare(2)
    rig.add(3, ramp(960))
    rig.run(9600)
    rig.until(2, 0)
    rig.run(9600)
    assert rig.kinds(2) == ["starved", "cut"]
    assert rig.kinds(3) == ["started", "ended"]
    assert rig.onset(rig.report(3, "started")) == 9600


def test_no_later_though_the_next_one_is_late() -> None:
    """A word must not be heard twice: it stops where the next one begins its words."""
    rig = cut_at(5000)
    rig.declare(2)
    rig.run(2400)
    assert rig.kinds(1) == ["started", "cut"]
    assert rig.report(1, "cut").played_s == pytest.approx(5000 / RATE)
    rig.mixer.feed(1, ramp(960), RATE)  # late, and refused
    rig.run(2400)
    assert np.array_equal(rig.out[:5000], WHOLE[:5000])
    assert 5000 + FADE // 2 < last_sound(rig.out) <= 5000 + FADE
    assert rig.mixer.starved_frames == 4600, "as behind any other track"
    feed(rig, 2, ramp(4800))
    rig.run(9600)
    assert np.array_equal(rig.out[9600 : 9600 + 4800], ramp(4800)), "all of it, not faded in"
    assert rig.kinds(2) == ["starved", "resumed", "started", "ended"]
    assert rig.onset(rig.report(2, "starved")) == 5000
    assert rig.report(2, "ended").starved_s == pytest.approx(4600 / RATE)
    assert smooth(rig.out[:9600])


@pytest.mark.parametrize("cut", [1, 2])
def test_no_more_is_ready_than_is_there_when_one_is_cut(cut: int) -> None:
    """Neither the rest of it nor its pause: the last track runs dry after all three."""
    rig = Rig()
    rig.add(1, ramp(960), pause_s=0.01)
    rig.add(2, ramp(960), pause_s=0.01)
    rig.declare(3)
    rig.mixer.feed(3, ramp(960), RATE)
    rig.until(cut, 480)
    total = 0
    while frames := rig.mixer.ready():
        rig.run(frames, [frames])
        total += frames
    assert total == 480 + 960 + 480 + 960, "cut, whole, its pause, whole"
    assert rig.mixer.starved_frames == 0
    assert [rig.kinds(s)[-1] == "cut" for s in (1, 2, 3)] == [cut == 1, cut == 2, False]


# --- together with joints ---


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(("at", "until"), [(4900, 6001), (6001, 6001), (1000, 2000)])
def test_what_was_heard_of_a_next_one_with_a_joint_is_left_out(
    at: int, until: int, late: bool
) -> None:
    """The old one goes on beyond the joint while the new one is late, but not so far."""
    rig = cut_at(until)
    rig.declare(2, joint=Joint(1, at / RATE))
    if late:
        rig.run(4800)
        assert rig.kinds(1) == ["started", "cut"]
        rig.leave(1)
        rig.run(BLOCK)
    stop = max(until, 4800)
    feed(rig, 2, WHOLE[at:])
    rig.run(2 * RATE)
    if late:
        begin = 9600 + BLOCK
        assert rig.onset(rig.report(2, "started")) == begin
        assert np.array_equal(rig.out[:stop], WHOLE[:stop])
        rest = WHOLE[stop:]
        assert np.array_equal(rig.out[begin + FADE : begin + len(rest)], rest[FADE:])
        assert last_sound(rig.out) == begin + last_sound(rest)
    else:
        assert np.allclose(rig.out[: len(WHOLE)], WHOLE, atol=1e-5)


def test_cut_before_a_joint_the_next_one_plays_from_its_beginning() -> None:
    rig = cut_at(9600)
    rig.declare(2, joint=Joint(1, 0.5))
    feed(rig, 2, ramp(4800))
    rig.run(RATE)
    assert np.array_equal(rig.out[9600 + FADE : 9600 + 4800], ramp(4800)[FADE:])
    assert rig.report(1, "cut").played_s == pytest.approx(0.2)


def test_what_an_older_one_played_of_its_time_counts() -> None:
    """2 has come to 4800 of its own time when it begins: beyond its place, so 3 goes on."""
    rig = Rig()
    rig.add(1, WHOLE)
    rig.declare(2, joint=Joint(1, 0.1), until_s=0.05)
    rig.run(9600)
    assert rig.mixer.position(0)[0] == 1, "it goes on until 2 has sound"
    rig.mixer.feed(2, WHOLE[4800:], RATE)
    rig.add(3, ramp(4800))
    rig.run(9600)
    assert [rig.kinds(s)[-1] for s in (1, 2, 3)] == ["cut", "cut", "ended"]
    assert rig.onset(rig.report(3, "started")) == 9600
    assert np.array_equal(rig.out[9600 + FADE : 9600 + 4800], ramp(4800)[FADE:])
