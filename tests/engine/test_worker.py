"""The worker from inside: which step is next, what dies when, what an engine may do wrong."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from koed.engine import link
from koed.engine.base import Capabilities, Chunk, Job, ProfileSpec, Stream, Voice
from koed.engine.lanes import (
    KEPT_STREAMS,
    PATIENCE_S,
    REST_S,
    Burial,
    Closing,
    Lanes,
    Order,
    Rest,
    Step,
)
from koed.engine.porter import Pulse
from koed.engine.worker import Synthesis
from koed.errors import EngineError

SPEC = ProfileSpec("hana", "en", {})
RATE_HZ = 1000
CHUNK_S = 0.1


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Scripted:
    """An engine whose every text is a number of chunks, or a way to fail."""

    name = "scripted"
    capabilities = Capabilities(languages=("*",), restyle=True)

    def __init__(self) -> None:
        self.closed: list[int] = []
        self.restyled: list[tuple[Stream, Job]] = []

    def prepare(self, profile: ProfileSpec) -> Voice:
        if profile.settings.get("bad"):
            raise EngineError("no_such_thing", "it has no such thing", "buy one")
        return Voice(profile.name, "", profile.lang, -20.0, {})

    def load(self, voice: Voice) -> None:
        pass

    def stream(self, voice: Voice, job: Job) -> Stream:
        return self._speak(job)

    def restyle(self, stream: Stream, voice: Voice, job: Job) -> Stream:
        self.restyled.append((stream, job))
        return self._speak(job)

    def _speak(self, job: Job) -> Iterator[Chunk]:
        try:
            for _ in range(int(job.text.split()[0])):
                yield Chunk(np.zeros(round(CHUNK_S * RATE_HZ), np.float32), RATE_HZ)
            if "bug" in job.text:
                raise KeyError("pitch")
            if "nan" in job.text:
                yield Chunk(np.full(9, np.nan, np.float32), RATE_HZ)
        finally:
            self.closed.append(job.serial)


class Bench:
    """Lanes and synthesis without a thread: `step` does what the main thread would do next."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.lanes = Lanes(self.clock)
        self.engine = Scripted()
        self.posted: list[link.Message] = []
        engine: Any = self.engine
        self.synthesis = Synthesis(engine, self.lanes, self, Pulse(), None)  # type: ignore[arg-type]
        self.lanes.reset(1)
        self.lanes.add_voice(Voice("hana", "k", "en", -20.0, {}))

    def post(self, session: int, message: link.Message, pcm: bytes | None = None) -> None:
        self.posted.append(message)

    def speak(self, serial: int, text: str = "3", lane: int = 1, **more: Any) -> None:
        self.lanes.submit(Job(serial, lane, "k", text, "en", **more))

    def step(self, times: int = 1) -> None:
        for _ in range(times):
            task = self.lanes.next()
            assert task is not None, "nothing to do"
            self.do(task)

    def run_dry(self) -> None:
        """Work until there is nothing to do."""
        while (task := self.lanes.next()) is not None:
            self.do(task)

    def do(self, task: Step | Order | Burial | Rest) -> None:
        match task:
            case Step():
                self.synthesis._speak(task)
            case Order():
                self.synthesis._prepare(task)
            case Burial(streams):
                self.synthesis._close(streams)

    def serials(self) -> list[int]:
        return [m.serial for m in self.posted if isinstance(m, link.Sound)]

    def done(self) -> list[int]:
        return [m.serial for m in self.posted if isinstance(m, link.Done)]

    def failed(self) -> dict[int, str]:
        return {m.serial: m.code for m in self.posted if isinstance(m, link.Failed)}


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_jobs_of_a_lane_are_spoken_in_order(bench: Bench) -> None:
    bench.lanes.grant(1, 10.0)
    bench.speak(1, "2")
    bench.speak(2, "1")
    bench.run_dry()
    assert bench.serials() == [1, 1, 2]
    assert bench.done() == [1, 2]


def test_no_chunk_begins_beyond_the_credit(bench: Bench) -> None:
    bench.speak(1, "100")
    bench.run_dry()
    assert bench.serials() == []
    bench.lanes.grant(1, 0.25)
    bench.run_dry()
    assert len(bench.serials()) == 3  # the third began at 0.2 s
    bench.lanes.grant(1, 0.25)  # a repeated total changes nothing
    bench.run_dry()
    assert len(bench.serials()) == 3


