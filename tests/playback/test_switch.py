"""How a line goes on in another voice: in mid-sound, from a word, or with the next line."""

from __future__ import annotations

import pytest

from koed.audio.arrangement import Joint
from koed.playback import inputs
from koed.playback.effects import Arrange, Keep, Speak
from koed.playback.handover import RESTYLE_MARGIN_S
from koed.playback.takes import Take
from tests.playback.rig_player import (
    FIRST,
    SECOND,
    THIRD,
    THREE,
    TWO,
    Rig,
    in_mid_word,
    sounding,
    switch,
    texts,
)  # fmt: skip
from tests.playback.test_voice_choice import canned


def test_next_changes_only_what_is_said_from_now_on() -> None:
    rig = Rig()
    in_mid_word(rig)
    done = switch(rig, "high", "next")
    assert [type(effect).__name__ for effect in done] == ["Publish", "Publish", "Publish"]
    assert rig.words() == ["One", "two"]
    assert rig.answer == {"voice": "high", "previous": "low", "fields": {}}
    rig.say(2)
    switch(rig, "alone", "next")
    assert [line.voice for line in rig.lineup.queue.waiting()] == ["low"]
    switch(rig, "high", "next")
    assert rig.last("voice.changed").when == "next"
    assert switch(rig, "low", "next") != []
    assert rig.answer["previous"] == "high"


def test_a_restyled_part_takes_over_in_mid_sound() -> None:
    rig = Rig()
    in_mid_word(rig)
    rig.make(1)
    rig.say(2)
    done = switch(rig, "high")
    old, new, after = rig.listed()
    assert (old, texts(rig)) == (1, [FIRST, FIRST, SECOND])
    job = rig.jobs[new][1]
    assert (job.voice, job.restyle_of) == ("k-high", 1)
    assert job.start_s == pytest.approx(0.555)
    assert rig.entry(new).joint == Joint(1, job.start_s)
    assert (rig.entry(new).gain_db, rig.entry(old).until_s) == (3.0, None)
    assert rig.kept["a"] == {new, after}  # nothing more is wanted of the old one
    assert rig.ends[1] == 0.0
    kinds = [type(effect) for effect in done]
    assert kinds.index(Arrange) < kinds.index(Speak) < kinds.index(Keep)
    assert rig.jobs[after][1].voice == "k-high"


def test_the_parts_of_the_next_line_stay_listed_at_a_restyle() -> None:
    rig = Rig()
    sounding(rig)
    rig.say(2, voice="alone", explicit_voice=True)
    assert rig.listed() == [1, 4]
    rig.make(4)
    found = rig.lineup.part_of(4)
    assert found is not None
    made_s = found[1].received_s
    rig.at(1, 0.55)
    switch(rig, "high")
    assert rig.listed() == [1, 7, 4]
    assert rig.kept["a"] == {7, 4}
    assert [rig.entry(serial).shut for serial in (7, 4)] == [False, False]
    assert rig.player.behind_s() == {("a", 1): pytest.approx(made_s + 0.25)}


def test_a_prepared_line_is_made_anew_in_the_voice_of_now() -> None:
    rig = Rig()
    sounding(rig, voice="alone", explicit_voice=True)
    rig.say(2)
    switch(rig, "high", "line")
    assert rig.listed() == [1, 7]
    assert rig.jobs[7][1].voice == "k-high"
    assert rig.lineup.find(1).voice == "alone"  # type: ignore[union-attr]


def test_words_are_told_once_through_a_restyle() -> None:
    rig = Rig()
    in_mid_word(rig)
    switch(rig, "high")
    _, new, _ = rig.listed()
    rig.at(1, 0.85)
    rig.tick()
    assert rig.words() == ["One", "two", "three"]
    rig.receive(new, 0.2)
    rig.positions[1] = (new, 0.3)
    rig.report("cut", 1, 0.85)
    rig.report("started", new, 0.3)
    assert rig.listed()[0] == new
    rig.receive(new)
    rig.at(new, 0.5)
    rig.tick()
    assert rig.words() == ["One", "two", "three"]


