"""What is brought back at a start and what is written meanwhile: a real player, a real folder, and
starts that take no time."""

from __future__ import annotations

import dataclasses
import itertools
import os
from pathlib import Path
from typing import Any

import pytest

from koe import protocol
from koe.protocol import Request
from koed.config.daemon import Config, QueueConfig
from koed.errors import KoedError
from koed.persistence.keeping import JOURNAL, STATE, Keeping
from koed.playback import inputs
from koed.playback.queue import Line
from tests.playback.rig_dispatch import Ready, World

RESTORE = QueueConfig(restore=True, restore_s=30.0)


class Start:
    """A daemon from its start on, without what it speaks with."""

    def __init__(
        self, folder: Path, outputs: tuple[str, ...] = ("main",), now: float = 100.0, **config: Any
    ) -> None:
        self.world = World(outputs=outputs)
        self.world.now = now
        self.world.book.ready_["high"] = Ready()
        self.troubles: list[KoedError] = []
        self._numbers = itertools.count(1)
        self.keeping = Keeping(
            dataclasses.replace(Config(), **({"voice": "low"} | config)),
            folder / "run", folder, self.world.dispatch, self.world.book, self.world.bus,
            lambda: next(self._numbers), self.troubles.append, lambda: 1000.0,
            lambda: self.world.now,
        )  # fmt: skip
        self.keeping.begin()

    def resume(self) -> Start:
        self.keeping.resume()
        return self

    def person(self, *requests: Request) -> Start:
        for request in requests:
            self.world.dispatch.ask(request)
            self.keeping.carried_out(request)
        return self

    def say(self, text: str, **more: Any) -> int:
        number = next(self._numbers)
        line = Line(number, text, "low", "main", queued_at=self.world.now, **more)
        self.world.dispatch.ask(inputs.Submit(line))
        return number

    def waiting(self) -> list[str]:
        return [line.text for line in self.world.player.lineup.queue.waiting()]

    def lost(self) -> list[str]:
        self.keeping.tell_lost()
        gone = [e for e in self.world.events if isinstance(e, protocol.UtteranceDropped)]
        texts = {
            e.utterance: e.text
            for e in self.world.events
            if isinstance(e, protocol.UtteranceQueued)
        }
        return [texts[event.utterance] for event in gone if event.reason == "lost"]

    @property
    def held(self) -> str:
        return self.world.player.lineup.channels["main"].held

    @property
    def voice(self) -> str:
        return self.world.player.lineup.voice


# --- what a person decided --------------------------------------------------------------------


def test_what_was_latched_is_latched_before_anything_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = Start(tmp_path).resume()
    one.person(protocol.Panic(by="ann"), protocol.Mute(), protocol.Voice(name="high"))
    two = Start(tmp_path)
    assert (two.held, two.voice) == ("panic", "low")  # the voices are not known yet
    assert two.world.called("mute") == [("mute", True)]
    assert not two.keeping.orderly
    assert caplog.messages == [
        "as it was left: panic, by 'ann': koe release lets it sound",
        "as it was left: main is muted: koe unmute lets it sound",
    ]
    assert two.keeping.restored() == [words.removeprefix("as it was left: ")
                                      for words in caplog.messages]  # fmt: skip
    two.resume()
    assert two.voice == "high"
    two.person(protocol.Release())
    assert two.keeping.restored() == ["main is muted: koe unmute lets it sound"]
    two.person(protocol.Unmute(), protocol.Mute())
    assert two.keeping.restored() == []  # this one is new
    assert Start(tmp_path).held == "muted"


@pytest.mark.parametrize(
    ("policy", "orderly", "held", "voice"),
    [
        ("keep", True, "muted", "high"), ("keep", False, "muted", "high"),
        ("fresh", True, "", "low"), ("fresh", False, "muted", "high"),
    ],
)  # fmt: skip
def test_after_an_end_and_after_a_crash(
    tmp_path: Path, policy: str, orderly: bool, held: str, voice: str
) -> None:
    one = Start(tmp_path, state=policy).resume()
    one.person(protocol.Mute(), protocol.Voice(name="high"))
    if orderly:
        one.keeping.end()
        assert not (tmp_path / JOURNAL).exists()
    two = Start(tmp_path, state=policy).resume()
    assert (two.held, two.voice, two.keeping.orderly) == (held, voice, orderly)
    assert Start(tmp_path, state=policy).held == held  # and killed at once


def test_fresh_counts_for_what_was_kept_as_well(tmp_path: Path) -> None:
    one = Start(tmp_path, state="keep").resume().person(protocol.Mute())
    one.keeping.end()
    two = Start(tmp_path, state="fresh").resume()
    assert two.held == ""
    two.person(protocol.Mute())
    two.keeping.end()
    assert Start(tmp_path, state="keep").held == ""


def test_what_is_set_by_a_rule_is_not_kept(tmp_path: Path) -> None:
    one = Start(tmp_path).resume()
    one.person(protocol.Voice(name="high"))
    one.world.dispatch.ask(inputs.SetMode("all_muted", None, "obs"))
    one.world.dispatch.ask(protocol.Voice(name="low"))  # as `Handlers.voice` does for a scene
    two = Start(tmp_path).resume()
    assert (two.held, two.voice) == ("", "high")


