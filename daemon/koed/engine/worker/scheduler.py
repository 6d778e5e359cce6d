"""What a worker has to do next: the lanes of jobs, their credit, and voices to prepare.

Two threads meet here under one lock. The I/O thread puts jobs in and says which are still wanted;
the synthesis thread takes the next step and is the only one that ever touches a `Stream`. The
choice between lanes with credit is made anew at every step: a job of the air, then one for a
client, then a phrase; among those of one owner the lane that is nearest to running dry, and among
equals the highest number (an urgent lane has a higher number than the one it interrupts; a number
means nothing else). As all lanes of the air are filled equally far ahead of the ear, a lane that
begins is always first, and lanes that are all hungry take turns.

A voice is prepared when no lane has work, because it may take seconds. Two exceptions: the next
job of the chosen lane needs it; or it has waited for `PATIENCE_S` in a stream that never pauses,
then it goes when every lane is filled as far ahead as it may be. While one is prepared, lanes whose
next job needs it, or another that is to come, wait; all others go on.

When no lane has had work for `REST_S`, there is a moment to tidy up: `Idle`, once.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from koed.engine.base import Abandoning, Job, Owner, ProfileSpec, Stream, Voice
from koed.engine.wire import BEAT_JOBS

KEPT_STREAMS = 16
"""Streams of a lane that are kept for `Engine.restyle` while their jobs are wanted; of more the
oldest go, unless a restyle that is to come claims them."""
URGENCY: dict[Owner, int] = {"air": 2, "client": 1, "phrase": 0}
PATIENCE_S = 10.0
LOADING_S = 0.05
"""Until a lane whose job waits for what is being loaded is asked again."""
REST_S = 1.0
"""Long enough that it is not the breath between two lines of a conversation."""


@dataclass(slots=True, eq=False)
class Spoken:
    """A job that was begun.

    ``dead`` is set by the I/O thread and read before and after every chunk; all else is written
    by the synthesis thread.
    """

    job: Job
    session: int
    stream: Stream | None = None
    dead: bool = False
    adopted: bool = False
    """Its stream lives on inside a restyled one, or is on its way there: it may not be closed from
    here."""
    seq: int = 0
    sent_s: float = 0.0
    loading_since: float | None = None
    """What it needs is still being loaded; monotonic."""


@dataclass(slots=True, eq=False)
class WorkerLane:
    """``sent_s`` and ``granted_s`` are totals of the session, so no message can be lost or late
    between them."""

    number: int
    queue: deque[Job] = field(default_factory=deque)
    current: Spoken | None = None
    kept: OrderedDict[int, Spoken] = field(default_factory=OrderedDict)
    """Begun jobs by serial whose streams a later job may continue."""
    sent_s: float = 0.0
    granted_s: float = 0.0
    wakes_at: float = 0.0
    """No step before; monotonic."""

    @property
    def busy(self) -> bool:
        return self.current is not None or bool(self.queue)

    @property
    def credit_s(self) -> float:
        return self.granted_s - self.sent_s

    @property
    def jobs(self) -> list[Job]:
        """Those that are not finished, the one in work first."""
        return [*([self.current.job] if self.current else []), *self.queue]

    @property
    def urgency(self) -> tuple[int, float, int]:
        """Of a lane with work; the highest is next. The credit is rounded, so that a grant that
        came some milliseconds earlier decides nothing."""
        job = self.current.job if self.current else self.queue[0]
        return URGENCY[job.owner], round(self.credit_s, 1), self.number

    def claimed(self, serial: int) -> bool:
        """Whether a job to come continues this one."""
        begun = self.current
        if begun is not None and begun.stream is None and begun.job.restyle_of == serial:
            return True
        return any(job.restyle_of == serial for job in self.queue)


@dataclass(frozen=True, slots=True)
class Preparation:
    """A voice to prepare. ``since`` is monotonic."""

    key: str
    spec: ProfileSpec
    since: float


@dataclass(frozen=True, slots=True)
class Step:
    """Make the next chunk of a job."""

    lane: WorkerLane
    spoken: Spoken


@dataclass(frozen=True, slots=True)
class CloseStreams:
    """Close the streams of dead jobs."""

    streams: Sequence[Stream]


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing to do for a while."""


class WorkerEnds(Exception):
    """The worker ends; raised by `Scheduler.take`."""


