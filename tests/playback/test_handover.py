"""How a line goes on after a fault, and when its engine is lost."""

from __future__ import annotations

import pytest

from koed.playback import inputs
from koed.playback.effects import End
from koed.playback.voice_choice import Voice
from tests.playback.rig_player import (
    FIRST,
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
    rig.step(Voice("low", fallback="other", engine="a", key="k-new"))
    rig.say(1)
    assert rig.jobs[1][1].voice == "k-new"


def test_marks_alone_are_not_given_to_an_engine() -> None:
    rig = Rig()
    rig.say(1)
    rig.receive(1, 1.3)  # all but the mark
    rig.start(1)
    rig.fail(1, "speech_leak")
    assert texts(rig) == [FIRST]