def test_how_the_living_voice_speaks_is_not_kept(tmp_path: Path) -> None:
    one = Start(tmp_path).resume()
    one.person(protocol.Voice(name="high", pitch=3.0), protocol.Voice(range=0.5))
    assert one.world.player.lineup.living("high", "main").given == {"pitch": 3.0, "range": 0.5}
    two = Start(tmp_path).resume()
    assert two.voice == "high"
    assert two.world.player.lineup.living("high", "main").given == {}


def test_a_voice_that_is_gone_is_told_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = Start(tmp_path).resume()
    one.person(protocol.Voice(name="high"), protocol.Mute())
    two = Start(tmp_path)
    del two.world.book.ready_["high"]
    two.resume()
    assert (two.voice, two.held) == ("low", "muted")
    assert "voice high is not as it was left" in caplog.text


def test_an_output_that_is_gone_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Start(tmp_path, ("main", "side")).resume().person(protocol.Mute(output="side"))
    assert Start(tmp_path).held == ""
    assert "'side'" in caplog.text


@pytest.mark.parametrize("what", ["broken", "huge", "folder", "fifo", "empty"])
def test_a_file_that_cannot_be_is_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    for name in (STATE, JOURNAL):
        path = tmp_path / name
        if what == "folder":
            path.mkdir()
        elif what == "fifo":
            os.mkfifo(path)
        else:
            path.write_bytes({"broken": b"\x81\xa1", "huge": b"x" * 1_000_000, "empty": b""}[what])
    started = Start(tmp_path).resume()
    assert caplog.text.count("is ignored") == 2  # one for each of them
    assert not started.keeping.orderly  # who knows: nothing is said on air by itself
    started.person(protocol.Mute())
    if what == "folder":  # nor can it be written
        assert [error.code for error in started.troubles] == [
            "state_unwritable", "journal_unwritable",
        ]  # fmt: skip
    else:
        assert Start(tmp_path).held == "muted"


# --- lines that waited ------------------------------------------------------------------------


def killed_with_lines(folder: Path, **config: Any) -> Start:
    one = Start(folder, **config).resume()
    one.person(protocol.Mute())  # none of them sounds
    one.say("brief", expires_at=110.0)
    one.say("gossip", priority="chatter")
    one.say("old", key="k")
    one.world.now += 5.0
    one.say("young")
    one.say("urgent", priority="urgent")
    one.say("new", key="k")
    return one


def test_lines_are_told_to_be_lost_by_the_first_start_that_lives_to_tell(tmp_path: Path) -> None:
    """The one after the crash is killed as well, before it is ready."""
    killed_with_lines(tmp_path)
    Start(tmp_path, now=106.0).resume()
    restored = Start(tmp_path, now=109.0, queue=RESTORE).resume()
    assert restored.waiting() == ["urgent", "brief", "new", "young"], "nobody has heard of them"
    third = Start(tmp_path, now=110.0).resume()
    assert sorted(third.lost()) == ["brief", "gossip", "new", "urgent", "young"]
    assert Start(tmp_path, now=111.0).resume().lost() == []


def test_lines_are_lost_unless_they_are_wanted_back(tmp_path: Path) -> None:
    killed_with_lines(tmp_path)
    two = Start(tmp_path, now=106.0).resume()
    assert two.waiting() == []
    assert sorted(two.lost()) == ["brief", "gossip", "new", "urgent", "young"]
    assert len(two.lost()) == 5  # told once
    assert Start(tmp_path, now=107.0).resume().lost() == []


def test_lines_come_back_in_order(tmp_path: Path) -> None:
    killed_with_lines(tmp_path, queue=RESTORE)
    two = Start(tmp_path, now=109.0, queue=RESTORE).resume()
    assert (two.held, two.waiting()) == ("muted", ["urgent", "brief", "new", "young"])
    assert two.lost() == ["gossip"]
    three = Start(tmp_path, now=134.0, queue=RESTORE).resume()  # killed once more
    assert (three.waiting(), three.lost()) == (["urgent", "new", "young"], ["brief"])
    four = Start(tmp_path, now=136.0, queue=RESTORE).resume()  # too old by now
    assert (four.waiting(), len(four.lost())) == ([], 3)


def test_what_was_amended_comes_back_as_it_was_last(tmp_path: Path) -> None:
    one = Start(tmp_path, queue=RESTORE).resume()
    one.person(protocol.Mute())
    number = one.say("hello")
    one.world.dispatch.ask(inputs.Amend(number, "hello, three times", None, None))
    one.keeping.turn()
    assert Start(tmp_path, queue=RESTORE).resume().waiting() == ["hello, three times"]


def test_after_an_end_nothing_is_lost(tmp_path: Path) -> None:
    one = killed_with_lines(tmp_path)
    one.world.dispatch.ask(inputs.Empty(None, None, "shutdown"))
    one.keeping.end()
    assert Start(tmp_path, now=106.0).resume().lost() == []
