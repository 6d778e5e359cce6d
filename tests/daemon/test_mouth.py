"""The mouth: its events beside real sound."""

from __future__ import annotations

import statistics
from typing import Any

from koed.testing.rig import PATIENCE_S, Rig
from tests.rigs import hearing
from tests.rigs.waiting import wait_for


def test_a_mouth_follows_what_is_heard(daemon: Rig) -> None:
    watch = daemon.watch("utterance.", "mouth")
    try:
        daemon.client.pause()  # until it is made: none of it comes late
        saying = daemon.client.begin_say("atanatana otonotono")
        hearing.played_on(daemon, 0.3)
        daemon.client.resume()
        said = saying.result(PATIENCE_S)
        started: Any = watch.wait("utterance.started", said.utterance)
        told: list[Any] = []

        def has_shut() -> bool:
            """After it was open: it may have been told to be shut while nobody spoke yet."""
            told[:] = [e for e in watch.events if e.event == "mouth"]
            return any(e.voice for e in told) and not told[-1].open

        wait_for(has_shut, what="shut")
    finally:
        watch.close()
    mouths = [e for e in told if e.voice]
    shut = told[-1]
    assert (shut.level, shut.output) == (0.0, "main")
    begins = [mouth.heard_t - 0.02 * number for number, mouth in enumerate(mouths)]
    begin = statistics.median(begins)
    assert min(abs(started.heard_t - each) for each in (begin, begins[0])) < 0.05
    # the spelled word: 25 ms a letter, so eleven windows of 20 ms for each word
    assert [e.shape for e in mouths[3:8]] == ["a"] * 5
    assert [e.shape for e in mouths[14:18]] == ["o"] * 4
    assert all(0.0 < e.open <= 1.0 for e in mouths[:18])
    # the clock of a busy machine's null device wanders, but does not run away
    assert statistics.median(abs(each - begin) for each in begins) < 0.01
