"""A reading in parts that the model takes at once, and a part's sound in pieces. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from koed.engine.kokoro.phonemes.values import Phonemes

MOST_SYMBOLS = 300
"""It takes 510, but hurries through what is so long."""
_MARKS = (".!?…", ";:", ",—", " ")
"""Where to part, the best place first."""
FIRST, GROWTH, MOST = 24, 1.6, 72
"""Frames of the first piece, of 25 ms; how many times longer each is than the one before; of the
longest. Long pieces cost less, but a line that is stopped keeps the processor until its piece is
made."""


@dataclass(frozen=True, slots=True)
class Passage:
    symbols: str
    words: tuple[tuple[int, int, int], ...]
    """As in `Phonemes`, ``at`` counted in the symbols of this part."""


def passages(phonemes: Phonemes, most: int = MOST_SYMBOLS) -> Iterator[Passage]:
    """All of it, in order, none without something to say."""
    text, at = phonemes.symbols, 0
    while at < len(text):
        end = len(text) if len(text) - at <= most else _cut(text, at, at + most)
        words = tuple((s, e, n - at) for s, e, n in phonemes.words if at <= n < end)
        if words:
            yield Passage(text[at:end], words)
        at = end


def _cut(text: str, start: int, end: int) -> int:
    """Behind the last of the best marks, if that leaves no scrap; anywhere if there is none."""
    for marks in _MARKS:
        found = max(text.rfind(mark, start, end) for mark in marks)
        if found >= start + (end - start) // 3:
            return found + 1
    return end


def pieces(start: int, end: int) -> Iterator[tuple[int, int]]:
    """Frames ``start`` to ``end`` in growing pieces; no scrap is left for the last."""
    size = float(FIRST)
    while start < end:
        stop = min(end, start + round(size))
        if end - stop < FIRST // 2:
            stop = end
        yield start, stop
        start, size = stop, min(MOST, size * GROWTH)
