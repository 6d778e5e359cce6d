"""What takes lines back, holds the voice, brings text in pieces, and tells what was heard."""

from __future__ import annotations

from typing import Any

import pytest

from koe import protocol
from koe.protocol import Progress
from koed.config.daemon import QueueConfig, TextConfig
from koed.engine.base import Word
from koed.errors import KoedError
from koed.playback import inputs
from koed.playback.effects import Keep, Mute, Pause
from koed.playback.lipsync import LipSync
from tests.playback.rig_player import FIRST, ONE, SECOND, TWO, Rig, of, sounding


def refused(rig: Rig, item: Any) -> str:
    with pytest.raises(KoedError) as caught:
        rig.step(item)
    return caught.value.code


# --- taking back ------------------------------------------------------------------------------


def behind(rig: Rig, *outputs: str) -> None:
    """A line sounds and one waits behind it."""
    sounding(rig, key="first", author="ann")
    rig.say(2, key="k", author="ben")


def test_stop_ends_what_sounds_and_what_waits() -> None:
    rig = Rig()
    behind(rig)
    rig.say(3, priority="chatter")
    rig.step(protocol.Stop())
    assert [rig.over(n) for n in (1, 2, 3)] == ["skipped stop", "dropped stop", "dropped stop"]
    assert rig.answer == {"dropped": [1, 2, 3]}
    assert (rig.listed(), rig.kept["a"]) == ([], set())


def test_skip_leaves_the_next_line_and_its_sound() -> None:
    rig = Rig()
    behind(rig)
    rig.make(4)
    rig.step(protocol.Skip())
    assert (rig.over(1), rig.answer) == ("skipped skip", {"utterance": 1})
    assert (rig.listed(), rig.kept["a"]) == ([4], {4})
    rig.step(protocol.Skip())
    assert (rig.answer, rig.over(2)) == ({}, "")


def test_clear_leaves_what_sounds() -> None:
    rig = Rig()
    behind(rig)
    rig.say(3, priority="chatter")
    rig.step(protocol.Clear(priority="chatter"))
    assert (rig.answer, rig.over(2), rig.over(3)) == ({"dropped": [3]}, "", "dropped clear")
    rig.step(protocol.Clear())
    assert (rig.over(1), rig.over(2)) == ("", "dropped clear")
    assert (rig.listed(), rig.kept["a"]) == ([1], {1})


@pytest.mark.parametrize(
    ("what", "gone"),
    [
        ({"utterance": 1}, {1: "skipped cancel"}),
        ({"utterance": 2}, {2: "dropped cancel"}),
        ({"key": "k"}, {2: "dropped cancel"}),
        ({"author": "ann"}, {1: "skipped cancel"}),
        ({"author": "ann", "key": "k"}, {}),
        ({"author": "nobody"}, {}),
    ],
)
def test_cancel(what: dict[str, Any], gone: dict[int, str]) -> None:
    rig = Rig()
    behind(rig)
    rig.step(protocol.Cancel(**what))
    assert rig.answer == {"cancelled": list(gone)}
    assert [rig.over(n) for n in (1, 2)] == [gone.get(n, "") for n in (1, 2)]
    assert rig.listed() == [s for n, s in ((1, 1), (2, 4)) if n not in gone]


def test_a_cancel_of_nothing() -> None:
    rig = Rig()
    assert refused(rig, protocol.Cancel()) == "missing_field"
    assert refused(rig, protocol.Cancel(utterance=9)) == "unknown_utterance"
    rig.step(inputs.Withdraw(9, "deleted"))
    assert rig.answer is False


def test_a_key_does_not_replace_what_sounds() -> None:
    rig = Rig()
    behind(rig)
    rig.say(3, "Other words.", key="first")
    assert (rig.over(1), rig.over(2)) == ("", "")


def test_a_refused_line_is_told_and_is_nowhere() -> None:
    rig = Rig(max_lines=1, when_full="refuse")
    rig.say(1)
    rig.say(2)
    assert (rig.over(2), rig.answer.refused) == ("dropped queue_full", "queue_full")
    rig.step(protocol.Mode(mode="chat_muted"))
    rig.say(3, priority="chatter")
    assert (rig.over(3), rig.answer.refused) == ("dropped chat_muted", "chat_muted")
    assert rig.listed() == [1]


@pytest.mark.parametrize(
    "request_",
    [
        protocol.Stop(output="x"), protocol.Skip(output="x"), protocol.Clear(output="x"),
        protocol.Pause(output="x"), protocol.Mute(output="x"), protocol.Voice(output="x"),
        protocol.Mode(output="x"),
    ],
)  # fmt: skip
def test_an_output_that_is_not_there(request_: Any) -> None:
    assert refused(Rig(), request_) == "unknown_output"


