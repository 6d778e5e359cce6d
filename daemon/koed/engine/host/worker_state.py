"""One worker as the stage sees it in one session, and the verdict on its health. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from koed.config.daemon import EngineConfig
from koed.engine import wire
from koed.engine.host.process import ChildProcess
from koed.engine.wire import Beat, Keep, Ready

ANSWER_S = 3.0
"""A worker on another machine has so long to answer at all."""
GRANT_STEP_S = 0.05
"""A credit message is sent when the lane may run so much further."""
KILL_AT = 1.5
"""Times `EngineConfig.memory_mb` at which a worker is ended at once."""


class Failure(NamedTuple):
    """Why a worker was given up: worker_killed, worker_unfit, worker_exited, worker_stalled,
    worker_memory, worker_unreachable, and words."""

    code: str
    message: str


@dataclass(slots=True, eq=False)
class WorkerState:
    """All times are monotonic seconds; all totals are of the session."""

    session: int
    identity: bytes
    """Its routing id at our socket; empty for a worker on another machine."""
    child: ChildProcess | None
    started: float
    address: str = ""
    version: int = field(default_factory=lambda: wire.VERSION)
    """Of the wire, as it is spoken with this worker."""
    greeted: bool = False
    """It has answered in this session: voices can be sent."""
    hello_at: float = 0.0
    """When to say hello (again), and later when to ping."""
    ready: Ready | None = None
    waiting: set[str] = field(default_factory=set)
    """Keys of voices that must be prepared before it counts as up."""
    heard: float | None = None
    """When the last message came."""
    beat: Beat | None = None
    rss_mb: float = 0.0
    outstanding: dict[int, int] = field(default_factory=dict)
    """Serial -> lane of jobs that are sent and not over."""
    kept: tuple[int, ...] = ()
    """The jobs that were called wanted last."""
    repeats: bool = False
    """That is to be said (at least once) more."""
    received_s: dict[int, float] = field(default_factory=dict)
    granted_s: dict[int, float] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Warm, with all voices."""
        return self.ready is not None and not self.waiting

    @property
    def where(self) -> str:
        """For people: where it is."""
        return f"at {self.address}" if self.address else "on this machine"

    @property
    def pid(self) -> int:
        if self.child is not None:
            return self.child.pid
        return self.ready.pid if self.ready else 0

    def credit_s(self, lane: int, room_s: float) -> float | None:
        """What to grant on a lane that has room for so much more, as a total; None if that is
        hardly more than it was granted."""
        total_s = self.received_s.get(lane, 0.0) + max(0.0, room_s)
        if total_s - self.granted_s.get(lane, 0.0) < GRANT_STEP_S:
            return None
        self.granted_s[lane] = total_s
        return total_s

    def keep(self, wanted: Collection[int], *, again: bool) -> Keep | None:
        """All other jobs are over. What to send so that the worker knows it too, if anything.

        ``again``: what was said before may be lost and is repeated, the empty set only once, so
        that where nothing is wanted nothing is sent.
        """
        self.drop([serial for serial in self.outstanding if serial not in wanted])
        serials = tuple(sorted(wanted))
        if serials != self.kept:
            self.kept, self.repeats = serials, True
        elif not again or not self.repeats:
            return None
        else:
            self.repeats = bool(serials)
        return Keep(serials)

    def drop(self, serials: Iterable[int]) -> None:
        """These jobs are over."""
        for serial in serials:
            self.outstanding.pop(serial, None)


def verdict(worker: WorkerState, now: float, config: EngineConfig) -> Failure | None:
    """Code and words for why a worker must be given up, or None if it is well."""
    if worker.child is not None and worker.child.ended():
        return Failure(*worker.child.reason())
    away = "worker_stalled" if worker.child is not None else "worker_unreachable"
    if worker.child is None and not worker.greeted and now - worker.started > ANSWER_S:
        return Failure(
            away, f"no answer from {worker.address}: is it on, and does each have the other's key?"
        )
    if not worker.complete and now - worker.started > config.start_s:
        return Failure(away, f"not ready after {config.start_s:g} s")
    if worker.heard is not None and now - worker.heard > config.stall_s:
        return Failure(away, f"no sign of life for {config.stall_s:g} s")
    if worker.child is not None and worker.rss_mb > KILL_AT * config.memory_mb:
        return Failure(
            "worker_memory",
            f"{worker.rss_mb:.0f} MB resident, more than {KILL_AT:g} times the {config.memory_mb} "
            "MB that are allowed (engine.memory_mb)",
        )
    return _stalled(worker.beat, config) if worker.beat is not None else None


def _stalled(beat: Beat, config: EngineConfig) -> Failure | None:
    # Preparing a voice takes an engine seconds without a sign; a chunk of speech never does.
    limit_s = config.stall_s if beat.state == "speaking" else config.start_s
    if beat.quiet_ms <= limit_s * 1000:
        return None
    what = f"job {beat.serial}" if beat.serial else beat.state
    what = f"loading what {what} needs" if beat.state == "loading" else what
    return Failure("worker_stalled", f"no progress for {limit_s:g} s in {what}")
