"""Word error rate: how many words of a text were not understood."""

from __future__ import annotations

import re

from koed.g2p.english_numbers import spoken

_SAME = {"ok": "okay", "alright": "all right", "mister": "mr", "gonna": "going to"}
"""Spellings of one sound."""
_WORD = re.compile(r"[a-z]+")


def words(text: str) -> list[str]:
    """English as it is read aloud: numbers in words, no marks, no case."""
    plain = spoken(text).lower().replace("'", "").replace("’", "")
    return " ".join(_SAME.get(word, word) for word in _WORD.findall(plain)).split()


def errors(said: list[str], heard: list[str]) -> int:
    """Fewest words that were changed, left out or added (Levenshtein). Where two are written as
    one ("live stream", "livestream"), nothing was misheard."""
    rows = [list(range(len(heard) + 1))]
    for i, word in enumerate(said, 1):
        row = [i]
        for j, other in enumerate(heard, 1):
            costs = [
                rows[i - 1][j - 1] + (word != other),
                rows[i - 1][j] + 1,
                row[j - 1] + 1,
            ]
            if i > 1 and said[i - 2] + word == other:
                costs.append(rows[i - 2][j - 1])
            if j > 1 and heard[j - 2] + other == word:
                costs.append(rows[i - 1][j - 2])
            row.append(min(costs))
        rows.append(row)
    return rows[-1][-1]


def wer(pairs: list[tuple[str, str]]) -> float:
    """Of (said, heard) texts together: errors for a word that was said."""
    spelled = [(words(said), words(heard)) for said, heard in pairs]
    count = sum(len(said) for said, _ in spelled)
    return sum(errors(said, heard) for said, heard in spelled) / max(1, count)
