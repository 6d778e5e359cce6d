"""The host with real workers and real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
import zmq

from koed.config.daemon import EngineConfig
from koed.engine import wire
from koed.engine.host.supervisor import RETRY_S
from koed.engine.host.worker_state import ANSWER_S, WorkerState, verdict
from koed.engine.wire import Beat, Message
from tests.engine.hosting import (
    is_alive,
    job,
    kill_if_alive,
    started,
    theatre,
    voice,
    wait_until_dead,
)

LONG = "a line that goes on " * 10
"""Ten seconds of the tone voice."""


def test_a_job_is_spoken_by_a_worker_that_is_up(tmp_path: Path) -> None:
    with theatre(tmp_path) as stage:
        stage.host.prepare(voice("rin", hz=960.0))
        key = started(stage)
        assert set(stage.diary.ready) == {"hana", "rin"}
        assert stage.host.pid == stage.diary.ups[0]
        assert stage.host.capabilities is not None
        assert stage.host.capabilities.restyle
        stage.host.speak(job(1, key, "one two"))
        stage.until_done(1)
        sound = stage.diary.sound(1)
        assert len(sound) / stage.diary.rate_hz[1] == pytest.approx(stage.diary.seconds[1])
        spectrum = np.abs(np.fft.rfft(sound))
        assert np.argmax(spectrum) * stage.diary.rate_hz[1] / len(sound) == pytest.approx(
            480, abs=5
        )
        assert [(w.start, w.end) for w in stage.diary.words[1]] == [(0, 3), (4, 7)]
        assert [m.shape for m in stage.diary.mouths[1]] == ["o", "e", "rest", "u", "o"]
        # read now and then: the first reading may be of a process that has hardly begun
        stage.until(lambda: stage.host.rss_mb > 5)


def test_a_worker_is_up_when_it_has_the_voices_that_lines_speak_with(tmp_path: Path) -> None:
    with theatre(tmp_path) as stage:
        stage.host.prepare(voice("hana", hz=480.0))
        stage.host.prepare(voice("slow", prepare_ms=60_000.0))
        stage.start()
        stage.until(lambda: stage.diary.ups and "hana" in stage.diary.ready)
        assert "slow" not in stage.diary.ready
        answers: list[Message] = []
        really_answered = stage.host._voices.answered
        stage.host._voices.answered = lambda message: (  # type: ignore[method-assign]
            answers.append(message), really_answered(message)
        )[1]  # fmt: skip
        kill_if_alive(stage.host.pid)
        stage.until(lambda: len(stage.diary.ups) == 2)
        assert [answer.name for answer in answers] == ["hana"]  # type: ignore[attr-defined]
        kill_if_alive(stage.host.pid)


def test_nothing_beyond_the_credit_comes_and_the_rest_comes_when_heard(tmp_path: Path) -> None:
    with theatre(tmp_path, lookahead_s=0.5) as stage:
        key = started(stage, chunk_ms=20)
        stage.host.speak(job(1, key, LONG))
        stage.until(lambda: stage.diary.heard_s(1) >= 0.5)
        stage.settle()
        assert stage.diary.heard_s(1) < 0.5 + 0.021  # one chunk may begin within the credit
        stage.host.grant(1, 0.5)
        stage.settle(0.1)
        assert stage.diary.heard_s(1) < 0.5 + 0.021
        stage.host.grant(1, 0.3)
        stage.until(lambda: stage.diary.heard_s(1) >= 0.7)
        stage.settle(0.1)
        assert stage.diary.heard_s(1) < 0.7 + 0.041


def test_two_lanes_interleave(tmp_path: Path) -> None:
    with theatre(tmp_path, lookahead_s=60.0) as stage:
        key = started(stage, chunk_delay_ms=2)
        # Far longer than what the first can be ahead when the second comes.
        stage.host.speak(job(1, key, LONG * 5, lane=1))
        stage.host.speak(job(2, key, LONG * 5, lane=2))

        def abreast() -> list[int]:
            """The lanes of the chunks since the second has caught up."""
            lanes = [serial for what, serial in stage.diary.order if what == "chunk"]
            leads = accumulate(1 if lane == 1 else -1 for lane in lanes)
            return lanes[next((n + 1 for n, lead in enumerate(leads) if not lead), len(lanes)) :]

        stage.until(lambda: len(abreast()) >= 250)
        lanes = abreast()
        # Neither gets further ahead than a tenth of a second and a chunk.
        runs = [lanes[i : i + 8] for i in range(len(lanes) - 8)]
        assert all(set(run) == {1, 2} for run in runs)


def test_a_restyle_goes_on_in_the_other_voice_from_the_very_sample(tmp_path: Path) -> None:
    with theatre(tmp_path) as stage:
        other = stage.host.prepare(voice("rin", hz=960.0))
        key = started(stage)
        stage.host.speak(job(1, key, "a word or two"))
        stage.until_done(1)  # made to its end; the ear is still in the middle of it
        stage.host.speak(job(2, other, "a word or two", restyle_of=1, start_s=0.25))
        stage.host.keep([2])
        stage.until_done(2)
        assert stage.diary.seconds[2] == pytest.approx(stage.diary.seconds[1] - 0.25, abs=0.01)


def test_a_killed_worker_is_named_with_what_it_takes_along_and_replaced(tmp_path: Path) -> None:
    with theatre(tmp_path, cache=True) as stage:
        key = started(stage)
        stage.host.speak(job(1, key, "done before"))
        stage.until_done(1)
        stage.host.speak(job(2, key, LONG))
        stage.host.speak(job(3, key, LONG))
        stage.host.speak(job(4, key, LONG, lane=2))
        stage.until(lambda: 2 in stage.diary.pcm and 4 in stage.diary.pcm)
        stage.host.keep([2, 3])
        stage.clock.stop()  # so that it is not tried again before we have looked
        os.kill(stage.host.pid, signal.SIGKILL)
        noticed_s = stage.until(lambda: stage.diary.downs)
        assert noticed_s < 10.0
        assert stage.diary.downs == [("worker_killed", "killed by SIGKILL", RETRY_S, [2, 3])]
        assert stage.host.state == "down"
        stage.host.speak(job(5, key, "nobody is there"))
        stage.until(lambda: 5 in stage.diary.failures)
        assert stage.diary.failures[5][0] == "engine_down"
        stage.clock.go()
        stage.until_up(times=2)
        assert stage.diary.ups[0] != stage.diary.ups[1]
        assert stage.diary.ready == {"hana": False}  # told once, and not again as cached
        stage.host.speak(job(6, key, "as before"))
        stage.until_done(6)


def test_a_crash_is_told_with_the_last_words_of_the_worker(tmp_path: Path) -> None:
    with theatre(tmp_path) as stage:
        key = started(stage, crash_on="boom", crash_how="exit")
        stage.host.speak(job(1, key, "boom"))
        stage.until(lambda: stage.diary.downs)
        code, message, _, lost = stage.diary.downs[0]
        assert (code, lost) == ("worker_exited", [1])
        assert "exited with status 70" in message


def test_a_stopped_worker_is_replaced(tmp_path: Path) -> None:
    with theatre(tmp_path, stall_s=0.8) as stage:
        stage.clock.stop()  # a machine may well stand still for so long while the worker starts
        key = started(stage)
        stage.host.speak(job(1, key, LONG))
        stage.until(lambda: 1 in stage.diary.pcm)
        pid = stage.host.pid
        os.kill(pid, signal.SIGSTOP)
        stage.clock.go()
        stage.until(lambda: stage.diary.downs)
        code, message, _, lost = stage.diary.downs[0]
        assert (code, message, lost) == ("worker_stalled", "no sign of life for 0.8 s", [1])
        stage.until_up(times=2)
        stage.until(lambda: not is_alive(pid))


def test_an_engine_that_hangs_in_a_job_is_replaced(tmp_path: Path) -> None:
    with theatre(tmp_path, stall_s=0.8) as stage:
        stage.clock.stop()  # it gives signs of life: what counts is the worker's own clock
        key = started(stage, hang_on="tar")
        stage.host.speak(job(7, key, "tar pit"))
        stage.until(lambda: stage.diary.downs)
        assert stage.diary.downs[0][:2] == ("worker_stalled", "no progress for 0.8 s in job 7")
        stage.clock.go()
        stage.until_up(times=2)


def test_our_own_delay_is_not_taken_for_a_stall(tmp_path: Path) -> None:
    with theatre(tmp_path, stall_s=0.4) as stage:
        stage.clock.stop()
        key = started(stage)
        os.kill(stage.host.pid, signal.SIGSTOP)
        stage.settle(0.1)
        stage.clock.skip(1.2)  # the whole machine was held up, and we are the first to go on
        assert stage.host._workers is not None
        stage.host._workers.wake()  # as by a line that the worker printed
        stage.host.receive()
        stage.turn()
        assert stage.diary.downs == []
        os.kill(stage.host.pid, signal.SIGCONT)
        stage.host.speak(job(1, key))
        stage.until_done(1)
        assert stage.diary.downs == []


def test_a_worker_that_allocates_without_end_is_ended(tmp_path: Path) -> None:
    with theatre(tmp_path, memory_mb=120, lookahead_s=60.0) as stage:
        # It ends at half a gigabyte, for a machine that does not let us look for seconds.
        key = started(stage, allocate_mb_per_chunk=10, hang_on="goes", trouble_at_chunk=50)
        stage.host.speak(job(1, key, LONG))
        stage.until(lambda: stage.diary.downs)
        code, message, _, lost = stage.diary.downs[0]
        assert (code, lost) == ("worker_memory", [1])
        assert "engine.memory_mb" in message
        stage.until_up(times=2)


def test_a_fat_worker_is_swapped_between_lines_and_no_line_is_lost(tmp_path: Path) -> None:
    with theatre(tmp_path, memory_mb=130, lookahead_s=1.0) as stage:
        fat = stage.host.prepare(voice("fat", allocate_mb_per_chunk=18))
        key = started(stage)
        stage.host.speak(job(1, fat, "a"))
        stage.host.speak(job(2, fat, "b", lane=2))
        stage.until_done(1, 2)
        stage.host.speak(job(3, key, LONG))  # it waits for credit, as long as that takes
        stage.until(lambda: stage.host._workers and stage.host._workers.standby)
        old = stage.host.pid
        stage.until(lambda: stage.host._workers and stage.host._workers.standby.complete)  # type: ignore[union-attr]
        stage.host.speak(job(4, key, "held for the fresh worker"))
        stage.host.speak(job(5, key, "left out while held"))
        assert stage.host.jobs >= {4, 5}
        stage.host.keep([3, 4])
        stage.settle(0.1)
        assert not {3, 4} & set(stage.diary.seconds)

        def heard(over: Mapping[int, object]) -> bool:
            stage.host.grant(1, 0.0)  # nothing of what was made is still to be heard
            return 4 in over

        stage.until(lambda: heard(stage.diary.pcm))
        assert stage.host.pid != old
        assert 3 in stage.diary.seconds
        stage.until(lambda: heard(stage.diary.seconds))
        assert stage.diary.ups == [old, stage.host.pid]
        assert stage.diary.downs == []
        assert 5 not in stage.diary.pcm
        stage.until(lambda: not is_alive(old))


def test_an_engine_that_cannot_start_is_tried_more_and_more_rarely(tmp_path: Path) -> None:
    with theatre(tmp_path, engine="tome") as stage:
        stage.clock.stop()
        stage.start()
        waits = []
        for attempt in range(3):
            stage.until(lambda n=attempt: stage.host.restarts == n and stage.host.state == "down")
            waits.append(stage.host._retry_at - stage.clock())
            stage.settle(0.1)
            assert stage.host.state == "down"
            stage.clock.skip(waits[-1] + 0.001)
        assert waits == pytest.approx([RETRY_S, 2 * RETRY_S, 4 * RETRY_S])
        assert len(stage.diary.downs) == 1  # the same failure again is told once
        code, message, retry_s, lost = stage.diary.downs[0]
        assert (code, lost, retry_s) == ("worker_exited", [], RETRY_S)
        assert "did you mean 'tone'" in message
        assert stage.diary.ups == []


def test_a_voice_that_is_broken_does_not_keep_the_others_down(tmp_path: Path) -> None:
    with theatre(tmp_path) as stage:
        stage.host.prepare(voice("bad", hertz=440))
        key = started(stage)
        assert list(stage.diary.broken) == ["bad"]
        late = stage.host.prepare(voice("late", hz=700.0))
        stage.until(lambda: "late" in stage.diary.ready)
        stage.host.forget(late)
        stage.host.speak(job(1, late))
        stage.host.speak(job(2, key))
        stage.until_done(2)
        assert stage.diary.failures[1][0] == "voice_unknown"


def test_a_restarted_worker_finds_its_voices_on_disk(tmp_path: Path) -> None:
    for cached in (False, True):
        with theatre(tmp_path, cache=True) as stage:
            started(stage, prepare_ms=50)
            assert stage.diary.ready == {"hana": cached}


def test_garbage_on_the_socket_hurts_neither_side(tmp_path: Path) -> None:
    with theatre(tmp_path) as stage:
        key = started(stage)
        workers = stage.host._workers
        assert workers is not None
        assert workers.active is not None
        for frame in (
            b"",
            b"\xc1",
            os.urandom(300),
            wire.encode(1, wire.Beat(1.0, "", 0, 0, 0.0, ())),
        ):
            workers._transport.send(workers.active.identity, frame)  # to the worker
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        stranger = context.socket(zmq.DEALER)
        stranger.connect(f"ipc://{tmp_path}/run/engine-tone")
        for frames in ([b"x"], [b""], [wire.encode(1, wire.Sound(1, 1, 0, 48000, (), ())), b"abc"]):
            stranger.send_multipart(frames)
        stranger.send_multipart([wire.encode(1, wire.Refused("go away"))])
        stage.settle(0.2)
        stage.host.speak(job(1, key))
        stage.until_done(1)
        assert stage.diary.downs == []
        context.destroy(linger=0)


def test_a_worker_dies_with_the_stage(tmp_path: Path) -> None:
    script = f"""
        import sys, time
        sys.path.insert(0, {str(Path(__file__).parents[3])!r})
        from pathlib import Path
        from tests.engine.hosting import theatre, voice
        with theatre(Path({str(tmp_path)!r})) as stage:
            stage.start()
            stage.until_up()
            print(stage.host.pid, flush=True)
            time.sleep(60)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True
    ) as stage:
        assert stage.stdout is not None
        pid = int(stage.stdout.readline())
        assert is_alive(pid)
        stage.kill()
    wait_until_dead(pid)


