"""A line with fields of its own: what its jobs carry, and what becomes of its style."""

from __future__ import annotations

import pytest

from koe import protocol
from koed.config.delivery import PLAIN, Delivery
from koed.engine.base import Job
from koed.playback.takes import Take
from koed.playback.voice_choice import VoiceState
from tests.playback.rig_player import FIRST, ONE, THREE, TWO, Rig, in_mid_word, switch
from tests.playback.test_voice_choice import canned

ALL = ("speed", "temperature", "top_k", "seed")
HAPPY = VoiceState(
    "low/happy", fallback="low", engine="a", key="k-happy", speed=1.25,
    delivery=Delivery(speed=1.25, temperature=0.9),
)  # fmt: skip


def rig_with(*more: VoiceState, fields: tuple[str, ...] = ALL) -> Rig:
    rig = Rig()
    rig.engine("a", restyle=True, line_fields=fields)
    for voice in (HAPPY, *more):
        rig.step(voice)
    return rig


def spoken(rig: Rig, serial: int) -> tuple[str, float, dict[str, float]]:
    job: Job = rig.jobs[serial][1]
    return job.voice, job.speed, dict(job.settings)


def test_every_segment_of_a_line_has_its_fields() -> None:
    rig = rig_with()
    rig.say(1, THREE, delivery=Delivery(1.5, 0.7, 5, 7))
    rig.hear(1)
    settings = {"temperature": 0.7, "top_k": 5}
    assert {spoken(rig, serial)[1:] == (1.5, settings) for serial in rig.jobs} == {True}
    assert [job.seed for _, job in rig.jobs.values()] == [7000, 7001, 7002]
    assert [spoken(rig, serial)[0] for serial in rig.jobs] == ["k-low"] * 3


def test_a_line_without_fields_is_spoken_as_ever() -> None:
    rig = rig_with()
    rig.say(1)
    assert (spoken(rig, 1), rig.jobs[1][1].seed) == (("k-low", 1.0, {}), 1000)


def test_a_voice_is_spoken_as_its_profile_says_where_the_line_says_nothing() -> None:
    rig = rig_with()
    rig.say(1, voice="low/happy", style="happy")
    rig.hear(1)
    rig.say(2, voice="low/happy", style="happy", delivery=Delivery(speed=0.8, top_k=3))
    assert spoken(rig, 1) == ("k-happy", 1.25, {"temperature": 0.9})
    assert spoken(rig, 4) == ("k-happy", 0.8, {"temperature": 0.9, "top_k": 3})


@pytest.mark.parametrize("fields", [("speed",), ()])
def test_an_engine_is_told_what_it_obeys_and_no_more(fields: tuple[str, ...]) -> None:
    rig = rig_with(fields=fields)
    rig.say(1, delivery=Delivery(1.5, 0.7, 5, 7))
    assert spoken(rig, 1) == ("k-low", 1.5 if fields else 1.0, {})
    assert rig.jobs[1][1].seed == 1000


def test_the_fallback_speaks_the_line_as_it_can() -> None:
    rig = rig_with()
    rig.engine("b", line_fields=("speed",))
    rig.say(1, voice="low/happy", style="happy", delivery=Delivery(temperature=0.7))
    rig.engine("a", "down", restyle=True, line_fields=ALL)
    rig.step(protocol.Stop())
    rig.say(2, voice="low/happy", style="happy", delivery=Delivery(temperature=0.7))
    ((engine, job),) = [found for found in rig.jobs.values() if found[0] == "b"]
    assert (engine, job.voice, job.speed, job.settings) == ("b", "k-other", 1.2, {})


def test_a_style_that_cannot_be_prepared_is_spoken_plainly() -> None:
    broken = VoiceState("low/sad", fallback="low", engine="a", code="bad_reference", message="x")
    rig = rig_with(broken)
    rig.say(1, voice="low/sad", style="sad")
    assert spoken(rig, 1)[0] == "k-low"
    assert rig.last("engine.fallback").fallback == "low"


def test_another_voice_for_waiting_lines_has_their_style_if_it_can() -> None:
    rig = rig_with(VoiceState("high/happy", fallback="high", engine="a", key="k-high-happy"))
    in_mid_word(rig)
    rig.say(2, voice="low/happy", style="happy")
    rig.say(3)
    switch(rig, "high", "line")
    assert [line.voice for line in rig.lineup.queue.waiting()] == ["high/happy", "high"]
    switch(rig, "alone", "line")
    assert [line.voice for line in rig.lineup.queue.waiting()] == ["alone", "alone"]
    switch(rig, "low", "line")
    assert [line.voice for line in rig.lineup.queue.waiting()] == ["low/happy", "low"]


@pytest.mark.parametrize(
    ("to", "key"), [("low/happy", "k-happy"), ("high", "k-high"), ("other", "k-other")]
)
def test_a_style_takes_over_in_mid_sound_as_a_voice_does(to: str, key: str) -> None:
    rig = rig_with()
    in_mid_word(rig)
    rig.make(1)
    switch(rig, to)
    job = rig.jobs[rig.listed()[1]][1]
    assert job.voice == key
    assert (job.restyle_of, job.text) == (1, FIRST) if to != "other" else job.restyle_of == 0


def test_a_line_with_a_style_keeps_it_in_a_voice_that_has_it_too() -> None:
    rig = rig_with(VoiceState("high/happy", fallback="high", engine="a", key="k-high-happy"))
    rig.say(1, TWO, "low/happy", style="happy")
    rig.make(1)
    rig.start(1)
    rig.at(1, 0.5)
    switch(rig, "high")
    assert rig.jobs[rig.listed()[1]][1].voice == "k-high-happy"
    rig.step(VoiceState("high/sad", fallback="high", engine="a", key="k-high-sad"))
    switch(rig, "high/sad")  # who names a style means it
    assert rig.jobs[rig.listed()[2]][1].voice == "k-high-sad"


