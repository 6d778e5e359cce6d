"""The life of a line, step by step."""

from __future__ import annotations

from typing import Any

import pytest

from koe import protocol
from koed.engine.base import Word
from koed.playback import effects, inputs
from koed.playback.effects import Arrange, End, Gain, Keep, Speak
from koed.playback.voice_choice import Engine
from tests.playback.rig_player import (
    FIRST,
    SECOND,
    THIRD,
    THREE,
    TWO,
    Rig,
    of,
    sounding,
)  # fmt: skip

# --- queued, prepared, sounding, finished -----------------------------------------------------


def test_a_line_is_listed_asked_for_and_kept_at_once() -> None:
    rig = Rig()
    done = rig.say(1, THREE)
    assert rig.listed() == [1, 4]  # two segments ahead, of three
    assert [rig.text_of(s) for s in rig.listed()] == [FIRST, SECOND]
    assert [type(effect) for effect in done] == [Arrange, effects.Publish, Speak, Speak, Keep]
    assert rig.kept == {"a": {1, 4}}
    first, second = of(done, Speak)
    assert (first.engine, first.job.lane, first.job.voice) == ("a", 1, "k-low")
    assert first.job.seed != second.job.seed
    assert (rig.answer.position, rig.answer.refused) == (0, None)


def test_a_job_is_kept_until_it_was_heard() -> None:
    rig = Rig()
    rig.say(1, THREE)
    rig.receive(1, 0.5)
    assert rig.listed() == [1, 4]
    rig.make(1)
    assert rig.ends == {1: 0.28}
    assert rig.listed() == [1, 4, 7]  # the next segment is asked for when one is made
    assert rig.text_of(7) == THIRD
    rig.start(1)
    assert rig.kept == {"a": {1, 4, 7}}
    rig.end(1)
    assert rig.kept == {"a": {4, 7}}
    assert rig.listed() == [1, 4, 7]  # its pause sounds
    rig.make(4)
    rig.start(4)
    assert rig.listed() == [4, 7]
    assert "utterance.finished" not in rig.names()


def test_the_last_part_has_the_pause_of_the_line() -> None:
    rig = Rig(line_pause_s=0.5)
    rig.say(1, TWO)
    rig.make(1, 4)
    assert rig.ends == {1: 0.28, 4: 0.5}


def test_a_line_that_was_heard_is_finished() -> None:
    rig = Rig()
    rig.say(1, TWO)
    rig.make(1, 4)
    rig.start(1)
    rig.end(1)
    rig.start(4)
    rig.report("ended", 4, 3.1, starved_s=0.25)
    rig.positions[1] = (0, 0.0)
    event = rig.last("utterance.finished")
    assert event.spoken_s == pytest.approx(1.4 + 3.1)
    assert event.starved_s == 0.25
    assert rig.names()[:2] == ["utterance.queued", "utterance.started"]
    assert rig.names().count("utterance.started") == 1
    assert rig.kept == {"a": set()}
    assert rig.lineup.queue.speaking() == []


def test_the_pause_is_named_until_the_next_line_sounds() -> None:
    rig = Rig()
    rig.hear(*sounding_one(rig))
    assert rig.over(1) == "finished"
    assert rig.listed() == [1]
    rig.tick(10)
    rig.say(2)
    assert rig.listed() == [1, 4]
    rig.make(4)
    assert rig.listed() == [1, 4]
    rig.start(4)
    assert rig.listed() == [4]


def sounding_one(rig: Rig) -> list[int]:
    rig.say(1)
    return rig.listed()


@pytest.mark.parametrize("request_", [protocol.Stop(), protocol.Skip(), protocol.Mute()])
def test_the_pause_goes_with_what_silences(request_: Any) -> None:
    rig = Rig()
    rig.hear(*sounding_one(rig))
    assert rig.listed() == [1]
    rig.step(request_)
    assert rig.listed() == []


def test_two_lines_stand_on_a_lane_and_the_second_waits_in_the_queue() -> None:
    rig = Rig()
    for number in (1, 2, 3):
        rig.say(number)
    assert rig.listed() == [1]  # the first does not sound yet
    rig.make(1)
    assert rig.listed() == [1]
    rig.start(1)
    assert rig.listed() == [1, 4]
    rig.make(4)
    assert rig.listed() == [1, 4]  # the third stays away
    assert [line.utterance for line in rig.lineup.queue.waiting()] == [2, 3]
    rig.end(1)
    rig.start(4)
    assert rig.listed() == [4, 7]


