"""Which voice speaks, how long it is waited for, and what was rendered ahead."""

from __future__ import annotations

import numpy as np
import pytest

from koe import protocol
from koed.config.daemon import EngineConfig, TextConfig
from koed.playback import inputs
from koed.playback.effects import Arrange, End, Keep, Play, Publish, Speak
from koed.playback.takes import Piece, Take
from koed.playback.voice_choice import Engine, Voices, VoiceState
from koed.text.segment import segments
from tests.playback.rig_player import LETTER_S, LOW, ONE, OTHER, TWO, Rig, of, words_of

WAIT = EngineConfig(start_s=60.0, failover_wait_s=2.0)


def canned(text: str) -> tuple[Piece, ...]:
    return tuple(
        Piece(
            s.text, s.lang, 100, np.zeros(round(len(s.text) * LETTER_S * 100), np.float32),
            tuple(words_of(s.text)), (),
        )
        for s in segments(text, TextConfig(), "en")
    )  # fmt: skip


class Waiting:
    """What the choice looks at."""

    def __init__(self, voice: str, begun: bool = False, is_canned: bool = False) -> None:
        self.voice, self.begun, self.is_canned = voice, begun, is_canned
        self.before = ""
        self.waiting_since: float | None = None

    def upcoming_is_canned(self, voice: VoiceState) -> bool:
        return self.is_canned


def voices(state: str = "up") -> Voices:
    return Voices(
        WAIT,
        {v.name: v for v in (LOW, OTHER)},
        {n: Engine(n, state) for n in "ab"},  # type: ignore[arg-type]
    )


# --- alone ------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["stopped", "starting", "down"])
def test_a_voice_speaks_when_its_engine_is_up(state: str) -> None:
    assert voices().available("low") == LOW
    assert voices(state).available("low") is None
    assert voices(state).fallback(Waiting("low")) is None
    assert voices().fallback(Waiting("low")) == OTHER
    assert voices().fallback(Waiting("other")) is None
    assert voices().available("nobody") is None
    assert Voices(WAIT, {"low": LOW}).available("low") is None  # no engine was told of


def test_a_voice_that_is_not_compiled_does_not_speak() -> None:
    there = voices()
    there.by_name["low"] = VoiceState("low", fallback="other", engine="a")
    assert there.available("low") is None
    assert there.fallback(Waiting("low")) == OTHER
    assert there.own(Waiting("low", is_canned=True)) is None


def test_what_was_rendered_ahead_needs_no_engine() -> None:
    assert voices("down").own(Waiting("low", is_canned=True)) == LOW
    assert voices("down").own(Waiting("low")) is None


def test_only_an_engine_that_is_up_and_can_do_it_restyles() -> None:
    there = voices()
    assert not there.can_restyle(LOW)
    there.engines["a"] = Engine("a", "up", restyle=True)
    assert there.can_restyle(LOW)
    there.engines["a"] = Engine("a", "down", restyle=True)
    assert not there.can_restyle(LOW)
    assert not there.can_restyle(VoiceState("x", engine="nowhere"))


# --- patience ---------------------------------------------------------------------------------


def fails_after(rig: Rig, limit_s: float) -> str:
    rig.tick(limit_s - 0.01)
    assert rig.over(1) == ""
    rig.tick(0.02)
    return rig.over(1)


PATIENCE = pytest.mark.parametrize(
    ("state", "limit_s"), [("starting", 60.0), ("down", 2.0), ("stopped", 2)]
)


@PATIENCE
def test_a_line_waits_longer_for_an_engine_that_starts(state: str, limit_s: float) -> None:
    rig = Rig(engine=WAIT)
    rig.engine("a", state)
    rig.say(1, voice="alone")
    assert rig.listed() == []
    assert fails_after(rig, limit_s) == "failed engine_down"


