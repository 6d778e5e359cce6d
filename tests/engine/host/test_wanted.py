"""The host says which jobs are wanted, to a real worker, and hears of no other."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from koed.engine import wire
from koed.engine.base import Job
from koed.engine.host.listener import tell_of_job
from koed.engine.host.worker_state import WorkerState
from tests.engine.hosting import Diary, job, started, theatre, voice

LONG = "a line that goes on " * 10
"""Ten seconds of the tone voice."""


def test_what_is_not_wanted_stops_at_once_and_the_next_job_is_normal(tmp_path: Path) -> None:
    with theatre(tmp_path, lookahead_s=60.0) as stage:
        key = started(stage, chunk_delay_ms=5)
        stage.host.speak(job(1, key, LONG))
        stage.host.speak(job(2, key, LONG))
        stage.until(lambda: 1 in stage.diary.pcm)
        stage.host.keep([])
        stage.diary.order.clear()
        stage.host.speak(job(3, key, "after"))
        stage.host.keep([3])
        stage.until_done(3)
        stage.until(lambda: stage.host.jobs == frozenset())
        assert {serial for _, serial in stage.diary.order} == {3}


@pytest.mark.parametrize("seed", range(3))
def test_in_any_order_the_wanted_come_whole_and_nothing_else_is_told(
    tmp_path: Path, seed: int
) -> None:
    dice = random.Random(seed)
    with theatre(tmp_path, lookahead_s=0.5) as stage:
        key = started(stage)
        wanted: dict[int, Job] = {}
        told_of_dead: dict[int, int] = {}
        asked = 0

        def told(serial: int) -> int:
            return sum(one == serial for _, one in stage.diary.order)

        def heard() -> None:
            for lane in (1, 2, 3):
                stage.host.grant(lane, 0.0)

        def over() -> bool:
            heard()
            return all(serial in stage.diary.seconds for serial in wanted)

        for _ in range(150):
            if dice.random() < 0.4:
                asked += 1
                made = job(
                    dice.choice([1, 10_000]) + asked, key, "o" * dice.randint(1, 12),
                    dice.randint(1, 3), owner=dice.choice(["air", "phrase", "client"]),
                )  # fmt: skip
                wanted[made.serial] = made
                stage.host.speak(made)
            if dice.random() < 0.3:
                for serial in [s for s in wanted if dice.random() < 0.2]:
                    del wanted[serial]
                    told_of_dead[serial] = told(serial)
                stage.host.keep(wanted.keys() | {-5})
            heard()
            stage.turn(dice.choice([0.0, 0.01]))
        stage.until(over)
        stage.until(lambda: stage.host.jobs == frozenset())
        assert told_of_dead, "the dice are loaded"
        assert {s: told(s) for s in told_of_dead} == told_of_dead
        for serial, made in wanted.items():
            whole_s = pytest.approx(0.05 * len(made.text), rel=0.02)
            assert stage.diary.heard_s(serial) == whole_s
            assert stage.diary.seconds[serial] == whole_s
        assert (stage.diary.failures, stage.diary.downs) == ({}, [])


def test_a_job_is_wanted_from_speak_on_whatever_is_repeated_meanwhile(tmp_path: Path) -> None:
    with theatre(tmp_path) as stage:
        key = started(stage)
        stage.host.speak(job(1, key))
        stage.host.keep([1])
        stage.until_done(1)
        sent = stage.spy()
        stage.host.speak(job(7, key, LONG))
        for _ in range(3):
            stage.host.tick(stage.clock())
        stage.until(lambda: 7 in stage.diary.pcm)
        stage.host.keep([7])
        stage.host.keep([7])
        kept = [message for message in sent if isinstance(message, wire.Keep)]
        assert kept[-1] == wire.Keep((7,))
        assert set(kept[:-1]) == {wire.Keep((1, 7))}
        assert isinstance(sent[1], wire.Speak), "after the credit, before any set"


def test_what_is_wanted_is_said_again_if_it_was_lost_and_idle_it_is_silent(
    tmp_path: Path,
) -> None:
    with theatre(tmp_path, lookahead_s=600.0) as stage:
        key = started(stage, chunk_delay_ms=5)
        lost: list[wire.Message] = []

        def loses(message: wire.Message) -> bool:
            if isinstance(message, wire.Keep) and message.serials in ((2,), ()):
                lost.append(message)
                return lost.count(message) == 1
            return False

        sent = stage.spy(loses)
        for lane in (1, 2):
            stage.host.speak(job(lane, key, LONG * 20, lane=lane))
        stage.until(lambda: stage.host.jobs == {1, 2})
        stage.host.keep([2])
        stage.until(lambda: stage.host.jobs == {2})
        assert stage.host.doing == "speaking"
        stage.host.keep([])
        stage.until(lambda: stage.host.jobs == frozenset() and stage.host.doing == "idle")
        assert sent.count(wire.Keep(())) == 2
        assert sent.count(wire.Keep((2,))) >= 2
        sent.clear()
        for _ in range(10):
            stage.host.tick(stage.clock())
        stage.host.keep([])
        assert sent == []


def test_the_jobs_of_a_host_are_those_that_wait_and_those_of_the_beat(tmp_path: Path) -> None:
    with theatre(tmp_path, lookahead_s=0.5) as stage:
        assert (stage.host.jobs, stage.host.doing) == (frozenset(), "")
        key = stage.host.prepare(voice("hana"))
        stage.start()
        stage.host.speak(job(1, key))
        stage.host.speak(job(2, key))
        assert stage.host.jobs == {1, 2}
        stage.host.keep([2])
        assert stage.host.jobs == {2}
        stage.until(lambda: stage.diary.failures)
        assert list(stage.diary.failures) == [2]
        assert stage.host.jobs == frozenset()
        stage.until_up()
        stage.until(lambda: stage.host.doing == "idle")
        stage.host.speak(job(3, key, LONG))
        stage.host.speak(job(4, key, LONG))
        stage.until(lambda: stage.host.jobs == {3, 4})


def test_of_what_has_come_already_nothing_more_is_told(tmp_path: Path) -> None:
    with theatre(tmp_path, lookahead_s=0.5) as stage:
        key = started(stage)
        write_down = stage.diary.chunk

        def chunk(serial: int, *rest: Any) -> None:
            write_down(serial, *rest)
            if serial == 1:
                stage.host.keep([])

        stage.diary.chunk = chunk  # type: ignore[method-assign]
        stage.host.speak(job(1, key, LONG))
        stage.until(lambda: 1 in stage.diary.pcm)
        stage.host.speak(job(2, key, "o" * 8))
        stage.host.keep([2])

        def heard() -> bool:
            stage.host.grant(1, 0.0)
            return 2 in stage.diary.seconds

        stage.until(heard)
        assert len(stage.diary.pcm[1]) == 1
        assert stage.diary.heard_s(2) == pytest.approx(0.4)


def test_sound_of_what_is_no_longer_wanted_counts_for_the_credit_of_its_lane() -> None:
    worker, diary = WorkerState(1, b"", None, started=0.0), Diary()
    worker.outstanding = {1: 3, 2: 3}
    assert worker.keep({2}, again=False) == wire.Keep((2,))
    for serial in (1, 2):
        sound = wire.Sound(serial, 3, 0, 1000, (), ())
        tell_of_job(diary, worker, sound, np.zeros(250, np.float32))
    assert diary.order == [("chunk", 2)]
    assert worker.credit_s(3, 0.5) == 1.0