def test_the_next_line_is_not_made_before_this_one_is() -> None:
    rig = Rig()
    rig.say(1, TWO)
    rig.say(2)
    rig.make(1)
    rig.start(1)
    assert rig.listed() == [1, 4]
    rig.make(4)
    assert rig.listed() == [1, 4, 7]


def test_a_more_urgent_line_takes_the_place_of_the_prepared_one() -> None:
    rig = Rig()
    sounding(rig)
    rig.say(2)
    assert rig.listed() == [1, 4]
    rig.say(3, priority="chatter")
    assert rig.listed() == [1, 4]
    rig.say(4, "Four.", priority="urgent")
    assert (rig.over(1), rig.listed()) == ("skipped urgent", [7])
    rig.hear(7)
    rig.hear(10)
    assert [rig.over(n) for n in (4, 2, 3)] == ["finished", "finished", ""]


def test_outputs_are_apart() -> None:
    rig = Rig(["main", "side"])
    rig.say(1)
    rig.say(2, output="side")
    assert (rig.listed(1), rig.listed(3)) == ([1], [4])
    assert rig.kept["a"] == {1, 4}
    rig.make(4)
    rig.start(4, lane=3)
    rig.step(protocol.Stop(output="side"))
    assert (rig.over(1), rig.over(2)) == ("", "skipped stop")


def test_an_amended_line_is_made_anew_in_its_place() -> None:
    rig = Rig()
    sounding(rig)
    rig.say(2, voice="alone")
    rig.say(3)
    assert rig.listed() == [1, 4]
    rig.step(inputs.Amend(2, "Other words.", "ann", None))
    assert rig.answer is True
    assert rig.listed() == [1, 7]
    assert (rig.text_of(7), rig.kept["a"]) == ("Other words.", {1, 7})
    rig.end(1)
    rig.hear(7)
    assert rig.last("utterance.started").text == "Other words."
    rig.step(inputs.Amend(2, "Too late.", None, None))
    assert rig.answer is False


# --- nothing to say ---------------------------------------------------------------------------


def test_the_segmenter_finds_nothing_to_say() -> None:
    rig = Rig()
    rig.say(1, "...")
    assert rig.over(1) == "dropped nothing_to_say"
    assert (rig.listed(), rig.jobs) == ([], {})
    rig.say(2)
    assert rig.listed() == [1]


def test_the_engine_has_no_sound_for_all_of_it() -> None:
    rig = Rig()
    rig.say(1)
    rig.step(inputs.Done(1))
    rig.report("ended", 1)
    assert rig.over(1) == "dropped nothing_to_say"


def test_a_line_of_which_one_part_has_no_sound_is_finished() -> None:
    rig = Rig()
    rig.say(1, TWO)
    rig.step(inputs.Done(1))
    rig.report("ended", 1)
    assert rig.over(1) == ""
    rig.hear(4)
    assert rig.over(1) == "finished"


# --- urgent lines -----------------------------------------------------------------------------


def test_an_urgent_line_interrupts_what_sounds_and_no_other_urgent_one() -> None:
    rig = Rig()
    sounding(rig)
    rig.say(2, priority="urgent")
    assert rig.over(1) == "skipped urgent"
    assert rig.listed() == [4]
    rig.make(4)
    rig.start(4)
    rig.say(3, priority="urgent")
    assert (rig.over(2), rig.listed()) == ("", [4, 7])
    assert rig.gains == {}


def test_a_ducked_line_is_turned_down_while_the_urgent_one_sounds() -> None:
    rig = Rig(urgent="duck", duck_db=-12.0)
    sounding(rig)
    rig.say(2, priority="urgent")
    assert (rig.listed(1), rig.listed(2)) == ([1], [4])
    rig.make(4)
    assert rig.gains == {}
    assert of(rig.start(4, lane=2), Gain) == [Gain(1, -12.0)]
    assert (rig.over(1), len(rig.lineup.queue.speaking("main"))) == ("", 2)
    assert of(rig.end(4, lane=2), Gain) == [Gain(1, 0.0)]
    assert (rig.over(1), rig.over(2)) == ("", "finished")