def test_a_lane_without_credit_does_not_hold_up_another(bench: Bench) -> None:
    bench.speak(1, "5", lane=2)
    bench.speak(2, "5", lane=1)
    bench.lanes.grant(1, 10.0)
    bench.run_dry()
    assert bench.done() == [2]


def test_hungry_lanes_take_turns_and_the_highest_begins(bench: Bench) -> None:
    for lane in (1, 2):
        bench.lanes.grant(lane, 1.0)
        bench.speak(lane, "4", lane=lane)
    bench.step(6)
    assert bench.serials() == [2, 1, 2, 1, 2, 1]


def test_a_lane_that_begins_goes_before_one_that_is_ahead(bench: Bench) -> None:
    bench.lanes.grant(1, 1.0)
    bench.speak(1, "100", lane=1)
    bench.step(5)
    bench.lanes.grant(2, 1.0)
    bench.speak(2, "100", lane=2)
    bench.step(5)
    assert bench.serials() == [1] * 5 + [2] * 5


def test_the_floor_silences_what_is_below_and_nothing_else(bench: Bench) -> None:
    for lane in (1, 2):
        bench.lanes.grant(lane, 10.0)
    bench.speak(1, "50")
    bench.speak(2, "50")
    bench.speak(3, "1")
    bench.step(3)
    bench.posted.clear()
    bench.speak(4, "1", lane=2)
    bench.lanes.floor(1, 3)
    bench.speak(2, "50")  # came late
    bench.run_dry()
    assert set(bench.serials()) == {3, 4}
    assert set(bench.engine.closed) == {1, 3, 4}


def test_a_chunk_that_was_in_work_when_the_floor_rose_is_not_sent(bench: Bench) -> None:
    bench.lanes.grant(1, 10.0)
    bench.speak(1, "5")
    task = bench.lanes.next()
    assert isinstance(task, Step)
    bench.lanes.floor(1, 2)
    bench.do(task)
    bench.run_dry()
    assert bench.posted == []
    assert bench.engine.closed == [1]


def test_kill_takes_single_jobs_and_a_job_that_is_over_does_no_harm(bench: Bench) -> None:
    bench.lanes.grant(1, 10.0)
    for serial in (1, 2, 3):
        bench.speak(serial, "2")
    bench.step(1)
    bench.lanes.kill([1, 2, 99])
    bench.run_dry()
    assert bench.serials() == [1, 3, 3]
    bench.lanes.kill([3])
    bench.run_dry()
    assert bench.done() == [3]


@pytest.mark.parametrize("finished", [True, False])
def test_a_restyle_gets_the_stream_although_its_job_is_killed_after(
    bench: Bench, finished: bool
) -> None:
    bench.lanes.grant(1, 10.0)
    bench.speak(1, "2")
    if finished:
        bench.run_dry()
    else:
        bench.step(1)
    bench.speak(2, "2", restyle_of=1, start_s=0.1)
    bench.lanes.kill([1])
    bench.lanes.floor(1, 2)
    while not bench.engine.restyled:
        bench.step()
    bench.lanes.floor(1, 2)
    bench.run_dry()
    ((stream, job),) = bench.engine.restyled
    assert (job.serial, job.start_s) == (2, 0.1)
    assert hasattr(stream, "close")
    assert bench.serials()[-2:] == [2, 2]
    assert (1 in bench.engine.closed) is finished  # nobody closed what the restyled one is made of


def test_a_restyle_of_a_job_that_never_began_begins_in_its_place(bench: Bench) -> None:
    bench.speak(1, "2")
    bench.speak(2, "2", restyle_of=1)
    bench.lanes.kill([1])
    bench.lanes.grant(1, 10.0)
    bench.run_dry()
    assert bench.engine.restyled == []
    assert bench.done() == [2]


def test_a_restyle_of_what_is_not_kept_fails(bench: Bench) -> None:
    bench.lanes.grant(1, 10.0)
    bench.speak(2, "2", restyle_of=1, start_s=0.5)
    bench.run_dry()
    assert bench.failed() == {2: "restyle_lost"}


def test_kept_streams_are_bounded_and_closed(bench: Bench) -> None:
    bench.lanes.grant(1, 100.0)
    for serial in range(1, 20):
        bench.speak(serial, "1")
    bench.run_dry()
    assert len(bench.lanes._lanes[1].kept) == KEPT_STREAMS


