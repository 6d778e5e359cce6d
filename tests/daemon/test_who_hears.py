"""koed knows whether it is heard, on a real sound server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from koed.testing.rig import Rig, rig
from tests.rigs import witness
from tests.rigs.daemon import tone
from tests.rigs.home import Home
from tests.rigs.sound import SoundServer, sound_server
from tests.rigs.waiting import wait_for


@pytest.fixture(scope="module")
def server() -> Iterator[SoundServer]:
    with sound_server() as running:
        yield running


@pytest.fixture(scope="module")
def daemon(server: SoundServer) -> Iterator[Rig]:
    config = {"voice": "low", "audio": {"device": "pulse"}}
    with rig(config, {"low": tone(400, char_ms=20)}, environ=server.env) as running:
        running.wait_ready()
        yield running


def first(daemon: Rig) -> str:
    """Code of where it stops; empty = it is heard."""
    obstacles: list[dict[str, Any]] = daemon.client.status()["outputs"]["main"]["obstacles"]
    return str(obstacles[0]["code"]) if obstacles else ""


def test_where_it_stops_is_known_and_told(server: SoundServer, daemon: Rig) -> None:
    watch = witness.watch(daemon)
    wait_for(lambda: first(daemon) == "not_recorded", what="nobody records it")
    server.record("koed_mic")
    wait_for(lambda: first(daemon) == "", what="it is heard")
    daemon.client.pause()
    assert first(daemon) == "held_paused"
    daemon.client.resume()
    server.pactl("set-source-mute", "koed_mic", "1")
    wait_for(lambda: first(daemon) == "muted_there", what="it is muted")
    wait_for(lambda: witness.told(watch, "trouble", code="muted_there"), what="that is told")
    said = daemon.client.say("nobody hears this")
    ended: Any = witness.end(watch, said.utterance)
    assert "muted" in ended.unheard
    server.pactl("set-source-mute", "koed_mic", "0")
    wait_for(lambda: first(daemon) == "", what="it is heard again")
    wait_for(lambda: witness.told(watch, "state", state="audible"), what="that is told")
    ended = witness.end(watch, daemon.client.say("somebody hears this").utterance)
    assert ended.unheard == ""
    watch.close()


def test_whom_a_killed_koed_had_muted_is_heard_again() -> None:
    """Music, as its speakers went while koed ran, and they come back while it does not."""
    config = {"voice": "low", "audio": {"device": "pulse"}}
    voices = {"low": tone(400, char_ms=20)}
    with sound_server() as server, contextlib.closing(Home(config, voices, server.env)) as home:

        def music() -> list[bool]:
            """Whether it is mute."""
            return list(server.streams("sink-inputs", "paplay").values())

        server.play(2500.0)
        wait_for(lambda: music() == [False], what="music")
        server.unload("speakers")
        wait_for(lambda: music() == [True], what="it is mute")
        noted = Path(server.env["XDG_STATE_HOME"]) / "koed/strangers-koed_mic"
        wait_for(noted.exists, what="it is noted")  # a moment later
        home.kill()
        server.pactl("load-module", "module-null-sink", "sink_name=speakers")
        wait_for(lambda: "speakers" in server.names("sinks"))
        assert music() == [True]
        home.start()
        wait_for(lambda: music() == [False], what="it sounds")
