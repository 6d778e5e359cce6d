"""A stage in miniature for the tests of the engine host: one poller, everything written down."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zmq
from numpy.typing import NDArray

from koed.config.daemon import EngineConfig
from koed.config.profile import RemoteEngine
from koed.engine.base import Capabilities, Job, Mouth, ProfileSpec, Word
from koed.engine.host.supervisor import EngineHost
from koed.engine.host.worker_state import WorkerState
from koed.engine.wire import Message

DEADLINE_S = 60.0


@dataclass
class Diary:
    """A `HostListener`, and the owner of all jobs, that remembers."""

    ups: list[int] = field(default_factory=list)
    downs: list[tuple[str, str, float, list[int]]] = field(default_factory=list)
    ready: dict[str, bool] = field(default_factory=dict)
    """Voice name -> cached."""
    broken: dict[str, tuple[str, str]] = field(default_factory=dict)
    hints: dict[str, str] = field(default_factory=dict)
    order: list[tuple[str, int]] = field(default_factory=list)
    """("chunk" | "done" | "failed", serial) as they came."""
    pcm: dict[int, list[NDArray[np.float32]]] = field(default_factory=dict, repr=False)
    words: dict[int, list[Word]] = field(default_factory=dict)
    mouths: dict[int, list[Mouth]] = field(default_factory=dict)
    rate_hz: dict[int, int] = field(default_factory=dict)
    mends: dict[int, list[str]] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)
    failures: dict[int, tuple[str, str]] = field(default_factory=dict)

    def engine_up(self, engine: str, ready_s: float, pid: int, capabilities: Capabilities) -> None:
        self.ups.append(pid)

    def engine_down(
        self, engine: str, code: str, message: str, retry_s: float, lost: list[int]
    ) -> None:
        self.downs.append((code, message, retry_s, lost))

    def voice_ready(
        self, engine: str, name: str, key: str, loudness_lufs: float, cached: bool, prepare_s: float
    ) -> None:
        self.ready[name] = cached

    def voice_failed(
        self, engine: str, name: str, key: str, code: str, message: str, hint: str
    ) -> None:
        self.broken[name] = (code, message)
        self.hints[name] = hint

    def owner_of(self, serial: int) -> Diary:
        return self

    def chunk(
        self, serial: int, pcm: NDArray[np.float32], rate_hz: int,
        words: tuple[Word, ...], mouths: tuple[Mouth, ...],
    ) -> None:  # fmt: skip
        self.order.append(("chunk", serial))
        self.pcm.setdefault(serial, []).append(pcm)
        self.words.setdefault(serial, []).extend(words)
        self.mouths.setdefault(serial, []).extend(mouths)
        self.rate_hz[serial] = rate_hz

    def mended(self, serial: int, code: str) -> None:
        self.mends.setdefault(serial, []).append(code)

    def done(self, serial: int) -> None:
        self.order.append(("done", serial))
        self.seconds[serial] = self.heard_s(serial)

    def lost(self, serials: Collection[int], code: str) -> None: ...

    def failed(self, serial: int, code: str, message: str) -> None:
        self.order.append(("failed", serial))
        self.failures[serial] = (code, message)

    def heard_s(self, serial: int) -> float:
        return sum(len(pcm) for pcm in self.pcm.get(serial, [])) / self.rate_hz.get(serial, 1)

    def sound(self, serial: int) -> NDArray[np.float32]:
        return np.concatenate(self.pcm[serial])


class Clock:
    """The stage's monotonic seconds. While it is stopped no limit of the stage runs out, however
    slow the machine is, and it can be set ahead: what follows hangs on nothing but the limit."""

    def __init__(self) -> None:
        self._ahead_s = 0.0
        self._stopped_at: float | None = None

    def __call__(self) -> float:
        real = time.monotonic() if self._stopped_at is None else self._stopped_at
        return real + self._ahead_s

    @property
    def stopped(self) -> bool:
        return self._stopped_at is not None

    def stop(self) -> None:
        self._stopped_at = time.monotonic()

    def go(self) -> None:
        """On from where it was stopped."""
        now = self()
        self._stopped_at = None
        self._ahead_s = now - time.monotonic()

    def skip(self, seconds: float) -> None:
        self._ahead_s += seconds


class Theatre:
    """A host, its diary, and the loop that the stage would run."""

    def __init__(self, host: EngineHost, diary: Diary, clock: Clock) -> None:
        self.host = host
        self.diary = diary
        self.clock = clock
        self._next = 0.0
        self._poller = zmq.Poller()

    def start(self) -> None:
        self.host.start()
        for socket in self.host.sockets:
            self._poller.register(socket, zmq.POLLIN)

    def turn(self, wait_s: float = 0.05) -> None:
        """One turn of the poll loop."""
        timeout_s = wait_s if self.clock.stopped else min(wait_s, self._next - self.clock())
        if self._poller.poll(max(0.0, timeout_s) * 1000):
            self.host.receive()
        if self.clock.stopped or self.clock() >= self._next:
            self._next = self.host.tick(self.clock())

    def until(self, condition: Callable[[], Any], deadline_s: float = DEADLINE_S) -> float:
        """Turn until ``condition``; gives the seconds that it took."""
        began = time.monotonic()
        while not condition():
            assert time.monotonic() - began < deadline_s, f"in vain; {self.diary}"
            self.turn()
        return time.monotonic() - began

    def spy(self, loses: Callable[[Message], bool] = lambda _: False) -> list[Message]:
        """What goes to the workers from now on; what ``loses`` picks is lost on the way."""
        workers = self.host._workers
        assert workers is not None, "started"
        sent: list[Message] = []
        really_send = workers.send

        def send(worker: WorkerState, message: Message) -> None:
            sent.append(message)
            if not loses(message):
                really_send(worker, message)

        workers.send = send  # type: ignore[method-assign]
        return sent

    def until_up(self, times: int = 1) -> float:
        """And each voice is there, or known to be broken."""

        def up() -> bool:
            told = self.diary.ready.keys() | self.diary.broken.keys()
            names = {spec.name for spec in self.host._voices.specs().values()}
            return len(self.diary.ups) >= times and self.host.state == "up" and names <= told

        return self.until(up)

    def until_done(self, *serials: int) -> float:
        return self.until(lambda: all(s in self.diary.seconds for s in serials))

    def settle(self, seconds: float = 0.3) -> None:
        """Turn for a while, for what must *not* come."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.turn(0.02)


