"""The stage's side of an engine: start its worker, feed it, replace it when it fails.

Everything runs on the thread that polls `EngineHost.sockets` and nothing in it blocks: call
`receive` when one of them is readable and `tick` when it asked to be called. The worker is a child
of this process or, with a `RemoteEngine`, a worker on another machine; the same messages go to
both. What happens is told to a `HostListener`, from inside `receive` and `tick` only.

States: ``starting`` -> ``up`` (warm, all known voices prepared) -> ``down`` (waiting to try again)
-> ``starting`` ...; ``stopped`` before `start` and after `stop`.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from koed.config.daemon import EngineConfig
from koed.config.profile import RemoteEngine
from koed.engine import wire
from koed.engine.base import Capabilities, Job, ProfileSpec
from koed.engine.host import versions
from koed.engine.host.listener import HostListener, tell_of_job
from koed.engine.host.transport import Context, Socket
from koed.engine.host.voices import Roster
from koed.engine.host.worker_state import Failure, Peer
from koed.engine.host.workers import Crew
from koed.engine.wire import Message

__all__ = ["EngineHost", "HostListener"]

log = logging.getLogger(__name__)

TICK_S = 0.25
RETRY_S, RETRY_MAX_S = 0.1, 5.0
HEALTHY_S = 30.0
"""A worker that was up so long starts the back-off anew."""
SWAP_PAUSE_S = 60.0
"""Between two swaps: an engine that is born above its ceiling must not be swapped for ever."""
LATE_S = 1.0
"""If our own tick came so late, the workers' silence is our fault."""

State = Literal["stopped", "starting", "up", "down"]


