"""What a language's front end gives: symbols of the model, and the words that they stand for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from koed.engine.kokoro.symbols import IDS


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """Of a text: its characters ``start`` to ``end``, and how they are said."""

    start: int
    end: int
    """One past the last character."""
    symbols: str
    """Those of the sound, with stress, without the marks and spaces around it."""
    after: str = ""
    """Marks and spaces that follow it."""


@dataclass(frozen=True, slots=True)
class Phonemes:
    """Every character of ``symbols`` is one that the model knows."""

    symbols: str
    words: tuple[tuple[int, int, int], ...]
    """``(start, end, at)``: characters of the text, and where in ``symbols`` their sound begins."""
    unsaid: tuple[str, ...] = ()
    """What the model has no symbol for, in order: left out, and to be told."""

    @staticmethod
    def of(words: Iterable[SpokenWord], before: str = "") -> Phonemes:
        """``before``: marks that stand before the first word."""
        said: list[str] = []
        spans: list[tuple[int, int, int]] = []
        unsaid: list[str] = []

        def add(symbols: str) -> None:
            for symbol in symbols:
                (said if symbol in IDS else unsaid).append(symbol)

        add(before)
        for word in words:
            at = len(said)
            add(word.symbols)
            if len(said) > at:
                spans.append((word.start, word.end, at))
            add(word.after)
        return Phonemes("".join(said), tuple(spans), tuple(unsaid))
