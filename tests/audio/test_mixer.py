"""Tracks play in order to the sample; cuts, pauses, mutes and ducks fade and lose nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from mixer_rig import BLOCK, FADE, RATE, Rig, last_sound, ramp, smooth, tone

from koed.audio.mixer import MAX_AHEAD_S
from koed.errors import KoedError

SIZES = st.lists(st.integers(1, 1200), min_size=1, max_size=5)


@settings(max_examples=60, deadline=None)
@given(
    tracks=st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 900)), min_size=1, max_size=5),
    chunks=SIZES,
    blocks=SIZES,
)
def test_streamed_is_whole(
    tracks: list[tuple[int, int]], chunks: list[int], blocks: list[int]
) -> None:
    """Any chunks, any blocks: the tracks and their pauses follow each other to the sample."""
    rig, whole = Rig(), []
    for serial, (frames, pause) in enumerate(tracks, 1):
        pcm, at, turn = ramp(frames, begin=1000 * serial), 0, serial
        rig.declare(serial)
        while at < frames:
            rig.mixer.feed(serial, pcm[at : at + chunks[turn % len(chunks)]], RATE)
            at, turn = at + chunks[turn % len(chunks)], turn + 1
        rig.mixer.end(serial, pause / RATE)
        whole += [pcm, np.zeros(pause, dtype=np.float32)]
    expected = np.concatenate(whole)
    assert rig.mixer.ahead_s(0) == pytest.approx(len(expected) / RATE)
    rig.run(len(expected) + 3 * BLOCK, blocks)
    assert np.array_equal(rig.out[: len(expected)], expected)
    assert not rig.out[len(expected) :].any()
    assert rig.mixer.starved_frames == 0
    assert rig.mixer.ahead_s(0) == 0.0
    assert [r.serial for r in rig.reports if r.kind == "ended"] == list(range(1, len(tracks) + 1))


def test_chunks_that_come_while_it_plays_leave_no_seam() -> None:
    rig, pcm = Rig(), ramp(RATE)
    rig.declare(1)
    rig.mixer.feed(1, pcm[:500], RATE)
    for at in range(500, RATE, 331):
        rig.run(331, [17])
        rig.mixer.feed(1, pcm[at : at + 331], RATE)
    rig.mixer.end(1)
    rig.run(2000)
    assert np.array_equal(rig.out[:RATE], pcm)
    assert rig.kinds(1) == ["started", "ended"]


@pytest.mark.parametrize("rate_hz", [16000, 22050, 24000, 32000, 44100])
@pytest.mark.parametrize("chunk", [37, 640, 5000])
def test_resampled_in_chunks_is_resampled_whole(rate_hz: int, chunk: int) -> None:
    rig = Rig()
    parts = [tone(0.4, rate_hz=rate_hz), tone(0.3, hz=500, rate_hz=rate_hz)]
    for serial, pcm in enumerate(parts, 1):
        rig.declare(serial)
        for at in range(0, len(pcm), chunk):
            rig.mixer.feed(serial, pcm[at : at + chunk], rate_hz)
        rig.mixer.end(serial)
    expected = np.concatenate([soxr.resample(pcm, rate_hz, RATE) for pcm in parts])
    rig.run(len(expected) + 1000)
    assert np.allclose(rig.out[: len(expected)], expected, atol=1e-5)
    first = rig.onset(rig.report(2, "started"))
    assert abs(first - 0.4 * RATE) <= 1
    assert rig.onset(rig.report(1, "ended")) == first


def test_report_frames_and_history_are_on_the_same_clock() -> None:
    rig = Rig()
    rig.run(1000)
    rig.add(1, np.full(960, 0.25, dtype=np.float32))
    rig.run(4800)
    first, pcm = rig.mixer.history.page(0, 10000)
    assert first == 0
    assert len(pcm) == rig.mixer.clock_frames == 5800
    begin, end = rig.report(1, "started").frame, rig.report(1, "ended").frame
    assert not pcm[:begin].any()
    assert (pcm[begin:end] == round(0.25 * 32767)).all()
    assert not pcm[end:].any()
    assert rig.report(1, "ended").played_s == pytest.approx(0.02)


def test_gain_and_faulty_samples() -> None:
    rig = Rig()
    rig.declare(1, gain_db=-6.0)
    bad = np.array([0.4, np.nan, np.inf, -np.inf, 0.2], dtype=np.float32)
    rig.mixer.feed(1, bad, RATE)
    rig.mixer.feed(1, np.full(4, 1e38, dtype=np.float32), RATE)
    rig.mixer.end(1)
    rig.run(BLOCK * 2)
    assert rig.mixer.non_finite_samples == 3
    assert np.isfinite(rig.out).all()
    assert np.abs(rig.out).max() <= 1.0
    again = Rig()
    again.declare(1, gain_db=-6.0)
    again.mixer.feed(1, np.full(9, 0.4, dtype=np.float32), RATE)
    again.run(BLOCK)
    assert again.out[0] == pytest.approx(0.4 * 10 ** (-6 / 20), rel=1e-5)


def test_loud_lanes_together_stay_below_the_ceiling() -> None:
    rig = Rig()
    for lane in range(3):
        rig.add(lane + 1, tone(0.5, hz=200 + 70 * lane, level=0.9), lane=lane)
    rig.run(RATE)
    assert 0.8 < np.abs(rig.out).max() <= 10 ** (-1.0 / 20)
    assert rig.mixer.limited_blocks > 0


def test_limited_sound_leaves_no_trace_behind_a_silence() -> None:
    rig = Rig()
    rig.add(1, tone(0.05, level=3.0), pause_s=0.05)
    rig.add(2, tone(0.05))
    rig.run(RATE // 4)
    assert rig.mixer.limited_blocks > 0
    begin = rig.onset(rig.report(2, "started"))
    assert np.array_equal(rig.out[begin : begin + 2400], tone(0.05))


@pytest.mark.parametrize("block", [64, 480, 1024])
def test_the_empty_list_is_obeyed_in_the_next_block(block: int) -> None:
    rig = Rig()
    for serial in (1, 2, 3):
        rig.add(serial, tone(1.0))
    before = rig.run(block * 20, [block])
    rig.add(4, tone(0.1))  # no block sees it
    rig.leave()
    rig.run(block * 20, [block])
    cut = len(before)
    assert last_sound(rig.out) <= cut + FADE
    assert last_sound(rig.out) > cut + FADE // 2
    assert smooth(rig.out)
    assert rig.onset(rig.report(1, "cut")) == cut + FADE
    assert rig.report(1, "cut").played_s == pytest.approx(cut / RATE)
    assert [rig.kinds(s) for s in (1, 2, 3, 4)] == [["started", "cut"], ["cut"], ["cut"], []]
    assert rig.mixer.ahead_s(0) == 0.0
    assert rig.mixer.position(0) == (0, 0.0)


def test_what_is_named_alone_plays_at_once() -> None:
    rig = Rig()
    rig.declare(1)
    rig.mixer.feed(1, tone(1.0), RATE)
    rig.add(2, ramp(960))
    before = rig.run(BLOCK * 3)
    rig.leave(1)
    ahead_s = rig.mixer.ahead_s(0)
    rig.mixer.feed(1, tone(1.0), RATE)  # late chunks of the dead
    rig.mixer.end(1, 5.0)
    assert rig.mixer.ahead_s(0) == ahead_s
    rig.run(BLOCK * 5)
    start = len(before)
    assert rig.onset(rig.report(2, "started")) == start
    assert np.array_equal(rig.out[start + FADE : start + 960], ramp(960)[FADE:])
    assert last_sound(rig.out) == start + 960
    assert rig.kinds(1) == ["started", "cut"]
    assert rig.mixer.ahead_s(0) == 0.0


def test_what_is_left_out_is_faded_and_the_others_stay() -> None:
    rig = Rig()
    rig.add(1, tone(0.5))
    rig.add(2, tone(0.5))
    rig.add(3, ramp(960))
    rig.run(BLOCK * 4)
    rig.leave(1, 2, 99)
    rig.run(BLOCK * 6)
    assert rig.kinds(1) == ["started", "cut"]
    assert rig.kinds(2) == ["cut"]
    assert np.array_equal(rig.out[BLOCK * 4 + FADE : BLOCK * 4 + 960], ramp(960)[FADE:])


@pytest.mark.parametrize("block", [96, 480])
def test_pause_holds_the_very_sample(block: int) -> None:
    rig, pcm = Rig(), tone(0.5)
    rig.add(1, pcm)
    rig.run(block * 8, [block])
    rig.mixer.pause(True)
    rig.run(block * 20, [block])
    held = rig.mixer.position(0)
    assert held == (1, pytest.approx(block * 8 / RATE))
    assert rig.mixer.ahead_s(0) == pytest.approx(0.5 - block * 8 / RATE)
    rig.add(2, tone(0.1), lane=1)  # a lane that is new while it is paused waits as well
    rig.run(block * 4, [block])
    rig.leave(2, lane=1)
    rig.mixer.pause(False)
    rig.run(RATE, [block])
    stop, go = block * 8, block * 32
    assert last_sound(rig.out[:go]) <= stop + FADE
    assert np.array_equal(rig.out[:stop], pcm[:stop])
    assert np.array_equal(rig.out[go + FADE : go + len(pcm) - stop], pcm[stop + FADE :])
    assert smooth(rig.out[: go + len(pcm) - stop])
    assert rig.kinds(2) == ["cut"]
    assert rig.mixer.starved_frames == 0


def test_pause_and_resume_before_the_next_block_change_nothing() -> None:
    rig, pcm = Rig(), tone(0.1)
    rig.add(1, pcm)
    rig.run(BLOCK)
    rig.mixer.pause(True)
    rig.mixer.pause(False)
    rig.run(RATE // 5)
    assert np.allclose(rig.out[: len(pcm)], pcm, atol=1e-6)


def test_a_cut_in_the_middle_of_a_fade_in_goes_down_from_there() -> None:
    rig = Rig()
    rig.add(1, np.full(RATE, 0.3, dtype=np.float32))
    rig.run(960, [96])
    rig.mixer.pause(True)
    rig.run(960, [96])
    rig.mixer.pause(False)
    rig.run(96, [96])
    rig.leave(1)
    rig.run(960, [96])
    assert rig.out[1920:].max() < 0.1
    assert smooth(rig.out[10:], hz=0.0)


def test_what_is_left_out_while_paused_ends_without_a_second_fade() -> None:
    rig = Rig()
    rig.add(1, tone(1.0))
    rig.run(BLOCK * 4)
    rig.mixer.pause(True)
    rig.run(BLOCK * 4)
    rig.leave(1)
    rig.run(BLOCK)
    assert rig.mixer.position(0) == (0, 0.0)
    rig.mixer.pause(False)
    assert last_sound(rig.run(BLOCK * 4)) == 0
    assert rig.kinds(1) == ["started", "cut"]


def test_mute_silences_within_a_block_and_the_lanes_go_on() -> None:
    rig = Rig()
    rig.add(1, tone(1.0))
    rig.run(BLOCK * 5)
    rig.mixer.mute(True)
    assert last_sound(rig.run(BLOCK)) <= FADE
    assert last_sound(rig.run(BLOCK * 10)) == 0
    assert rig.mixer.position(0) == (1, pytest.approx(BLOCK * 16 / RATE))
    rig.mixer.mute(False)
    rig.run(BLOCK * 10)
    assert smooth(rig.out)
    back = slice(BLOCK * 18, BLOCK * 20)
    assert np.array_equal(rig.out[back], tone(1.0)[back])


def test_mute_holds_while_nothing_sounds() -> None:
    rig = Rig()
    rig.mixer.mute(True)
    rig.run(BLOCK * 3)
    rig.add(1, tone(0.1))
    assert last_sound(rig.run(RATE // 5)) == 0
    assert rig.kinds(1) == ["started", "ended"]


def test_duck_turns_one_lane_down() -> None:
    rig = Rig()
    rig.add(1, tone(1.0))
    rig.add(2, tone(1.0, hz=450), lane=1)
    rig.mixer.duck(0, -20.0)
    rig.run(BLOCK * 20)
    rig.mixer.duck(0, 0.0)
    rig.run(BLOCK * 20)
    assert smooth(rig.out, hz=750)
    ducked, back = slice(BLOCK * 2, BLOCK * 19), slice(BLOCK * 22, BLOCK * 38)
    low, other = tone(1.0), tone(1.0, hz=450)
    assert np.allclose(rig.out[ducked], 0.1 * low[ducked] + other[ducked], atol=1e-6)
    assert np.allclose(rig.out[back], low[back] + other[back], atol=1e-6)


def test_a_full_lane_refuses_and_takes_nothing() -> None:
    rig, minute = Rig(rate_hz=8000), np.zeros(8000 * 20, dtype=np.float32)
    rig.declare(1)
    for _ in range(3):
        rig.mixer.feed(1, minute, 8000)
    with pytest.raises(KoedError) as refused:
        rig.mixer.feed(1, minute[:8], 8000)
    assert refused.value.code == "lane_full"
    assert rig.mixer.ahead_s(0) == MAX_AHEAD_S
    rig.run(480)
    rig.mixer.feed(1, minute[:480], 8000)


def test_unknown_serials_are_ignored() -> None:
    rig = Rig()
    rig.mixer.feed(7, tone(0.1), RATE)
    rig.mixer.end(7, 1.0)
    assert last_sound(rig.run(BLOCK)) == 0
    assert rig.mixer.ahead_s(0) == 0.0
    assert rig.reports == []


def test_wake_and_levels_only_while_there_is_something_to_tell() -> None:
    rig = Rig()
    rig.run(BLOCK * 10)
    assert rig.wakes == 0
    rig.add(1, tone(0.2))
    rig.run(BLOCK * 20)
    assert rig.wakes >= 20
    rig.run(BLOCK * 10)
    told, levels = rig.wakes, rig.mixer.levels()
    rig.run(BLOCK * 50)
    assert rig.wakes == told
    assert rig.mixer.levels() == []
    assert len(levels) in (5, 6)
    assert levels[1][1:] == (pytest.approx(-13.47, abs=0.05), pytest.approx(-10.46, abs=0.05))
    assert levels[-1][1] == -120.0
    assert [frame for frame, _, _ in levels[:4]] == [7200, 9600, 12000, 14400]
