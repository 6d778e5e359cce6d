"""Whether what is spoken on an output can be heard, and where it stops if not. Pure.

From the line to the ear: what koed itself holds back, the engine, the device, what the sound server
does to it, and who is there to hear it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from koe.protocol import Event, StateChanged, Trouble
from koed.errors import KoedError
from koed.playback.voice_choice import Voices

LIFT = {
    "panic": "koe release",
    "all_muted": "koe mode speak",
    "muted": "koe unmute",
    "paused": "koe resume",
}
TOLD_ELSEWHERE = ("held_", "engine_", "device_")
"""Begins the codes of what has events of its own."""
AT_A_START = ("not_recorded", "null_device", "no_server")
"""What a start finds as a rule, and is no news."""


def held(why: str) -> list[KoedError]:
    """What somebody decided: `koe.protocol.Held`."""
    if not why:
        return []
    return [KoedError(f"held_{why}", f"koed is in {why}" if why == "panic" else why, LIFT[why])]


def engine(voices: Voices, name: str) -> list[KoedError]:
    """Why the voice of this name does not speak at once."""
    if voices.available(name) is not None:
        return []
    voice = voices.by_name.get(name)
    if voice is not None and voice.code and not voice.ready:
        return [KoedError(f"engine_{voice.code}", f"voice {name}: {voice.message}")]
    if voice is not None and voice.fallback and voices.available(voice.fallback):
        return []
    if voice is None or not voice.ready:
        return [KoedError("engine_loading", f"voice {name} is being prepared", "wait for it")]
    there = voices.engines.get(voice.engine)
    state = there.state if there is not None else "stopped"
    word = "starts" if state == "starting" else "is not there"
    return [KoedError(f"engine_{state}", f"the engine of voice {name} {word}", "koe status")]


def obs(hears: bool | None) -> list[KoedError]:
    if hears is not False:
        return []
    return [
        KoedError(
            "obs_deaf", "OBS does not hear koed's microphone", "see docs/obs.md, or koed obs check"
        )
    ]


@dataclass(slots=True)
class Watch:
    """Of one output: tells when it begins to be heard and when it stops to be.

    A reason counts once it was found twice in a row: a device that is just being looked at, or a
    mute of a third of a second of our own, is none. What is told elsewhere comes between: what is
    so after it as it was before it is no news.
    """

    output: str
    _told: str | None = None
    """Code of the first obstacle that is told here, as it was last; None = nothing was yet."""
    _seen: str | None = None

    def look(self, obstacles: Iterable[KoedError]) -> list[Event]:
        first = next(iter(obstacles), None)
        code = first.code if first else ""
        before, self._seen = self._seen, code
        if code != before or code == self._told or code.startswith(TOLD_ELSEWHERE):
            return []
        previous, self._told = self._told, code
        if previous is None and (first is None or code in AT_A_START):
            return []
        if first is None:
            return [StateChanged(state="audible", output=self.output)]
        message = f"what koed says on {self.output} is not heard: {first.message}"
        return [Trouble(code=first.code, message=message, hint=first.hint)]
