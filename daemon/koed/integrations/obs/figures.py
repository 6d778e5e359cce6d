"""Who is to be seen: a source in OBS that is shown while a voice speaks, and hidden else.

`Figures` is pure: events in, the sources to show with their time out. `places` and `Switch` are
the thin rest. A source may lie in many scenes: it is switched in all of them, so that a change of
the scene in mid-line needs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from koe.protocol import (
    EngineFallback,
    Event,
    UtteranceFailed,
    UtteranceFinished,
    UtteranceSkipped,
    UtteranceStarted,
    VoiceChanged,
)
from koed.config.obs_looks import LookConfig
from koed.config.styles import voice_of
from koed.integrations.obs.link import Caller

MAX_LINES = 32
"""Lines followed at once; each output has one, or two."""

Places = dict[str, list[tuple[str, int]]]
"""Source -> (scene or group, scene item id) wherever it lies."""


@dataclass(slots=True)
class _Line:
    output: str
    voice: str
    since_t: float
    until_t: float | None = None


class Figures:
    """Which sources are to be seen, over all outputs."""

    def __init__(self, looks: Mapping[str, LookConfig]) -> None:
        self._looks = {voice: look for voice, look in looks.items() if look.figure}
        self.sources = frozenset(look.figure for look in self._looks.values())
        self._lines: dict[int, _Line] = {}
        self._lead_s = 0.0

    def hear(self, event: Event) -> None:
        """Take note of an event of the bus; those that do not matter are passed over."""
        match event:
            case UtteranceStarted():
                self._lead_s = max(0.0, event.heard_t - event.t)
                voice = voice_of(event.voice)
                self._lines[event.utterance] = _Line(event.output, voice, event.heard_t)
                while len(self._lines) > MAX_LINES:
                    del self._lines[next(iter(self._lines))]
            case UtteranceFinished() | UtteranceFailed() if event.utterance in self._lines:
                line = self._lines[event.utterance]
                look = self._looks.get(line.voice)
                hold_s = look.figure_linger_s if look else 0.0
                line.until_t = event.t + self._lead_s + hold_s
            case UtteranceSkipped() if event.utterance in self._lines:
                self._lines[event.utterance].until_t = event.t
            case VoiceChanged(when="now"):
                for line in self._lines.values():
                    if event.output in (None, line.output) and line.until_t is None:
                        line.voice = voice_of(event.voice)
            case EngineFallback() if event.utterance in self._lines:
                self._lines[event.utterance].voice = voice_of(event.fallback)

    def due_t(self, now: float) -> float | None:
        """When something changes next after ``now``; None = not before another event."""
        times = [t for line in self._lines.values() for t in (line.since_t, line.until_t) if t]
        return min((t for t in times if t > now), default=None)

    def at(self, now: float) -> frozenset[str]:
        """The sources to be seen now; ``now`` may not go back."""
        for utterance, line in list(self._lines.items()):
            if line.until_t is not None and line.until_t <= now:
                del self._lines[utterance]
        speaking = {line.voice for line in self._lines.values() if line.since_t <= now}
        return frozenset(self._looks[voice].figure for voice in speaking if voice in self._looks)


# --- the world -------------------------------------------------------------------------------


def places(obs: Caller, sources: Iterable[str]) -> Places:
    """Where the sources lie, groups included. Raises `KoedError`."""
    found: Places = {source: [] for source in sources}
    scenes = [scene["sceneName"] for scene in obs.call("GetSceneList")["scenes"]]
    lists = [(scene, "GetSceneItemList") for scene in scenes]
    lists += [(group, "GetGroupSceneItemList") for group in obs.call("GetGroupList")["groups"]]
    for name, request in lists:
        for item in obs.call(request, sceneName=name)["sceneItems"]:
            if item["sourceName"] in found:
                found[item["sourceName"]].append((name, item["sceneItemId"]))
    return found


@dataclass(frozen=True, slots=True)
class Switch:
    """Shows or hides one source wherever it lies, when called. Raises `KoedError`."""

    where: tuple[tuple[str, int], ...]
    seen: bool

    def __call__(self, obs: Caller) -> None:
        for scene, item in self.where:
            obs.call(
                "SetSceneItemEnabled",
                sceneName=scene, sceneItemId=item, sceneItemEnabled=self.seen,
            )  # fmt: skip
