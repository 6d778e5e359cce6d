"""Whose jobs engines have: of the air, of phrases, of clients. Pure.

An engine is told what to keep as one set, the union over all owners; what becomes of a job is told
to its owner.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from koed.engine.base import Capabilities, Job, Mouth, Word

EngineState = Literal["stopped", "starting", "up", "down"]


class Host(Protocol):
    """The part of `koed.engine.host.supervisor.EngineHost` that speaks."""

    @property
    def state(self) -> EngineState: ...
    @property
    def capabilities(self) -> Capabilities | None: ...
    @property
    def doing(self) -> str: ...
    @property
    def jobs(self) -> frozenset[int]: ...
    def speak(self, job: Job) -> None: ...
    def keep(self, serials: Collection[int]) -> None: ...
    def grant(self, lane: int, ahead_s: float) -> None: ...


class JobOwner(Protocol):
    """Hears what becomes of its jobs."""

    def chunk(
        self,
        serial: int,
        pcm: NDArray[np.float32],
        rate_hz: int,
        words: tuple[Word, ...],
        mouths: tuple[Mouth, ...],
    ) -> None:
        """``pcm``: float32 mono ``[S]``, read-only."""

    def done(self, serial: int) -> None: ...
    def failed(self, serial: int, code: str, message: str) -> None: ...
    def mended(self, serial: int, code: str) -> None:
        """The engine found its own work on a job wrong (``code``) and made it anew, unheard."""

    def lost(self, serials: Collection[int], code: str) -> None: ...


class Jobs:
    """Whose each job is, and what each engine is to keep: the union over all owners."""

    def __init__(self, hosts: Mapping[str, Host]) -> None:
        self.hosts = hosts
        self._owners: dict[int, tuple[JobOwner, str]] = {}
        """By serial, with the engine that has it."""

    def speak(self, owner: JobOwner, engine: str, job: Job, ahead_s: float) -> None:
        """``ahead_s``: seconds of the job's lane that are still to be heard."""
        self._owners[job.serial] = (owner, engine)
        self.hosts[engine].grant(job.lane, ahead_s)
        self.hosts[engine].speak(job)

    def keep(self, owner: JobOwner, engine: str, serials: Collection[int]) -> None:
        """Of this owner's jobs in an engine, only these are wanted any more."""
        mine = [s for s, whose in self._owners.items() if whose == (owner, engine)]
        for serial in mine:
            if serial not in serials:
                del self._owners[serial]
        self.hosts[engine].keep([s for s, (_, where) in self._owners.items() if where == engine])

    def owner_of(self, serial: int) -> JobOwner | None:
        """None: nobody wants it any more."""
        found = self._owners.get(serial)
        return found[0] if found else None

    def lost(self, serials: Collection[int], code: str) -> None:
        """A worker is gone with these jobs."""
        by_owner: dict[JobOwner, list[int]] = {}
        for serial in serials:
            owner = self.owner_of(serial)
            if owner is not None:
                by_owner.setdefault(owner, []).append(serial)
        for owner, mine in by_owner.items():
            owner.lost(mine, code)