# --- latches ----------------------------------------------------------------------------------


def test_pause_holds_the_sound_and_ends_nothing() -> None:
    rig = Rig()
    behind(rig)
    assert of(rig.step(protocol.Pause()), Pause) == [Pause("main", True)]
    assert rig.step(protocol.Pause()) == []
    assert (rig.listed(), rig.lineup.channels["main"].held) == ([1, 4], "paused")
    assert of(rig.step(protocol.Resume()), Pause) == [Pause("main", False)]
    assert [e.state for e in rig.events if isinstance(e, protocol.StateChanged)] == [
        "paused", "resumed",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("on", "off"),
    [
        (protocol.Mute(), protocol.Unmute()),
        (protocol.Mode(mode="all_muted"), protocol.Mode(mode="speak")),
    ],
)
def test_silence_cuts_what_sounds_and_keeps_what_waits(on: Any, off: Any) -> None:
    rig = Rig()
    behind(rig)
    assert of(rig.step(on), Mute) == [Mute("main", True)]
    assert (rig.over(1), rig.over(2)) == ("skipped mute", "")
    assert (rig.listed(), rig.kept["a"]) == ([], set())  # nothing is made while it is silent
    assert rig.step(on) == []
    rig.say(3)
    assert rig.listed() == []
    assert of(rig.step(off), Mute) == [Mute("main", False)]
    assert rig.lineup.find(2).parts  # type: ignore[union-attr]


def test_two_latches_must_both_be_lifted() -> None:
    rig = Rig()
    rig.step(protocol.Mute())
    assert not of(rig.step(inputs.SetMode("all_muted", None, "obs")), Mute)
    assert rig.lineup.channels["main"].held == "all_muted"
    assert not of(rig.step(protocol.Unmute()), Mute)
    assert of(rig.step(inputs.SetMode("speak", "main", "obs")), Mute) == [Mute("main", False)]


def test_panic_silences_all_outputs_until_it_is_released() -> None:
    rig = Rig(["main", "side"])
    behind(rig)
    rig.say(3, output="side", priority="urgent")
    rig.make(rig.listed(3)[0])
    rig.start(rig.listed(3)[0], 3)
    done = rig.step(protocol.Panic(by="ann"))
    assert of(done, Mute) == [Mute("main", True), Mute("side", True)]
    assert [rig.over(n) for n in (1, 2, 3)] == ["skipped panic", "", "skipped panic"]
    assert (rig.listed(), rig.listed(3), rig.kept["a"]) == ([], [], set())
    told = [e for e in rig.events if isinstance(e, protocol.StateChanged)]
    assert [(e.state, e.output, e.detail) for e in told] == [
        ("panic", "main", "ann"), ("panic", "side", "ann"),
    ]  # fmt: skip
    assert rig.step(protocol.Panic(by="ben")) == []  # it holds already
    rig.say(4, priority="urgent")
    assert (rig.listed(), rig.lineup.channels["main"].held) == ([], "panic")
    done = rig.step(protocol.Release())
    assert of(done, Mute) == [Mute("main", False), Mute("side", False)]
    assert rig.last("state").state == "released"
    assert rig.parts(4)
    assert rig.lineup.find(2)  # held, not dropped
    assert rig.step(protocol.Release()) == []


def test_nothing_but_a_release_lifts_a_panic() -> None:
    rig = Rig()
    for latch in (protocol.Mute(), protocol.Panic()):
        rig.step(latch)
    for other in (
        protocol.Unmute(), protocol.Resume(), protocol.Mode(mode="all_muted"),
        inputs.SetMode("speak", None, "obs"), protocol.Stop(),
    ):  # fmt: skip
        assert not of(rig.step(other), Mute)
        assert rig.lineup.channels["main"].held == "panic"
    assert of(rig.step(protocol.Release()), Mute) == [Mute("main", False)]
    rig.step(protocol.Mute())
    rig.step(protocol.Panic())
    assert not of(rig.step(protocol.Release()), Mute)  # the other latch holds on
    assert rig.lineup.channels["main"].held == "muted"


def test_a_chat_that_is_muted_loses_what_waits_of_it() -> None:
    rig = Rig(["main", "side"])
    sounding(rig, priority="chatter")
    rig.say(2, priority="chatter")
    rig.say(3, priority="chatter", output="side")
    assert rig.listed() == [1, 4]
    rig.step(protocol.Mode(mode="chat_muted", output="main"))
    assert [rig.over(n) for n in (1, 2, 3)] == ["", "dropped chat_muted", ""]
    assert rig.answer == {
        "mode": "chat_muted", "previous": "speak", "modes": {"main": "chat_muted", "side": "speak"},
    }  # fmt: skip
    assert rig.last("mode.changed").by == "client"
    rig.say(4)
    assert rig.parts(4)


