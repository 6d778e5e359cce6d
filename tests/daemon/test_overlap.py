"""Urgent lines that sound over the others, and the numbers that a daemon gives to a monitor."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from koed.testing.rig import Rig, Watch, rig
from tests.rigs import hearing
from tests.rigs.daemon import HIGH, LOW
from tests.rigs.waiting import free_port, wait_for

ENDLESS = " ".join(["a line that goes on for as long as others sound over it"] * 50)
CHAR_S = LOW["settings"]["char_ms"] / 1000


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
    began = daemon.mark()
    late = daemon.client.status()["outputs"]["main"]["underruns"]
    below = daemon.client.say(ENDLESS).utterance
    watch.wait("utterance.started", below)
    hearing.played_on(daemon, 0.2)
    above = daemon.client.say("urgent words", voice="high", priority="urgent").utterance
    started: Any = watch.wait("utterance.started", above)
    watch.wait("utterance.finished", above)
    hearing.played_on(daemon, 0.3)
    sound = daemon.sound_from(began)
    assert below in [line.utterance for line in daemon.client.queue().speaking]
    assert not [e for e in watch.events if e.event == "utterance.skipped"]
    daemon.client.stop()
    watch.close()

    def loudness(hz: float, window: int) -> float:
        at = window * size
        return hearing.share(sound.pcm[at : at + 5 * size], sound.rate_hz, hz)

    size = int(hearing.WINDOW_S * sound.rate_hz)
    heard = [w for w in range(len(sound.pcm) // size) if loudness(1000, w) > 0.1]
    before, during, after = heard[0] - 8, heard[len(heard) // 2], heard[-1] + 15
    assert len(heard) * hearing.WINDOW_S == pytest.approx(CHAR_S * len("urgent words"), abs=0.05)
    if late == daemon.client.status()["outputs"]["main"]["underruns"]:  # else the clock was
        assert sound.t(heard[0] * size) == pytest.approx(started.heard_t, abs=0.08)
    assert loudness(1000, before) < 0.01
    ratio_db = 20 * np.log10(loudness(400, during) / loudness(400, before))
    assert ratio_db == pytest.approx(-20.0 if how == "duck" else 0.0, abs=1.5)
    assert loudness(400, after) == pytest.approx(loudness(400, before), rel=0.1)


def test_two_urgent_lines_follow_each_other(over: tuple[str, int, Rig]) -> None:
    _, _, daemon = over
    watch: Watch = daemon.watch("utterance.")
    below = daemon.client.say(ENDLESS).utterance
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

    resident = 'koed_worker_resident_bytes{engine="tone"}'
    wait_for(lambda: numbers().get(resident), what="the gauges")
    found = numbers()
    assert found['koed_lines_total{outcome="finished",reason=""}'] >= 1
    assert found["koed_spoken_seconds_total"] > 0.1
    assert found[resident] > 1e6
