"""From a scene that changes in OBS to the voice of the queue, with a real OBS.

A second connection to OBS hears the same events as koed, at the same time; from there to the
moment at which koed's voice has changed (its event ``voice.changed``, on the same monotonic clock).
"""

from __future__ import annotations

import threading
import time
from typing import Any

from koed.errors import KoedError
from koed.integrations.obs.link import Link
from koed.testing.rig import TONES, Rig, rig
from tools.counterparts.obs import ObsStudio

SCENES = {"Talk": "tone-a", "Game": "tone-b"}
BETWEEN_S = 0.7
"""A transition takes 0.3 s."""
PATIENCE_S = 20.0


class Ear:
    """Notes when OBS tells that a scene is about to change."""

    def __init__(self) -> None:
        self._told = threading.Event()
        self._t = 0.0

    def listen(self, name: str, _: dict[str, Any]) -> None:
        if name == "SceneTransitionStarted" and not self._told.is_set():
            self._t = time.monotonic()
            self._told.set()

    def expect(self) -> None:
        self._told.clear()

    def wait(self) -> float:
        if not self._told.wait(PATIENCE_S):
            raise KoedError("bench_timeout", "OBS told of no transition")
        return self._t


def measure(n: int) -> dict[str, list[float]]:
    """``scene_ms``: from OBS's event; ``scene_request_ms``: from before OBS was asked to change it,
    so with OBS's own time."""
    ear = Ear()
    with ObsStudio() as obs, obs.link(ear.listen) as link:
        obs.scenes(link, *SCENES)
        section = obs.config() | {
            "scenes": {scene: {"voice": voice, "when": "line"} for scene, voice in SCENES.items()}
        }
        config = {"voice": "tone-a", "obs": section}
        with rig(config, TONES, environ=obs.koed_environ()) as running:
            running.wait_ready()
            _wait_connected(running)
            return _switch(running, link, ear, n)


def _wait_connected(running: Rig) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not running.client.status()["companions"]["obs"]["connected"]:
        if time.monotonic() > deadline:
            raise KoedError("bench_timeout", "koed found no OBS", running.log()[-1000:])
        time.sleep(0.05)


def _switch(running: Rig, link: Link, ear: Ear, n: int) -> dict[str, list[float]]:
    from_event: list[float] = []
    from_request: list[float] = []
    watch = running.watch("voice.changed")
    names = list(SCENES)
    for turn in range(n):
        scene = names[(turn + 1) % 2]
        watch.events.clear()
        ear.expect()
        asked_t = time.monotonic()
        link.call("SetCurrentProgramScene", sceneName=scene)
        changed_t = watch.wait("voice.changed", timeout_s=PATIENCE_S).t
        if running.client.voice() != SCENES[scene]:
            raise KoedError("bench_scene", f"scene {scene}, voice {running.client.voice()}")
        from_event.append((changed_t - ear.wait()) * 1000)
        from_request.append((changed_t - asked_t) * 1000)
        time.sleep(BETWEEN_S)
    watch.close()
    return {"scene_ms": from_event, "scene_request_ms": from_request}
