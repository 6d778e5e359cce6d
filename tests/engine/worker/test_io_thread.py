"""The worker's I/O thread: what it tells the stage, and when its process has stood still."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import TypeVar

import pytest
import zmq

from koed.engine import wire
from koed.engine.base import Capabilities, Job
from koed.engine.worker import io_thread
from koed.engine.worker.io_thread import AT_WORK_S, OWNER_S, IoThread, Pulse, Warm
from koed.engine.worker.scheduler import Scheduler

STOOD_STILL_S = 30.0

Heard = TypeVar("Heard", bound=wire.Message)


class Clock:
    """The real one, set forward by what a machine slept."""

    ahead_s = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(io_thread, "time", made)
    return made


class Stage:
    """The other end of a listening worker; ``lost``: jobs died because it was not heard."""

    def __init__(self, clock: Clock) -> None:
        self.pulse = Pulse()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        inside, self._socket = self._context.socket(zmq.ROUTER), self._context.socket(zmq.DEALER)
        port = inside.bind_to_random_port("tcp://127.0.0.1")
        self._socket.connect(f"tcp://127.0.0.1:{port}")
        self.scheduler = Scheduler()
        self._io_thread = IoThread(inside, self.scheduler, self.pulse)
        self._thread = threading.Thread(target=self._io_thread.run)
        self._thread.start()
        self.say(wire.Hello(wire.VERSION))

    def say(self, message: wire.Message, session: int = 1) -> None:
        self._socket.send(wire.encode(session, message))

    def hear(self, kind: type[Heard], session: int = 0) -> Heard:
        """The next message of a kind, of a session or of any."""
        while True:
            assert self._socket.poll(40_000), f"no {kind.kind} comes"
            said_in, message = wire.decode(self._socket.recv())
            if isinstance(message, kind) and session in (0, said_in):
                return message

    def warm(self, can: Capabilities) -> None:
        self._io_thread.warm(Warm("tone", can, "v1"))

    def beat(self) -> wire.Beat:
        return self.hear(wire.Beat)

    def beat_with(self, jobs: tuple[int, ...]) -> None:
        """Wait for it."""
        while self.beat().jobs != jobs:
            pass

    def close(self) -> None:
        self._io_thread.end()
        self._thread.join()
        self._context.destroy(linger=0)


@pytest.fixture
def stage(clock: Clock) -> Iterator[Stage]:
    made = Stage(clock)
    yield made
    made.close()


def test_a_process_that_stood_still_was_not_stuck_in_its_job(stage: Stage, clock: Clock) -> None:
    stage.beat()
    stage.pulse.begin("speaking", 7)
    clock.ahead_s += STOOD_STILL_S
    while (beat := stage.beat()).state != "speaking":
        pass  # it was told before that began
    assert beat.serial == 7
    assert beat.quiet_ms < 1000 * STOOD_STILL_S / 2
    clock.ahead_s += STOOD_STILL_S  # twice in one job
    assert stage.beat().quiet_ms < 1000 * STOOD_STILL_S / 2


def test_only_the_time_of_its_own_step_is_excused(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(io_thread, "time", SimpleNamespace(monotonic=lambda: now))
    pulse = Pulse()
    pulse.begin("speaking", 7)
    pulse.excuse(now + 10.0, 9.0)
    pulse.excuse(now + 20.0, 5.0)
    assert pulse.read(now + 24.0) == ("speaking", 7, 10.0)
    pulse.end()
    assert pulse.read(now + 25.0) == ("idle", 0, 0.0)
    now = 130.0
    pulse.begin("speaking", 8)
    assert pulse.read(now + 24.0) == ("speaking", 8, 24.0)
    assert pulse.read(now - 1.0) == ("speaking", 8, 0.0), "asked a moment before it began"


def test_it_tells_what_goes_on_beside_unless_the_synthesis_thread_is_stuck(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(io_thread, "time", SimpleNamespace(monotonic=lambda: now))
    pulse = Pulse()
    pulse.end()
    pulse.preparing(True)
    pulse.excuse(now + 5.0, 5.0)
    assert pulse.read(now + 8.0) == ("preparing", 0, 3.0)
    assert pulse.read(now + 8.0, (7, now + 6.0)) == ("loading", 7, 2.0), "there a line waits"
    now = 108.0
    pulse.begin("speaking", 8)
    assert pulse.read(now + AT_WORK_S / 2, (7, 106.0))[:2] == ("loading", 7)
    assert pulse.read(now + 2 * AT_WORK_S, (7, 106.0)) == ("speaking", 8, 2 * AT_WORK_S)
    pulse.preparing(False)
    pulse.end()
    assert pulse.read(now + 9.0) == ("idle", 0, 0.0)


def test_nobody_takes_a_worker_over_because_it_stood_still(stage: Stage, clock: Clock) -> None:
    stage.beat()
    clock.ahead_s += OWNER_S + STOOD_STILL_S
    stage.beat()
    stage.say(wire.Ping())
    stage.beat()  # to nobody, if the stage had lost it


def test_its_beat_names_the_jobs_that_are_still_to_be_made(stage: Stage) -> None:
    stage.beat_with(())
    for serial in (30, 20, 10):
        stage.say(wire.Speak(Job(serial, 1, "k", "text", "en")))
    stage.beat_with((30, 20, 10))
    stage.say(wire.Keep((10, 20, 40)))
    stage.beat_with((20, 10))
    stage.say(wire.Keep(()), session=7)  # of an earlier life of the connection
    stage.beat_with((20, 10))
    stage.say(wire.Keep(()))
    stage.beat_with(())


@pytest.mark.parametrize("version", [wire.VERSION - 2, wire.VERSION + 1])
def test_a_stage_of_another_version_is_refused_by_name_with_the_cure(
    stage: Stage, version: int
) -> None:
    stage.say(wire.Hello(version), session=2)
    assert stage.hear(wire.Refused).message == (
        f"the worker at {os.uname().nodename} speaks version {wire.VERSION} of koed's engine wire, "
        f"this stage version {version}: update koed on the older of the two (pip install -U koed) "
        "and start it again"
    )
    stage.say(wire.Speak(Job(1, 1, "k", "text", "en")))  # it serves on whom it served
    stage.beat_with((1,))


def test_a_stage_of_the_version_before_is_told_what_it_knows(stage: Stage) -> None:
    stage.warm(Capabilities(("en",), line_fields=("speed", "seed")))
    assert stage.hear(wire.Ready).capabilities.line_fields == ("speed", "seed")
    stage.say(wire.Hello(wire.VERSION - 1), session=2)
    assert stage.hear(wire.Ready, session=2).capabilities == Capabilities(("en",))
    stage.say(wire.Hello(wire.VERSION), session=3)
    assert stage.hear(wire.Ready, session=3).capabilities.line_fields == ("speed", "seed")
