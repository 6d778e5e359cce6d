"""A lane is what its newest list says, whenever either side comes in between."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from mixer_rig import BLOCK, FADE, RATE, Rig, last_sound, ramp, smooth, tone

from koed.audio import mixer as mixer_module
from koed.audio.arrangement import Entry, Joint

AUDIO = str(Path(mixer_module.__file__).parent)


def interrupted(run: Callable[[], Any], line: int, act: Callable[[], Any]) -> bool:
    """``run``, with ``act`` before the line of our code that is the ``line``-th to be reached, as
    if another thread came in there; False = there are not so many."""
    left = line
    done = False

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal left, done
        if not frame.f_code.co_filename.startswith(AUDIO):
            return None
        if event == "line" and not done:
            left -= 1
            if left < 0:
                done = True
                sys.settrace(None)
                act()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(before)
    return done


def change(rig: Rig) -> None:
    """What the control side does when another line is to be heard at once."""
    rig.mixer.arrange(0, [Entry(2)])
    rig.mixer.feed(2, ramp(960), RATE)
    rig.mixer.end(2, 0.01)
    rig.mixer.arrange(1, [Entry(3)])
    rig.mixer.feed(3, ramp(960), RATE)
    rig.mixer.end(3)


def check_change(rig: Rig, blocks: int) -> None:
    rig.run(BLOCK * 12)
    assert rig.kinds(1) == ["started", "cut"]
    assert rig.kinds(2) == ["started", "ended"]
    assert rig.kinds(3) == ["started", "ended"]
    for serial in (2, 3):
        assert rig.report(serial, "ended").played_s == pytest.approx(0.02), "nothing is refused"
        assert rig.onset(rig.report(serial, "started")) <= blocks * BLOCK
    assert all(lane.fed == lane.consumed for lane in rig.mixer._playing)
    assert last_sound(rig.out) <= (blocks + 2) * BLOCK
    assert rig.mixer.starved_frames == 0


def started() -> Rig:
    rig = Rig()
    rig.mixer.arrange(0, [Entry(1)])
    rig.mixer.feed(1, tone(1.0), RATE)
    rig.run(BLOCK * 2)
    return rig


def test_a_change_at_any_line_of_a_block_is_whole_at_the_next() -> None:
    for line in range(10000):
        rig = started()
        came = interrupted(lambda r=rig: r.run(BLOCK), line, lambda r=rig: change(r))
        if not came:
            assert line > 50, "a block has more lines"
            return
        check_change(rig, 3)
    pytest.fail("a block has no end")


def test_a_block_at_any_line_of_a_change_loses_nothing() -> None:
    for line in range(10000):
        rig = started()
        if not interrupted(lambda r=rig: change(r), line, lambda r=rig: r.run(BLOCK)):
            assert line > 50, "a change has more lines"
            return
        rig.run(BLOCK)
        # what came before its sound waits for it, and that is no outage
        check_change(rig, 4)
    pytest.fail("a change has no end")


def test_a_list_ends_the_sleep_of_an_idle_device_at_any_line() -> None:
    def nap(rig: Rig) -> None:
        if rig.mixer.idle:
            rig.mixer.wait(20.0)

    for line in range(1000):
        rig = Rig()
        rig.run(BLOCK * 3)
        assert rig.mixer.idle
        began = time.monotonic()
        come = lambda r=rig: r.mixer.arrange(0, [Entry(1)])  # noqa: E731
        interrupts = interrupted(lambda r=rig: nap(r), line, come) if line < 7 else False
        if not interrupts:
            assert line >= 5
            return
        assert time.monotonic() - began < 10.0
        assert not rig.mixer.idle


def test_it_is_not_idle_while_a_list_waits() -> None:
    rig = Rig()
    rig.add(1, tone(1.0))
    rig.mixer.pause(True)
    rig.run(BLOCK * 3)
    rig.leave()
    rig.run(BLOCK * 3)
    assert rig.mixer.idle
    add = rig.mixer._commands.add
    seen: list[bool] = []
    rig.mixer._commands.add = lambda *order: (  # type: ignore[method-assign]
        seen.append(rig.mixer.idle), add(*order), seen.append(rig.mixer.idle))  # fmt: skip
    rig.declare(2)
    assert seen == [False, False]
    rig.run(BLOCK)
    assert not rig.mixer.idle
    rig.leave()
    rig.run(BLOCK * 3)
    assert rig.mixer.idle


def test_the_same_list_again_changes_nothing() -> None:
    once, often = Rig(), Rig()
    for rig in (once, often):
        rig.add(1, tone(0.05), pause_s=0.01)
        rig.declare(2, joint=Joint(1, 0.04), until_s=0.045)
        rig.declare(3, joint=Joint(1, 0.01))  # void, and stays so
        rig.mixer.feed(3, ramp(960), RATE)
        rig.mixer.end(3)
    for block in range(20):
        for rig in (once, often):
            if block == 9:
                rig.mixer.feed(2, tone(0.05), RATE)
                rig.mixer.end(2)
            if rig is often:
                rig.mixer.arrange(0, list(rig.lists[0]))
            rig.run(BLOCK)
    assert often.reports == once.reports
    assert np.array_equal(often.out, once.out)
    assert once.report(3, "ended").played_s == pytest.approx(0.02)


def test_what_sounds_and_is_not_first_any_more_goes_on_later_from_that_sample() -> None:
    rig, pcm = Rig(), tone(0.2)
    rig.add(1, pcm)
    rig.run(BLOCK * 3)
    rig.mixer.arrange(0, [Entry(2), Entry(1)])
    rig.mixer.feed(2, ramp(960), RATE)
    rig.mixer.end(2)
    rig.run(RATE // 2)
    first, back = BLOCK * 3, BLOCK * 3 + 960
    assert np.array_equal(rig.out[first + FADE : back], ramp(960)[FADE:])
    assert np.array_equal(rig.out[back + FADE : back + 9600 - first], pcm[first + FADE :])
    assert smooth(rig.out[back:])
    assert rig.kinds(1) == ["started", "ended"]
    assert rig.report(1, "ended").played_s == pytest.approx(0.2)
    assert rig.mixer.starved_frames == 0


def test_what_faded_out_already_is_cut_without_a_second_fade() -> None:
    rig = started()
    rig.mixer.arrange(0, [Entry(2), Entry(1)])
    rig.run(BLOCK)
    rig.mixer.arrange(0, [Entry(2)])
    assert last_sound(rig.run(BLOCK * 2)) <= rig.mixer.delay_frames
    assert rig.kinds(1) == ["started", "cut"]


def test_a_track_listed_when_all_before_it_was_over_may_be_late() -> None:
    for pause_s, outage in ((0.02, False), (0.0, False)):
        rig = Rig()
        rig.add(1, ramp(BLOCK), pause_s=pause_s)
        rig.run(BLOCK * 2)  # in its pause, or over
        rig.declare(2)
        rig.run(BLOCK * 5)
        assert bool(rig.mixer.starved_frames) == outage
    rig = Rig()
    rig.add(1, ramp(BLOCK * 2))
    rig.run(BLOCK)
    rig.declare(2)
    rig.run(BLOCK * 5)
    assert rig.mixer.starved_frames == BLOCK * 4
    rig.mixer.arrange(0, [Entry(3)])
    rig.run(BLOCK * 5)
    assert rig.kinds(3) == []
    assert rig.mixer.starved_frames == BLOCK * 4


def test_what_has_ended_may_be_named_on_and_is_not_opened_again() -> None:
    rig = Rig()
    for serial in range(1, 6):
        rig.add(serial, ramp(100))
        rig.run(BLOCK * 2)
        rig.mixer.feed(serial, ramp(100), RATE)
        rig.mixer.end(serial, 1.0)
    assert all(rig.kinds(serial) == ["started", "ended"] for serial in range(1, 6))
    assert rig.mixer.ahead_s(0) == 0.0
    assert last_sound(rig.run(BLOCK * 3)) == 0


def test_what_no_block_saw_has_no_report_and_its_sound_is_forgotten() -> None:
    rig = Rig()
    rig.add(1, tone(1.0), pause_s=1.0)
    rig.leave()
    rig.run(BLOCK * 3)
    assert rig.reports == []
    assert rig.mixer._playing[0].consumed == rig.mixer._playing[0].fed == 2 * RATE
    assert not rig.mixer._sources


@pytest.mark.parametrize(
    ("lane", "entries"),
    [(0, [Entry(1), Entry(1)]), (0, [Entry(0)]), (1, [Entry(1)]), (0, [Entry(1), Entry(2)])],
)
def test_a_list_that_cannot_be_meant_is_refused_whole(lane: int, entries: list[Entry]) -> None:
    rig = Rig()
    rig.declare(2)
    rig.mixer.arrange(0, [Entry(1)])
    with pytest.raises(AssertionError):
        rig.mixer.arrange(lane, entries)
    rig.mixer.feed(1, ramp(960), RATE)
    rig.mixer.end(1)
    rig.run(BLOCK * 4)
    assert rig.kinds(1) == ["started", "ended"]


# --- without a clock ---


def act(
    rig: Rig, rng: random.Random, entries: list[Entry], closed: set[int], serial: int
) -> list[Entry]:
    """Something that the control side of `koed render` may do; ``serial`` is new."""
    pick = rng.random()
    if pick < 0.3 and len(entries) < 6:
        old = entries[-1].serial if entries else 99
        joint = Joint(old, rng.randrange(70) / RATE)
        entries = [*entries, Entry(serial, joint=joint if rng.random() < 0.5 else None)]
        rig.mixer.arrange(0, entries)
    elif pick < 0.33 and entries:
        at, until_s = rng.randrange(len(entries)), rng.randrange(70) / RATE
        changed = replace(entries[at], until_s=until_s if rng.random() < 0.8 else None)
        entries = [*entries[:at], changed, *entries[at + 1 :]]
        rig.mixer.arrange(0, entries)
    elif pick < 0.36:
        entries = [entry for entry in entries if rng.random() < 0.8]
        rig.mixer.arrange(0, entries)
    elif pick < 0.4:
        rig.mixer.pause(rng.random() < 0.3)
    elif entries:
        serial = rng.choice(entries).serial
        if serial in closed:
            return entries
        if pick < 0.8:
            rig.mixer.feed(serial, ramp(rng.randrange(1, 60)), RATE)
        else:
            closed.add(serial)
            rig.mixer.end(serial, rng.choice((0.0, 10 / RATE)))
    return entries


def pull(rig: Rig, rng: random.Random) -> None:
    """Render all that is ready, and see that it was there, to the frame."""
    place = rig.mixer._lane(0)
    for _ in range(1000):
        frames = rig.mixer.ready()
        if not frames:
            break
        frames = min(frames, rng.randrange(1, 50))
        before, outage = place.consumed, place.starved
        rig.run(frames, [frames])
        assert place.starved == outage, "it was not ready"
        assert place.consumed - before >= frames
    else:
        pytest.fail("it is ready for ever")
    before = place.consumed
    rig.run(10, [10])
    assert place.consumed == before, "something was ready"


def test_what_is_ready_is_there_and_nothing_that_is_there_is_waited_for() -> None:
    """In any state of any joint, wherever tracks are cut; and once all has ended, all is played
    and reported."""
    for seed in range(400):
        rig, rng, entries, closed = Rig(), random.Random(seed), [], set()
        for serial in range(1, 21):
            entries = act(rig, rng, entries, closed, serial)
            if rng.random() < 0.5:
                pull(rig, rng)
        rig.mixer.pause(False)
        for entry in entries:
            rig.mixer.end(entry.serial, rng.choice((0.0, 10 / RATE)))
        while frames := rig.mixer.ready():
            rig.run(frames, [frames])
        rig.reports += rig.mixer.reports()
        over = [r.serial for r in rig.reports if r.kind in ("ended", "cut")]
        assert {e.serial for e in entries} <= set(over), f"seed {seed}: it hangs"
        assert len(over) == len(set(over))
        assert rig.mixer._lane(0).fed == rig.mixer._lane(0).consumed


# --- a track that may not begin yet ---


def test_a_shut_track_takes_sound_and_begins_when_a_list_opens_it() -> None:
    rig = Rig()
    rig.add(1, ramp(960))
    rig.mixer.arrange(0, [Entry(1), Entry(2, shut=True)])
    rig.mixer.feed(2, ramp(960), RATE)
    rig.mixer.end(2)
    rig.run(BLOCK * 8)
    assert rig.kinds(1) == ["started", "ended"]
    assert rig.kinds(2) == []
    assert rig.mixer.starved_frames == 0  # whoever holds it shut knows why
    assert rig.mixer.ready() == 0
    rig.mixer.arrange(0, [Entry(1), Entry(2)])
    assert rig.mixer.ready() == 960
    rig.run(BLOCK * 4)
    assert rig.kinds(2) == ["started", "ended"]
    begin = rig.onset(rig.report(2, "started"))
    assert begin == BLOCK * 8
    assert np.array_equal(rig.out[begin : begin + 960], ramp(960))


def test_what_has_begun_is_not_shut_any_more_and_what_is_shut_can_be_left_out() -> None:
    rig = Rig()
    rig.add(1, ramp(BLOCK * 4))
    rig.run(BLOCK)
    rig.mixer.arrange(0, [Entry(1, shut=True), Entry(2, shut=True)])
    rig.mixer.feed(2, ramp(BLOCK), RATE)
    rig.run(BLOCK * 6)
    assert rig.kinds(1) == ["started", "ended"]
    rig.mixer.arrange(0, [])
    rig.run(BLOCK)
    assert rig.kinds(2) == ["cut"]
    assert rig.mixer.ahead_s(0) == 0.0
