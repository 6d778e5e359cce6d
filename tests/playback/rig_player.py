"""A player on a counted clock, told values and watched by its effects.

Every step is taken by a twin as well, which must want the same. A letter lasts `LETTER_S`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Set
from dataclasses import replace
from typing import Any

from koe import protocol
from koe.protocol import Event, Progress
from koed.audio.arrangement import Entry, Kind, Report
from koed.config.daemon import Config, EngineConfig, QueueConfig, TextConfig
from koed.engine.base import Job, Mouth, Word
from koed.playback import effects, inputs
from koed.playback.effects import Answer, Effect
from koed.playback.inputs import Moment, OutputPosition
from koed.playback.lineup import Takes
from koed.playback.player import Player
from koed.playback.queue import Line
from koed.playback.voice_choice import Engine, VoiceState

LETTER_S = 0.1
ONE = "One two three."
"""A line of one segment."""
TWO = "One two three. Four five six seven eight nine."
"""Of two segments."""
THREE = "One two three. Four five six seven eight nine. Ten eleven twelve thirteen fourteen."
"""Of three segments."""
FIRST, SECOND, THIRD = (
    ONE,
    "Four five six seven eight nine.",
    "Ten eleven twelve thirteen fourteen.",
)
OVER = ("utterance.finished", "utterance.skipped", "utterance.dropped", "utterance.failed")

LOW = VoiceState("low", fallback="other", engine="a", key="k-low")
HIGH = VoiceState("high", engine="a", key="k-high", gain_db=3.0)
OTHER = VoiceState("other", engine="b", key="k-other", speed=1.2)
ALONE = VoiceState("alone", engine="a", key="k-alone")
"""Has no fallback."""


def no_takes(text: str, voice: VoiceState) -> None:
    return None


def words_of(text: str, from_s: float = 0.0, to_s: float = float("inf")) -> Iterator[Word]:
    """Those that begin from ``from_s`` to ``to_s``; marks belong to none."""
    for found in re.finditer(r"\w+", text):
        if from_s <= found.start() * LETTER_S + 1e-9 < to_s:
            yield Word(*found.span(), found.start() * LETTER_S)


class Rig:
    """``queue``: of `QueueConfig`."""

    def __init__(
        self,
        outputs: Iterable[str] = ("main",),
        takes: Takes = no_takes,
        engine: EngineConfig | None = None,
        text: TextConfig | None = None,
        voices: bool = True,
        **queue: Any,
    ) -> None:
        self.config = replace(
            Config(), voice="low", queue=QueueConfig(**queue), engine=engine or EngineConfig(),
            text=text or TextConfig(),
        )  # fmt: skip
        lanes = {name: 1 + 2 * n for n, name in enumerate(outputs)}
        self.player = Player(self.config, lanes, takes)
        self._twin = Player(self.config, lanes, takes)
        self.lineup = self.player.lineup
        self.now = 0.0
        self.positions = {n: (0, 0.0) for low in lanes.values() for n in (low, low + 1)}
        self.playing = True
        self.unheard = ""
        self.lists: dict[int, tuple[Entry, ...]] = dict.fromkeys(self.positions, ())
        self.kept: dict[str, Set[int]] = {}
        self.jobs: dict[int, tuple[str, Job]] = {}
        """All that were asked for, with their engine."""
        self.gains: dict[int, float] = {}
        self.ends: dict[int, float] = {}
        """Pause by serial."""
        self.events: list[Event] = []
        self.ended: dict[int, Event] = {}
        self._received: dict[int, float] = {}
        self._left: set[int] = set()
        if voices:
            for voice in (LOW, HIGH, OTHER, ALONE):
                self.step(voice)
            self.engine("a", restyle=True)
            self.engine("b")

    # --- steps --------------------------------------------------------------------------------

    def _moment(self) -> Moment:
        outputs = [
            OutputPosition(
                name, self.now + 0.1,
                tuple((lane.number, *self.positions[lane.number]) for lane in channel.lanes),
                self.playing, self.unheard,
            )
            for name, channel in self.lineup.channels.items()
        ]  # fmt: skip
        return Moment(self.now, tuple(outputs))

    def step(self, item: Any) -> list[Effect]:
        """What is wanted, the answer left out; an error is raised."""
        moment = self._moment()
        done = self.player.step(moment, item)
        again = self._twin.step(moment, item)
        assert repr(done[:-1]) == repr(again[:-1])
        for effect in done:
            self._note(effect)
        self._check_order(done)
        answer = done[-1]
        assert isinstance(answer, Answer)
        self.answer = answer.value
        if answer.error is not None:
            raise answer.error
        return done[:-1]

    @staticmethod
    def _check_order(done: list[Effect]) -> None:
        """Lists, then what is said, then what is kept, then the answer."""
        ranks = {effects.Arrange: 0, effects.Keep: 2, effects.Answer: 3}
        order = [ranks.get(type(effect), 1) for effect in done]
        assert order == sorted(order)
        assert order.count(3) == 1

    def _note(self, effect: Effect) -> None:
        match effect:
            case effects.Arrange(lane, entries):
                serials = {entry.serial for entry in entries}
                assert len(serials) == len(entries), "named twice"
                assert not serials & self._left, "named again"
                self._left |= {entry.serial for entry in self.lists[lane]} - serials
                self.lists[lane] = entries
            case effects.Keep(engine, serials):
                self.kept[engine] = serials
            case effects.Speak(engine, job):
                assert job.serial not in self.jobs
                self.jobs[job.serial] = (engine, job)
            case effects.Gain(lane, gain_db):
                self.gains[lane] = gain_db
            case effects.End(serial, pause_s):
                self.ends[serial] = pause_s
            case effects.Publish(event):
                self.events.append(event)
                if event.event in OVER:
                    number: int = event.utterance  # type: ignore[attr-defined]
                    assert number not in self.ended, "over twice"
                    self.ended[number] = event

    def tick(self, after_s: float = 0.0) -> list[Effect]:
        self.now += after_s
        return self.step(inputs.Tick())

    def say(self, utterance: int, text: str = ONE, voice: str = "low", **rest: Any) -> list[Effect]:
        """``in_pieces``, ``output`` and what else a `Line` has."""
        in_pieces = rest.pop("in_pieces", False)
        output = rest.pop("output", "main")
        line = Line(utterance, text, voice, output, queued_at=self.now, **rest)
        return self.step(inputs.Submit(line, in_pieces))

    def engine(self, name: str, state: Any = "up", **rest: Any) -> list[Effect]:
        return self.step(Engine(name, state, **rest))

    # --- engines ------------------------------------------------------------------------------

    def text_of(self, serial: int) -> str:
        return self.jobs[serial][1].text

    def receive(self, serial: int, seconds: float | None = None) -> list[Effect]:
        """The next piece of a job's sound with its words; None = the rest."""
        job = self.jobs[serial][1]
        from_s = self._received.get(serial, job.start_s)
        whole_s = len(job.text) * LETTER_S
        to_s = whole_s if seconds is None else min(from_s + seconds, whole_s)
        self._received[serial] = to_s
        words = tuple(words_of(job.text, from_s, to_s - 1e-6))
        return self.step(inputs.Received(serial, to_s - from_s, words, (Mouth("a", from_s),)))

    def make(self, *serials: int) -> list[Effect]:
        """All sound of jobs."""
        done: list[Effect] = []
        for serial in serials:
            done += [*self.receive(serial), *self.step(inputs.Done(serial))]
        return done

    def fail(self, serial: int, code: str = "engine_bug") -> list[Effect]:
        return self.step(inputs.Failed(serial, code, "told to"))

    def lose(self, *serials: int, state: Any = "down") -> list[Effect]:
        """The engine a."""
        return [
            *self.engine("a", state, restyle=True), *self.step(inputs.Lost(serials, "killed"))
        ]  # fmt: skip

    # --- lanes --------------------------------------------------------------------------------

    def report(
        self, kind: Kind, serial: int, played_s: float = 0.0, lane: int = 1, starved_s: float = 0.0
    ) -> list[Effect]:
        output = next(
            name for name, channel in self.lineup.channels.items()
            if lane in [each.number for each in channel.lanes]
        )  # fmt: skip
        report = Report(kind, serial, lane, 0, played_s, starved_s)
        return self.step(inputs.Heard(output, report, self.now + 0.1))

    def start(self, serial: int, lane: int = 1) -> list[Effect]:
        self.positions[lane] = (serial, 0.0)
        return self.report("started", serial, 0.0, lane)

    def at(self, serial: int, played_s: float, lane: int = 1) -> None:
        """The ear is there; nobody was told."""
        self.positions[lane] = (serial, played_s)

    def end(self, serial: int, lane: int = 1, kind: Kind = "ended") -> list[Effect]:
        found = self.lineup.part_of(serial)
        played_s = self.positions[lane][1] if kind == "cut" or not found else found[1].received_s
        self.positions[lane] = (0, 0.0)
        return self.report(kind, serial, played_s, lane)

    def hear(self, *serials: int, lane: int = 1) -> list[Effect]:
        """Make parts and hear them to their end."""
        done: list[Effect] = []
        for serial in serials:
            part = self.lineup.part_of(serial)
            if part is not None and part[1].generating:
                done += self.make(serial)
            done += [*self.start(serial, lane), *self.end(serial, lane)]
        return done

    def listed(self, lane: int = 1) -> list[int]:
        return [entry.serial for entry in self.lists[lane]]

    def parts(self, utterance: int = 1) -> list[int]:
        """Its jobs that are alive, in the order of the text."""
        found = self.lineup.find(utterance)
        return [part.serial for part in found.parts] if found else []

    def entry(self, serial: int, lane: int = 1) -> Entry:
        return next(entry for entry in self.lists[lane] if entry.serial == serial)

    # --- what was told ------------------------------------------------------------------------

    def names(self, since: int = 0) -> list[str]:
        return [event.event for event in self.events[since:]]

    def words(self, utterance: int = 1) -> list[str]:
        return [
            event.text
            for event in self.events
            if isinstance(event, Progress) and event.utterance == utterance and event.kind == "word"
        ]

    def last(self, name: str) -> Any:
        return [event for event in self.events if event.event == name][-1]

    def over(self, utterance: int) -> str:
        """How it ended and why; "" = not yet."""
        event = self.ended.get(utterance)
        if event is None:
            return ""
        why = getattr(event, "reason", "") or getattr(event, "code", "")
        return f"{event.event.removeprefix('utterance.')} {why}".strip()


def of(done: Iterable[Effect], kind: type) -> list[Any]:
    return [effect for effect in done if isinstance(effect, kind)]


def sounding(rig: Rig, utterance: int = 1, text: str = ONE, **rest: Any) -> int:
    """A line whose first part is made and sounds; its serial."""
    rig.say(utterance, text, **rest)
    serial = rig.listed()[-1] if text == ONE else rig.listed()[0]
    rig.make(serial)
    rig.start(serial)
    return serial


def in_mid_word(rig: Rig, text: str = THREE, voice: str = "low") -> int:
    """Line 1, made to 1.0 s of its first segment and heard to 0.55."""
    rig.say(1, text, voice)
    rig.receive(1, 1.0)
    rig.start(1)
    rig.at(1, 0.55)
    return 1


def switch(rig: Rig, name: str, when: Any = "now", output: str | None = None) -> list[Any]:
    return rig.step(protocol.Voice(name=name, when=when, output=output))


def texts(rig: Rig, utterance: int = 1) -> list[str]:
    return [rig.text_of(serial) for serial in rig.parts(utterance)]