# --- text that comes in pieces ----------------------------------------------------------------


def append(rig: Rig, text: str) -> None:
    rig.step(protocol.SayAppend(utterance=1, text=text))


def test_an_open_line_is_said_as_it_comes() -> None:
    rig = Rig()
    rig.say(1, "", in_pieces=True)
    assert rig.listed() == []
    append(rig, "One two thr")
    assert rig.listed() == []
    append(rig, "ee. Four five ")
    assert [rig.text_of(s) for s in rig.listed()] == [FIRST]
    rig.hear(1)
    assert (rig.over(1), rig.listed()) == ("", [1])
    append(rig, "six seven eight nine.")
    rig.step(protocol.SayClose(utterance=1))
    assert rig.answer == {"utterance": 1}
    assert [rig.text_of(s) for s in rig.parts()] == [SECOND]
    rig.hear(*rig.parts())
    assert rig.over(1) == "finished"
    assert refused(rig, protocol.SayAppend(utterance=1, text="x")) == "unknown_utterance"


def test_the_next_line_waits_for_an_open_one() -> None:
    rig = Rig()
    rig.say(1, "", in_pieces=True)
    append(rig, "One two three. And")
    rig.hear(1)
    rig.say(2)
    assert rig.listed() == [1]
    rig.step(protocol.SayClose(utterance=1))
    assert len(rig.parts(1)) == 1


@pytest.mark.parametrize("text", ["", "..."])
def test_an_open_line_without_words(text: str) -> None:
    rig = Rig()
    rig.say(1, "", in_pieces=True)
    append(rig, text)
    rig.step(protocol.SayClose(utterance=1))
    assert rig.over(1) == "dropped nothing_to_say"


def test_an_open_line_is_closed_when_its_writer_is_silent() -> None:
    rig = Rig(open_idle_s=5.0)
    rig.say(1, "", in_pieces=True)
    rig.tick(4)
    append(rig, "One two")
    rig.tick(5)
    assert rig.listed() == []
    rig.tick(0.1)
    assert [rig.text_of(s) for s in rig.listed()] == ["One two"]
    assert refused(rig, protocol.SayClose(utterance=1)) == "unknown_utterance"


def test_an_open_line_that_was_taken_back_has_all_its_text() -> None:
    rig = Rig()
    rig.say(1, "", in_pieces=True)
    append(rig, "One two three. Four five ")
    rig.receive(1, 0.5)
    rig.say(2, "First.", priority="urgent")
    assert (rig.parts(1), rig.text_of(rig.listed()[0])) == ([], "First.")
    append(rig, "six seven eight nine.")
    rig.step(protocol.SayClose(utterance=1))
    rig.hear(*rig.listed())
    assert [rig.text_of(s) for s in rig.parts(1)] == [FIRST, SECOND]


def test_an_open_line_has_limits() -> None:
    rig = Rig(text=TextConfig(max_chars=10))
    rig.say(1, "", in_pieces=True)
    assert refused(rig, protocol.SayAppend(utterance=1, text="x" * 11)) == "text_too_long"
    for _ in range(19):
        append(rig, "abcd efgh ")
    append(rig, "abcd efgh")
    assert refused(rig, protocol.SayAppend(utterance=1, text="more words")) == "text_too_long"
    rig.say(2)
    for number in (2, 3):
        code = refused(rig, protocol.SayAppend(utterance=number, text="x"))
        assert code == "unknown_utterance"


# --- what was heard ---------------------------------------------------------------------------


def test_words_are_told_once_and_in_order() -> None:
    rig = Rig()
    rig.say(1, TWO)
    rig.make(1, 4)
    assert rig.words() == []
    rig.start(1)
    rig.tick()
    assert rig.words() == ["One"]
    rig.at(1, 0.45)
    for _ in range(3):
        rig.tick()
    assert rig.words() == ["One", "two"]
    assert rig.names().count("utterance.progress") == 2  # and no segment
    event = rig.last("utterance.progress")
    assert (event.start, event.end) == (4, 7)
    assert event.heard_t == pytest.approx(rig.now + 0.1 - 0.05)
    rig.end(1)
    assert rig.words() == ["One", "two", "three"]
    rig.start(4)
    rig.at(4, 0.6)
    rig.tick()
    event = rig.last("utterance.progress")
    assert (event.text, TWO[event.start : event.end]) == ("five", "five")


def test_what_was_heard_is_as_of_the_moment_of_the_skip() -> None:
    rig = Rig()
    sounding(rig)
    rig.at(1, 0.45)
    rig.step(protocol.Skip())
    assert rig.ended[1].heard == "One two"  # type: ignore[attr-defined]
    assert rig.names()[-3:] == ["utterance.progress"] * 2 + ["utterance.skipped"]
    assert rig.report("cut", 1, 0.9) == []


