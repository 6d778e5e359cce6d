"""The stage's side of an engine: start its worker, feed it, replace it when it fails.

Everything runs on the thread that polls `EngineHost.sockets` and nothing in it blocks: call
`receive` when one of them is readable and `tick` when it asked to be called. The worker is a child
of this process or, with a `RemoteEngine`, a worker on another machine; the same messages go to
both. What happens is told to a `HostListener`, from inside `receive` and `tick` only.

States: ``starting`` -> ``up`` (warm, with all voices that lines may speak with) -> ``down``
(waiting to try again) -> ``starting`` ...; ``stopped`` before `start` and after `stop`.
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

from koed.config.daemon import EngineConfig, WorkerConfig
from koed.config.profile import RemoteEngine
from koed.engine import wire
from koed.engine.base import Capabilities, Job, ProfileSpec
from koed.engine.host import versions
from koed.engine.host.listener import HostListener, tell_of_job
from koed.engine.host.transport import Context, Socket
from koed.engine.host.voices import WantedVoices
from koed.engine.host.worker_state import Failure, WorkerState
from koed.engine.host.workers import Workers
from koed.engine.wire import Message

__all__ = ["EngineHost", "HostListener"]

log = logging.getLogger(__name__)

TICK_S = 0.25
RETRY_S, RETRY_MAX_S = 0.1, 5.0
UNFIT_S = 3600.0
"""The next worker would end as the last one did; its library may have been replaced meanwhile."""
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
        settings: WorkerConfig | None = None,
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
        self._open: Callable[[], Workers] = functools.partial(
            Workers, name, engine, context, runtime_dir, remote, cache_dir,
            settings or WorkerConfig(),
        )  # fmt: skip
        self._workers: Workers | None = None
        self._voices = WantedVoices(name, listener)
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
        self._workers = self._open()
        self._ticked = self._clock()
        self._begin(self._workers, self._ticked)

    @property
    def sockets(self) -> tuple[Socket | int, ...]:
        """What to poll for reading, the same from `start` to `stop`: ZeroMQ sockets and the file
        descriptor of an epoll set, which is readable when a worker has ended."""
        return self._workers.sockets if self._workers else ()

    @property
    def pid(self) -> int:
        """Of the worker; 0 = none, or not yet known."""
        return self._active.pid if self._active else 0

    @property
    def rss_mb(self) -> float:
        return self._active.rss_mb if self._active else 0.0

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
        if self._workers is not None:
            self._workers.close(deadline_s)
            self._workers = None

    # --- orders ------------------------------------------------------------------------------

    def prepare(self, spec: ProfileSpec) -> str:
        """Have a voice compiled; the listener hears when it is. Gives its key.

        Two equal profiles have one key; `forget` it when neither is wanted any more.
        """
        key = spec.key(self.engine)
        self._voices.add(key, spec)
        for worker in self._greeted():
            self._send(worker, wire.Prepare(key, spec))
        return key

    def forget(self, key: str) -> None:
        self._voices.remove(key)
        for worker in self._greeted():
            self._send(worker, wire.Unload(key))
            worker.waiting.discard(key)

    def speak(self, job: Job) -> None:
        """Give a job to the worker; it is wanted until the next `keep`, which is to name it. If
        none is up, the listener hears soon that it failed."""
        self._wanted.add(job.serial)
        workers = self._workers
        if workers is None or workers.active is None or self.state != "up":
            self._unspoken.append(job)
            if workers is not None:
                workers.wake()
        elif workers.standby is not None and workers.standby.complete and not job.restyle_of:
            self._held.append(job)
        else:
            self._give(workers.active, job)

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
        workers, now = self._workers, self._clock()
        if workers is None:
            return
        self._excuse_if_late(workers, now)
        for worker, failure in workers.disconnected(now):
            self._give_up(workers, worker, failure, now)
        for worker, message, pcm in workers.messages(now):
            self._dispatch(workers, worker, message, pcm, now)
        if workers.woken(now):
            self._fail_unspoken()
            self._examine(workers, now)
        self._swap_if_free(workers, now)

    def tick(self, now: float) -> float:
        """Look after the worker; the monotonic time at which to be called again, at the latest."""
        workers = self._workers
        if workers is None:
            return now + TICK_S
        self._excuse_if_late(workers, now)
        self._ticked = now
        self.receive()
        workers.look(now)
        self._examine(workers, now)
        if workers.active is None and now >= self._retry_at:
            self._begin(workers, now)
        workers.keep_contact(now)
        self._tell_wanted(again=True)
        self._plan_swap(workers, now)
        return min(now + TICK_S, self._retry_at) if workers.active is None else now + TICK_S

    def _excuse_if_late(self, workers: Workers, now: float) -> None:
        """Before anybody is judged."""
        if now - self._ticked > LATE_S:
            workers.excuse(now)

    # --- messages ----------------------------------------------------------------------------

    def _dispatch(
        self,
        workers: Workers,
        worker: WorkerState,
        message: Message,
        pcm: NDArray[np.float32] | None,
        now: float,
    ) -> None:
        if not worker.greeted and not isinstance(message, (wire.Here, wire.Refused)):
            self._greet(worker)
        match message:
            case wire.Sound() | wire.Done() | wire.Failed() | wire.Mended():
                tell_of_job(self._listener, worker, message, pcm)
            case wire.Prepared() | wire.PrepareFailed():
                self._voices.answered(message)
                worker.waiting.discard(message.key)
                self._up_if_complete(workers, worker)
            case wire.Beat():
                worker.beat = message
                worker.rss_mb = worker.rss_mb if worker.child else message.rss_mb
            case wire.Here() | wire.Refused() if version := versions.common(message):
                worker.version = version
                self._send(worker, wire.Hello(version))
            case wire.Ready():
                worker.ready = message
                self._up_if_complete(workers, worker)
            case wire.Here() | wire.Refused():
                self._give_up(workers, worker, versions.refused(message, worker.where), now)
            case wire.LogLine(level, text):
                log.log(max(logging.DEBUG, min(level, logging.ERROR)), "%s: %s", self.name, text)
            case _:
                log.warning("%s: a worker does not say %r", self.name, message.kind)

    @property
    def _active(self) -> WorkerState | None:
        return self._workers.active if self._workers else None

    def _greeted(self) -> list[WorkerState]:
        return (
            [worker for worker in self._workers.present() if worker.greeted]
            if self._workers
            else []
        )

    def _send(self, worker: WorkerState, message: Message) -> None:
        if self._workers is not None:
            self._workers.send(worker, message)

    def _give(self, worker: WorkerState, job: Job) -> None:
        # Credit first, so that a lane's very first job does not wait for a second message.
        self._send_grant(worker, job.lane)
        worker.outstanding[job.serial] = job.lane
        self._send(worker, wire.Speak(job))

    def _send_grant(self, worker: WorkerState, lane: int) -> None:
        total_s = worker.credit_s(lane, self._config.lookahead_s - self._ahead_s.get(lane, 0.0))
        if total_s is not None:
            self._send(worker, wire.Grant(lane, total_s))

    def _tell_wanted(self, *, again: bool) -> None:
        if self._workers is not None and self.state == "up":
            self._workers.tell_wanted(self._wanted, again=again)

    def _fail_unspoken(self) -> None:
        unspoken, self._unspoken = self._unspoken, []
        for job in unspoken:
            owner = self._listener.owner_of(job.serial)
            if owner is not None:
                owner.failed(job.serial, "engine_down", f"no {self.name} worker is up")

    # --- up and down -------------------------------------------------------------------------

    def _begin(self, workers: Workers, now: float) -> None:
        """Start a worker, or say hello to the one elsewhere."""
        self.state = "starting"
        self.restarts += 1 if workers.session else 0
        try:
            workers.active = workers.spawn(now)
        except OSError as error:
            text = f"cannot start a process: {error.strerror}"
            self._fail(workers, Failure("worker_exited", text), now, [])

    def _greet(self, worker: WorkerState) -> None:
        """The first answer in this session: send all voices. Those that nobody has made yet are not
        waited for: nine of them would keep the first silent for half a minute."""
        worker.greeted = True
        worker.waiting = self._voices.made()
        for key, spec in self._voices.specs().items():
            self._send(worker, wire.Prepare(key, spec))

    def _up_if_complete(self, workers: Workers, worker: WorkerState) -> None:
        if worker is workers.active and self.state == "starting" and worker.complete:
            self._up(worker)

    def _up(self, worker: WorkerState) -> None:
        assert worker.ready is not None, "complete"
        self.state = "up"
        self._told_down = None
        self._up_at = self._clock()
        self.capabilities = worker.ready.capabilities
        self.version = worker.ready.version
        self._listener.engine_up(
            self.name, self._up_at - worker.started, worker.ready.pid, worker.ready.capabilities
        )

    def _examine(self, workers: Workers, now: float) -> None:
        for worker, failure in workers.unwell(now, self._config):
            self._give_up(workers, worker, failure, now)

    def _give_up(self, workers: Workers, worker: WorkerState, failure: Failure, now: float) -> None:
        workers.discard(worker, now)
        held, self._held = self._held, []
        if worker is workers.standby:
            log.warning("%s: the fresh worker failed: %s", self.name, failure.message)
            workers.standby = None
            self._swap_at = now + SWAP_PAUSE_S
            for job in held:
                self.speak(job)
        elif worker is workers.active:
            lost = sorted([*worker.outstanding, *(job.serial for job in held)])
            workers.active, workers.standby = workers.standby, None
            self._fail(workers, failure, now, lost)

    def _fail(self, workers: Workers, failure: Failure, now: float, lost: list[int]) -> None:
        was_up = self.state == "up"
        if was_up and now - self._up_at >= HEALTHY_S:
            self._backoff_s = RETRY_S
        retry_s = 0.0
        self.state = "starting"  # if a standby takes over
        if workers.active is None:
            self.state = "down"
            retry_s = UNFIT_S if failure.code == "worker_unfit" else self._backoff_s
            self._backoff_s = min(RETRY_MAX_S, 2 * self._backoff_s)
        self._retry_at = now + retry_s
        if was_up or lost or self._told_down != failure:
            self._told_down = failure
            self._listener.engine_down(self.name, failure.code, failure.message, retry_s, lost)
        if workers.active is not None:
            self._up_if_complete(workers, workers.active)

    # --- swapping ----------------------------------------------------------------------------

    def _plan_swap(self, workers: Workers, now: float) -> None:
        worker = workers.active
        if (
            worker is None
            or worker.child is None
            or self.state != "up"
            or workers.standby is not None
        ):
            return
        if worker.rss_mb <= self._config.memory_mb or now < self._swap_at:
            return
        log.info("%s: %.0f MB resident, starting a fresh worker", self.name, worker.rss_mb)
        self._swap_at = now + SWAP_PAUSE_S
        try:
            workers.standby = workers.spawn(now)
        except OSError as error:
            log.warning("%s: cannot start a process: %s", self.name, error.strerror)

    def _swap_if_free(self, workers: Workers, now: float) -> None:
        """Change over when the old worker has finished what it was given.

        What came meanwhile was held: the look-ahead that is still to be heard covers the moment.
        """
        fresh, old = workers.standby, workers.active
        if fresh is None or old is None or not fresh.complete or old.outstanding:
            return
        workers.dismiss(old, now)
        workers.active, workers.standby = fresh, None
        held, self._held = self._held, []
        self._up(fresh)
        for job in held:
            self._give(fresh, job)
