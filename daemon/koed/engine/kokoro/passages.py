"""A reading in parts that the model takes at once, and a part's sound in pieces. Pure."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator
from dataclasses import dataclass

from koed.engine.kokoro.phonemes.values import Mora, Phonemes

MOST_SYMBOLS = 300
"""It takes 510, but hurries through what is so long."""
_MARKS = (".!?…", ";:", ",—", " ")
"""Where to part, the best place first."""
_UNHEARD = frozenset("".join(_MARKS) + '()"“”')
CONTEXT = 4
"""Frames around a piece that are decoded with it and thrown away: of more nothing is heard."""
FIRST, LEAST, ENOUGH, MOST = 10, 16, 32, 72
"""Frames, of 25 ms: the first piece has at least so many; one in the middle at least so many, on a
slow machine, which loses more by their context, so many; any at most: a pitch that is changed is
heard from the next piece on."""
SCRAP = 8
"""What would be shorter is no piece of its own."""
_BARE = 2
"""Symbols, a stress counted. So few without a mark ("a", "え") are 2.5 dB too soft and 1.7
semitones too low: the model has hardly seen that. With a full stop they are as others. Three and
more are well without it, and the style of a longer text (another row of the table) is no better."""
_MARGIN = 1.1
"""How many times longer than foretold a piece may take before sound runs out."""


@dataclass(frozen=True, slots=True)
class Passage:
    symbols: str
    words: tuple[tuple[int, int, int], ...]
    """As in `Phonemes`, ``at`` counted in the symbols of this part."""
    morae: tuple[Mora, ...] = ()


def passages(phonemes: Phonemes, most: int = MOST_SYMBOLS) -> Iterator[Passage]:
    """All of it, in order, none without something to say. A word is cut only if it is longer than
    a part; what goes on with it may have no words."""
    text, at = phonemes.symbols, 0
    if 0 < len(text) <= _BARE and not set(text) & _UNHEARD:
        text += "."
    begins = [begin for _, _, begin in phonemes.words]
    while at < len(text):
        end = len(text) if len(text) - at <= most else _cut(text, begins, at, at + most)
        words = tuple((s, e, n - at) for s, e, n in phonemes.words if at <= n < end)
        if words or any(symbol not in _UNHEARD for symbol in text[at:end]):
            morae = tuple(m.moved(-at) for m in phonemes.morae if at <= m.at and m.end <= end)
            yield Passage(text[at:end], words, morae)
        at = end


def _cut(text: str, begins: list[int], start: int, end: int) -> int:
    """Behind the last of the best marks, if that leaves no scrap; else before the last word that
    begins there; anywhere if none does."""
    for marks in _MARKS:
        found = max(text.rfind(mark, start, end) for mark in marks)
        if found >= start + (end - start) // 3:
            return found + 1
    last = bisect.bisect_right(begins, end) - 1
    return begins[last] if last >= 0 and begins[last] > start else end


def pieces(start: int, end: int, pace: float) -> Iterator[tuple[int, int]]:
    """Frames ``start`` to ``end`` in pieces, each made while the ones before it sound, where a
    frame takes ``pace`` frames of time; no scrap is left for the last."""
    cost = pace * _MARGIN
    least = 2 * CONTEXT * cost / max(1.0 - cost, 0.01)  # lasts as long as it takes
    least = min(ENOUGH, max(LEAST, math.ceil(least)))
    size = max(FIRST, math.ceil(cost * (least + 2 * CONTEXT)))
    ahead = 0.0
    while start < end:
        stop = min(end, start + min(size, MOST))
        if 0 < end - stop < SCRAP:
            stop = end - SCRAP if end - start >= FIRST + SCRAP else end
        yield start, stop
        made = stop - start
        ahead += made - (pace * (made + 2 * CONTEXT) if ahead else 0.0)
        start, size = stop, max(least, int(ahead / cost) - 2 * CONTEXT)