@pytest.mark.parametrize("way", ["urgent", "withdraw", "silence", "mode"])
def test_what_was_heard_is_as_of_the_moment_of_any_cut(way: str) -> None:
    rig = Rig()
    sounding(rig)
    rig.at(1, 0.45)
    if way == "urgent":
        rig.say(2, priority="urgent")
    elif way == "withdraw":
        rig.step(inputs.Withdraw(1, "deleted"))
    elif way == "silence":
        rig.step(inputs.Silence("main", "shutdown"))
    else:
        rig.step(inputs.SetMode("all_muted", None, "obs"))
    assert rig.ended[1].heard == "One two"  # type: ignore[attr-defined]


def test_words_wait_for_the_report_that_their_part_began() -> None:
    rig = Rig()
    rig.say(1)
    rig.make(1)
    rig.at(1, 0.5)
    rig.tick()
    assert rig.words() == []
    rig.report("started", 1)
    rig.tick()
    assert rig.words() == ["One", "two"]
    assert rig.names()[1] == "utterance.started"


def test_of_a_part_that_never_began_no_word_is_told() -> None:
    rig = Rig()
    sounding(rig, text=TWO)
    rig.end(1)
    rig.make(4)
    rig.report("cut", 4)
    assert rig.words() == ["One", "two", "three"]


def test_words_that_come_after_the_ear_are_told_then() -> None:
    rig = Rig()
    rig.say(1)
    rig.receive(1, 0.3)
    rig.start(1)
    rig.at(1, 0.3)
    rig.tick()
    assert rig.words() == ["One"]
    rig.step(inputs.Received(1, 1.1, (Word(4, 7, 0.25), Word(8, 13, 0.8))))
    rig.tick()
    assert rig.words() == ["One", "two"]


def test_without_word_times_the_segment_is_told() -> None:
    rig = Rig()
    rig.say(1)
    rig.step(inputs.Received(1, 1.0))
    rig.step(inputs.Done(1))
    rig.start(1)
    told = [event for event in rig.events if isinstance(event, Progress)]
    assert [(event.kind, event.text, event.start, event.end) for event in told] == [
        ("segment", ONE, 0, len(ONE))
    ]
    rig.say(2)
    assert not of(rig.tick(), Keep)
    rig.end(1)
    assert rig.over(1) == "finished"


def kinds(rig: Rig) -> list[str]:
    return [event.kind for event in rig.events if isinstance(event, Progress)]


@pytest.mark.parametrize(("word_times", "at_once"), [(True, []), (False, ["segment"])])
def test_a_first_chunk_without_a_word_may_have_words_behind_it(
    word_times: bool, at_once: list[str]
) -> None:
    rig = Rig()
    rig.engine("a", word_times=word_times)
    rig.say(1)
    rig.step(inputs.Received(1, 0.2))
    rig.start(1)
    rig.tick()
    assert kinds(rig) == at_once
    if word_times:
        rig.step(inputs.Received(1, 1.0, (Word(0, 3, 0.25),)))
    rig.at(1, 0.3)
    rig.step(inputs.Done(1))
    rig.tick()
    assert kinds(rig) == (["word"] if word_times else ["segment"])


def test_an_engine_that_told_no_word_after_all_is_told_by_its_segment() -> None:
    rig = Rig()
    rig.engine("a", word_times=True)
    rig.say(1)
    rig.step(inputs.Received(1, 1.0))
    rig.start(1)
    rig.at(1, 0.3)
    rig.step(inputs.Done(1))
    rig.tick()
    rig.tick()
    assert kinds(rig) == ["segment"]


def test_who_speaks_and_how_is_told_to_mouths() -> None:
    rig = Rig()
    sounding(rig)
    rig.at(1, 0.5)
    rig.tick()
    lipsync = LipSync(rig.lineup)
    mouth = lipsync.window("main", -10.0, 0.2, 4.0)
    assert (mouth.voice, mouth.shape, mouth.level, mouth.open) == ("low", "a", 1.0, 1.0)
    assert mouth.heard_t == 4.0
    rig.step(protocol.Stop())
    mouth = lipsync.window("main", -90.0, 0.0, 4.1)
    assert (mouth.voice, mouth.open) == ("", 0.0)


def test_the_line_pause_is_the_one_of_the_configuration() -> None:
    rig = Rig()
    sounding(rig)
    assert rig.ends[1] == QueueConfig().line_pause_s


def test_a_line_that_nobody_could_hear_says_so() -> None:
    rig = Rig()
    rig.say(1)
    rig.make(1)
    rig.start(1)
    rig.unheard = "the sink is muted"
    rig.end(1)
    assert rig.last("utterance.finished").unheard == "the sink is muted"