def test_stop_ends_a_worker_even_if_it_hangs(tmp_path: Path) -> None:
    with theatre(tmp_path) as stage:
        key = started(stage, hang_on="tar")
        stage.host.speak(job(1, key, "tar"))
        stage.settle(0.1)
        pid = stage.host.pid
        began = time.monotonic()
        stage.host.stop(deadline_s=0.3)
        assert time.monotonic() - began < 30.0  # it would hang for an hour
        wait_until_dead(pid)
        assert stage.host.state == "stopped"
        assert stage.host.sockets == ()


def test_a_healthy_worker_leaves_by_itself(tmp_path: Path) -> None:
    with theatre(tmp_path) as stage:
        started(stage)
        pid = stage.host.pid
        workers = stage.host._workers
        assert workers is not None
        assert workers.active is not None
        child = workers.active.child
        assert child is not None
        stage.host.stop(deadline_s=40.0)
        assert not is_alive(pid)
        assert child._process.returncode == 0


def test_nothing_of_the_host_blocks_while_a_worker_starts(tmp_path: Path) -> None:
    with theatre(tmp_path) as stage:
        stage.host.prepare(voice("slow", prepare_ms=60_000.0))
        stage.start()
        stage.host.receive()
        stage.host.tick(time.monotonic())
        # it came back before the worker was there
        assert stage.host.state == "starting"
        kill_if_alive(stage.host.pid)


