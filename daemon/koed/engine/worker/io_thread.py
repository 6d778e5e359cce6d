"""The I/O thread of a worker: carries messages between the socket and the scheduler.

A child *connects* to the stage that started it; a worker for other machines *listens* and serves
one stage at a time: the one that said `Hello` first keeps it until it says `Bye` or has not been
heard for `OWNER_S`. The synthesis thread hands over with `post`; nothing here waits for it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import zmq

from koed.auth.zap import ZapHandler
from koed.engine import wire
from koed.engine.base import Capabilities
from koed.engine.wire import Message
from koed.engine.worker.scheduler import Scheduler

log = logging.getLogger(__name__)

OWNER_S = 3.0
"""A listening worker may be taken over by another stage after so long a silence of its own."""
LATE_S = 1.0
"""If our own beat came so late, the whole process stood still (a machine that was suspended or is
out of breath), and neither the engine's nor the stage's silence of that time means anything."""
LOG_LINES_PER_BEAT = 20
"""A worker that logs in a loop must not drown the stage."""


AT_WORK_S = 1.0
"""The synthesis thread is well if it has finished something within so long."""


class Pulse:
    """What the worker does, for the heartbeat. Written by the synthesis thread and by what it has
    done beside, read by the I/O thread."""

    def __init__(self) -> None:
        self.progress = 0
        self._doing: tuple[str, int, float] = ("warming", 0, time.monotonic())
        self._preparing_since: float | None = None
        """In a thread beside."""
        self._stood_still: deque[tuple[float, float]] = deque(maxlen=16)
        """Until when, and for how long; written by the I/O thread."""

    def begin(self, state: str, serial: int = 0) -> None:
        self._doing = (state, serial, time.monotonic())

    def end(self) -> None:
        self.progress += 1
        self._doing = ("idle", 0, 0.0)

    def preparing(self, begins: bool) -> None:
        """A voice, in a thread beside or in this one."""
        self._preparing_since = time.monotonic() if begins else None

    def excuse(self, now: float, seconds: float) -> None:
        """The process stood still until ``now``: nothing could be done in these seconds."""
        self._stood_still.append((now, seconds))

    def read(self, now: float, loading: tuple[int, float] | None = None) -> tuple[str, int, float]:
        """State, serial and seconds since it began in which something could be done: of what is
        beside, if the synthesis thread is well. ``loading``: serial of a job that waits for it,
        and since when."""
        state, serial, since = self._doing
        quiet_s = 0.0 if state == "idle" else self._quiet_s(since, now)
        preparing_since = self._preparing_since
        if quiet_s < AT_WORK_S and loading is not None:
            state, serial, quiet_s = "loading", loading[0], self._quiet_s(loading[1], now)
        elif quiet_s < AT_WORK_S and preparing_since is not None:
            state, serial, quiet_s = "preparing", 0, self._quiet_s(preparing_since, now)
        return state, serial, quiet_s

    def _quiet_s(self, since: float, now: float) -> float:
        excused_s = sum(still_s for until, still_s in self._stood_still.copy() if until > since)
        return max(0.0, now - since - excused_s)


@dataclass(frozen=True, slots=True)
class Warm:
    """What `Ready` tells."""

    engine: str
    capabilities: Capabilities
    version: str


class IoThread:
    """``stuck_s``: a listening worker whose engine has hung in a job for so long calls ``stuck``,
    because no stage can reach it with a signal (0 = never)."""

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        scheduler: Scheduler,
        pulse: Pulse,
        *,
        zap: ZapHandler | None = None,
        stuck_s: float = 0.0,
        stuck: Callable[[], None] | None = None,
    ) -> None:
        self._socket = socket
        self._listening = socket.type == zmq.ROUTER
        self._scheduler = scheduler
        self._pulse = pulse
        self._zap = zap
        self._stuck_s = stuck_s
        self._stuck = stuck
        self._outbox: deque[tuple[int, Message, bytes | None]] = deque()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._owner = b""
        self._owner_heard = 0.0
        self._session = 0
        self._version = wire.VERSION
        """Of the wire, as the stage speaks it."""
        self._warm: Warm | None = None
        self._log_lines = 0
        self._ended = False

    # --- synthesis thread (any thread) -------------------------------------------------------

    def post(self, session: int, message: Message, pcm: bytes | None = None) -> None:
        """Send a message; session -1 = the one that is current when it leaves."""
        self._outbox.append((session, message, pcm))
        os.eventfd_write(self._wake, 1)

    def post_log(self, level: int, text: str) -> None:
        self._log_lines += 1
        if self._log_lines <= LOG_LINES_PER_BEAT:
            self.post(-1, wire.LogLine(level, text[:2000]))

    def warm(self, warm: Warm) -> None:
        """The engine has loaded."""
        self._warm = warm
        self._post_ready()

    def _post_ready(self) -> None:
        if self._warm is not None:
            warm = self._warm
            ready = wire.Ready(warm.engine, warm.capabilities, os.getpid(), rss_mb(), warm.version)
            self.post(-1, ready)

    def end(self) -> None:
        """Let `run` return after what was posted has been sent."""
        self._ended = True
        os.eventfd_write(self._wake, 1)

    # --- I/O thread --------------------------------------------------------------------------

    def run(self) -> None:
        """Carry until `end` or `Bye`."""
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._wake, zmq.POLLIN)
        if self._zap is not None:
            poller.register(self._zap.socket, zmq.POLLIN)
        if not self._listening:
            self._send(0, wire.Here(wire.VERSION), None)
        beat_at = time.monotonic() + wire.BEAT_S
        while True:
            poller.poll(max(0, round((beat_at - time.monotonic()) * 1000)))
            now = time.monotonic()  # of all this turn: who stands still in it is late in the next
            if now - beat_at > LATE_S:
                self._pulse.excuse(now, now - beat_at)
                self._owner_heard = now
            if self._zap is not None:
                self._zap.answer()
            self._empty_outbox()
            self._read_socket()
            if now >= beat_at:
                beat_at = now + wire.BEAT_S
                self._beat(now)
            if self._ended and not self._outbox:
                return

    def _empty_outbox(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        while self._outbox:
            session, message, pcm = self._outbox.popleft()
            self._send(self._session if session < 0 else session, message, pcm)

    def _send(self, session: int, message: Message, pcm: bytes | None) -> None:
        if self._listening and not self._owner:
            return
        frames = [self._owner] if self._listening else []
        frames.append(wire.encode(session, message, self._version))
        if pcm is not None:
            frames.append(pcm)
        try:
            self._socket.send_multipart(frames, zmq.NOBLOCK)
        except zmq.Again:
            log.warning("the stage does not read: a %s message is lost", message.kind)

    def _read_socket(self) -> None:
        while not self._ended:
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            sender = frames.pop(0) if self._listening else b""
            try:
                session, message = wire.decode(frames[0] if frames else b"")
            except wire.LinkError as error:
                log.warning("ignored what is no message of the stage: %s", error.message)
                continue
            self._handle(sender, session, message)

    def _handle(self, sender: bytes, session: int, message: Message) -> None:
        if isinstance(message, wire.Hello):
            self._greet(sender, session, message)
        elif sender == self._owner and session == self._session:
            self._owner_heard = time.monotonic()
            self._obey(message)

    def _greet(self, sender: bytes, session: int, hello: wire.Hello) -> None:
        now = time.monotonic()
        refusal = ""
        if hello.version not in wire.SPOKEN:
            refusal = wire.differ(f"at {os.uname().nodename}", wire.VERSION, hello.version)
        elif self._owner not in (b"", sender) and now - self._owner_heard < OWNER_S:
            refusal = "this worker serves another stage"
        if refusal:
            frames = [sender] if self._listening else []
            self._socket.send_multipart([*frames, wire.encode(session, wire.Refused(refusal))])
            return
        self._owner_heard = now
        if sender != self._owner or session != self._session:
            self._owner, self._session, self._version = sender, session, hello.version
            self._scheduler.reset(session)
        self._post_ready()

    def _obey(self, message: Message) -> None:
        match message:
            case wire.Speak(job):
                self._scheduler.submit(job)
            case wire.Keep(serials):
                self._scheduler.keep(serials)
            case wire.Grant(lane, granted_s):
                self._scheduler.grant(lane, granted_s)
            case wire.Prepare(key, spec):
                self._scheduler.prepare(key, spec)
            case wire.Unload(key):
                self._scheduler.unload(key)
            case wire.Bye():
                self._release("its stage said bye")
            case _:
                pass

    def _release(self, reason: str) -> None:
        if self._listening:
            log.info("free for the next stage: %s", reason)
            self._owner, self._session = b"", 0
            self._scheduler.reset(0)
        else:
            self._ended = True
            self._scheduler.close()

    def _beat(self, now: float) -> None:
        state, serial, quiet_s = self._pulse.read(now, self._scheduler.loading())
        self._log_lines = 0
        progress, jobs = self._pulse.progress, self._scheduler.jobs()
        beat = wire.Beat(rss_mb(), state, serial, progress, quiet_s * 1000, jobs)
        self._send(self._session, beat, None)
        if self._listening and self._owner and now - self._owner_heard > OWNER_S:
            self._release(f"its stage was not heard for {OWNER_S:.0f} s")
        if self._stuck is not None and state == "speaking" and 0 < self._stuck_s < quiet_s:
            self._stuck()


def rss_mb() -> float:
    """Resident memory of this process."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