class EngineHost:
    """``name`` is what the listener hears; a worker elsewhere has one of its own. ``engine`` is
    what a child of ours runs, and part of the keys of voices."""

    def __init__(
        self,
        name: str,
        engine: str,
        context: Context,
        runtime_dir: Path,
        config: EngineConfig,
        listener: HostListener,
        *,
        remote: RemoteEngine | None = None,
        cache_dir: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.engine = engine
        self.state: State = "stopped"
        self.capabilities: Capabilities | None = None
        """Of the worker that was up last; None before the first."""
        self.version = ""
        """Of the engine in that worker."""
        self.restarts = 0
        self._config = config
        self._listener = listener
        self._clock = clock
        self._open: Callable[[], Crew] = functools.partial(
            Crew, name, engine, context, runtime_dir, remote, cache_dir
        )
        self._crew: Crew | None = None
        self._voices = Roster(name, listener)
        self._ahead_s: dict[int, float] = {}
        self._held: list[Job] = []
        """Jobs that wait for the standby worker."""
        self._unspoken: list[Job] = []
        """Jobs that came while no worker was up."""
        self._wanted: set[int] = set()
        """What was named last to be kept, and what was given since."""
        self._backoff_s = RETRY_S
        self._retry_at = 0.0
        self._up_at = 0.0
        self._swap_at = 0.0
        self._ticked = 0.0
        self._told_down: Failure | None = None

    # --- life --------------------------------------------------------------------------------

    def start(self) -> None:
        """Open the sockets and start the worker; raises `EngineError` for an unusable address or
        folder. Prepare the voices that must be there from the first moment before this."""
        self._crew = self._open()
        self._ticked = self._clock()
        self._begin(self._crew, self._ticked)

    @property
    def sockets(self) -> tuple[Socket | int, ...]:
        """What to poll for reading, the same from `start` to `stop`: ZeroMQ sockets and the file
        descriptor of an epoll set, which is readable when a worker has ended."""
        return self._crew.sockets if self._crew else ()

    @property
    def pid(self) -> int:
        """Of the worker; 0 = none, or not yet known."""
        return self._active.pid if self._active else 0

    @property
    def rss_mb(self) -> float:
        return self._active.rss_mb if self._active else 0.0

    @property
    def idle_swap_due(self) -> bool:
        """A fresh worker stands by, or is starting, for when nothing is being spoken."""
        return self._crew is not None and self._crew.standby is not None

    @property
    def jobs(self) -> frozenset[int]:
        """Serials of jobs that the worker has and has not finished, by its newest beat (which may
        be a moment old), and of those that wait here."""
        beat = self._active.beat if self._active else None
        here = (job.serial for job in (*self._held, *self._unspoken))
        return frozenset((*(beat.jobs if beat else ()), *here))

    @property
    def doing(self) -> str:
        """``state`` of the worker's newest `Beat`; empty if none came yet."""
        beat = self._active.beat if self._active else None
        return beat.state if beat else ""

    def stop(self, deadline_s: float) -> None:
        """Send the workers away; after ``deadline_s`` they are killed. The one call that waits."""
        self.state = "stopped"
        if self._crew is not None:
            self._crew.close(deadline_s)
            self._crew = None

    # --- orders ------------------------------------------------------------------------------

    def prepare(self, spec: ProfileSpec) -> str:
        """Have a voice compiled; the listener hears when it is. Gives its key.

        Two equal profiles have one key; `forget` it when neither is wanted any more.
        """
        key = spec.key(self.engine)
        self._voices.add(key, spec)
        for peer in self._greeted():
            if peer.ready is None:
                peer.waiting.add(key)
            self._send(peer, wire.Prepare(key, spec))
        return key

    def forget(self, key: str) -> None:
        self._voices.remove(key)
        for peer in self._greeted():
            self._send(peer, wire.Unload(key))
            peer.waiting.discard(key)

    def speak(self, job: Job) -> None:
        """Give a job to the worker; it is wanted until the next `keep`, which is to name it. If
        none is up, the listener hears soon that it failed."""
        self._wanted.add(job.serial)
        crew = self._crew
        if crew is None or crew.active is None or self.state != "up":
            self._unspoken.append(job)
            if crew is not None:
                crew.wake()
        elif crew.standby is not None and crew.standby.complete and not job.restyle_of:
            self._held.append(job)
        else:
            self._give(crew.active, job)

    def keep(self, serials: Collection[int]) -> None:
        """Name all jobs of this engine that are still wanted, also those that are made and may be
        restyled. Every other one is over: nothing of it is told any more. Cheap if nothing
        changed. A restyle's source may be left out once that was given to `speak`."""
        self._wanted = set(serials)
        self._held = [job for job in self._held if job.serial in self._wanted]
        self._unspoken = [job for job in self._unspoken if job.serial in self._wanted]
        self._tell_wanted(again=False)

    def grant(self, lane: int, ahead_s: float) -> None:
        """Tell how many seconds of a lane's sound wait to be heard: the worker may go on until
        they are `EngineConfig.lookahead_s`. Cheap: call it whenever it may have changed."""
        self._ahead_s[lane] = ahead_s
        if self._active is not None and self.state == "up":
            self._send_grant(self._active, lane)

    # --- the poller's calls ------------------------------------------------------------------

    def receive(self) -> None:
        """Take in what has come."""
        crew, now = self._crew, self._clock()
        if crew is None:
            return
        self._excuse_if_late(crew, now)
        for peer, failure in crew.disconnected(now):
            self._give_up(crew, peer, failure, now)
        for peer, message, pcm in crew.messages(now):
            self._dispatch(crew, peer, message, pcm, now)
        if crew.woken(now):
            self._fail_unspoken()
            self._examine(crew, now)
        self._swap_if_free(crew, now)

    def tick(self, now: float) -> float:
        """Look after the worker; the monotonic time at which to be called again, at the latest."""
        crew = self._crew
        if crew is None:
            return now + TICK_S
        self._excuse_if_late(crew, now)
        self._ticked = now
        self.receive()
        crew.look(now)
        self._examine(crew, now)
        if crew.active is None and now >= self._retry_at:
            self._begin(crew, now)
        crew.keep_contact(now)
        self._tell_wanted(again=True)
        self._plan_swap(crew, now)
        return min(now + TICK_S, self._retry_at) if crew.active is None else now + TICK_S

    def _excuse_if_late(self, crew: Crew, now: float) -> None:
        """Before anybody is judged."""
        if now - self._ticked > LATE_S:
            crew.excuse(now)

    # --- messages ----------------------------------------------------------------------------

    def _dispatch(
        self, crew: Crew, peer: Peer, message: Message, pcm: NDArray[np.float32] | None, now: float
    ) -> None:
        if not peer.greeted and not isinstance(message, (wire.Here, wire.Refused)):
            self._greet(peer)
        match message:
            case wire.Sound() | wire.Done() | wire.Failed() | wire.Mended():
                tell_of_job(self._listener, peer, message, pcm)
            case wire.Prepared() | wire.PrepareFailed():
                self._voices.answered(message)
                peer.waiting.discard(message.key)
                self._up_if_complete(crew, peer)
            case wire.Beat():
                peer.beat = message
                peer.rss_mb = peer.rss_mb if peer.child else message.rss_mb
            case wire.Here(wire.VERSION):
                self._send(peer, wire.Hello(wire.VERSION))
            case wire.Ready():
                peer.ready = message
                self._up_if_complete(crew, peer)
            case wire.Here() | wire.Refused():
                self._give_up(crew, peer, versions.refused(message, peer.where), now)
            case wire.LogLine(level, text):
                log.log(max(logging.DEBUG, min(level, logging.ERROR)), "%s: %s", self.name, text)
            case _:
                log.warning("%s: a worker does not say %r", self.name, message.kind)

    @property
    def _active(self) -> Peer | None:
        return self._crew.active if self._crew else None

    def _greeted(self) -> list[Peer]:
        return [peer for peer in self._crew.peers() if peer.greeted] if self._crew else []

    def _send(self, peer: Peer, message: Message) -> None:
        if self._crew is not None:
            self._crew.send(peer, message)

    def _give(self, peer: Peer, job: Job) -> None:
        # Credit first, so that a lane's very first job does not wait for a second message.
        self._send_grant(peer, job.lane)
        peer.outstanding[job.serial] = job.lane
        self._send(peer, wire.Speak(job))

    def _send_grant(self, peer: Peer, lane: int) -> None:
        total_s = peer.credit_s(lane, self._config.lookahead_s - self._ahead_s.get(lane, 0.0))
        if total_s is not None:
            self._send(peer, wire.Grant(lane, total_s))

    def _tell_wanted(self, *, again: bool) -> None:
        if self._crew is not None and self.state == "up":
            self._crew.tell_wanted(self._wanted, again=again)

    def _fail_unspoken(self) -> None:
        unspoken, self._unspoken = self._unspoken, []
        for job in unspoken:
            text = f"no {self.name} worker is up"
            self._listener.failed(job.serial, job.lane, "engine_down", text)

    # --- up and down -------------------------------------------------------------------------

    def _begin(self, crew: Crew, now: float) -> None:
        """Start a worker, or say hello to the one elsewhere."""
        self.state = "starting"
        self.restarts += 1 if crew.session else 0
        try:
            crew.active = crew.spawn(now)
        except OSError as error:
            text = f"cannot start a process: {error.strerror}"
            self._fail(crew, Failure("worker_exited", text), now, [])

    def _greet(self, peer: Peer) -> None:
        """The first answer in this session: send all voices."""
        peer.greeted = True
        specs = self._voices.specs()
        peer.waiting = set(specs)
        for key, spec in specs.items():
            self._send(peer, wire.Prepare(key, spec))

    def _up_if_complete(self, crew: Crew, peer: Peer) -> None:
        if peer is crew.active and self.state == "starting" and peer.complete:
            self._up(peer)

    def _up(self, peer: Peer) -> None:
        assert peer.ready is not None, "complete"
        self.state = "up"
        self._told_down = None
        self._up_at = self._clock()
        self.capabilities = peer.ready.capabilities
        self.version = peer.ready.version
        self._listener.engine_up(
            self.name, self._up_at - peer.started, peer.ready.pid, peer.ready.capabilities
        )

    def _examine(self, crew: Crew, now: float) -> None:
        for peer, failure in crew.unwell(now, self._config):
            self._give_up(crew, peer, failure, now)

    def _give_up(self, crew: Crew, peer: Peer, failure: Failure, now: float) -> None:
        crew.discard(peer, now)
        held, self._held = self._held, []
        if peer is crew.standby:
            log.warning("%s: the fresh worker failed: %s", self.name, failure.message)
            crew.standby = None
            self._swap_at = now + SWAP_PAUSE_S
            for job in held:
                self.speak(job)
        elif peer is crew.active:
            lost = sorted([*peer.outstanding, *(job.serial for job in held)])
            crew.active, crew.standby = crew.standby, None
            self._fail(crew, failure, now, lost)

    def _fail(self, crew: Crew, failure: Failure, now: float, lost: list[int]) -> None:
        was_up = self.state == "up"
        if was_up and now - self._up_at >= HEALTHY_S:
            self._backoff_s = RETRY_S
        retry_s = 0.0
        self.state = "starting"  # if a standby takes over
        if crew.active is None:
            self.state = "down"
            retry_s = self._backoff_s
            self._backoff_s = min(RETRY_MAX_S, 2 * self._backoff_s)
        self._retry_at = now + retry_s
        if was_up or lost or self._told_down != failure:
            self._told_down = failure
            self._listener.engine_down(self.name, failure.code, failure.message, retry_s, lost)
        if crew.active is not None:
            self._up_if_complete(crew, crew.active)

    # --- swapping ----------------------------------------------------------------------------

    def _plan_swap(self, crew: Crew, now: float) -> None:
        peer = crew.active
        if peer is None or peer.child is None or self.state != "up" or crew.standby is not None:
            return
        if peer.rss_mb <= self._config.memory_mb or now < self._swap_at:
            return
        log.info("%s: %.0f MB resident, starting a fresh worker", self.name, peer.rss_mb)
        self._swap_at = now + SWAP_PAUSE_S
        try:
            crew.standby = crew.spawn(now)
        except OSError as error:
            log.warning("%s: cannot start a process: %s", self.name, error.strerror)

    def _swap_if_free(self, crew: Crew, now: float) -> None:
        """Change over when the old worker has finished what it was given.

        What came meanwhile was held: the look-ahead that is still to be heard covers the moment.
        """
        fresh, old = crew.standby, crew.active
        if fresh is None or old is None or not fresh.complete or old.outstanding:
            return
        crew.dismiss(old, now)
        crew.active, crew.standby = fresh, None
        held, self._held = self._held, []
        self._up(fresh)
        for job in held:
            self._give(fresh, job)