def test_what_was_rendered_ahead_is_of_a_voice_and_not_of_a_line() -> None:
    asked: list[str] = []

    def takes(text: str, voice: VoiceState) -> Take:
        asked.append(voice.name)
        return Take("t", voice.key, canned(text))

    rig = Rig(takes=takes)
    rig.say(1, delivery=Delivery(speed=1.5))
    assert (asked, list(rig.jobs)) == ([], [1])
    rig.step(protocol.Stop())
    rig.say(2, delivery=PLAIN)
    assert (set(asked), list(rig.jobs)) == ({"low"}, [1])


def test_the_sound_of_a_voice_is_not_played_for_another_of_the_same_key() -> None:
    rig = Rig(takes=lambda text, voice: Take("t", voice.key, canned(text)))
    quick = VoiceState("low/quick", fallback="low", engine="a", key="k-low", speed=1.5)
    rig.step(quick)
    rig.say(1, TWO, in_pieces=False)
    rig.start(rig.listed()[0])
    rig.at(rig.listed()[0], 0.5)
    switch(rig, "low/quick")
    assert [job.speed for _, job in rig.jobs.values()] == [1.5, 1.5]


# --- tags in the text -------------------------------------------------------------------------

SAD = VoiceState("low/sad", fallback="low", engine="a", key="k-sad")
TAGGED = "Well yes. Four five six. Ten eleven."
MARKS = ((10, "happy"), (25, "sad"))


def voices_of(rig: Rig) -> list[tuple[str, str]]:
    return [(job.voice, job.text) for _, job in rig.jobs.values()]


def test_a_text_changes_its_style_where_it_is_marked() -> None:
    rig = rig_with(SAD)
    rig.say(1, TAGGED, marks=MARKS)
    rig.hear(1, 4, 7)
    assert voices_of(rig) == [
        ("k-low", "Well yes."), ("k-happy", "Four five six."), ("k-sad", "Ten eleven."),
    ]  # fmt: skip
    assert rig.over(1) == "finished"
    assert [job.speed for _, job in rig.jobs.values()] == [1.0, 1.25, 1.0]


@pytest.mark.parametrize("cut", range(1, 45, 4))
def test_a_text_that_still_comes_may_change_it_too(cut: int) -> None:
    text = "Well yes.[happy] Four five six. [Sad]Ten eleven. [what]"
    rig = rig_with(SAD)
    rig.say(1, "", in_pieces=True, tags=("happy", "sad"))
    for piece in (text[:cut], text[cut:]):
        rig.step(protocol.SayAppend(utterance=1, text=piece))
    rig.step(protocol.SayClose(utterance=1))
    utterance = rig.lineup.find(1)
    assert utterance is not None
    assert utterance.text.startswith("Well yes. Four five six. Ten eleven.")
    rig.hear(1, 4, 7, 10)
    assert voices_of(rig)[:3] == [
        ("k-low", "Well yes."), ("k-happy", "Four five six."), ("k-sad", "Ten eleven."),
    ]  # fmt: skip


def test_once_a_fallback_speaks_tags_change_nothing() -> None:
    rig = rig_with(SAD)
    rig.say(1, TAGGED, marks=MARKS)
    rig.hear(1)
    rig.fail(4, "voice_unknown")
    rig.hear(*rig.parts())
    rig.hear(*rig.parts())
    assert [voice for voice, _ in voices_of(rig)][-2:] == ["k-low", "k-low"]
    assert rig.over(1) == "finished"


def test_another_voice_goes_on_with_the_tags_in_its_own_styles() -> None:
    rig = rig_with(SAD, VoiceState("high/sad", fallback="high", engine="a", key="k-high-sad"))
    rig.say(1, TAGGED, marks=MARKS)
    rig.make(1)
    rig.start(1)
    rig.at(1, 0.3)
    switch(rig, "high")
    rig.make(*[serial for serial in rig.listed() if serial != 1])
    rig.make(*rig.parts()[-1:])
    assert {voice for voice, _ in voices_of(rig)[-2:]} == {"k-high", "k-high-sad"}


def test_a_line_with_tags_is_not_one_that_was_rendered_ahead() -> None:
    rig = Rig(takes=lambda text, voice: Take("t", voice.key, canned(text)))
    rig.step(HAPPY)
    rig.say(1, ONE, marks=((0, "happy"),))
    assert voices_of(rig) == [("k-happy", ONE)]


def test_a_quick_engine_is_given_the_whole_first_sentence() -> None:
    rig, text = Rig(), "Well, here we are, my friends. And so on."
    rig.say(1, text)
    assert rig.text_of(1) == "Well,"
    rig = Rig()
    rig.engine("a", sentence_chars=100)
    rig.say(1, text)
    assert rig.text_of(1) == "Well, here we are, my friends."
    rig = Rig()
    rig.engine("a", sentence_chars=100)
    rig.say(1, "", in_pieces=True)
    rig.step(protocol.SayAppend(utterance=1, text=text))  # the rest may be long in coming
    assert rig.text_of(1) == "Well,"


def test_a_phrase_is_canned_for_a_quick_engine_too() -> None:
    rig = Rig(takes=lambda text, voice: Take("t", voice.key, canned(text)))
    rig.engine("a", sentence_chars=100)
    rig.say(1, "Well, here we are, my friends.")
    assert not rig.jobs
