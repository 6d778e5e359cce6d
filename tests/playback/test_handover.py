"""How a line goes on after a fault, and when its engine is lost."""

from __future__ import annotations

import pytest

from koe import protocol
from koed.playback import inputs
from koed.playback.effects import End
from koed.playback.voice_choice import VoiceState
from tests.playback.rig_player import (
    FIRST,
    ONE,
    SECOND,
    THIRD,
    THREE,
    TWO,
    Rig,
    in_mid_word,
    of,
    sounding,
    switch,
    texts,
)  # fmt: skip

# --- a restyled stream that does not come -----------------------------------------------------


def test_a_lost_restyle_is_said_in_words_while_the_old_one_sounds() -> None:
    rig = Rig()
    in_mid_word(rig)
    switch(rig, "high")
    rig.at(1, 0.6)
    rig.fail(rig.listed()[1], "restyle_lost")
    assert texts(rig) == [FIRST, "three.", SECOND]
    assert rig.entry(1).until_s == pytest.approx(0.8)
    new = rig.listed()[1]
    assert (rig.jobs[new][1].restyle_of, rig.jobs[new][1].voice) == (0, "k-high")
    assert "engine.retry" not in rig.names()


def test_a_lost_restyle_is_said_from_what_was_heard_when_the_old_one_is_over() -> None:
    rig = Rig()
    in_mid_word(rig)
    switch(rig, "high")
    rig.at(1, 0.7)
    rig.end(1, kind="cut")
    rig.fail(rig.parts()[0], "restyle_lost")
    assert texts(rig)[0].strip(" .") == "three"
    assert rig.words() == ["One", "two"]


def test_of_a_restyled_stream_that_was_not_heard_nothing_counts() -> None:
    rig = Rig()
    in_mid_word(rig)
    switch(rig, "high")
    new = rig.listed()[1]
    rig.receive(new, 0.3)  # with "three" in it
    rig.fail(new)
    assert texts(rig) == [FIRST, "three.", SECOND]
    assert new not in rig.listed()
    assert rig.entry(1).until_s == pytest.approx(0.8)


# --- faults -----------------------------------------------------------------------------------


def test_before_its_first_sound_a_line_falls_back() -> None:
    rig = Rig()
    rig.say(1, TWO)
    rig.fail(1)
    assert rig.last("engine.fallback").fallback == "other"
    assert [rig.jobs[s][0] for s in rig.parts()] == ["b", "b"]
    assert texts(rig) == [FIRST, SECOND]
    assert rig.kept["a"] == set()


def test_a_line_without_a_fallback_fails() -> None:
    rig = Rig()
    rig.say(1, TWO, "alone")
    rig.fail(1)
    assert rig.over(1) == "failed engine_bug"
    assert (rig.listed(), rig.kept["a"]) == ([], set())


def test_what_has_begun_goes_on_in_its_own_voice_once() -> None:
    rig = Rig()
    in_mid_word(rig)
    rig.fail(1)
    assert rig.last("engine.retry").code == "engine_bug"
    new = rig.listed()[1]
    assert rig.entry(1).until_s == pytest.approx(0.8)  # its last word may be torn
    assert (texts(rig)[1], rig.jobs[new][1].voice) == ("three.", "k-low")
    rig.receive(new, 0.2)
    rig.fail(new)
    assert rig.last("engine.fallback").fallback == "other"
    newest = rig.parts()[-2]
    assert (rig.text_of(newest), rig.jobs[newest][0]) == ("three.", "b")


def test_the_second_try_has_another_seed() -> None:
    rig = Rig()
    in_mid_word(rig)
    rig.fail(1)
    assert rig.jobs[rig.listed()[1]][1].seed != rig.jobs[1][1].seed


def test_what_an_engine_judged_itself_is_whole() -> None:
    rig = Rig()
    in_mid_word(rig)
    rig.fail(1, "speech_early_end")
    assert rig.entry(1).until_s is None  # only a mark was missing
    assert texts(rig)[1:] == [SECOND, THIRD]
    rig = Rig()
    rig.say(1, THREE)
    rig.receive(1, 0.6)  # "One two"
    rig.fail(1, "speech_early_end")
    assert texts(rig)[1] == "three."
    assert rig.entry(1).until_s == pytest.approx(0.6)


def test_without_memory_a_line_that_has_no_fallback_is_begun_once_more() -> None:
    rig = Rig()
    rig.say(1, voice="alone")
    rig.fail(1, "oom")
    assert (rig.over(1), rig.listed()) == ("", [4])
    assert rig.jobs[4][1].seed != rig.jobs[1][1].seed
    rig.fail(4, "oom")
    assert rig.over(1) == "failed oom"


