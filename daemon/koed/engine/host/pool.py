"""All engine hosts of the daemon: started when a profile needs them; what they say is passed on."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import zmq

from koe.protocol import EngineDown, EngineUp
from koed.config.daemon import EngineConfig, WorkerConfig
from koed.config.profile import Profile
from koed.engine import registry
from koed.engine.base import Capabilities
from koed.engine.host.supervisor import EngineHost
from koed.engine.jobs import JobOwner, Jobs
from koed.errors import KoedError
from koed.events import Bus

log = logging.getLogger(__name__)


class VoiceListener(Protocol):
    """Hears what engines made of profiles; ``key`` as `EngineHost.prepare` gave it."""

    def voice_ready(
        self, host: str, key: str, loudness_lufs: float, cached: bool, prepare_s: float
    ) -> None: ...
    def voice_failed(self, host: str, key: str, error: KoedError) -> None: ...


class EngineHosts:
    """A `HostListener`: voices are told to ``book``, jobs to whoever owns them. Its hosts are those
    of ``jobs``."""

    def __init__(
        self,
        context: zmq.Context[Any],
        runtime_dir: Path,
        cache_dir: Path | None,
        config: EngineConfig,
        hosts: dict[str, EngineHost],
        jobs: Jobs,
        book: VoiceListener,
        bus: Bus,
        clock: Callable[[], float] = time.monotonic,
        settings: Mapping[str, WorkerConfig] | None = None,
    ) -> None:
        """``settings``: of single engines."""
        self.hosts = hosts
        self.away: set[str] = set()
        """Hosts whose worker was lost or never came, until it is up."""
        self._new: list[str] = []
        self._context = context
        self._runtime_dir = runtime_dir
        self._cache_dir = cache_dir
        self._config = config
        self._settings = settings or {}
        self._bus = bus
        self._clock = clock
        self._jobs = jobs
        self._book = book

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
                settings=self._settings.get(profile.engine),
                clock=self._clock,
            )
            self.hosts[name] = host
            self._new.append(name)
        return name, host

    def _limits(self, engine: str) -> EngineConfig:
        config, own = self._config, self._settings.get(engine, WorkerConfig())
        if registry.is_neural(engine):
            config = dataclasses.replace(
                config, memory_mb=config.neural_memory_mb, start_s=config.neural_start_s
            )
        return dataclasses.replace(config, memory_mb=own.memory_mb or config.memory_mb)

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

    def engine_down(
        self, engine: str, code: str, message: str, retry_s: float, lost: list[int]
    ) -> None:
        self.away.add(engine)
        log.warning("engine %s: %s; trying again", engine, message)
        self._bus.publish(EngineDown(engine=engine, code=code, message=message, retry_s=retry_s))
        self._jobs.lost(lost, code)

    def voice_ready(
        self, engine: str, name: str, key: str, loudness_lufs: float, cached: bool, prepare_s: float
    ) -> None:
        self._book.voice_ready(engine, key, loudness_lufs, cached, prepare_s)

    def voice_failed(
        self, engine: str, name: str, key: str, code: str, message: str, hint: str
    ) -> None:
        self._book.voice_failed(engine, key, KoedError(code, message, hint))

    def owner_of(self, serial: int) -> JobOwner | None:
        return self._jobs.owner_of(serial)
