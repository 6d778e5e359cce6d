"""What the front end of one language makes of a piece of text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

Pinyin = Callable[[str], Sequence[str | None]]
"""Of each character of a Chinese sentence without marks: pinyin with tone digit, or None where it
is for the dictionary to say."""


@dataclass(frozen=True)
class Converted:
    """``word2ph``: phones per character of ``norm_text``; Chinese and Cantonese only. ``starts``:
    where tokens begin, as character of ``norm_text`` and phone; rising, in languages other than
    these."""

    norm_text: str
    phones: list[str]
    word2ph: list[int] | None = None
    starts: tuple[tuple[int, int], ...] = ()
