"""A worker without threads or sockets: a scripted engine, and steps that a test takes."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import numpy as np

from koed.engine import wire
from koed.engine.base import Capabilities, Chunk, Job, ProfileSpec, Stream, Voice
from koed.engine.worker.io_thread import Pulse
from koed.engine.worker.main import Synthesis
from koed.engine.worker.scheduler import (
    CloseStreams,
    Idle,
    Preparation,
    Scheduler,
    Step,
)
from koed.errors import EngineError

SPEC = ProfileSpec("hana", "en", {})
RATE_HZ = 1000
CHUNK_S = 0.1


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Take:
    """A stream that knows whether it was closed."""

    def __init__(self, chunks: Generator[Chunk]) -> None:
        self._chunks = chunks
        self.shut = self.abandoned = False

    def __iter__(self) -> Take:
        return self

    def __next__(self) -> Chunk:
        return next(self._chunks)

    def close(self) -> None:
        self.shut = True
        self._chunks.close()

    def abandon(self) -> None:
        self.abandoned = True


class Scripted:
    """An engine whose every text is a number of chunks, after as many of ``loads``, or a way to
    fail."""

    name = "scripted"
    capabilities = Capabilities(languages=("*",), restyle=True)

    def __init__(self) -> None:
        self.closed: list[int] = []
        """Jobs whose streams came to an end, of their own or because they were closed."""
        self.takes: dict[int, Take] = {}
        self.meanwhile: Callable[[], None] = lambda: None
        """What happens while a stream is made of another."""
        self.restyled: list[tuple[Stream, Job]] = []

    def prepare(self, profile: ProfileSpec) -> Voice:
        if profile.settings.get("bad"):
            raise EngineError("no_such_thing", "it has no such thing", "buy one")
        return Voice(profile.name, "", profile.lang, profile.settings.get("lufs", -20.0), {})

    def load(self, voice: Voice) -> None:
        pass

    def stream(self, voice: Voice, job: Job) -> Stream:
        return self._take(job)

    def restyle(self, stream: Stream, voice: Voice, job: Job) -> Stream:
        assert isinstance(stream, Take)
        assert not stream.shut, "a stream that is closed cannot be continued"
        self.meanwhile()
        if "no restyle" in job.text:
            raise EngineError("no_restyle", "not of this one")
        self.restyled.append((stream, job))
        return self._take(job)

    def _take(self, job: Job) -> Take:
        self.takes[job.serial] = Take(self._speak(job))
        return self.takes[job.serial]

    def _speak(self, job: Job) -> Generator[Chunk]:
        try:
            for _ in range(job.text.count("loads")):
                yield Chunk(np.zeros(0, np.float32), RATE_HZ, loading=True)
            for _ in range(int(job.text.split()[0])):
                yield Chunk(np.zeros(round(CHUNK_S * RATE_HZ), np.float32), RATE_HZ)
            if "bug" in job.text:
                raise KeyError("pitch")
            if "nan" in job.text:
                yield Chunk(np.full(9, np.nan, np.float32), RATE_HZ)
        finally:
            self.closed.append(job.serial)


class Later:
    """A thread beside that works when it is told to."""

    def __init__(self) -> None:
        self._work: list[Callable[[], object]] = []

    def submit(self, work: Callable[..., object], *args: object) -> None:
        assert not self._work, "one at a time"
        self._work.append(lambda: work(*args))

    def run(self) -> None:
        while self._work:
            self._work.pop()()


class Bench:
    """Scheduler and synthesis without a thread: `step` does what the main thread would do next.
    ``later``: a thread beside for the voices."""

    def __init__(self, cache: Any = None, later: Any = None) -> None:
        self.clock = Clock()
        self.scheduler = Scheduler(self.clock)
        self.engine = Scripted()
        self.posted: list[wire.Message] = []
        engine: Any = self.engine
        carrier: Any = self
        self.synthesis = Synthesis(engine, self.scheduler, carrier, Pulse(), cache, later)
        self.scheduler.reset(1)
        self.scheduler.prepared(Voice("hana", "k", "en", -20.0, {}))

    def post(self, session: int, message: wire.Message, pcm: bytes | None = None) -> None:
        self.posted.append(message)

    def speak(self, serial: int, text: str = "3", lane: int = 1, **more: Any) -> None:
        self.scheduler.submit(Job(serial, lane, "k", text, "en", **more))

    def step(self, times: int = 1) -> None:
        for _ in range(times):
            task = self.scheduler.next()
            assert task is not None, "nothing to do"
            self.do(task)

    def run_dry(self) -> None:
        """Work until there is nothing to do."""
        while (task := self.scheduler.next()) is not None:
            self.do(task)

    def do(self, task: Step | Preparation | CloseStreams | Idle) -> None:
        match task:
            case Step():
                self.synthesis._speak(task)
            case Preparation():
                self.synthesis._prepare(task)
            case CloseStreams(streams):
                self.synthesis._close(streams)

    def serials(self) -> list[int]:
        return [m.serial for m in self.posted if isinstance(m, wire.Sound)]

    def done(self) -> list[int]:
        return [m.serial for m in self.posted if isinstance(m, wire.Done)]

    def failed(self) -> dict[int, str]:
        return {m.serial: m.code for m in self.posted if isinstance(m, wire.Failed)}
