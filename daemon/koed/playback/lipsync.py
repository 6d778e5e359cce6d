"""The mouth of whoever looks at the speaker: how far it is open, and in which shape.

How far comes from the sound itself, so that it moves with any engine; the shape from the engine's
phones, where it tells them. Nothing is decided by it: it looks at the lines, and changes none.
"""

from __future__ import annotations

from collections.abc import Sequence

from koe import protocol
from koed.engine.base import Mouth
from koed.playback.lineup import Lineup

FLOOR_DB, FULL_DB = -45.0, -14.0
"""RMS of 20 ms at which a mouth begins to open, and at which it is wide open: voices are brought to
-18 LUFS, so a loud vowel has about -14 dBFS."""
FALL = 0.4
"""A mouth closes to this share per 20 ms, unless the shape asks for it: jaws have mass."""
OPENING = {"a": 1.0, "o": 0.8, "e": 0.75, "i": 0.5, "u": 0.45, "closed": 0.0}
"""How far a shape opens at full level; of others the level alone decides."""


class Lips:
    """The mouth of one output, window after window."""

    def __init__(self) -> None:
        self._open = 0.0

    def window(self, rms_db: float, shape: str) -> tuple[float, float]:
        """(level, open), both 0 to 1, of the next 20 ms."""
        level = min(1.0, max(0.0, (rms_db - FLOOR_DB) / (FULL_DB - FLOOR_DB)))
        wanted = level * OPENING.get(shape, 1.0)
        falls_freely = shape == "closed" or level == 0.0
        self._open = wanted if falls_freely else max(wanted, self._open * FALL)
        return level, self._open


def shape_at(mouths: Sequence[Mouth], at_s: float) -> str:
    """The shape at ``at_s`` from the segment's first sample; "" if the engine told none so far."""
    shape = ""
    for mouth in mouths:
        if mouth.at_s > at_s:
            break
        shape = mouth.shape
    return shape


class LipSync:
    """The mouths of all outputs, by the lines that stand on their lanes."""

    def __init__(self, lineup: Lineup) -> None:
        self._lineup = lineup
        self._lips = {name: Lips() for name in lineup.channels}

    def window(self, output: str, rms_db: float, ago_s: float, heard_t: float) -> protocol.Mouth:
        """Of 20 ms of sound that ended ``ago_s`` ago and is heard until ``heard_t``."""
        voice, shape = self._speaker_at(output, ago_s)
        level, opened = self._lips[output].window(rms_db, shape)
        return protocol.Mouth(
            output=output, voice=voice, level=round(level, 3), open=round(opened, 3),
            shape=shape, heard_t=heard_t,
        )  # fmt: skip

    def _speaker_at(self, output: str, ago_s: float) -> tuple[str, str]:
        """(voice, shape of its mouth); the upper lane is the one that is listened to."""
        channel = self._lineup.channels[output]
        for lane in (channel.upper, channel.lower):
            serial, played_s = lane.position
            found = self._lineup.part_of(serial)
            if found is not None:
                utterance, part = found
                at_s = played_s - ago_s + part.planned.start_s
                return utterance.voice, shape_at(part.mouths, at_s)
        return "", ""
