"""How the current voice is to speak from now on: whom it reaches, and how long it holds."""

from __future__ import annotations

from typing import Any

import pytest

from koe import protocol
from koed.audio.arrangement import Joint
from koed.config.delivery import PLAIN, Delivery
from koed.errors import KoedError
from koed.playback import inputs
from koed.playback.handover import RESTYLE_MARGIN_S
from koed.playback.takes import Take
from koed.playback.voice_choice import VoiceState
from tests.playback.rig_player import FIRST, ONE, SECOND, THREE, TWO, Rig, in_mid_word, texts
from tests.playback.test_voice_choice import canned

FIELDS = ("speed", "pitch", "range")


def rig_with(outputs: tuple[str, ...] = ("main",), **rest: Any) -> Rig:
    rig = Rig(outputs, **rest)
    rig.engine("a", restyle=True, line_fields=FIELDS)
    return rig


def tell(rig: Rig, name: str | None = None, when: Any = "next", **fields: Any) -> dict[str, Any]:
    rig.step(protocol.Voice(name=name, when=when, **fields))
    answer: dict[str, Any] = rig.answer
    return answer


def say(rig: Rig, number: int, text: str = ONE, voice: str = "", **rest: Any) -> int:
    """As the server queues a line; the serial of the last job."""
    output = rest.pop("output", "main")
    name = voice or rig.lineup.current_voice(output)
    living = rig.lineup.living(name, output)
    rig.say(number, text, name, output=output, explicit_voice=bool(voice), living=living, **rest)
    return max(rig.jobs, default=0)


def settings(rig: Rig, serial: int) -> dict[str, float]:
    job = rig.jobs[serial][1]
    return dict(job.settings) | ({} if job.speed == 1.0 else {"speed": job.speed})


def test_lines_from_now_on_are_spoken_so_until_it_is_changed() -> None:
    rig = rig_with()
    first = say(rig, 1)
    assert tell(rig, pitch=3.0) == {"voice": "low", "previous": "low", "fields": {"pitch": 3.0}}
    assert rig.listed() == [first]
    rig.step(protocol.Stop())
    assert settings(rig, say(rig, 2)) == {"pitch": 3.0}
    rig.step(protocol.Stop())
    assert tell(rig, speed=1.5)["fields"] == {"speed": 1.5, "pitch": 3.0}
    assert settings(rig, say(rig, 3)) == {"pitch": 3.0, "speed": 1.5}
    event = rig.last("voice.fields")
    assert (event.voice, event.output, event.when) == ("low", "main", "next")
    assert event.fields == {"speed": 1.5, "pitch": 3.0}
    told = len(rig.events)
    assert tell(rig)["fields"] == {"speed": 1.5, "pitch": 3.0}
    assert tell(rig, pitch=3.0)["fields"] == {"speed": 1.5, "pitch": 3.0}
    assert rig.names(told) == []
    assert tell(rig, plain=True, range=0.0)["fields"] == {"range": 0.0}


def test_what_a_line_says_counts_more_and_a_profile_less() -> None:
    rig = rig_with()
    rig.step(VoiceState("low", engine="a", key="k-low", delivery=Delivery(pitch=-2.0, range=0.5)))
    tell(rig, pitch=3.0)
    serial = say(rig, 1, delivery=Delivery(speed=1.5))
    assert settings(rig, serial) == {"pitch": 3.0, "range": 0.5, "speed": 1.5}
    rig.step(protocol.Stop())
    assert settings(rig, say(rig, 2, delivery=Delivery(pitch=1.0))) == {"pitch": 1.0, "range": 0.5}


@pytest.mark.parametrize("fields", [{}, {"range": 2.0}])
def test_another_voice_has_only_the_fields_that_come_with_it(fields: dict[str, float]) -> None:
    rig = rig_with()
    tell(rig, pitch=3.0)
    assert settings(rig, say(rig, 1, voice="high")) == {}
    rig.step(protocol.Stop())
    assert tell(rig, "high", **fields)["fields"] == fields
    assert settings(rig, say(rig, 2)) == fields
    assert rig.names()[-3:] != []
    assert rig.last("voice.fields").voice == "high"
    assert tell(rig, "high", pitch=1.0)["fields"] == fields | {"pitch": 1.0}


def test_what_waits_is_changed_where_it_is_spoken_in_the_current_voice() -> None:
    rig = rig_with()
    say(rig, 1)
    for number, voice in enumerate(("", "low", "high"), 2):
        say(rig, number, voice=voice)
    tell(rig, when="line", pitch=3.0)
    waiting = list(rig.lineup.queue.waiting())
    assert [line.living.pitch for line in waiting] == [3.0, 3.0, 3.0, None]
    tell(rig, "high", "line", pitch=4.0)
    waiting = list(rig.lineup.queue.waiting())
    assert [(line.voice, line.living.pitch) for line in waiting] == [
        ("high", 4.0), ("high", 4.0), ("low", None), ("high", 4.0),
    ]  # fmt: skip
    assert settings(rig, rig.listed()[0]) == {"pitch": 4.0}