@pytest.mark.parametrize(
    "request_", [protocol.Skip(), protocol.Stop(), protocol.Cancel(utterance=3)]
)
def test_the_gain_is_taken_back_however_the_urgent_line_ends(request_: Any) -> None:
    rig = Rig(urgent="duck")
    rig.say(2, priority="urgent")
    rig.hear(1, lane=2)
    rig.say(3, priority="urgent")
    rig.make(4)
    rig.start(4, lane=2)
    assert rig.gains[1] < 0
    rig.step(request_)
    assert rig.gains[1] == 0.0


def test_an_overlapping_line_leaves_the_gain_alone() -> None:
    rig = Rig(urgent="overlap")
    sounding(rig)
    rig.say(2, priority="urgent")
    rig.make(4)
    assert not of(rig.start(4, lane=2), Gain)
    assert rig.over(1) == ""


@pytest.mark.parametrize("first_sounds", [True, False])
def test_the_gain_is_taken_back_when_the_next_urgent_line_waits_again(first_sounds: bool) -> None:
    rig = Rig(urgent="duck")
    rig.say(1, priority="urgent")
    rig.make(1)
    rig.start(1, lane=2)
    rig.say(2, priority="urgent")
    assert rig.listed(2) == [1, 4]
    if not first_sounds:
        rig.end(1, lane=2)
    rig.step(protocol.Mute())
    rig.step(protocol.Stop())
    rig.step(protocol.Unmute())
    assert rig.over(2) == "dropped stop"
    assert rig.gains == {1: 0.0}


# --- going down -------------------------------------------------------------------------------


def test_what_is_needed_for_a_goodbye() -> None:
    rig = Rig(["main", "side"])
    sounding(rig)
    rig.say(2)
    rig.say(3, output="side")
    rig.step(inputs.Empty(None, None, "shutdown"))
    assert (rig.answer, rig.over(2), rig.over(3)) == (
        [2, 3],
        "dropped shutdown",
        "dropped shutdown",
    )
    rig.at(1, 0.4)
    rig.tick()
    assert not rig.player.ends_within(0.9)
    assert rig.player.ends_within(1.01)
    rig.step(inputs.Silence("main", "shutdown"))
    assert (rig.answer, rig.over(1)) == ([1], "skipped shutdown")
    assert rig.player.ends_within(0.0)
    assert (rig.listed(), rig.kept["a"]) == ([], set())


def test_a_line_that_is_still_made_ends_as_soon_as_is_known_of_it() -> None:
    rig = Rig()
    rig.say(1)
    assert rig.player.ends_within(0.0)  # it does not sound
    rig.receive(1, 0.3)
    rig.start(1)
    assert not rig.player.ends_within(0.2)
    assert rig.player.ends_within(0.31)  # its last words are made, perhaps
    assert rig.player.behind_s() == {("a", 1): 0.0}
    rig.make(1)
    assert rig.player.behind_s() == {}
    rig.say(2, TWO)
    assert rig.player.ends_within(1.5)


def test_a_line_with_more_text_than_was_asked_for_does_not_end_soon() -> None:
    rig = Rig()
    rig.say(1, THREE)
    rig.receive(1, 0.3)
    rig.start(1)
    assert not rig.player.ends_within(100)


# --- reports and words ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["started", "ended", "cut", "starved", "resumed"])
def test_a_report_of_what_no_list_names_changes_nothing(kind: Any) -> None:
    rig = Rig()
    sounding(rig)
    rig.step(protocol.Skip())
    rig.say(2)
    for serial in (1, 99):
        assert rig.report(kind, serial, 1.0) == []
    assert rig.listed() == [4]


def test_words_of_a_job_that_is_over_change_nothing() -> None:
    rig = Rig()
    rig.say(1)
    rig.step(protocol.Cancel(utterance=1))
    for item in (
        inputs.Received(1, 1.0, (Word(0, 3, 0.0),)), inputs.Done(1), inputs.Mended(1, "x"),
        inputs.Failed(1, "oom", ""), inputs.Lost((1,), "killed"),
    ):  # fmt: skip
        assert rig.step(item) == []


def test_a_voice_or_an_engine_alone_wants_nothing() -> None:
    assert Rig().step(Engine("a", "up", doing="idle")) == []
    assert Rig().tick() == []


@pytest.mark.parametrize("state", ["starved", "resumed"])
def test_an_outage_is_no_end(state: Any) -> None:
    rig = Rig()
    sounding(rig)
    assert rig.report(state, 1, 0.5) == []
    assert rig.over(1) == ""


def test_an_end_says_so_once() -> None:
    rig = Rig()
    rig.say(1)
    rig.make(1)
    assert of(rig.step(inputs.Done(1)), End) == []