def test_without_memory_the_fallback_speaks_and_has_a_second_try() -> None:
    rig = Rig()
    rig.say(1)
    rig.fail(1, "oom")
    assert rig.jobs[4][0] == "b"
    rig.fail(4, "oom")
    assert rig.jobs[7][0] == "b"
    rig.fail(7, "oom")
    assert rig.over(1) == "failed oom"


@pytest.mark.parametrize("code", ["nothing_to_speak", "unknown_language", "unsupported_language"])
def test_a_piece_that_cannot_be_said_is_left_out(code: str) -> None:
    rig = Rig()
    rig.say(1, TWO, "alone")
    assert of(rig.fail(1, code), End)
    rig.report("ended", 1)
    rig.hear(4)
    assert rig.over(1) == "finished"


def test_a_piece_in_a_language_of_another_voice_is_said_by_that_one_alone() -> None:
    """No fallback is written in the profile: who speaks the language is known all the same."""
    rig = Rig()
    rig.engine("b", languages=("*",))
    rig.say(1, THREE, "alone")
    rig.fail(4, "unknown_language")
    told = rig.last("engine.fallback")
    assert (told.voice, told.fallback) == ("alone", "other")
    assert texts(rig) == [FIRST, SECOND]
    assert [rig.jobs[s][1].voice for s in rig.parts()] == ["k-alone", "k-other"]
    rig.make(1)
    assert texts(rig)[2] == THIRD
    assert rig.jobs[rig.parts()[2]][1].voice == "k-alone"


def test_whoever_was_asked_in_its_place_and_cannot_either_is_the_last() -> None:
    rig = Rig()
    rig.engine("b", languages=("*",))
    rig.say(1, ONE, "alone")
    rig.fail(1, "unknown_language")
    (second,) = rig.parts()
    rig.fail(second, "unknown_language")
    assert rig.over(1) == "failed unknown_language"


def test_a_line_of_which_nothing_can_be_said_fails() -> None:
    rig = Rig()
    rig.say(1, voice="alone")
    rig.fail(1, "nothing_to_speak")
    assert rig.over(1) == "failed nothing_to_speak"


@pytest.mark.parametrize("code", ["lane_full", "internal"])
def test_our_own_fault_fails_the_line_whatever_voices_there_are(code: str) -> None:
    rig = Rig()
    in_mid_word(rig)
    rig.tick()
    rig.fail(1, code)
    assert rig.over(1) == f"failed {code}"
    assert rig.ended[1].heard == "One two"  # type: ignore[attr-defined]
    assert rig.listed() == []


def test_a_fault_of_what_was_replaced_is_no_news() -> None:
    rig = Rig()
    in_mid_word(rig)
    switch(rig, "high")
    assert rig.fail(1) == []


def test_what_the_engine_mended_is_told() -> None:
    rig = Rig()
    rig.say(1)
    rig.step(inputs.Mended(1, "speech_stuck"))
    event = rig.last("engine.retry")
    assert (event.utterance, event.engine, event.voice, event.code) == (
        1, "a", "low", "speech_stuck",
    )  # fmt: skip
    assert rig.listed() == [1]


# --- an engine is lost ------------------------------------------------------------------------


def test_a_line_goes_on_from_its_last_whole_word_and_dies_with_the_second_engine() -> None:
    rig = Rig()
    in_mid_word(rig)
    rig.lose(1, 4)
    assert rig.last("engine.fallback").reason == "the engine is down"
    assert texts(rig) == [FIRST, "three.", SECOND]
    new = rig.listed()[1]
    rig.step(inputs.Lost((new,), "killed"))
    assert rig.over(1) == "failed killed"


def test_a_line_that_was_not_heard_waits_again_with_all_its_text() -> None:
    rig = Rig()
    rig.say(1, TWO, "alone")
    rig.receive(1, 0.5)
    rig.lose(1, 4, state="starting")
    assert (rig.listed(), rig.over(1)) == ([], "")
    rig.engine("a", restyle=True)
    assert texts(rig) == [FIRST, SECOND]
    rig.lose(*rig.parts(), state="starting")
    assert rig.over(1) == "failed killed"


def test_what_is_complete_outlives_its_engine() -> None:
    rig = Rig()
    sounding(rig)
    rig.lose(1)
    assert (rig.listed(), rig.over(1)) == ([1], "")
    rig.end(1)
    assert rig.over(1) == "finished"


