"""The shell: effects in order, jobs to whom they belong, the world as inputs."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest

from koe import protocol
from koe.protocol import Event
from koed.audio.arrangement import Report
from koed.config.delivery import NAMES
from koed.engine.base import Job
from koed.engine.jobs import Jobs
from koed.errors import KoedError
from koed.playback.takes import Take
from koed.playback.voice_choice import Engine, VoiceState
from tests.playback.rig_dispatch import FakeHost, Profile, World
from tests.playback.rig_player import TWO
from tests.playback.test_voice_choice import canned

# --- effects ----------------------------------------------------------------------------------


def test_a_list_goes_before_its_jobs_and_what_is_kept_comes_last() -> None:
    world = World()
    world.say(1, TWO)
    assert world.calls == [
        ("arrange", 1, [1, 4]),
        ("grant", "a", 1, 1.5), ("speak", "a", 1),
        ("grant", "a", 1, 1.5), ("speak", "a", 4),
        ("keep", "a", [1, 4]),
    ]  # fmt: skip
    assert world.names() == ["utterance.queued"]


def test_the_answer_comes_back_and_a_refusal_is_raised() -> None:
    world = World()
    assert world.say(1).position == 0
    assert world.dispatch.ask(protocol.Skip()) == {}
    with pytest.raises(KoedError, match="no line 9"):
        world.dispatch.ask(protocol.Cancel(utterance=9))


def test_latches_reach_the_mixer_and_what_has_left_it() -> None:
    world = World(outputs=["main", "side"])
    world.dispatch.ask(protocol.Mute(output="side"))
    world.dispatch.ask(protocol.Pause(output="main"))
    assert world.calls == [("mute", True), ("shut", True), ("pause", True)]


def test_a_listener_may_ask_in_the_midst_of_it() -> None:
    world = World()
    answers: list[Any] = []

    def listen(event: Event) -> None:
        if event.event == "utterance.queued" and getattr(event, "utterance", 0) == 1:
            answers.append(world.dispatch.ask(protocol.Stop()))

    world.bus.listen(listen)
    world.say(1)
    assert answers == [{"dropped": [1]}]
    kinds = [call[:2] if call[0] == "speak" else call for call in world.calls]
    assert kinds == [
        ("arrange", 1, [1]), ("grant", "a", 1, 1.5), ("speak", "a"), ("keep", "a", [1]),
        ("arrange", 1, []), ("keep", "a", []),
    ]  # fmt: skip
    assert world.names() == ["utterance.queued", "utterance.dropped"]


def test_what_was_rendered_ahead_is_fed_in_pieces() -> None:
    world = World(lambda text, voice: Take("t", voice.key, canned(text)))
    world.say(1)
    assert world.called("feed") == [("feed", 1, 10)] * 14
    assert world.calls[0] == ("arrange", 1, [1])
    assert world.calls[-1] == ("end", 1, 0.25)


def test_an_engine_that_takes_no_job_costs_its_line() -> None:
    world = World()
    world.hosts["a"].refuses = KoedError("engine_bug", "no")
    world.say(1)
    assert world.names()[-1] == "utterance.failed"
    assert world.called("keep")[-1] == ("keep", "a", [])
    assert world.jobs.owner_of(1) is None
    world.hosts["a"].refuses = ZeroDivisionError("oops")
    world.say(2)
    assert world.events[-1].code == "internal"  # type: ignore[attr-defined]
    world.hosts["a"].refuses = None
    world.say(3)
    assert world.called("speak") == [("speak", "a", 7)]


@pytest.mark.parametrize("what", ["arrange", "pause"])
def test_what_cannot_be_done_is_told_and_the_rest_is_done(what: str) -> None:
    world = World()
    world.mixers["main"].refuses = {what: ZeroDivisionError("oops")}
    world.dispatch.ask(protocol.Pause())
    world.say(1)
    troubles = [event for event in world.events if isinstance(event, protocol.Trouble)]
    assert [event.code for event in troubles] == ["internal"]
    assert "oops" in troubles[0].message
    assert world.called("speak", "keep") == [("speak", "a", 1), ("keep", "a", [1])]


def test_a_step_that_fails_is_told_and_the_next_one_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    world.say(1)
    with monkeypatch.context() as patch:
        patch.setattr(world.player.watchdog, "look", lambda: 1 / 0)
        world.dispatch.advance()
    assert world.names()[-1] == "trouble"
    world.dispatch.advance()
    assert world.names().count("trouble") == 1


# --- jobs -------------------------------------------------------------------------------------


class Owner:
    def __init__(self) -> None:
        self.lost_: list[tuple[list[int], str]] = []

    def lost(self, serials: Collection[int], code: str) -> None:
        self.lost_.append((list(serials), code))


def job(serial: int) -> Job:
    return Job(serial, 9, "k", "text", "en")


def test_each_job_has_its_owner_and_engines_keep_what_any_of_them_wants() -> None:
    world = World()
    jobs = world.jobs
    one, two = Owner(), Owner()
    for owner, serials in ((one, (2, 5)), (two, (3,))):
        for serial in serials:
            jobs.speak(owner, "a", job(serial), 0.0)  # type: ignore[arg-type]
    world.say(1)
    assert world.called("keep")[-1] == ("keep", "a", [1, 2, 3, 5])
    assert [jobs.owner_of(s) for s in (1, 2, 3, 4)] == [world.dispatch, one, two, None]
    jobs.keep(one, "a", [5])  # type: ignore[arg-type]
    assert world.called("keep")[-1] == ("keep", "a", [1, 3, 5])
    world.dispatch.ask(protocol.Stop())
    assert world.called("keep")[-1] == ("keep", "a", [3, 5])
    jobs.lost([1, 2, 3, 5], "killed")
    assert (one.lost_, two.lost_) == ([([5], "killed")], [([3], "killed")])


def test_an_owner_keeps_nothing_of_another_engine() -> None:
    world = World()
    world.hosts["b"] = FakeHost("b", world.calls)
    jobs = Jobs(world.hosts)
    owner: Any = Owner()
    jobs.speak(owner, "a", job(2), 0.0)
    jobs.speak(owner, "b", job(5), 0.0)
    jobs.keep(owner, "a", [])
    assert world.called("keep") == [("keep", "a", [])]
    assert (jobs.owner_of(2), jobs.owner_of(5)) == (None, owner)


# --- the world as inputs ----------------------------------------------------------------------


def test_sound_goes_to_the_mixer_and_its_words_to_the_player() -> None:
    world = World(outputs=["main", "side"])
    world.say(1, output="side")
    world.chunk(1)
    assert world.called("feed") == [("feed", 1, 50)]
    found = world.player.lineup.part_of(1)
    assert found is not None
    assert (found[1].received_s, len(found[1].words)) == (0.5, 1)
    world.dispatch.done(1)
    assert ("end", 1, 0.25) in world.calls
    world.chunk(99)
    assert world.called("feed") == [("feed", 1, 50)]


def test_a_full_lane_fails_its_line() -> None:
    world = World()
    world.say(1)
    world.mixers["main"].refuses = {"feed": KoedError("lane_full", "too far ahead")}
    world.chunk(1)
    assert world.events[-1].code == "lane_full"  # type: ignore[attr-defined]
    assert world.called("keep")[-1] == ("keep", "a", [])


def test_reports_are_heard_before_a_command() -> None:
    world = World()
    world.say(1)
    world.chunk(1)
    world.mixers["main"].told.append(Report("started", 1, 1, 900, 0.0, 0.0))
    assert world.dispatch.ask(protocol.Skip()) == {"utterance": 1}
    started = next(e for e in world.events if e.event == "utterance.started")
    assert started.heard_t == 9.0  # type: ignore[attr-defined]


def test_failed_mended_and_lost_reach_the_player() -> None:
    world = World()
    world.say(1)
    world.dispatch.mended(1, "speech_stuck")
    assert world.names()[-1] == "engine.retry"
    world.hosts["a"].state = "down"
    world.dispatch.lost([1], "killed")
    assert world.player.lineup.voices.engines["a"].state == "down"
    assert world.called("arrange")[-1] == ("arrange", 1, [])
    world.hosts["a"].state = "up"
    world.dispatch.advance()
    assert world.called("speak")[-1] == ("speak", "a", 4)
    world.dispatch.failed(4, "engine_bug", "no")
    assert world.names()[-1] == "utterance.failed"


def test_voices_and_engines_are_told_once_a_change() -> None:
    world = World()

    def told() -> list[Any]:
        world.player.__dict__["inputs"] = []
        world.dispatch.advance()
        return [x for x in world.player.inputs if isinstance(x, (VoiceState, Engine))]

    assert told() == [
        Engine("a", "up", True, False, "idle", languages=("*",)),
        VoiceState("low", engine="a", key="k-low", gain_db=2.0),
    ]
    assert told() == []
    world.hosts["a"].doing, world.hosts["a"].capabilities = "speaking", None
    assert told() == [Engine("a", "up", doing="speaking", line_fields=NAMES)]
    world.book.profile_ = Profile("ja", "x", 1.5, -16.0)
    assert told() == [VoiceState("low", "ja", "x", 1.5, 4.0, "a", "k-low")]
    world.book.error_ = KoedError("bad_profile", "no such file")
    assert told()[0].code == "bad_profile"
    world.book.ready_["low"] = None
    assert [voice.ready for voice in told()] == [False]
    assert told() == []


def test_credit_is_told_for_what_still_makes_sound() -> None:
    world = World()
    world.say(1)
    world.calls.clear()
    world.dispatch.advance()
    assert world.calls == [("grant", "a", 1, 1.5)]
    world.dispatch.done(1)
    world.calls.clear()
    world.dispatch.advance()
    assert world.calls == []


def test_levels_have_the_time_when_they_are_heard() -> None:
    world = World()
    world.mixers["main"].windows = [(950, -20.0, -6.0)]
    world.dispatch.advance()
    level = world.events[-1]
    assert level.event == "levels"
    assert (level.rms_db, level.peak_db, level.heard_t) == (-20.0, -6.0, 9.5)  # type: ignore[attr-defined]
    world.dispatch.advance()
    assert world.names().count("levels") == 1
