"""Stress within a word: each mark stands directly before its vowel."""

from __future__ import annotations

import re

PRIMARY, SECONDARY = "ˈ", "ˌ"
VOWELS = frozenset("AIOQWYaiuæɑɒɔəɛɜɪʊʌᵻɐ")
_FIRST_VOWEL = re.compile(f"(?=[{''.join(VOWELS)}])")
_LONG = frozenset("AIOQWYʤʧ")


def raised(symbols: str, to: str) -> str:
    """With a stress of at least ``to``, on the first vowel if there was none."""
    if PRIMARY in symbols or (SECONDARY in symbols and to == SECONDARY):
        return symbols
    if SECONDARY in symbols:
        return symbols.replace(SECONDARY, PRIMARY)
    return _FIRST_VOWEL.sub(to, symbols, count=1)


def lowered(symbols: str) -> str:
    """Its main stress is secondary, and others are gone."""
    if PRIMARY not in symbols:
        return symbols
    return symbols.replace(SECONDARY, "").replace(PRIMARY, SECONDARY)


def compound(parts: list[str]) -> list[str]:
    """What is written without a space is said under few stresses: the lighter parts yield."""
    strong = sum(PRIMARY in part for part in parts)
    if len(parts) < 2 or strong <= (len(parts) + 1) // 2:
        return parts
    by_weight = sorted(range(len(parts)), key=lambda at: (PRIMARY in parts[at], weight(parts[at])))
    yielding = by_weight[: len(parts) // 2]
    return [lowered(part) if at in yielding else part for at, part in enumerate(parts)]


def weight(symbols: str) -> int:
    return sum(2 if symbol in _LONG else 1 for symbol in symbols)