def test_a_line_on_another_engine_is_not_touched() -> None:
    rig = Rig()
    rig.say(1, TWO, "other")
    rig.lose(99)
    assert rig.listed() == [1, 4]


def test_the_voice_of_a_line_is_not_that_of_the_next() -> None:
    rig = Rig()
    rig.step(VoiceState("low", fallback="other", engine="a", key="k-new"))
    rig.say(1)
    assert rig.jobs[1][1].voice == "k-new"


def test_marks_alone_are_not_given_to_an_engine() -> None:
    rig = Rig()
    rig.say(1)
    rig.receive(1, 1.3)  # all but the mark
    rig.start(1)
    rig.fail(1, "speech_leak")
    assert texts(rig) == [FIRST]


# --- whose fault it was -----------------------------------------------------------------------


def both_lost() -> Rig:
    """Lines 1 and 2 on two outputs, whose engine was lost and is up again."""
    rig = Rig(["main", "side"])
    rig.say(1, TWO, "alone")
    rig.say(2, TWO, "alone", output="side")
    rig.lose(*rig.parts(1), *rig.parts(2))
    rig.engine("a", restyle=True)
    return rig


def test_lines_that_lost_an_engine_together_go_on_one_at_a_time() -> None:
    rig = both_lost()
    assert (texts(rig), texts(rig, 2)) == ([FIRST, SECOND], [])
    rig.lose(*rig.parts(1))
    assert (rig.over(1), rig.over(2)) == ("failed killed", "")
    rig.engine("a", restyle=True)
    assert texts(rig, 2) == [FIRST, SECOND]
    rig.hear(*rig.parts(2), lane=3)
    assert rig.over(2) == "finished"


def test_who_waits_for_its_turn_waits_as_long_as_the_other_needs() -> None:
    rig = both_lost()
    for _ in range(100):
        rig.tick(1.0)
    assert (rig.over(1), rig.over(2), texts(rig, 2)) == ("", "", [])
    told = [e.message for e in rig.events if e.event == "trouble"]  # nobody makes line 1 here
    assert told
    assert not any("side" in message for message in told)


def test_who_got_far_lets_others_join_and_the_next_loss_of_both_condemns_none() -> None:
    rig = both_lost()
    rig.receive(rig.parts(1)[0], 0.9)
    assert texts(rig, 2) == []
    rig.receive(rig.parts(1)[0], 0.2)
    assert texts(rig, 2) == [FIRST, SECOND]
    rig.lose(*rig.parts(1), *rig.parts(2))
    rig.engine("a", restyle=True)
    rig.receive(rig.parts(1)[0], 1.3)  # twice as far is asked for now
    rig.step(inputs.Done(rig.parts(1)[0]))  # or a job done: it was not this line's fault
    assert (rig.over(1), rig.over(2), texts(rig, 2)) == ("", "", [FIRST, SECOND])


def test_who_is_held_is_not_waited_for() -> None:
    rig = both_lost()
    rig.step(protocol.Pause(output="main"))
    assert texts(rig, 2) == [FIRST, SECOND]


def test_who_is_on_trial_is_not_made_ahead() -> None:
    rig = Rig()
    sounding(rig, voice="other")
    rig.say(2, voice="alone")
    rig.lose(4)
    rig.engine("a", restyle=True)
    assert (rig.listed(), rig.over(2)) == ([1], "")
    rig.end(1)
    assert texts(rig, 2) == [FIRST]


# --- a voice that was switched to cannot be had -----------------------------------------------


def test_a_line_goes_on_in_the_voice_before_if_the_new_one_is_lost() -> None:
    rig = Rig()
    sounding(rig, text=THREE, voice="other")
    rig.at(1, 0.1)
    switch(rig, "alone")
    assert [rig.jobs[s][0] for s in rig.parts()[1:]] == ["a", "a"]
    rig.lose(*rig.parts()[1:])
    assert rig.last("engine.fallback").fallback == "other"
    assert texts(rig) == [FIRST, "two three.", SECOND]
    assert [rig.jobs[s][0] for s in rig.parts()[1:]] == ["b", "b"]
    rig.fail(rig.parts()[1])
    assert rig.over(1) == "failed engine_bug"  # and not back again


def test_a_line_goes_on_in_the_voice_before_if_the_new_one_fails() -> None:
    rig = Rig()
    sounding(rig, text=THREE, voice="other")
    rig.at(1, 0.1)
    switch(rig, "alone")
    rig.fail(rig.parts()[1])
    assert rig.last("engine.fallback").fallback == "other"
    assert texts(rig) == [FIRST, "two three.", SECOND]