def test_two_changes_in_quick_succession_both_start_from_what_sounds() -> None:
    rig = Rig()
    in_mid_word(rig)
    switch(rig, "high")
    first = rig.listed()[1]
    rig.at(1, 0.6)
    switch(rig, "alone")
    _, second, after = rig.listed()
    assert first not in rig.listed()
    assert texts(rig) == [FIRST, FIRST, SECOND]
    assert rig.entry(second).joint == Joint(1, 0.6 + RESTYLE_MARGIN_S)
    assert rig.jobs[second][1].restyle_of == 1
    assert rig.kept["a"] == {second, after}


def test_a_change_of_a_restyled_part_counts_from_its_own_beginning() -> None:
    rig = Rig()
    in_mid_word(rig)
    switch(rig, "high")
    new = rig.listed()[1]
    rig.receive(new, 0.5)
    rig.at(new, 0.1)
    rig.report("cut", 1, 0.6)
    rig.report("started", new)
    switch(rig, "alone")
    newest = rig.listed()[1]
    assert rig.jobs[newest][1].restyle_of == new
    assert rig.jobs[newest][1].start_s == pytest.approx(0.555 + 0.105)
    assert rig.entry(newest).joint == Joint(new, 0.1 + RESTYLE_MARGIN_S)


def test_another_engine_goes_on_from_the_next_word() -> None:
    rig = Rig()
    in_mid_word(rig)
    switch(rig, "other")
    old, new, after = rig.listed()
    assert rig.entry(old).until_s == pytest.approx(0.8)  # where "three" begins
    assert rig.entry(new).joint is None
    assert texts(rig) == [FIRST, "three.", SECOND]
    engine, job = rig.jobs[new]
    assert (engine, job.voice, job.restyle_of, job.start_s) == ("b", "k-other", 0, 0.0)
    assert job.speed == 1.2
    assert rig.kept == {"a": set(), "b": {new, after}}
    rig.at(1, 0.8)
    rig.end(1, kind="cut")
    rig.hear(new)
    assert rig.words() == ["One", "two", "three"]


def test_a_word_that_is_all_but_there_is_left_to_the_old_voice() -> None:
    rig = Rig()
    rig.say(1, THREE)
    rig.make(1)
    rig.start(1)
    rig.at(1, 0.78)
    switch(rig, "other")
    assert texts(rig)[0] == FIRST
    assert rig.entry(1).until_s is None
    assert texts(rig)[1:] == [SECOND, THIRD]


def test_between_two_segments_only_what_is_ahead_is_made_again() -> None:
    rig = Rig()
    rig.say(1, THREE)
    rig.make(1)
    rig.start(1)
    rig.end(1)
    assert rig.listed() == [1, 4, 7]
    switch(rig, "high")
    assert rig.listed() == [1, 10, 13]
    assert texts(rig) == [SECOND, THIRD]
    assert rig.jobs[10][1].restyle_of == 0


def test_what_was_heard_to_its_end_stays_though_its_report_is_on_its_way() -> None:
    rig = Rig()
    rig.say(1, THREE)
    rig.make(1)
    rig.start(1)
    rig.positions[1] = (0, 0.0)
    switch(rig, "high")
    assert texts(rig) == [FIRST, SECOND, THIRD]
    assert rig.listed() == [1, 10, 13]


def test_a_canned_part_is_not_restyled() -> None:
    rig = Rig(takes=lambda text, voice: Take("t", voice.key, canned(text)))
    rig.say(1, TWO)
    rig.start(1)
    rig.at(1, 0.55)
    switch(rig, "high")
    new = rig.listed()[1]
    assert rig.entry(1).until_s == pytest.approx(0.8)
    assert (rig.text_of(new), rig.jobs[new][1].restyle_of) == ("three.", 0)
    assert rig.kept["a"] == set(rig.listed()[1:])


