"""The sound of a whole line in one voice, rendered ahead, as a value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from koed.engine.base import Mouth, Word
from koed.text.segment import Segment


@dataclass(frozen=True, slots=True)
class Piece:
    """One segment: ``pcm`` float32 mono [S] at the engine's own level and ``rate_hz``."""

    text: str
    lang: str
    rate_hz: int
    pcm: NDArray[np.float32]
    words: tuple[Word, ...]
    mouths: tuple[Mouth, ...]

    @property
    def seconds(self) -> float:
        return len(self.pcm) / self.rate_hz


@dataclass(frozen=True, slots=True)
class Take:
    """A whole phrase in one voice. ``key`` names its content: see `take_key`."""

    key: str
    voice: str
    """Key of the compiled voice that speaks in it."""
    pieces: tuple[Piece, ...]

    @property
    def seconds(self) -> float:
        return sum(piece.seconds for piece in self.pieces)

    @property
    def size_bytes(self) -> int:
        return sum(piece.pcm.nbytes for piece in self.pieces)

    def piece(self, segment: Segment) -> Piece | None:
        """The sound of a segment; None for one that is not word for word in it."""
        if segment.index >= len(self.pieces):
            return None
        piece = self.pieces[segment.index]
        return piece if (piece.text, piece.lang) == (segment.text, segment.lang) else None
