"""ARPAbet phones of an English word: dictionary, letter names, possessives, parts, network."""

from __future__ import annotations

import functools
import re
from typing import Any

from koed.g2p import english_net
from koed.g2p.library import load
from koed.g2p.tables import lines

_SHORT_WORD = 3  # letters; an unknown word so short is spelled out
_SPELLED = frozenset(
    {"ae", "ai", "ar", "ios", "hud", "os"}
)  # words in the dictionary, but meant so
_VOICELESS = frozenset({"P", "T", "K", "F", "TH", "HH"})
_SIBILANTS = frozenset({"S", "Z", "SH", "ZH", "CH", "JH"})
_POSSESSIVE = re.compile(r"[a-z]+'s")
_LONGEST_COMPOUND = 40  # letters; splitting takes time that grows with the square


def word_phones(word: str) -> list[str]:
    """Phones of one word, which may hold apostrophes and hyphens. Case matters for "A" alone."""
    lower = word.lower()
    dictionary = lexicon()
    if len(lower) == 1:
        return ["EY1"] if word == "A" else dictionary.get(lower, "").split()
    if lower in dictionary:
        return dictionary[lower].split()
    if len(lower) <= _SHORT_WORD:
        return _spelled(lower)
    if _POSSESSIVE.fullmatch(lower):
        return _possessive(word_phones(word[:-2]))
    parts = _parts(lower)
    if len(parts) == 1:
        return english_net.predict(lower)
    return [phone for part in parts for phone in word_phones(part)]


@functools.cache
def lexicon() -> dict[str, str]:
    """Word -> phones parted by spaces: 126,000 words, read in 0.2 s."""
    entries = (line.partition(" ") for line in lines("cmudict.txt.xz"))
    return {word: phones for word, _, phones in entries if word not in _SPELLED}


def _spelled(letters: str) -> list[str]:
    """The names of the letters. The entry "a" is the article, so its name is given here."""
    dictionary = lexicon()
    names = ("EY1" if letter == "a" else dictionary.get(letter, "") for letter in letters)
    return [phone for name in names for phone in name.split()]


def _possessive(phones: list[str]) -> list[str]:
    last = phones[-1] if phones else ""
    if last in _VOICELESS:
        return [*phones, "S"]
    return [*phones, "AH0", "Z"] if last in _SIBILANTS else [*phones, "Z"]


def _parts(word: str) -> list[str]:
    """The words that a compound is most likely made of; one if it is none."""
    if len(word) > _LONGEST_COMPOUND:
        return [word]
    segment: Any = _segmenter().segment
    parts: list[str] = segment(word)
    return parts or [word]


@functools.cache
def _segmenter() -> Any:
    segmenter = load("wordsegment", "English")
    segmenter.load()
    return segmenter
