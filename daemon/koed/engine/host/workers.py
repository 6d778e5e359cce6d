"""The workers of one engine as processes and connections: start, hear, examine, send away.

One is active; a fresh one may stand by to take its place. What their messages mean and what to do
about a failure is `koed.engine.host.supervisor`'s. Nothing here blocks but `close`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import time
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from koed.config.daemon import EngineConfig, WorkerConfig
from koed.config.profile import RemoteEngine
from koed.engine import wire
from koed.engine.host.process import ChildProcess, environment, worker_command
from koed.engine.host.transport import Context, LocalTransport, RemoteTransport, Socket, Transport
from koed.engine.host.worker_state import Failure, WorkerState, verdict
from koed.engine.wire import Message

log = logging.getLogger(__name__)

BATCH = 64
"""Messages taken in by one call of `messages`, so that a poller's other sockets get their turn."""
HELLO_S = 0.5
PING_S = 1.0
LEAVE_S = 2.0
"""A worker that was sent away has so long to end by itself."""


class Workers:
    """Raises `EngineError` for an unusable address or folder."""

    def __init__(
        self,
        name: str,
        engine: str,
        context: Context,
        runtime_dir: Path,
        remote: RemoteEngine | None,
        cache_dir: Path | None,
        settings: WorkerConfig,
    ) -> None:
        self.active: WorkerState | None = None
        self.standby: WorkerState | None = None
        self.session = 0
        self._name = name
        self._engine = engine
        self._cache_dir = cache_dir
        self._environ = environment(settings)
        self._transport: Transport = (
            RemoteTransport(context, remote)
            if remote
            else LocalTransport(context, runtime_dir, name)
        )
        self._address = remote.address if remote else ""
        self._leaving: list[tuple[ChildProcess, float]] = []
        self._events = select.epoll()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._events.register(self._wake, select.EPOLLIN)

    @property
    def sockets(self) -> tuple[Socket | int, ...]:
        return (*self._transport.sockets, self._events.fileno())

    def present(self) -> list[WorkerState]:
        return [worker for worker in (self.active, self.standby) if worker is not None]

    def spawn(self, now: float) -> WorkerState:
        """A new worker, or a new session with the one elsewhere; raises `OSError`."""
        self.session += 1
        if not isinstance(self._transport, LocalTransport):
            return WorkerState(self.session, b"", None, now, address=self._address)
        identity = str(self.session)
        command = worker_command(self._engine, self._transport.endpoint, identity, self._cache_dir)
        child = ChildProcess(command, self._events, self._environ)
        return WorkerState(self.session, identity.encode(), child, now)

    # --- messages ----------------------------------------------------------------------------

    def send(self, worker: WorkerState, message: Message) -> None:
        """What cannot be sent is lost with its worker, of which `unwell` will tell."""
        if not self._transport.send(
            worker.identity, wire.encode(worker.session, message, worker.version)
        ):
            log.debug("%s: nobody there for %s", self._name, message.kind)

    def tell_wanted(self, wanted: Collection[int], *, again: bool) -> None:
        """Tell the active worker which jobs are wanted, if need be: see `WorkerState.keep`."""
        message = self.active.keep(wanted, again=again) if self.active else None
        if self.active is not None and message is not None:
            self.send(self.active, message)

    def messages(
        self, now: float
    ) -> Iterator[tuple[WorkerState, Message, NDArray[np.float32] | None]]:
        """The next messages, and the samples of a `Sound`; what is left of an earlier session
        and what is no message is dropped."""
        for _ in range(BATCH):
            received = self._transport.receive()
            if received is None:
                return
            identity, frames = received
            try:
                session, message = wire.decode(frames[0] if frames else b"")
                pcm = wire.samples(frames[1]) if isinstance(message, wire.Sound) else None
            except (wire.LinkError, IndexError) as error:
                log.warning("%s: ignored what is no message: %s", self._name, error)
                continue
            for worker in self.present():
                if worker.identity == identity and session in (worker.session, 0):
                    worker.heard = now
                    yield worker, message, pcm

    def wake(self) -> None:
        """Make `sockets` readable."""
        os.eventfd_write(self._wake, 1)

    def woken(self, now: float) -> bool:
        """Whether `wake` was called or a child has printed or ended."""
        if not self._events.poll(0):
            return False
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        self.look(now)
        return True

    # --- health ------------------------------------------------------------------------------

    def look(self, now: float) -> None:
        """Read what children print and how much memory they hold; reap those that left."""
        for worker in self.present():
            if worker.child is not None:
                worker.child.read()
                worker.rss_mb = worker.child.rss_mb() or worker.rss_mb
        still: list[tuple[ChildProcess, float]] = []
        for child, since in self._leaving:
            child.read()
            if child.ended():
                child.release()
                continue
            if now - since > LEAVE_S:
                child.kill()
            still.append((child, since))
        self._leaving = still

    def unwell(self, now: float, config: EngineConfig) -> Iterator[tuple[WorkerState, Failure]]:
        """The workers that must be given up, and why."""
        for worker in self.present():
            found = verdict(worker, now, config)
            if found is not None:
                yield worker, found

    def excuse(self, now: float) -> None:
        """We were late ourselves: nobody's silence counts until now."""
        for worker in self.present():
            if worker.heard is not None:
                worker.heard = now

    def disconnected(self, now: float) -> Iterator[tuple[WorkerState, Failure]]:
        """A worker elsewhere whose connection is lost or refused."""
        for change in self._transport.changes():
            worker = self.active
            if worker is None:
                continue
            if change == "connected":
                worker.hello_at = 0.0
                self.keep_contact(now)
            elif change == "refused":
                yield (
                    worker,
                    Failure(
                        "worker_unreachable",
                        f"{worker.address} does not let us in: it does not know this machine's "
                        "key, or hangs",
                    ),
                )
            elif worker.greeted:
                yield (
                    worker,
                    Failure("worker_unreachable", f"the connection to {worker.address} is lost"),
                )

    def keep_contact(self, now: float) -> None:
        """Say hello to a worker elsewhere until it answers, then show it that we are here."""
        worker = self.active
        if worker is None or worker.child is not None or now < worker.hello_at:
            return
        worker.hello_at = now + (PING_S if worker.greeted else HELLO_S)
        self.send(worker, wire.Ping() if worker.greeted else wire.Hello(worker.version))

    # --- farewell ----------------------------------------------------------------------------

    def dismiss(self, worker: WorkerState, now: float) -> None:
        """Let a worker go; it has `LEAVE_S` to end by itself."""
        self.send(worker, wire.Bye())
        if worker.child is not None:
            self._leaving.append((worker.child, now))

    def discard(self, worker: WorkerState, now: float) -> None:
        """End a worker that cannot be talked to."""
        if worker.child is not None:
            worker.child.kill()
            self._leaving.append((worker.child, now))

    def close(self, deadline_s: float) -> None:
        """Send all away; what has not ended after ``deadline_s`` is killed."""
        deadline = time.monotonic() + deadline_s
        for worker in self.present():
            self.dismiss(worker, deadline)
        self.active = self.standby = None
        for child, _ in self._leaving:
            if not child.wait(max(0.0, deadline - time.monotonic())):
                child.kill()
                child.wait(1.0)
            child.release()
        self._leaving.clear()
        self._transport.close()
        self._events.close()
        os.close(self._wake)
