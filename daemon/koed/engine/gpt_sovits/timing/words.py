"""Where the words of a text begin among its phones.

The front ends say with which phone a token of the normalised text begins; what is normalised
("2024") is found by what stands unchanged around it. Where nothing is known, phones are shared by
what is written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

import numpy as np

from koed.g2p.phones import PhonePiece

Place = tuple[int, int, float]
"""First and one past the last character of a word, and the phone with which it begins."""

_SIGN = r"\u3400-\u9fff\u3040-\u30ff々〆"
_WORD = re.compile(rf"[{_SIGN}]|[^\W_{_SIGN}](?:[^\W{_SIGN}]|['’])*")
"""One ideograph or kana, or a run of letters and digits."""
_WIDE = re.compile(r"[\u3400-\u9fff]")
_PREFIXES = ("。", ".")
_COMPARED_MOST = 600
"""Characters: comparing takes time that grows with the square."""


def words(text: str, pieces: Sequence[PhonePiece]) -> tuple[Place, ...]:
    """Those of each piece; of the whole text, shared, where a piece is not as written."""
    out: list[Place] = []
    read = _as_read(text, pieces)
    extra = len(read) - len(text)
    at, phone = 0, 0
    for piece in pieces:
        start = read.find(piece.text, at)
        if start < 0:
            return shared(text, sum(len(p.phones) for p in pieces))
        for first, last, begins in _of_piece(piece):
            out.append((start + first - extra, start + last - extra, phone + begins))
        at, phone = start + len(piece.text), phone + len(piece.phones)
    return tuple(out)


def _as_read(text: str, pieces: Sequence[PhonePiece]) -> str:
    """With the mark that the front end puts before a short text."""
    if pieces and pieces[0].text not in text and pieces[0].text[:1] in _PREFIXES:
        return pieces[0].text[0] + text
    return text


def shared(text: str, phones: int) -> tuple[Place, ...]:
    """Words and the phones they begin with, if phones are shared by what is written.

    An ideograph counts as two letters.
    """
    found = [(match.start(), match.end()) for match in _WORD.finditer(text)]
    weights = [2.0 if _WIDE.match(text, start) else float(end - start) for start, end in found]
    scale = phones / sum(weights) if found else 0.0
    out, at = [], 0.0
    for (start, end), weight in zip(found, weights, strict=True):
        out.append((start, end, at))
        at += weight * scale
    return tuple(out)


def _of_piece(piece: PhonePiece) -> tuple[Place, ...]:
    """Words of one piece, from the tokens of its normalised text."""
    longest = max(len(piece.text), len(piece.norm_text))
    if not piece.starts or longest > _COMPARED_MOST:
        return shared(piece.text, len(piece.phones))
    known = [*piece.starts, (len(piece.norm_text), len(piece.phones))]
    at = _counterparts(piece.text, piece.norm_text)
    found = [(match.start(), match.end()) for match in _WORD.finditer(piece.text)]
    places = np.interp(
        np.interp([start for start, _ in found], *np.array(at).T),
        [character for character, _ in known],
        [phone for _, phone in known],
    )
    return tuple((*span, float(place)) for span, place in zip(found, places, strict=True))


def _counterparts(text: str, norm_text: str) -> list[tuple[int, int]]:
    """Characters of both that correspond: the edges of what is equal and of what is not."""
    edges = [(0, 0)]
    matcher = SequenceMatcher(None, text.lower(), norm_text.lower(), autojunk=False)
    for _, first, last, norm_first, norm_last in matcher.get_opcodes():
        edges += [(first, norm_first), (last, norm_last)]
    return edges
