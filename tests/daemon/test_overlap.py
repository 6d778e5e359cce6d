"""Urgent lines that sound over the others, and the numbers that a daemon gives to a monitor."""

from __future__ import annotations

import re
import socket
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from koed.bench.rig import Rig, Watch, rig
from tests.daemon import hearing
from tests.daemon.conftest import HIGH, LOW
from tests.rigs import wait_for

LONG = "a line that is long enough for another one to sound over it, from begin to end"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module", params=["duck", "overlap"])
def over(request: pytest.FixtureRequest) -> Iterator[tuple[str, int, Rig]]:
    """A daemon where urgent lines duck the others, and one where they only overlap."""
    port = free_port()
    queue = {"urgent": request.param, "duck_db": -20.0, "line_pause_s": 0.05}
    config = {"voice": "low", "queue": queue, "metrics_port": port}
    with rig(config, {"low": LOW, "high": HIGH}) as running:
        running.wait_ready()
        yield request.param, port, running


def test_an_urgent_line_sounds_over_the_others(over: tuple[str, int, Rig]) -> None:
    how, _, daemon = over
    watch = daemon.watch("utterance.")
    began = time.monotonic()
    below = daemon.client.say(LONG).utterance
    watch.wait("utterance.started", below)
    time.sleep(0.2)
    above = daemon.client.say("urgent words", voice="high", priority="urgent").utterance
    started: Any = watch.wait("utterance.started", above)
    ended = watch.wait("utterance.finished", above)
    watch.wait("utterance.finished", below)
    sound = daemon.sound(began)
    assert not [e for e in watch.events if e.event == "utterance.skipped"]
    watch.close()

    def loudness(hz: float, at_s: float) -> float:
        part = sound.pcm[sound.index(at_s) : sound.index(at_s + 0.05)]
        return hearing.share(part, sound.rate_hz, hz)

    before, after = started.heard_t - 0.08, ended.t + 0.15
    during = started.heard_t + 0.12
    assert loudness(1000, during) > 0.1
    assert loudness(1000, before) < 0.01
    ratio_db = 20 * np.log10(loudness(400, during) / loudness(400, before))
    assert ratio_db == pytest.approx(-20.0 if how == "duck" else 0.0, abs=1.5)
    assert loudness(400, after) == pytest.approx(loudness(400, before), rel=0.1)


def test_two_urgent_lines_follow_each_other(over: tuple[str, int, Rig]) -> None:
    _, _, daemon = over
    watch: Watch = daemon.watch("utterance.")
    below = daemon.client.say(LONG).utterance
    watch.wait("utterance.started", below)
    first = daemon.client.say("one", voice="high", priority="urgent").utterance
    second = daemon.client.say("two", voice="high", priority="urgent").utterance
    ended = watch.wait("utterance.finished", first)
    started: Any = watch.wait("utterance.started", second)
    assert started.seq > ended.seq
    daemon.client.stop()
    watch.wait("utterance.skipped", below)
    watch.close()


def test_a_monitor_can_read_the_numbers(over: tuple[str, int, Rig]) -> None:
    _, port, daemon = over
    assert daemon.client.say("count me", wait=True).outcome == "finished"

    def numbers() -> dict[str, float]:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as reply:
            text = reply.read().decode()
        return {m[1]: float(m[2]) for m in re.finditer(r"^(koed_\S+) (\S+)$", text, re.M)}

    wait_for(lambda: "koed_waiting_lines" in numbers(), what="the gauges")
    found = numbers()
    assert found['koed_lines_total{outcome="finished",reason=""}'] >= 1
    assert found["koed_spoken_seconds_total"] > 0.1
    assert found['koed_worker_resident_bytes{engine="tone"}'] > 1e6
