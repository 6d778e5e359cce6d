"""What a language's front end gives: symbols of the model, and the words that they stand for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from koed.engine.kokoro.symbols import IDS


@dataclass(frozen=True, slots=True)
class Mora:
    """A beat of Japanese: symbols ``at`` to ``end``."""

    at: int
    end: int
    high: bool
    begins: bool
    """An accent phrase."""
    asks: bool = False
    """It ends a question."""

    def moved(self, by: int) -> Mora:
        return replace(self, at=self.at + by, end=self.end + by)


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
    morae: tuple[Mora, ...] = ()
    """Of its ``symbols``, in order, where the language has them."""


@dataclass(frozen=True, slots=True)
class Phonemes:
    """Every character of ``symbols`` is one that the model knows."""

    symbols: str
    words: tuple[tuple[int, int, int], ...]
    """``(start, end, at)``: characters of the text, and where in ``symbols`` their sound begins."""
    unsaid: tuple[str, ...] = ()
    """What the model has no symbol for, in order: left out, and to be told."""
    morae: tuple[Mora, ...] = ()

    @staticmethod
    def of(words: Iterable[SpokenWord], before: str = "") -> Phonemes:
        """``before``: marks that stand before the first word."""
        said: list[str] = []
        spans: list[tuple[int, int, int]] = []
        unsaid: list[str] = []
        morae: list[Mora] = []

        def add(symbols: str) -> None:
            for symbol in symbols:
                (said if symbol in IDS else unsaid).append(symbol)

        add(before)
        for word in words:
            at = len(said)
            add(word.symbols)
            morae += (mora.moved(at) for mora in word.morae)
            if len(said) > at:
                spans.append((word.start, word.end, at))
            add(word.after)
        return Phonemes("".join(said), tuple(spans), tuple(unsaid), tuple(morae))
