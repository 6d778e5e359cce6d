"""The lanes of a worker: which step is next, what ends when, what is kept and for how long."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest

from koed.engine import wire
from koed.engine.base import Job
from koed.engine.worker.scheduler import (
    KEPT_STREAMS,
    LOADING_S,
    PATIENCE_S,
    Step,
)
from tests.engine.worker.benching import SPEC, Bench, Later


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_jobs_of_a_lane_are_spoken_in_order(bench: Bench) -> None:
    bench.scheduler.grant(1, 10.0)
    bench.speak(1, "2")
    bench.speak(2, "1")
    bench.run_dry()
    assert bench.serials() == [1, 1, 2]
    assert bench.done() == [1, 2]


def test_no_chunk_begins_beyond_the_credit(bench: Bench) -> None:
    bench.speak(1, "100")
    bench.run_dry()
    assert bench.serials() == []
    bench.scheduler.grant(1, 0.25)
    bench.run_dry()
    assert len(bench.serials()) == 3  # the third began at 0.2 s
    bench.scheduler.grant(1, 0.25)  # a repeated total changes nothing
    bench.run_dry()
    assert len(bench.serials()) == 3


def test_a_lane_without_credit_does_not_hold_up_another(bench: Bench) -> None:
    bench.speak(1, "5", lane=2)
    bench.speak(2, "5", lane=1)
    bench.scheduler.grant(1, 10.0)
    bench.run_dry()
    assert bench.done() == [2]


def test_hungry_lanes_take_turns_and_the_highest_begins(bench: Bench) -> None:
    for lane in (1, 2):
        bench.scheduler.grant(lane, 1.0)
        bench.speak(lane, "4", lane=lane)
    bench.step(6)
    assert bench.serials() == [2, 1, 2, 1, 2, 1]


def test_a_lane_that_begins_goes_before_one_that_is_ahead(bench: Bench) -> None:
    bench.scheduler.grant(1, 1.0)
    bench.speak(1, "100", lane=1)
    bench.step(5)
    bench.scheduler.grant(2, 1.0)
    bench.speak(2, "100", lane=2)
    bench.step(5)
    assert bench.serials() == [1] * 5 + [2] * 5


def test_the_chunk_in_work_is_abandoned_when_its_job_is_not_named(bench: Bench) -> None:
    for lane in (1, 2):
        bench.scheduler.grant(lane, 10.0)
        bench.speak(lane, "50", lane=lane)
    bench.step(4)
    takes = bench.engine.takes
    bench.scheduler.keep([1])
    assert (takes[1].abandoned, takes[2].abandoned) == (False, True)
    bench.scheduler.reset(2)
    assert takes[1].abandoned


def test_what_is_not_named_ends_and_what_is_named_goes_on(bench: Bench) -> None:
    for lane in (1, 2):
        bench.scheduler.grant(lane, 10.0)
    bench.speak(11, "50")
    bench.speak(12, "50")
    bench.speak(3, "1")  # a lower serial is not older
    bench.step(3)
    bench.posted.clear()
    bench.speak(4, "1", lane=2)
    bench.scheduler.keep([3, 4, 99])
    bench.run_dry()
    assert set(bench.serials()) == {3, 4}
    assert set(bench.engine.closed) == {11, 3, 4}


def test_a_job_that_comes_after_is_taken_whatever_was_named_before(bench: Bench) -> None:
    bench.scheduler.grant(1, 10.0)
    bench.scheduler.keep([7])
    bench.speak(1, "1")
    bench.run_dry()
    assert bench.done() == [1]


def test_a_chunk_that_was_in_work_when_its_job_was_left_out_is_not_sent(bench: Bench) -> None:
    bench.scheduler.grant(1, 10.0)
    bench.speak(1, "5")
    task = bench.scheduler.next()
    assert isinstance(task, Step)
    bench.scheduler.keep([])
    bench.do(task)
    bench.run_dry()
    assert bench.posted == []
    assert bench.engine.closed == [1]


def test_the_same_set_again_changes_nothing(bench: Bench) -> None:
    bench.scheduler.grant(1, 0.35)
    for serial in (1, 2, 3):
        bench.speak(serial, "2")
    bench.run_dry()
    for _ in range(3):
        bench.scheduler.keep([1, 2, 3])
        assert bench.scheduler.next() is None
        assert bench.scheduler.jobs() == (2, 3)
    bench.scheduler.grant(1, 10.0)
    bench.run_dry()
    assert bench.serials() == [1, 1, 2, 2, 3, 3]
    assert not any(take.shut for take in bench.engine.takes.values()), "all may be continued"
    bench.scheduler.keep([2])
    bench.run_dry()
    assert [s for s, take in bench.engine.takes.items() if take.shut] == [1, 3]


@pytest.mark.parametrize("finished", [True, False])
def test_a_restyle_gets_the_stream_although_its_job_is_left_out_after(
    bench: Bench, finished: bool
) -> None:
    bench.scheduler.grant(1, 10.0)
    bench.speak(1, "2")
    if finished:
        bench.run_dry()
    else:
        bench.step(1)
    bench.speak(2, "2", restyle_of=1, start_s=0.1)
    bench.scheduler.keep([2])
    bench.scheduler.keep([2])
    while not bench.engine.restyled:
        bench.step()
    bench.scheduler.keep([2])
    bench.run_dry()
    ((stream, job),) = bench.engine.restyled
    assert (job.serial, job.start_s) == (2, 0.1)
    assert hasattr(stream, "close")
    assert bench.serials()[-2:] == [2, 2]
    assert (1 in bench.engine.closed) is finished  # nobody closed what the restyled one is made of


def test_a_restyle_of_a_job_that_never_began_begins_in_its_place(bench: Bench) -> None:
    bench.speak(1, "2")
    bench.speak(2, "2", restyle_of=1)
    bench.scheduler.keep([2])
    bench.scheduler.grant(1, 10.0)
    bench.run_dry()
    assert bench.engine.restyled == []
    assert bench.done() == [2]


def test_a_restyle_of_what_is_not_kept_fails(bench: Bench) -> None:
    bench.scheduler.grant(1, 10.0)
    bench.speak(2, "2", restyle_of=1, start_s=0.5)
    bench.run_dry()
    assert bench.failed() == {2: "restyle_lost"}


def test_a_stream_that_is_being_continued_is_not_closed_whatever_is_left_out(bench: Bench) -> None:
    bench.scheduler.grant(1, 10.0)
    bench.speak(1, "1")
    bench.run_dry()

    def once() -> None:
        bench.engine.meanwhile = lambda: None
        bench.speak(3, "2", restyle_of=2)  # 2 has just begun
        bench.scheduler.keep([3])

    bench.engine.meanwhile = once
    bench.speak(2, "2", restyle_of=1, start_s=0.1)
    bench.scheduler.keep([2])
    bench.run_dry()
    assert [job.serial for _, job in bench.engine.restyled] == [2, 3]
    assert [s for s, take in bench.engine.takes.items() if take.shut] == []
    assert bench.done()[-1] == 3


@pytest.mark.parametrize("over", [True, False])
def test_a_stream_whose_restyle_failed_is_closed_when_it_is_not_wanted(
    bench: Bench, over: bool
) -> None:
    bench.scheduler.grant(1, 10.0)
    bench.speak(1, "1")
    bench.run_dry()
    bench.engine.meanwhile = lambda: bench.scheduler.keep([] if over else [2])
    bench.speak(2, "2 no restyle", restyle_of=1, start_s=0.1)
    bench.run_dry()
    assert bench.failed() == ({} if over else {2: "no_restyle"})
    bench.scheduler.keep([])
    bench.run_dry()
    assert bench.engine.takes[1].shut


def test_a_stream_that_is_made_while_a_new_session_begins_is_closed(bench: Bench) -> None:
    bench.scheduler.grant(1, 10.0)
    bench.speak(1, "1")
    bench.run_dry()
    bench.engine.meanwhile = lambda: bench.scheduler.reset(2)
    bench.speak(2, "2", restyle_of=1, start_s=0.1)
    bench.run_dry()
    assert bench.engine.takes[2].shut
    assert set(bench.serials()) == {1}


def test_kept_streams_are_bounded_but_for_those_that_a_restyle_claims(bench: Bench) -> None:
    bench.scheduler.grant(1, 100.0)
    bench.speak(1000, "1")
    bench.run_dry()
    for serial in range(1, 2 * KEPT_STREAMS):
        bench.speak(serial, "1")
    bench.speak(1001, "1", restyle_of=1000, start_s=0.05)
    bench.run_dry()
    assert bench.failed() == {}
    assert bench.done()[-1] == 1001
    assert len(bench.scheduler._lanes[1].kept) == KEPT_STREAMS
    takes = bench.engine.takes
    assert sum(not take.shut for take in takes.values()) == KEPT_STREAMS
    assert not takes[1000].shut


def test_the_air_goes_first_at_every_step_then_clients_then_phrases(bench: Bench) -> None:
    bench.speak(1, "3", lane=9, owner="phrase")
    bench.speak(2, "3", lane=5, owner="client")
    for lane in (1, 5, 9):
        bench.scheduler.grant(lane, 10.0)
    bench.step(1)
    bench.scheduler.grant(9, 100.0)  # far from running dry, or near: it counts among equals only
    bench.speak(3, "2", lane=1)
    bench.run_dry()
    assert bench.serials() == [2, 3, 3, 2, 2, 1, 1, 1]


def test_who_waits_for_credit_does_not_hold_up_those_who_are_less_urgent(bench: Bench) -> None:
    bench.speak(1, "3", lane=1)
    bench.scheduler.grant(1, 0.05)
    bench.speak(2, "2", lane=2, owner="phrase")
    bench.scheduler.grant(2, 10.0)
    bench.run_dry()
    assert bench.serials() == [1, 2, 2]


def test_it_tells_which_jobs_are_not_finished_the_next_ones_first(bench: Bench) -> None:
    bench.scheduler.grant(1, 0.15)
    bench.speak(5, "3")
    bench.speak(4, "3")
    bench.speak(9, "3", lane=2)
    assert bench.scheduler.jobs() == (5, 9, 4)
    bench.run_dry()
    assert bench.scheduler.jobs() == (5, 9, 4)
    bench.scheduler.grant(1, 10.0)
    bench.run_dry()
    assert bench.scheduler.jobs() == (9,)
    for serial in range(100, 1000):
        bench.speak(serial)
    assert len(bench.scheduler.jobs()) == wire.BEAT_JOBS
    assert bench.scheduler.jobs()[:2] == (100, 9)


def test_a_lane_that_loads_is_asked_again_and_holds_up_nobody(bench: Bench) -> None:
    for lane in (1, 2):
        bench.scheduler.grant(lane, 10.0)
    bench.speak(2, "1 loads loads", lane=2)
    bench.speak(1, "3", lane=1)
    bench.run_dry()
    assert bench.done() == [1]
    assert bench.scheduler.loading() == (2, bench.clock.now)
    began = bench.clock.now
    bench.clock.now += LOADING_S
    bench.run_dry()
    assert (bench.done(), bench.scheduler.loading()) == ([1], (2, began))
    bench.clock.now += LOADING_S
    bench.run_dry()
    assert (bench.done(), bench.scheduler.loading()) == ([1, 2], None)


def test_a_line_that_has_begun_loads_no_more(bench: Bench) -> None:
    bench.scheduler.grant(1, 0.05)
    bench.speak(1, "2 loads")
    bench.run_dry()
    assert bench.scheduler.loading() is not None
    bench.clock.now += LOADING_S
    bench.run_dry()
    assert (bench.serials(), bench.scheduler.loading()) == ([1], None)


def test_a_line_that_comes_after_one_that_loaded_in_vain_does_not_wait(bench: Bench) -> None:
    bench.scheduler.grant(1, 10.0)
    bench.speak(1, "1 loads")
    bench.run_dry()
    bench.speak(2, "1")
    bench.scheduler.keep([2])
    bench.run_dry()
    assert (bench.done(), bench.scheduler.loading()) == ([2], None)


def test_a_voice_that_is_prepared_beside_holds_up_only_who_needs_it() -> None:
    later = Later()
    bench = Bench(later=later)
    for lane in (1, 2, 3):
        bench.scheduler.grant(lane, 10.0)
    bench.scheduler.prepare("slow", SPEC)
    bench.scheduler.prepare("next", SPEC)
    bench.step()
    bench.scheduler.submit(Job(1, 1, "k", "2", "en"))
    bench.scheduler.submit(Job(2, 2, "slow", "1", "en"))
    bench.scheduler.submit(Job(3, 3, "next", "1", "en"))
    bench.run_dry()
    bench.clock.now += 2 * PATIENCE_S
    bench.run_dry()
    assert bench.done() == [1]
    later.run()
    bench.run_dry()
    assert bench.done() == [1, 2]
    later.run()
    bench.run_dry()
    assert bench.done() == [1, 2, 3]


def test_who_needs_a_voice_that_failed_beside_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    later = Later()
    bench = Bench(later=later)
    bench.scheduler.grant(1, 10.0)
    bench.scheduler.prepare("bad", dataclasses.replace(SPEC, settings={"bad": True}))
    bench.step()
    bench.scheduler.submit(Job(1, 1, "bad", "1", "en"))
    bench.run_dry()
    assert bench.failed() == {}
    later.run()
    bench.run_dry()
    assert bench.failed() == {1: "voice_unknown"}


class Model:
    """What a random order of words to the lanes must come to: by job, how many chunks were sent
    when it was left out, or that all of them are."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.later = Later()
        self.bench = Bench(later=self.later)
        for voice in ("a", "b"):
            self.bench.scheduler.prepare(voice, SPEC)
        self.asked: dict[int, Job] = {}
        self.ended: dict[int, int] = {}
        self.continued: set[int] = set()
        self.granted_s = 0.0

    def sent(self, serial: int) -> int:
        return self.bench.serials().count(serial)

    def speak(self) -> None:
        """A new job, at times one that continues another of its lane."""
        serial = self.dice.choice([1, 10_000, 20_000]) + len(self.asked)
        lane = self.dice.randint(1, 3)
        gone = self.continued | set(self.ended)
        before = [j for s, j in self.asked.items() if j.lane == lane and s not in gone]
        more: dict[str, Any] = {"owner": self.dice.choice(["air", "air", "phrase", "client"])}
        if before and self.dice.random() < 0.5:
            source = before[-1].serial
            self.continued.add(source)
            more |= {"restyle_of": source, "start_s": 0.1 if self.sent(source) else 0.0}
        text = f"{self.dice.randint(1, 4)}{self.dice.choice(['', '', ' loads', ' loads loads'])}"
        job = Job(serial, lane, self.dice.choice(["k", "k", "a", "b"]), text, "en", **more)
        self.asked[serial] = job
        self.bench.scheduler.submit(job)

    def keep(self) -> None:
        """Some of them, and some that nobody knows; often without what is being continued."""
        alive = set(self.asked) - set(self.ended)
        wanted = {s for s in alive if self.dice.random() < (0.5 if s in self.continued else 0.8)}
        for serial in alive - wanted:
            self.ended[serial] = self.sent(serial)
        for _ in range(self.dice.randint(1, 2)):
            self.bench.scheduler.keep(wanted | {-1, 777_777})
        assert set(self.bench.scheduler.jobs()) <= wanted

    def work(self, torn: bool) -> None:
        """A step; ``torn``: jobs are left out while it is made."""
        task = self.bench.scheduler.next()
        if torn:
            self.keep()
        if task is not None:
            self.bench.do(task)

    def grant(self) -> None:
        self.granted_s += self.dice.random()
        self.bench.scheduler.grant(self.dice.randint(1, 3), self.granted_s)

    def wait(self) -> None:
        """What is beside gets on."""
        self.bench.clock.now += LOADING_S
        if self.dice.random() < 0.5:
            self.later.run()

    def turn(self) -> None:
        word = self.dice.choices(
            ["speak", "keep", "work", "torn", "grant", "wait"], [4, 1, 8, 1, 2, 2]
        )[0]
        match word:
            case "speak":
                self.speak()
            case "keep":
                self.keep()
            case "grant":
                self.grant()
            case "wait":
                self.wait()
            case _:
                self.work(torn=word == "torn")

    def settle(self) -> None:
        for lane in (1, 2, 3):
            self.bench.scheduler.grant(lane, 1e6)
        for _ in range(3 * len(self.asked) + 6):
            self.bench.run_dry()
            self.later.run()
            self.bench.clock.now += LOADING_S


@pytest.mark.parametrize("seed", range(100))
def test_in_any_order_the_named_come_whole_and_nothing_else_comes(seed: int) -> None:
    model = Model(seed)
    for _ in range(60):
        model.turn()
    model.settle()
    bench = model.bench
    assert bench.failed() == {}, "whatever is continued is there"
    for serial, job in model.asked.items():
        if serial in model.ended:
            assert model.sent(serial) == model.ended[serial], "since it was left out"
        else:
            assert (model.sent(serial), bench.done().count(serial)) == (int(job.text.split()[0]), 1)
    for lane in (1, 2, 3):
        done = [s for s in bench.done() if model.asked[s].lane == lane]
        assert done == [s for s in model.asked if s in done], "in the order of asking"
    bench.scheduler.keep([])
    bench.run_dry()
    handed_on = {job.restyle_of for _, job in bench.engine.restyled}
    assert {s for s, take in bench.engine.takes.items() if not take.shut} == handed_on