def test_an_exception_costs_its_job_only(bench: Bench) -> None:
    bench.lanes.grant(1, 10.0)
    bench.speak(1, "1 bug")
    bench.speak(2, "0 nan")
    bench.speak(3, "1")
    bench.lanes.submit(Job(4, 1, "never", "1", "en"))
    bench.run_dry()
    assert bench.failed() == {1: "engine_bug", 2: "engine_bug", 4: "voice_unknown"}
    assert "KeyError: 'pitch'" in next(
        m.message for m in bench.posted if isinstance(m, link.Failed)
    )
    assert bench.done() == [3]


def test_a_voice_is_prepared_when_no_lane_has_work(bench: Bench) -> None:
    bench.lanes.grant(1, 10.0)
    bench.speak(1, "2")
    bench.lanes.order("new", SPEC)
    bench.run_dry()
    kinds = [type(m) for m in bench.posted]
    assert kinds == [link.Sound, link.Sound, link.Done, link.Prepared]


def test_a_voice_waits_for_a_lane_without_credit_but_not_for_ever(bench: Bench) -> None:
    bench.lanes.grant(1, 0.15)
    bench.speak(1, "10")
    bench.lanes.order("new", SPEC)
    bench.run_dry()
    assert len(bench.posted) == 2
    bench.clock.now += PATIENCE_S
    bench.run_dry()
    assert isinstance(bench.posted[-1], link.Prepared)


def test_a_voice_that_the_next_job_needs_goes_first(bench: Bench) -> None:
    bench.lanes.grant(1, 10.0)
    bench.lanes.order("other", SPEC)
    bench.lanes.order("new", SPEC)
    bench.lanes.submit(Job(1, 1, "new", "1", "en"))
    bench.run_dry()
    names = [m.key if isinstance(m, link.Prepared) else m.kind for m in bench.posted]
    assert names == ["new", "sound", "done", "other"]


def test_a_voice_that_cannot_be_prepared_is_told_with_its_hint(bench: Bench) -> None:
    bench.lanes.order("bad", ProfileSpec("hana", "en", {"bad": True}))
    bench.run_dry()
    assert bench.posted == [
        link.PrepareFailed("bad", "hana", "no_such_thing", "it has no such thing", "buy one")
    ]


def test_a_new_session_forgets_lanes_and_credit_but_no_voice(bench: Bench) -> None:
    bench.lanes.grant(1, 10.0)
    bench.speak(1, "5")
    bench.step(1)
    bench.lanes.reset(2)
    bench.run_dry()
    assert bench.engine.closed == [1]
    bench.speak(1, "1")
    bench.run_dry()
    assert bench.serials() == [1]
    bench.lanes.grant(1, 1.0)
    bench.run_dry()
    assert bench.done() == [1]


def test_after_work_comes_one_rest_and_not_while_a_line_waits_for_credit(bench: Bench) -> None:
    bench.clock.now += 100.0
    assert bench.lanes.next() is None, "nothing was done that leaves anything to tidy up"
    bench.lanes.grant(1, 0.15)
    bench.speak(1, "3")
    bench.run_dry()
    bench.clock.now += 2 * REST_S
    assert bench.lanes.next() is None, "in the middle of a line"
    bench.lanes.grant(1, 10.0)
    bench.run_dry()
    bench.clock.now += 0.9 * REST_S
    assert bench.lanes.next() is None
    bench.clock.now += 0.2 * REST_S
    assert bench.lanes.next() == Rest()
    bench.clock.now += 100.0
    assert bench.lanes.next() is None
    bench.speak(2, "1")
    bench.run_dry()
    bench.clock.now += 2 * REST_S
    assert bench.lanes.next() == Rest()


def test_the_synthesis_thread_rests_without_being_woken() -> None:
    lanes = Lanes()
    lanes.order("new", SPEC)
    assert isinstance(lanes.take(), Order)
    assert lanes.take() == Rest()


def test_close_ends_the_wait_of_the_synthesis_thread() -> None:
    lanes = Lanes()
    seen: list[str] = []

    def wait() -> None:
        try:
            lanes.take()
        except Closing:
            seen.append("closing")

    thread = threading.Thread(target=wait)
    thread.start()
    lanes.close()
    thread.join(timeout=40.0)
    assert seen == ["closing"]