def test_what_sounds_goes_on_so_within_the_sound() -> None:
    rig = rig_with()
    in_mid_word(rig)
    rig.make(1)
    tell(rig, when="now", pitch=3.0)
    old, new, after = rig.listed()
    assert (old, texts(rig)) == (1, [FIRST, FIRST, SECOND])
    job = rig.jobs[new][1]
    assert (job.voice, job.restyle_of, settings(rig, new)) == ("k-low", 1, {"pitch": 3.0})
    assert rig.entry(new).joint == Joint(1, 0.55 + RESTYLE_MARGIN_S)
    assert settings(rig, after) == {"pitch": 3.0}
    tell(rig, when="now", pitch=3.0)
    assert rig.listed() == [old, new, after]  # nothing else than before
    tell(rig, when="now", energy=3.0)
    assert rig.listed() == [old, new, after]  # nothing that its engine could do


def test_an_engine_that_cannot_do_that_goes_on_with_the_next_word() -> None:
    rig = rig_with()
    rig.engine("b", line_fields=("speed", "pitch"))
    tell(rig, "other")
    rig.say(1, TWO, "other")
    rig.make(1)
    rig.start(1)
    rig.at(1, 0.55)
    tell(rig, when="now", pitch=3.0)
    assert texts(rig) == [FIRST, "three.", SECOND]
    assert settings(rig, rig.listed()[1]) == {"pitch": 3.0, "speed": 1.2}


def test_what_is_made_is_not_thrown_away_for_an_engine_that_is_not_there() -> None:
    rig = rig_with()
    tell(rig, "alone")  # no fallback: it waits for its engine
    say(rig, 1, THREE)
    rig.make(1)
    rig.start(1)
    rig.at(1, 0.2)
    rig.lose(*rig.parts()[1:])
    listed = rig.listed()
    tell(rig, when="now", pitch=3.0)
    assert rig.listed()[0] == listed[0]
    assert rig.entry(1).until_s is None
    rig.engine("a", restyle=True, line_fields=FIELDS)
    assert settings(rig, rig.listed()[1]) == {"pitch": 3.0}


def test_who_spoke_before_a_switch_is_still_known_after_another_manner() -> None:
    rig = rig_with()
    rig.engine("b", line_fields=FIELDS)
    rig.say(1, TWO, "alone")
    rig.make(1)
    rig.start(1)
    rig.at(1, 0.2)
    tell(rig, "other", "now")
    new = rig.listed()[1]
    rig.make(new)
    rig.end(1, kind="cut")
    rig.start(new)
    rig.at(new, 0.1)
    tell(rig, when="now", pitch=3.0)
    rig.engine("b", "down", line_fields=FIELDS)
    rig.step(inputs.Lost(tuple(rig.parts()[1:]), "killed"))
    assert rig.jobs[rig.listed()[-1]][1].voice == "k-alone"


def test_a_line_in_another_voice_is_left_alone_unless_it_is_switched() -> None:
    rig = rig_with()
    serial = say(rig, 1, voice="alone")
    rig.make(serial)
    rig.start(serial)
    rig.at(serial, 0.55)
    tell(rig, when="now", pitch=3.0)
    assert rig.listed() == [serial]
    tell(rig, "low", "now")
    assert settings(rig, rig.listed()[1]) == {"pitch": 3.0}


def test_volume_is_the_mixers_whatever_the_engine() -> None:
    rig = rig_with()
    rig.engine("a", restyle=True, line_fields=())
    tell(rig, "high", volume=-6.0)
    say(rig, 1, TWO)
    serial = rig.listed()[0]
    assert (rig.entry(serial).gain_db, settings(rig, serial)) == (-3.0, {})
    rig.make(serial)
    rig.start(serial)
    rig.at(serial, 0.55)
    tell(rig, when="now", volume=2.0)
    assert [rig.entry(s).gain_db for s in rig.listed()] == [-3.0, 5.0, 5.0]


def test_what_was_rendered_ahead_is_played_as_long_as_it_is_the_same_sound() -> None:
    rig = rig_with(takes=lambda text, voice: Take("t", voice.key, canned(text)))
    tell(rig, volume=-6.0, energy=3.0)  # no other sound: the engine knows no energy
    say(rig, 1, TWO)
    assert (rig.jobs, rig.entry(1).gain_db) == ({}, -6.0)
    rig.start(1)
    rig.at(1, 0.55)
    tell(rig, when="now", pitch=3.0)
    assert [settings(rig, serial) for serial in rig.listed()[1:]] == [{"pitch": 3.0}] * 2
    rig.step(protocol.Stop())
    assert settings(rig, say(rig, 2)) == {"pitch": 3.0}


def test_an_output_may_have_fields_of_its_own() -> None:
    rig = rig_with(("main", "side"))
    tell(rig, pitch=3.0, output="side")
    assert [c.living.pitch for c in rig.lineup.channels.values()] == [None, 3.0]
    tell(rig, range=0.5)
    tell(rig, "high", output="main")
    assert [c.living.given for c in rig.lineup.channels.values()] == [
        {}, {"pitch": 3.0, "range": 0.5},
    ]  # fmt: skip
    assert rig.lineup.living("high", "side") == PLAIN


def test_a_number_that_may_not_be_changes_nothing() -> None:
    rig = rig_with()
    with pytest.raises(KoedError, match="pitch may not be 13") as caught:
        tell(rig, "high", pitch=13.0)
    assert (caught.value.code, caught.value.hint) == ("bad_field", "pitch is from -12 to 12")
    assert rig.lineup.voice == "low"
