"""A real daemon for each test module: child process, real sockets, clocked null device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from koed.testing.rig import Rig, Watch, rig
from tests.rigs import hearing

TONE = {"engine": "tone", "lang": "en", "settings": {"char_ms": 25, "amplitude": 0.25}}


def tone(hz: int, **settings: Any) -> dict[str, Any]:
    """A profile of the tone engine."""
    return TONE | {"settings": TONE["settings"] | {"hz": hz} | settings}  # type: ignore[operator]


LOW, HIGH = tone(400), tone(1000)


@pytest.fixture(scope="module")
def daemon() -> Iterator[Rig]:
    """A daemon with two tone voices, shared by the tests of a module; each leaves it silent."""
    with rig(
        {"voice": "low", "queue": {"line_pause_s": 0.1}}, {"low": LOW, "high": HIGH}
    ) as running:
        running.wait_ready()
        yield running


@pytest.fixture
def watch(daemon: Rig) -> Iterator[Watch]:
    """All events but levels, from the beginning of the test; the daemon is silent after it."""
    watching = daemon.watch("utterance.", "voice.", "state", "trouble", "engine.")
    yield watching
    for output in daemon.client.status()["outputs"].values():
        if output["muted"]:
            daemon.client.unmute()
        if output["paused"]:
            daemon.client.resume()
    daemon.client.stop()
    daemon.client.set_voice("low")
    watching.close()
    hearing.played_on(daemon, hearing.FADED_S)
