"""The worker from inside: what an engine may do wrong, voices, sessions and rests."""

from __future__ import annotations

import math
import threading
from pathlib import Path

import pytest

from koed.engine import wire
from koed.engine.base import Job, ProfileSpec, Voice
from koed.engine.worker.scheduler import (
    PATIENCE_S,
    REST_S,
    Idle,
    Preparation,
    Scheduler,
    WorkerEnds,
)
from koed.engine.worker.voice_cache import VoiceCache
from tests.engine.worker.benching import SPEC, Bench


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_an_exception_costs_its_job_only(bench: Bench) -> None:
    bench.scheduler.grant(1, 10.0)
    bench.speak(1, "1 bug")
    bench.speak(2, "0 nan")
    bench.speak(3, "1")
    bench.scheduler.submit(Job(4, 1, "never", "1", "en"))
    bench.run_dry()
    assert bench.failed() == {1: "engine_bug", 2: "engine_bug", 4: "voice_unknown"}
    assert "KeyError: 'pitch'" in next(
        m.message for m in bench.posted if isinstance(m, wire.Failed)
    )
    assert bench.done() == [3]


def test_a_voice_is_prepared_when_no_lane_has_work(bench: Bench) -> None:
    bench.scheduler.grant(1, 10.0)
    bench.speak(1, "2")
    bench.scheduler.prepare("new", SPEC)
    bench.run_dry()
    kinds = [type(m) for m in bench.posted]
    assert kinds == [wire.Sound, wire.Sound, wire.Done, wire.Prepared]


def test_a_voice_waits_for_a_lane_without_credit_but_not_for_ever(bench: Bench) -> None:
    bench.scheduler.grant(1, 0.15)
    bench.speak(1, "10")
    bench.scheduler.prepare("new", SPEC)
    bench.run_dry()
    assert len(bench.posted) == 2
    bench.clock.now += PATIENCE_S
    bench.run_dry()
    assert isinstance(bench.posted[-1], wire.Prepared)


def test_a_voice_that_the_next_job_needs_goes_first(bench: Bench) -> None:
    bench.scheduler.grant(1, 10.0)
    bench.scheduler.prepare("other", SPEC)
    bench.scheduler.prepare("new", SPEC)
    bench.scheduler.submit(Job(1, 1, "new", "1", "en"))
    bench.run_dry()
    names = [m.key if isinstance(m, wire.Prepared) else m.kind for m in bench.posted]
    assert names == ["new", "sound", "done", "other"]


@pytest.mark.parametrize("lufs", [-math.inf, math.inf, math.nan, -70.5, 0.5])
def test_a_voice_that_no_sound_can_have_is_refused_and_not_kept(
    tmp_path: Path, lufs: float
) -> None:
    cache = VoiceCache(tmp_path, "scripted", "1")
    bench = Bench(cache)
    bench.scheduler.prepare("odd", ProfileSpec("hana", "en", {"lufs": lufs}))
    bench.run_dry()
    (told,) = bench.posted
    assert isinstance(told, wire.PrepareFailed)
    assert told.code == "bad_loudness"
    assert f"{lufs:g} LUFS" in told.message
    assert "prepare it again" in told.hint
    assert (bench.scheduler.voice("odd"), cache.get("odd")) == (None, None)


def test_a_kept_voice_that_no_sound_can_have_is_made_anew(tmp_path: Path) -> None:
    cache = VoiceCache(tmp_path, "scripted", "1")
    cache.put(Voice("hana", "old", "en", -math.inf, {}))  # as an earlier koed did
    bench = Bench(cache)
    bench.scheduler.prepare("old", SPEC)
    bench.run_dry()
    (told,) = bench.posted
    assert isinstance(told, wire.Prepared)
    assert (told.loudness_lufs, told.cached) == (-20.0, False)


def test_a_voice_that_cannot_be_prepared_is_told_with_its_hint(bench: Bench) -> None:
    bench.scheduler.prepare("bad", ProfileSpec("hana", "en", {"bad": True}))
    bench.run_dry()
    assert bench.posted == [
        wire.PrepareFailed("bad", "hana", "no_such_thing", "it has no such thing", "buy one")
    ]


def test_a_new_session_forgets_lanes_and_credit_but_no_voice(bench: Bench) -> None:
    bench.scheduler.grant(1, 10.0)
    bench.speak(1, "5")
    bench.step(1)
    bench.scheduler.reset(2)
    bench.run_dry()
    assert bench.engine.closed == [1]
    bench.speak(1, "1")
    bench.run_dry()
    assert bench.serials() == [1]
    bench.scheduler.grant(1, 1.0)
    bench.run_dry()
    assert bench.done() == [1]


def test_after_work_comes_one_rest_and_not_while_a_line_waits_for_credit(bench: Bench) -> None:
    bench.clock.now += 100.0
    assert bench.scheduler.next() is None, "nothing was done that leaves anything to tidy up"
    bench.scheduler.grant(1, 0.15)
    bench.speak(1, "3")
    bench.run_dry()
    bench.clock.now += 2 * REST_S
    assert bench.scheduler.next() is None, "in the middle of a line"
    bench.scheduler.grant(1, 10.0)
    bench.run_dry()
    bench.clock.now += 0.9 * REST_S
    assert bench.scheduler.next() is None
    bench.clock.now += 0.2 * REST_S
    assert bench.scheduler.next() == Idle()
    bench.clock.now += 100.0
    assert bench.scheduler.next() is None
    bench.speak(2, "1")
    bench.run_dry()
    bench.clock.now += 2 * REST_S
    assert bench.scheduler.next() == Idle()


def test_the_synthesis_thread_rests_without_being_woken() -> None:
    scheduler = Scheduler()
    scheduler.prepare("new", SPEC)
    assert isinstance(scheduler.take(), Preparation)
    assert scheduler.take() == Idle()


def test_close_ends_the_wait_of_the_synthesis_thread() -> None:
    scheduler = Scheduler()
    seen: list[str] = []

    def wait() -> None:
        try:
            scheduler.take()
        except WorkerEnds:
            seen.append("closing")

    thread = threading.Thread(target=wait)
    thread.start()
    scheduler.close()
    thread.join(timeout=40.0)
    assert seen == ["closing"]
