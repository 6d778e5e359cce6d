"""What the sound server makes of our sound: volume and mute of the stream, the sink and the
microphone. A server remembers what somebody once did to each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from koed.audio.sound_server import SoundServer
from koed.audio.virtual_mic import Devices
from koed.errors import KoedError

LOW_PERCENT = 50
"""What is turned down below is told."""
WHISPER_PERCENT = 15
"""About -50 dB: below that nothing is heard."""
FULL = 1.0
LIFT = {
    "stream": "turn it up in the mixer of the desktop; koed plays at full volume when it starts",
    "sink": "pactl set-sink-mute {name} 0; pactl set-sink-volume {name} 100%",
    "microphone": "pactl set-source-mute {name} 0; pactl set-source-volume {name} 100%",
}


@dataclass(frozen=True, slots=True)
class Volume:
    percent: int
    muted: bool


class Volumes:
    """As of the last look; empty before the first."""

    def __init__(self) -> None:
        self.by_part: dict[str, Volume] = {}
        self._names: dict[str, str] = {}

    def look(self, devices: Devices, stream: Any, shut_by_us: bool) -> None:
        """``stream``: ours, or None. A sink that we mute ourselves for a moment is not muted."""
        parts = {"stream": stream, "sink": devices.sink, "microphone": devices.microphone}
        for part, item in parts.items():
            if item is not None:
                muted = bool(item.mute) and not (part == "sink" and shut_by_us)
                self.by_part[part] = Volume(round(100 * item.volume.value_flat), muted)
                self._names[part] = item.name

    @property
    def unheard(self) -> str:
        """Why nobody can hear it; empty = it can be heard."""
        for part, volume in self.by_part.items():
            if volume.muted or volume.percent < WHISPER_PERCENT:
                return self._say(part, volume)
        return ""

    def _say(self, part: str, volume: Volume) -> str:
        how = "muted" if volume.muted else f"at {volume.percent} %"
        return f"the {part} {self._names[part]!r} is {how} in the sound server"

    def obstacles(self) -> list[KoedError]:
        """What keeps the sound from who records it, the first that it meets first."""
        return [
            KoedError(
                "muted_there" if volume.muted else "turned_down",
                self._say(part, volume),
                LIFT[part].format(name=self._names[part]),
            )
            for part, volume in self.by_part.items()
            if volume.muted or volume.percent < LOW_PERCENT
        ]


def open_stream(server: SoundServer, stream: Any) -> None:
    """Full volume for ours, whatever is remembered of it: what it says is set by koed."""
    _open(server, "sink_input", stream)


def open_devices(server: SoundServer, devices: Devices) -> None:
    """The same for devices that were just made."""
    _open(server, "sink", devices.sink)
    _open(server, "source", devices.microphone)


def _open(server: SoundServer, kind: str, item: Any) -> None:
    if item.mute:
        server.call(lambda p: getattr(p, f"{kind}_mute")(item.index, False))
    if round(item.volume.value_flat, 2) != FULL:
        server.call(lambda p: p.volume_set_all_chans(item, FULL))