class Scheduler:
    """See the module's docstring."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._lanes: dict[int, WorkerLane] = {}
        self._preparations: OrderedDict[str, Preparation] = OrderedDict()
        self._preparing = ""
        """Key of the voice that is being prepared."""
        self._voices: dict[str, Voice] = {}
        self._to_close: list[Stream] = []
        self._session = 0
        self._closing = False
        self._rest_at: float | None = None
        """When `Idle` is due; None = nothing was done since the last one."""

    # --- I/O thread --------------------------------------------------------------------------

    def reset(self, session: int) -> None:
        """A new session: every job is dead, lanes and credit begin at zero; voices stay."""
        with self._changed:
            for lane in self._lanes.values():
                lane.queue.clear()
                self._end_current(lane)
                for spoken in lane.kept.values():
                    self._bury(spoken)
                lane.kept.clear()  # a stream that is being made for one of them finds no place
            self._lanes = {}
            self._preparations.clear()
            self._session = session
            self._changed.notify()

    def submit(self, job: Job) -> None:
        with self._changed:
            self._lane(job.lane).queue.append(job)
            self._changed.notify()

    def keep(self, serials: Collection[int]) -> None:
        """Every job that is not named is over, and nothing of it is sent from now on. Its kept
        stream is closed, unless a job to come claims it. Saying it again changes nothing."""
        wanted = frozenset(serials)
        with self._changed:
            for lane in self._lanes.values():
                self._end_all_but(lane, wanted)
            self._changed.notify()

    def jobs(self) -> tuple[int, ...]:
        """Serials of the jobs that are not finished; of more than `BEAT_JOBS` the next ones."""
        with self._changed:
            waiting = [
                (place, lane.number, job.serial)
                for lane in self._lanes.values()
                for place, job in enumerate(lane.jobs)
            ]
        return tuple(serial for _, _, serial in sorted(waiting)[:BEAT_JOBS])

    def loading(self) -> tuple[int, float] | None:
        """The job that waits longest for what is being loaded, and since when."""
        with self._changed:
            begun = [lane.current for lane in self._lanes.values() if lane.current is not None]
            waits = [(at, b.job.serial) for b in begun if (at := b.loading_since) is not None]
        return min(waits)[::-1] if waits else None

    def grant(self, number: int, granted_s: float) -> None:
        with self._changed:
            lane = self._lane(number)
            lane.granted_s = max(lane.granted_s, granted_s)
            self._changed.notify()

    def prepare(self, key: str, spec: ProfileSpec) -> None:
        with self._changed:
            self._preparations[key] = Preparation(key, spec, self._clock())
            self._changed.notify()

    def unload(self, key: str) -> None:
        with self._changed:
            self._preparations.pop(key, None)
            self._voices.pop(key, None)

    def close(self) -> None:
        """`take` raises `WorkerEnds` from now on."""
        with self._changed:
            self._closing = True
            self._changed.notify()

    # --- synthesis thread --------------------------------------------------------------------

    def take(self) -> Step | Preparation | CloseStreams | Idle:
        """Wait for the next thing to do; raises `WorkerEnds`."""
        with self._changed:
            while (task := self.next()) is None:
                self._changed.wait(timeout=self._wakes_in_s())
            return task

    def next(self) -> Step | Preparation | CloseStreams | Idle | None:
        """The next thing to do, if there is one now; raises `WorkerEnds`."""
        with self._changed:
            if self._closing:
                raise WorkerEnds
            if self._to_close:
                closing = CloseStreams(tuple(self._to_close))
                self._to_close.clear()
                return closing
            task = self._choose()
            if task is not None or self._busy:
                self._rest_at = self._clock() + REST_S
            elif self._rest_at is not None and self._clock() >= self._rest_at:
                self._rest_at = None
                return Idle()
            return task

    def voice(self, key: str) -> Voice | None:
        with self._changed:
            return self._voices.get(key)

    def prepared(self, voice: Voice | None) -> None:
        """What `take` gave to prepare is a voice now, or failed. From any thread."""
        with self._changed:
            self._preparing = ""
            if voice is not None:
                self._voices[voice.key] = voice
            self._changed.notify()

    def wait_for_loading(self, step: Step) -> None:
        """No step of this lane for a moment."""
        with self._changed:
            step.lane.wakes_at = self._clock() + LOADING_S
            if step.spoken.loading_since is None:
                step.spoken.loading_since = self._clock()

    def adopt(self, lane: WorkerLane, serial: int) -> Spoken | None:
        """The begun job that a restyle continues, if its stream is kept; nobody closes that from
        now on, whatever becomes of either job while the engine makes one stream of the other."""
        with self._changed:
            source = lane.kept.get(serial)
            if source is None or source.stream is None:
                return None
            source.adopted = True
            return source

    def disown(self, lane: WorkerLane, source: Spoken) -> None:
        """The restyle failed: the stream is as before, and closed if it went out of use."""
        with self._changed:
            source.adopted = False
            if lane.kept.get(source.job.serial) is not source:
                self._bury(source)

    def attach(self, step: Step, stream: Stream) -> None:
        """Give a begun job its stream; if it has died meanwhile, the stream is closed."""
        with self._changed:
            step.spoken.stream = stream
            if step.spoken.dead:
                _abandon(stream)
            kept = step.lane.kept.get(step.spoken.job.serial) is step.spoken
            if step.spoken.dead and not kept:
                self._bury(step.spoken)

    def deliver(self, step: Step, seconds: float, send: Callable[[], None]) -> bool:
        """Send a chunk unless its job has died while it was made.

        Under the lock, so that nothing of a job leaves after `keep` has left it out.
        """
        with self._changed:
            if step.spoken.dead:
                return False
            step.lane.sent_s += seconds
            step.spoken.sent_s += seconds
            step.spoken.seq += 1
            send()
            return True

    def finish(self, step: Step, send: Callable[[], None], *, keep: bool) -> None:
        """A job is over; ``keep`` its stream for a restyle (else it failed and is closed)."""
        with self._changed:
            if not step.spoken.dead:
                step.lane.current = None
                if not keep:
                    step.lane.kept.pop(step.spoken.job.serial, None)
                    self._bury(step.spoken)
                send()

    # --- under the lock ----------------------------------------------------------------------

    @property
    def _busy(self) -> bool:
        return any(lane.busy for lane in self._lanes.values())

    def _wakes_in_s(self) -> float | None:
        """Seconds until there may be something to do without a word from anybody."""
        if self._busy:
            asleep = [lane.wakes_at - self._clock() for lane in self._lanes.values() if lane.busy]
            waits = [wait for wait in asleep if wait > 0]
            impatient_s = self._impatient_in_s()
            return min(waits if impatient_s is None else [*waits, impatient_s], default=None)
        return None if self._rest_at is None else max(0.0, self._rest_at - self._clock())

    def _lane(self, number: int) -> WorkerLane:
        return self._lanes.setdefault(number, WorkerLane(number))

    def _choose(self) -> Step | Preparation | None:
        fed = [lane for lane in self._lanes.values() if lane.busy and self._can_go_on(lane)]
        if not fed:
            return self._next_preparation()
        lane = max(fed, key=lambda lane: lane.urgency)
        if lane.current is None:
            needed = self._preparations.pop(lane.queue[0].voice, None)
            if needed is not None:
                self._preparing = needed.key
                return needed
            lane.current = Spoken(lane.queue.popleft(), self._session)
            self._keep(lane, lane.current)
        return Step(lane, lane.current)

    def _can_go_on(self, lane: WorkerLane) -> bool:
        """Neither without credit nor waiting for a voice or for what is being loaded."""
        if lane.credit_s <= 0 or lane.wakes_at > self._clock():
            return False
        if lane.current is not None or not self._preparing:
            return True
        voice = lane.queue[0].voice
        return voice != self._preparing and voice not in self._preparations

    def _next_preparation(self) -> Preparation | None:
        if not self._preparations or self._preparing or self._impatient_in_s() not in (None, 0.0):
            return None
        key, wanted = self._preparations.popitem(last=False)
        self._preparing = key
        return wanted

    def _impatient_in_s(self) -> float | None:
        """Seconds until a voice is prepared although lanes have work; None = none have."""
        if not self._preparations or self._preparing or not self._busy:
            return None
        oldest = next(iter(self._preparations.values()))
        return max(0.0, oldest.since + PATIENCE_S - self._clock())

    def _end_all_but(self, lane: WorkerLane, wanted: frozenset[int]) -> None:
        lane.queue = deque(job for job in lane.queue if job.serial in wanted)
        if lane.current is not None and lane.current.job.serial not in wanted:
            self._end_current(lane)
        for serial, spoken in list(lane.kept.items()):
            if serial not in wanted and not lane.claimed(serial):
                del lane.kept[serial]
                self._bury(spoken)

    def _end_current(self, lane: WorkerLane) -> None:
        if lane.current is not None:
            lane.current.dead = True
            _abandon(lane.current.stream)
            lane.current = None
            lane.wakes_at = 0.0

    def _keep(self, lane: WorkerLane, spoken: Spoken) -> None:
        lane.kept[spoken.job.serial] = spoken
        for serial in list(lane.kept):
            if len(lane.kept) <= KEPT_STREAMS:
                break
            if serial != spoken.job.serial and not lane.claimed(serial):
                self._bury(lane.kept.pop(serial))

    def _bury(self, spoken: Spoken) -> None:
        spoken.dead = True
        if spoken.stream is not None and not spoken.adopted:
            self._to_close.append(spoken.stream)


def _abandon(stream: Stream | None) -> None:
    if isinstance(stream, Abandoning):
        stream.abandon()