def test_a_runtime_folder_that_is_too_deep_is_refused_in_words(tmp_path: Path) -> None:
    from koed.errors import EngineError

    with theatre(tmp_path / ("deep" * 30)) as stage, pytest.raises(EngineError) as caught:
        stage.start()
    assert caught.value.code == "path_too_long"


# --- the verdict, without a process ------------------------------------------------------------

CONFIG = EngineConfig(stall_s=5.0, start_s=60.0, memory_mb=100)
READY = wire.Ready("tone", wire.Capabilities(("en",)), 1, 1.0, "v1")


def remote(**more: object) -> WorkerState:
    worker = WorkerState(1, b"", None, started=0.0, address="tcp://a:1")
    for name, value in more.items():
        setattr(worker, name, value)
    return worker


@pytest.mark.parametrize(
    ("worker", "now", "words"),
    [
        (remote(), ANSWER_S + 0.1, "no answer from tcp://a:1"),
        (remote(greeted=True), 61.0, "not ready after 60 s"),
        (remote(greeted=True, ready=READY, heard=90.0), 95.1, "no sign of life for 5 s"),
        (
            remote(greeted=True, ready=READY, beat=Beat(1.0, "speaking", 3, 9, 5001.0, (3,))),
            1.0,
            "no progress for 5 s in job 3",
        ),
        (
            remote(greeted=True, ready=READY, beat=Beat(1.0, "preparing", 0, 9, 60001.0, ())),
            1.0,
            "no progress for 60 s in preparing",
        ),
        (
            remote(greeted=True, ready=READY, beat=Beat(1.0, "loading", 3, 9, 60001.0, (3,))),
            1.0,
            "no progress for 60 s in loading what job 3 needs",
        ),
    ],
)
def test_the_verdict_names_the_trouble(worker: WorkerState, now: float, words: str) -> None:
    found = verdict(worker, now, CONFIG)
    assert found is not None
    assert words in found.message


@pytest.mark.parametrize(
    "beat",
    [
        Beat(1.0, "speaking", 3, 9, 4900.0, (3,)),
        Beat(1.0, "preparing", 0, 9, 30000.0, ()),
        Beat(1.0, "loading", 3, 9, 30000.0, (3,)),
    ],
)
def test_the_verdict_lets_a_worker_work(beat: Beat) -> None:
    assert verdict(remote(greeted=True, ready=READY, beat=beat, heard=99.0), 100.0, CONFIG) is None
