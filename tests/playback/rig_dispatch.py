"""The shell with a real player between hosts, mixers and a book of voices that write down what
they are told."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from koe.protocol import Event
from koed.audio.arrangement import Entry, Report
from koed.config.daemon import Config
from koed.config.delivery import PLAIN, Delivery
from koed.engine.base import Capabilities, Job, Word
from koed.engine.jobs import Jobs
from koed.errors import KoedError
from koed.events import Bus
from koed.playback.dispatch import Dispatch, Outlet
from koed.playback.inputs import Submit
from koed.playback.lineup import Takes
from koed.playback.player import Player
from koed.playback.queue import Line
from tests.playback.rig_player import ONE, no_takes

Calls = list[tuple[Any, ...]]


class FakeHost:
    def __init__(self, name: str, calls: Calls) -> None:
        self.name, self.calls = name, calls
        self.state: Any = "up"
        self.capabilities: Capabilities | None = Capabilities(("*",), restyle=True)
        self.doing = "idle"
        self.jobs: frozenset[int] = frozenset()
        self.refuses: Exception | None = None

    def speak(self, job: Job) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.calls.append(("speak", self.name, job.serial))

    def keep(self, serials: Collection[int]) -> None:
        self.calls.append(("keep", self.name, sorted(serials)))

    def grant(self, lane: int, ahead_s: float) -> None:
        self.calls.append(("grant", self.name, lane, ahead_s))


class FakeMixer:
    rate_hz = 100
    clock_frames = 1000
    delay_frames = 10

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self.told: deque[Report] = deque()
        self.windows: list[tuple[int, float, float]] = []
        self.refuses: dict[str, Exception] = {}

    def _call(self, name: str, *arguments: Any) -> None:
        if name in self.refuses:
            raise self.refuses[name]
        self.calls.append((name, *arguments))

    def arrange(self, lane: int, entries: Sequence[Entry]) -> None:
        self._call("arrange", lane, [entry.serial for entry in entries])

    def feed(self, serial: int, pcm: Any, rate_hz: int) -> None:
        self._call("feed", serial, len(pcm))

    def end(self, serial: int, pause_s: float = 0.0) -> None:
        self._call("end", serial, pause_s)

    def duck(self, lane: int, gain_db: float) -> None:
        self._call("duck", lane, gain_db)

    def mute(self, on: bool) -> None:
        self._call("mute", on)

    def pause(self, on: bool) -> None:
        self._call("pause", on)

    def ahead_s(self, lane: int) -> float:
        return lane + 0.5

    def position(self, lane: int) -> tuple[int, float]:
        return (0, 0.0)

    def reports(self) -> list[Report]:
        told, self.told = list(self.told), deque()
        return told

    def levels(self) -> list[tuple[int, float, float]]:
        windows, self.windows = self.windows, []
        return windows

    def fine_levels(self) -> list[tuple[int, float, float]]:
        return []


@dataclass
class Profile:
    lang: str = "en"
    fallback: str | None = None
    speed: float = 1.0
    loudness_lufs: float | None = None
    delivery: Delivery = PLAIN


@dataclass
class Ready:
    engine: str = "a"
    key: str = "k-low"
    loudness_lufs: float = -20.0


@dataclass
class FakeBook:
    ready_: dict[str, Ready | None] = field(default_factory=lambda: {"low": Ready()})
    profile_: Profile | None = field(default_factory=Profile)
    error_: KoedError | None = None
    looks: int = 0

    @property
    def version(self) -> int:
        """It may have changed at any look."""
        self.looks += 1
        return self.looks

    def all_names(self) -> list[str]:
        return list(self.ready_)

    def profile(self, name: str) -> Profile | None:
        return self.profile_

    def ready(self, name: str) -> Ready | None:
        return self.ready_[name]

    def error(self, name: str) -> KoedError | None:
        return self.error_


class SpiedPlayer(Player):
    """Remembers what it was told."""

    inputs: list[Any]

    def step(self, moment: Any, item: Any) -> Any:
        self.__dict__.setdefault("inputs", []).append(item)
        return super().step(moment, item)


class World:
    def __init__(self, takes: Takes = no_takes, outputs: Sequence[str] = ("main",)) -> None:
        self.calls: Calls = []
        self.events: list[Event] = []
        self.now = 10.0
        self.hosts = {"a": FakeHost("a", self.calls)}
        self.mixers = {name: FakeMixer(self.calls) for name in outputs}
        self.book = FakeBook()
        self.bus = Bus(lambda: self.now)
        self.bus.listen(self.events.append)
        self.jobs = Jobs(self.hosts)
        config = replace(Config(), voice="low")
        self.player = SpiedPlayer(config, {n: 1 + 2 * i for i, n in enumerate(outputs)}, takes)
        outlets = {
            name: Outlet(
                mixer, lambda frame: frame / 100, lambda on: self.calls.append(("shut", on))
            )
            for name, mixer in self.mixers.items()
        }
        self.dispatch = Dispatch(
            self.player, outlets, self.jobs, self.book, self.bus, lambda: self.now
        )

    def say(self, utterance: int, text: str = ONE, output: str = "main") -> Any:
        return self.dispatch.ask(Submit(Line(utterance, text, "low", output)))

    def chunk(self, serial: int, frames: int = 50) -> None:
        pcm = np.zeros(frames, dtype=np.float32)
        self.dispatch.chunk(serial, pcm, 100, (Word(0, 3, 0.0),), ())

    def names(self) -> list[str]:
        return [event.event for event in self.events]

    def called(self, *names: str) -> Calls:
        return [call for call in self.calls if call[0] in names]