@PATIENCE
def test_a_line_that_was_cut_in_the_middle_waits_as_long(state: str, limit_s: float) -> None:
    rig = Rig(engine=WAIT)
    rig.say(1, TWO, "alone")
    rig.make(1)
    rig.start(1)
    rig.lose(4, state=state)
    assert fails_after(rig, limit_s) == "failed engine_down"


def test_the_wait_begins_anew_when_the_engine_was_there() -> None:
    rig = Rig(engine=WAIT)
    rig.engine("a", "down")
    rig.say(1, voice="alone")
    rig.tick(1.5)
    rig.engine("a")
    assert rig.listed() == [1]
    rig.lose(1)
    assert fails_after(rig, 2.0) == "failed engine_down"


def test_each_wait_of_a_line_counts_alone() -> None:
    rig = Rig(engine=WAIT)
    rig.say(1, "", "alone", in_pieces=True)
    rig.step(protocol.SayAppend(utterance=1, text="One two three. And"))
    rig.hear(1)
    for _ in range(2):
        rig.engine("a", "down")
        rig.step(protocol.SayAppend(utterance=1, text=" four five six seven eight nine. Ten"))
        rig.tick(1.5)
        assert rig.over(1) == ""
        rig.engine("a")
        rig.hear(*rig.parts())
    rig.step(protocol.SayClose(utterance=1))
    rig.hear(*rig.parts())
    assert rig.over(1) == "finished"


def test_a_voice_that_nobody_has_is_waited_for_as_if_it_were_compiled() -> None:
    rig = Rig(engine=WAIT)
    rig.say(1, voice="new")
    rig.tick(50)
    rig.step(VoiceState("new", lang="de"))
    rig.tick(5)
    rig.step(VoiceState("new", engine="a", key="k-new"))
    assert [rig.jobs[s][1].voice for s in rig.listed()] == ["k-new"]
    rig = Rig(engine=WAIT)
    rig.say(1, voice="new")
    assert fails_after(rig, 60.0) == "failed engine_down"


def test_a_voice_that_is_broken_says_why() -> None:
    rig = Rig(engine=WAIT)
    rig.step(VoiceState("bad", code="bad_profile", message="no such file"))
    rig.say(1, voice="bad")
    assert fails_after(rig, 2.0) == "failed bad_profile"
    assert rig.last("utterance.failed").message == "no such file"


def test_a_voice_that_was_broken_later_speaks_as_it_was() -> None:
    rig = Rig()
    rig.step(VoiceState("low", engine="a", key="k-old", code="bad_profile"))
    rig.say(1)
    assert rig.jobs[1][1].voice == "k-old"


# --- the fallback -----------------------------------------------------------------------------


def test_the_fallback_speaks_while_the_engine_is_down() -> None:
    rig = Rig()
    rig.engine("a", "down")
    rig.say(1, TWO)
    event = rig.last("engine.fallback")
    assert (event.voice, event.fallback, event.reason) == ("low", "other", "the engine is down")
    assert [rig.jobs[s][0] for s in rig.listed()] == ["b", "b"]
    assert rig.kept == {"b": {1, 4}}
    rig.engine("a")
    rig.make(1)
    assert rig.names().count("engine.fallback") == 1
    rig.start(1)
    assert rig.last("utterance.started").voice == "other"


def test_a_line_taken_back_before_it_sounded_has_its_own_voice_again() -> None:
    rig = Rig()
    rig.engine("a", "down")
    rig.say(1)
    rig.engine("a")
    rig.step(inputs.Amend(1, "Other words.", None, None))
    assert rig.jobs[rig.listed()[0]][0] == "a"


def test_both_engines_away() -> None:
    rig = Rig(engine=WAIT)
    rig.engine("a", "down")
    rig.engine("b", "down")
    rig.say(1)
    assert rig.listed() == []
    rig.engine("b")
    assert rig.jobs[1][0] == "b"


# --- rendered ahead ---------------------------------------------------------------------------


def rig_with_takes() -> Rig:
    return Rig(takes=lambda text, voice: Take("t", voice.key, canned(text)))


