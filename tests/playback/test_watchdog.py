"""A lane that stands still is noticed, told and helped; whatever may stand still is left alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from koe import protocol
from koed.config.daemon import EngineConfig
from tests.playback.rig_player import ONE, TWO, Rig, sounding

LONGEST_PAUSE_S = 0.28
"""That is configured: silence of that length is no fault."""


def stands_still(rig: Rig, seconds: float = 5.1 + LONGEST_PAUSE_S) -> int:
    """How often it bit."""
    before = rig.player.watchdog.stuck
    rig.tick()
    for _ in range(round(seconds / 0.1)):
        rig.tick(0.1)
    return rig.player.watchdog.stuck - before


def test_a_job_that_nobody_has_is_asked_for_again() -> None:
    rig = Rig()
    rig.say(1, TWO)
    assert stands_still(rig, 5.1) == 0
    assert stands_still(rig, 0.4) == 1
    assert [rig.text_of(s) for s in rig.listed()] == [rig.text_of(1), rig.text_of(4)]
    assert rig.listed() == [7, 10]
    assert rig.kept["a"] == {7, 10}
    assert rig.over(1) == ""
    trouble = rig.last("trouble")
    assert trouble.code == "stuck"
    assert "main" in trouble.message
    assert "line 1 (prepared): job 1 asked for, 0.00 s" in trouble.message


def test_it_bites_once_per_limit() -> None:
    rig = Rig()
    rig.say(1)
    assert stands_still(rig, 5.5) == 1
    assert stands_still(rig, 4.8) == 0
    assert stands_still(rig, 0.9) == 1
    assert rig.names().count("trouble") == 2


def test_it_waits_as_long_as_an_engine_may_be_silent() -> None:
    rig = Rig(engine=EngineConfig(stall_s=20.0))
    rig.say(1)
    assert stands_still(rig, 19.5) == 0
    assert stands_still(rig, 1.0) == 1


def test_a_line_that_sounds_goes_on_from_what_it_has() -> None:
    rig = Rig()
    rig.say(1, TWO)
    rig.receive(1, 1.0)
    rig.start(1)
    rig.at(1, 1.0)
    assert stands_still(rig) == 1
    assert [rig.text_of(s) for s in rig.parts()][1] == "three."
    assert rig.over(1) == ""


def test_sound_that_nobody_plays_is_told_and_nothing_is_asked_for() -> None:
    rig = Rig()
    sounding(rig)
    rig.at(1, 0.4)
    rig.engine("a", doing="warming")  # nothing more is wanted of it
    jobs = dict(rig.jobs)
    assert stands_still(rig) == 1
    assert (rig.listed(), rig.jobs) == ([1], jobs)
    assert "sounding" in rig.last("trouble").message


def _paused(rig: Rig) -> None:
    rig.step(protocol.Pause())


def _muted(rig: Rig) -> None:
    rig.step(protocol.Mute())


def _panicked(rig: Rig) -> None:
    rig.step(protocol.Panic())


def _all_muted(rig: Rig) -> None:
    rig.step(protocol.Mode(mode="all_muted"))


def _no_device(rig: Rig) -> None:
    rig.playing = False


def _has_it(rig: Rig) -> None:
    rig.engine("a", jobs=frozenset({1}))


def _warming(rig: Rig) -> None:
    rig.engine("a", doing="warming")


def _preparing(rig: Rig) -> None:
    rig.engine("a", doing="preparing")


def _down(rig: Rig) -> None:
    rig.engine("a", "starting")


@pytest.mark.parametrize(
    "hold",
    [_paused, _muted, _panicked, _all_muted, _no_device, _has_it, _warming, _preparing, _down],
)
def test_what_holds_a_lane_keeps_it_quiet(hold: Callable[[Rig], None]) -> None:
    rig = Rig()
    rig.say(1)
    hold(rig)
    assert stands_still(rig, 12) == 0
    assert "trouble" not in rig.names()
    assert rig.over(1) == ""


def test_the_limit_counts_from_where_the_hold_was_lifted() -> None:
    rig = Rig()
    rig.say(1)
    rig.tick(4)
    rig.step(protocol.Pause())
    rig.tick(4)
    rig.step(protocol.Resume())
    assert stands_still(rig, 5.1) == 0
    assert stands_still(rig, 0.4) == 1


def test_nothing_to_say_is_no_fault() -> None:
    assert stands_still(Rig(), 20) == 0
    rig = Rig()
    rig.say(1)
    rig.hear(1)
    assert stands_still(rig, 20) == 0


def test_an_open_line_may_be_silent() -> None:
    rig = Rig()
    rig.say(1, "", in_pieces=True)
    assert stands_still(rig, 20) == 0


def test_a_voice_that_is_not_there_is_waited_for() -> None:
    rig = Rig()
    rig.say(1, voice="new")
    assert stands_still(rig, 20) == 0
    assert rig.over(1) == ""


def test_a_lane_that_moves_is_left_alone() -> None:
    rig = Rig()
    sounding(rig)
    for step in range(70):
        rig.at(1, 0.01 * step)
        rig.tick(0.2)
    assert rig.player.watchdog.stuck == 0


def test_an_engine_that_says_it_does_something_else_has_not_got_the_job() -> None:
    rig = Rig()
    rig.say(1)
    rig.engine("a", doing="speaking", jobs=frozenset({99}))
    assert stands_still(rig) == 1


def test_each_lane_is_looked_at() -> None:
    rig = Rig(["main", "side"])
    rig.say(1)
    rig.say(2, output="side")
    rig.engine("a", jobs=frozenset({1}))
    assert stands_still(rig) == 1
    assert (rig.listed(1), rig.listed(3)) == ([1], [7])


def test_a_long_pause_between_two_lines_is_no_fault() -> None:
    rig = Rig(line_pause_s=8.0)
    sounding(rig, 1, ONE)
    rig.say(2)
    rig.make(rig.listed()[-1])
    rig.end(1)
    assert stands_still(rig, 7.5) == 0