@pytest.mark.parametrize("comes_back", [True, False])
def test_the_next_line_stays_shut_while_the_rest_of_this_one_waits(comes_back: bool) -> None:
    rig = Rig()
    sounding(rig, voice="other")
    rig.say(2, voice="other", explicit_voice=True)
    rig.make(4)
    rig.at(1, 0.1)
    rig.engine("a", "down")
    rig.engine("b", "down")
    switch(rig, "alone")
    assert rig.listed() == [1, 4]
    assert (rig.entry(1).shut, rig.entry(4).shut) == (False, True)
    if comes_back:
        rig.engine("a")
        assert texts(rig) == [FIRST, "two three."]
    else:
        rig.tick(0.1)
        rig.tick(2.1)
        assert rig.over(1) == "failed engine_down"
    assert rig.listed()[-1] == 4
    assert not any(entry.shut for entry in rig.lists[1])


def test_one_output_is_switched_alone() -> None:
    rig = Rig(["main", "side"])
    sounding(rig)
    rig.say(2, output="side")
    rig.make(4)
    rig.start(4, lane=3)
    switch(rig, "high", output="side")
    assert rig.listed(1) == [1]
    assert len(rig.listed(3)) == 2
    assert rig.lineup.current_voice("side") == "high"
    assert rig.lineup.current_voice("main") == "low"
    switch(rig, "alone", "next")
    assert rig.lineup.current_voice("side") == "alone"


@pytest.mark.parametrize("name", ["low", "nobody"])
def test_the_same_voice_or_one_that_is_not_there_changes_nothing(name: str) -> None:
    rig = Rig()
    sounding(rig)
    switch(rig, name)
    assert rig.listed() == [1]


def test_the_named_voice_is_left_alone_while_it_waits() -> None:
    rig = Rig()
    rig.say(1, voice="low", explicit_voice=True)
    rig.say(2)
    switch(rig, "high")
    assert rig.listed() == [1]
    assert [line.voice for line in rig.lineup.queue.waiting()] == ["low", "high"]


def test_a_word_after_which_none_is_known_is_said_again_by_another_engine() -> None:
    rig = Rig()
    in_mid_word(rig)
    rig.at(1, 0.9)
    switch(rig, "other")
    assert texts(rig)[1] == "three."
    assert rig.entry(1).until_s == pytest.approx(0.93)
    assert rig.words() == ["One", "two", "three"]
    new = rig.listed()[1]
    rig.at(1, 0.93)
    rig.end(1, kind="cut")
    rig.hear(new)
    assert rig.words() == ["One", "two", "three"]


@pytest.mark.parametrize(("before", "voice"), [("low", "high"), ("other", "high")])
def test_jobs_of_an_engine_are_asked_for_in_the_order_of_the_list(before: str, voice: str) -> None:
    """The next line would use up the credit of the lane, and what is heard first never come."""
    rig = Rig()
    sounding(rig, voice=before)
    switch(rig, voice, "next")
    rig.say(2, THREE, voice)
    rig.make(4)
    rig.receive(7, 0.5)
    rig.at(1, 0.55)
    switch(rig, voice)
    engine = rig.jobs[rig.parts(1)[-1]][0]
    making = [s for s in rig.listed() if rig.lineup.part_of(s)[1].generating]  # type: ignore[index]
    assert making == sorted(s for s in making if rig.jobs[s][0] == engine)


def test_a_restyled_part_without_a_word_yet_tells_no_segment() -> None:
    """Captions would go back to words that were heard, and on to some that never are."""
    rig = Rig()
    sounding(rig)
    rig.at(1, 0.55)
    switch(rig, "high")
    new = rig.listed()[1]
    rig.step(inputs.Received(new, 0.02))
    rig.report("cut", 1, 0.56)
    rig.report("started", new, 0.0)
    kinds = [getattr(e, "kind", "") for e in rig.events if e.event == "utterance.progress"]
    assert "word" in kinds
    assert "segment" not in kinds


def test_a_second_change_just_before_the_end_of_the_old_sound_loses_no_word() -> None:
    """The word from which the first change goes on is nearer than a new one may begin."""
    rig = Rig()
    sounding(rig, voice="other", explicit_voice=True)
    rig.at(1, 0.3)
    switch(rig, "high")
    until_s = rig.entry(1).until_s
    assert until_s is not None
    said = rig.text_of(rig.listed()[1])
    rig.at(1, until_s - 0.01)
    switch(rig, "low")
    assert rig.entry(1).until_s == until_s
    assert rig.text_of(rig.listed()[1]) == said
