"""What was heard at the sink, told by frequency."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from koed.testing.rig import Rig, Sound
from tests.rigs.waiting import wait_for

WINDOW_S = 0.01
FADED_S = 0.03
"""So much after a cut nothing of what was cut sounds any more."""


def played_on(daemon: Rig, seconds: float) -> int:
    """Wait until the output has played so much more, however late its clock is; the frame from
    which on it did."""
    mark = daemon.mark()
    wait_for(lambda: daemon.mark() >= mark + seconds * 48000, 40.0, "the output plays on")
    return mark


def share(pcm: NDArray[np.int16], rate_hz: int, hz: float) -> float:
    """Amplitude (0..1) of one frequency."""
    phase = 2j * np.pi * hz * np.arange(len(pcm)) / rate_hz
    return 2 * float(abs(np.dot(pcm / 32768.0, np.exp(-phase)))) / max(1, len(pcm))


def voices(sound: Sound, names: dict[str, float]) -> list[str]:
    """Which voice sounds in each 10 ms window: a name, or "" for silence."""
    size = int(WINDOW_S * sound.rate_hz)
    heard = []
    for at in range(0, len(sound.pcm) - size, size):
        part = sound.pcm[at : at + size]
        shares = {name: share(part, sound.rate_hz, hz) for name, hz in names.items()}
        best = max(shares, key=lambda name: shares[name])
        heard.append(best if shares[best] > 0.05 else "")
    return heard


def order(windows: list[str]) -> list[str]:
    """The voices in order of appearance, silence left out, each as often as it began."""
    told: list[str] = []
    for name in windows:
        if name and (not told or told[-1] != name):
            told.append(name)
    return told


def seconds(windows: list[str], name: str) -> float:
    return windows.count(name) * WINDOW_S


def kinds(sound: Sound, hz: float) -> list[str]:
    """What sounds in each window: "tone" (of ``hz`` and nothing else), "speech" or ""."""
    size = int(WINDOW_S * sound.rate_hz)
    heard = []
    for at in range(0, len(sound.pcm) - size, size):
        part = sound.pcm[at : at + size]
        power = float(np.mean((part / 32768.0) ** 2))
        pure = share(part, sound.rate_hz, hz) ** 2 / 2
        heard.append("" if power < 1e-5 else "tone" if pure > 0.9 * power else "speech")
    return heard
