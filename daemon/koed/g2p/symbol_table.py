"""What a neural model knows of phones: the table that stands between names and its ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from koed.g2p.marks import UNKNOWN


@dataclass(frozen=True)
class SymbolTable:
    """Of a model, or of all that were trained with the same symbols."""

    name: str
    """As a refusal says it: "a v1 model"."""
    positions: Mapping[str, int]
    """Symbol -> id; ``UNK`` is among them and stands for what has none."""
    languages: frozenset[str]
    hint: str = "use a voice whose language is that of the text"
    """What to do about a text in another language."""
    plain_mandarin: bool = False
    """Its Chinese was read by the dictionary alone: no erhua, no readings by the sentence."""

    def known(self, phones: Iterable[str]) -> tuple[str, ...]:
        """``phones`` with those that it has no symbol for replaced by ``UNK``."""
        return tuple(phone if phone in self.positions else UNKNOWN for phone in phones)

    def ids(self, phones: Iterable[str]) -> tuple[int, ...]:
        """Of phones that it knows."""
        return tuple(self.positions[phone] for phone in phones)
