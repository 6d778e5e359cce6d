"""A daemon with two tone voices, and Bouyomi-chan's doors to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from koed.testing.rig import Rig, Watch, rig
from tests.koe.bridge.bouyomi import Bridge, bridge

TONE: dict[str, Any] = {"char_ms": 25, "amplitude": 0.25}
VOICES = {"low": 400, "high": 1000}
PROFILES = {
    name: {"engine": "tone", "lang": "en", "settings": TONE | {"hz": hz}}
    for name, hz in VOICES.items()
}
ALLOWED = "https://viewer.example"


@pytest.fixture(scope="module")
def daemon() -> Iterator[Rig]:
    with rig({"voice": "low", "text": {"chatter_max_chars": 2000}}, PROFILES) as running:
        running.wait_ready()
        yield running


@pytest.fixture(scope="module")
def bouyomi(daemon: Rig) -> Iterator[Bridge]:
    options = ["--voice", "1=low", "--voice", "2=high", "--allow-origin", ALLOWED]
    with bridge(daemon.folder / "run", *options) as running:
        yield running


@pytest.fixture
def watch(daemon: Rig) -> Iterator[Watch]:
    """What is said from the beginning of the test; the daemon is silent after it."""
    watching = daemon.watch("utterance.")
    yield watching
    daemon.client.resume()
    daemon.client.stop()
    watching.close()