def test_what_was_rendered_ahead_is_played_and_no_engine_hears_of_it() -> None:
    rig = rig_with_takes()
    rig.engine("a", "down")
    done = rig.say(1, TWO)
    assert [type(effect) for effect in done] == [Arrange, Publish, Play, End, Play, End]
    assert [play.serial for play in of(done, Play)] == rig.listed() == [1, 4]
    assert rig.ends == {1: 0.28, 4: 0.25}
    assert not of(done, Speak) + of(done, Keep)
    rig.hear(1, 4)
    assert rig.over(1) == "finished"
    assert rig.last("utterance.finished").spoken_s == pytest.approx(len(TWO) * LETTER_S - 0.1)


def test_a_take_of_another_voice_or_text_is_not_played() -> None:
    rig = Rig(takes=lambda text, voice: Take("t", "k-high", canned(text)))
    assert of(rig.say(1), Speak)
    rig = Rig(takes=lambda text, voice: Take("t", voice.key, canned("Wholly other words.")))
    assert of(rig.say(1), Speak)
    rig = Rig(takes=lambda text, voice: Take("t", voice.key, canned(ONE)))
    done = rig.say(1, TWO)
    assert (len(of(done, Play)), len(of(done, Speak))) == (1, 1)
    assert rig.kept["a"] == {4}


def test_an_open_line_is_never_rendered_ahead() -> None:
    asked: list[str] = []
    rig = Rig(takes=lambda text, voice: asked.append(text))
    rig.say(1, "", in_pieces=True)
    assert asked == []


def test_a_line_whose_take_cannot_be_read_costs_that_line_only() -> None:
    def broken(text: str, voice: VoiceState) -> None:
        if text == TWO:
            raise ValueError("unreadable")

    rig = Rig(takes=broken)
    rig.say(1, TWO)
    assert rig.over(1) == "failed internal"
    rig.say(2)
    assert rig.parts(2)


def test_a_line_that_cannot_be_made_costs_that_line_only() -> None:
    class Broken(Take):
        def piece(self, segment: object) -> Piece:
            raise ValueError("unreadable")

    rig = Rig(takes=lambda text, voice: Broken("t", voice.key, ()) if text == TWO else None)
    rig.say(1, TWO)
    assert rig.over(1) == "failed internal"
    rig.say(2)
    assert [rig.text_of(s) for s in rig.listed()] == [ONE]


def test_of_a_language_speaks_a_voice_of_it_then_an_engine_that_names_it_then_any() -> None:
    own, named, any_, same, away = (
        VoiceState(name, lang=lang, engine=engine, key=name)
        for name, lang, engine in (
            ("z-own", "fr-FR", "any"), ("y-named", "ja", "names"), ("a-any", "en", "any"),
            ("a-same", "fr", "neural"), ("a-away", "fr", "away"),
        )
    )  # fmt: skip
    engines = {
        "any": Engine("any", "up", languages=("en", "*")),
        "names": Engine("names", "up", languages=("ja", "fr")),
        "neural": Engine("neural", "up", languages=("ja", "*")),
        "away": Engine("away", "down", languages=("fr",)),
    }
    for left in ([own, named, any_], [named, any_], [any_]):
        there = Voices(WAIT, {v.name: v for v in (*reversed(left), same, away)}, engines)
        assert there.of_language("fr-CA", besides="neural") == left[0]
    assert Voices(WAIT, {"y": named}, engines).of_language("de", besides="neural") is None


def test_the_fallback_of_a_voice_that_cannot_be_compiled_speaks_and_why_is_told() -> None:
    rig = Rig()
    rig.step(VoiceState("low", fallback="other", code="model_missing", message="no HuBERT"))
    rig.say(1)
    told = rig.last("engine.fallback")
    assert (told.fallback, told.reason) == ("other", "no HuBERT")
    assert [rig.jobs[serial][1].voice for serial in rig.parts()] == ["k-other"]