@contextlib.contextmanager
def theatre(
    folder: Path, engine: str = "tone", remote: RemoteEngine | None = None,
    cache: bool = False, **config: Any,
) -> Iterator[Theatre]:  # fmt: skip
    """A host that is started by the test and stopped at its end."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    diary, clock = Diary(), Clock()
    host = EngineHost(
        engine, engine, context, folder / "run", EngineConfig(**config), diary, remote=remote,
        cache_dir=folder / "cache" if cache else None, clock=clock,
    )  # fmt: skip
    try:
        yield Theatre(host, diary, clock)
    finally:
        host.stop(deadline_s=1.0)
        context.destroy(linger=0)


def voice(name: str, **settings: Any) -> ProfileSpec:
    """A tone voice; ``char_ms`` 50 unless told, so that 20 characters last about a second."""
    return ProfileSpec(name=name, lang="en", settings={"char_ms": 50.0, **settings})


def started(stage: Theatre, **settings: object) -> str:
    """Start with one voice; gives its key."""
    key = stage.host.prepare(voice("hana", hz=480.0, **settings))
    stage.start()
    stage.until_up()
    return key


def job(serial: int, key: str, text: str = "a word or two", lane: int = 1, **more: Any) -> Job:
    return Job(serial=serial, lane=lane, voice=key, text=text, lang="en", **more)


def kill_if_alive(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and not reaped does not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):  # the latter if it was reaped while we read
        return False


def wait_until_dead(pid: int) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while is_alive(pid):
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.02)
