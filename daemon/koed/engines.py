"""All engine hosts of the daemon: started when a profile needs them, heard by book and stage."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zmq
from numpy.typing import NDArray

from koe.protocol import EngineDown, EngineUp
from koed.config import EngineConfig
from koed.continuity import Continuity
from koed.engine.base import Capabilities, Mouth, Word
from koed.engine.host import EngineHost
from koed.errors import KoedError
from koed.events import Bus
from koed.phrases.book import PhraseBook
from koed.phrases.studio import LANE
from koed.profiles import Profile
from koed.stage import Stage
from koed.voices import VoiceBook

log = logging.getLogger(__name__)


class EngineHosts:
    """Implements `koed.engine.host.HostListener`: passes on what hosts report."""

    def __init__(
        self,
        context: zmq.Context[Any],
        runtime_dir: Path,
        cache_dir: Path | None,
        config: EngineConfig,
        bus: Bus,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.hosts: dict[str, EngineHost] = {}
        self.away: set[str] = set()
        """Hosts whose worker was lost or never came, until it is up."""
        self._new: list[str] = []
        self._context = context
        self._runtime_dir = runtime_dir
        self._cache_dir = cache_dir
        self._config = config
        self._bus = bus
        self._clock = clock
        self._stage: Stage | None = None
        self._continuity: Continuity | None = None
        self._book: VoiceBook | None = None
        self._phrases: PhraseBook | None = None

    def attach_phrases(self, phrases: PhraseBook) -> None:
        """Who is told of the lane that no output has."""
        self._phrases = phrases

    def attach(self, stage: Stage, continuity: Continuity, book: VoiceBook) -> None:
        """Who is told; what the hosts report before is nothing that matters."""
        self._stage, self._continuity, self._book = stage, continuity, book

    def host_of(self, profile: Profile) -> tuple[str, EngineHost]:
        """The host that speaks a profile; one worker per engine, one per remote address."""
        name = profile.engine
        if profile.remote is not None:
            name = f"{profile.engine}@{profile.remote.address}"
        host = self.hosts.get(name)
        if host is None:
            host = EngineHost(
                name,
                profile.engine,
                self._context,
                self._runtime_dir,
                self._limits(profile.engine),
                self,
                remote=profile.remote,
                cache_dir=self._cache_dir,
                clock=self._clock,
            )
            self.hosts[name] = host
            self._new.append(name)
        return name, host

    def _limits(self, engine: str) -> EngineConfig:
        if engine != "gpt_sovits":
            return self._config
        return dataclasses.replace(
            self._config,
            memory_mb=self._config.neural_memory_mb,
            start_s=self._config.neural_start_s,
        )

    def sockets(self) -> Iterator[Any]:
        for host in self.hosts.values():
            yield from host.sockets

    def receive(self) -> None:
        for host in self.hosts.values():
            host.receive()

    def tick(self, now: float) -> float:
        """Supervise; returns the monotonic time of the next look.

        A host that is new is started here: its first voices are known by then, so that it is not
        up before it can speak in them.
        """
        for name in self._new:
            self.hosts[name].start()
        self._new.clear()
        return min((host.tick(now) for host in self.hosts.values()), default=now + 1.0)

    def stop(self, deadline_s: float) -> None:
        """Send all workers away; ``deadline_s`` for all of them together."""
        deadline = self._clock() + deadline_s
        for host in self.hosts.values():
            host.stop(max(0.05, deadline - self._clock()))

    # --- HostListener ------------------------------------------------------------------------

    def engine_up(self, engine: str, ready_s: float, pid: int, capabilities: Capabilities) -> None:
        self.away.discard(engine)
        self._bus.publish(EngineUp(engine=engine, ready_s=ready_s, pid=pid))
        if self._stage:
            self._stage.advance()

    def engine_down(
        self, engine: str, code: str, message: str, retry_s: float, lost: list[int]
    ) -> None:
        self.away.add(engine)
        log.warning("engine %s: %s; trying again", engine, message)
        self._bus.publish(EngineDown(engine=engine, code=code, message=message, retry_s=retry_s))
        if self._phrases:
            self._phrases.engine_lost(lost)
        if self._stage and self._continuity:
            self._continuity.engine_lost(lost, code)
            self._stage.advance()

    def voice_ready(
        self, engine: str, name: str, key: str, loudness_lufs: float, cached: bool, prepare_s: float
    ) -> None:
        if self._book:
            self._book.voice_ready(engine, key, loudness_lufs, cached, prepare_s)

    def voice_failed(
        self, engine: str, name: str, key: str, code: str, message: str, hint: str
    ) -> None:
        if self._book:
            self._book.voice_failed(engine, key, KoedError(code, message, hint))

    def chunk(
        self,
        serial: int,
        lane: int,
        pcm: NDArray[np.float32],
        rate_hz: int,
        words: tuple[Word, ...],
        mouths: tuple[Mouth, ...],
    ) -> None:
        if lane == LANE:
            if self._phrases:
                self._phrases.studio.chunk(serial, pcm, rate_hz, words, mouths)
        elif self._stage:
            self._stage.jobs.chunk(serial, pcm, rate_hz, words, mouths)

    def mended(self, serial: int, lane: int, code: str) -> None:
        if self._stage:
            self._stage.jobs.retried(serial, code)

    def done(self, serial: int, lane: int, seconds: float) -> None:
        if lane == LANE:
            if self._phrases:
                self._phrases.studio.done(serial)
        elif self._stage:
            self._stage.done(serial)

    def failed(self, serial: int, lane: int, code: str, message: str) -> None:
        if lane == LANE:
            if self._phrases:
                self._phrases.studio.failed(serial, code, message)
        elif self._stage and self._continuity:
            self._continuity.job_failed(serial, code, message)
            self._stage.advance()
