"""Cantonese text to phones: the Chinese numbers, readings by ToJyutping."""

from __future__ import annotations

import re

from koed.g2p.chinese_text import normalise
from koed.g2p.converted import Converted
from koed.g2p.library import load
from koed.g2p.marks import PUNCTUATION, UNKNOWN
from koed.g2p.tables import words

# Tried in this order. Vowel-initial syllables are cut as if their vowel were an initial.
_INITIALS = words(
    "aa ai au ap at ak a p b e t d kw k gw g f h l m ng n s w c z j ong on ou oi ok o uk ung"
)
_SYLLABLE = re.compile(r"([a-z]+)([1-6])")


def convert(text: str, official_quirks: bool = False) -> Converted:
    """Phones of Cantonese text, two a character, one a mark; each begins with ``Y``."""
    norm_text = normalise(text)
    phones: list[str] = []
    word2ph: list[int] = []
    for character, reading in load("ToJyutping", "Cantonese").get_jyutping_list(norm_text):
        mark = character in PUNCTUATION
        found = [character] if mark else syllable_phones(reading or "")
        phones += found
        word2ph.append(len(found))
    return Converted(norm_text, phones, word2ph)


def syllable_phones(syllable: str) -> list[str]:
    """``hou2`` -> Yh You2. Unknown for a character without a reading."""
    match = _SYLLABLE.fullmatch(syllable)
    if match is None:
        return [UNKNOWN, UNKNOWN]
    sounds, tone = match.groups()
    initial = next((i for i in _INITIALS if sounds.startswith(i)), sounds)
    # A syllable that is all initial ends in that one's last letter: m4 -> Ym Ym4, ng5 -> Yng Yg5.
    final = sounds[len(initial) :] or initial[-1]
    return [f"Y{initial}", f"Y{final}{tone}"]
