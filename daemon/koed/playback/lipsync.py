"""The mouth of whoever looks at the speaker: how far it is open, and in which shape.

How far comes from the sound itself, so that it moves with any engine; the shape from the engine's
phones, where it tells them. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from koed.engine.base import Mouth

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
