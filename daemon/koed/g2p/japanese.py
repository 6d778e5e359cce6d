"""Japanese text to phones with pitch marks, through OpenJTalk's dictionary and labels.

Phones are OpenJTalk's with unvoiced vowels written as voiced ones. ``[`` stands where the pitch
rises, ``]`` where it falls, ``#`` between accent phrases, ``_`` for a pause; the last two are no
symbols of any model and become unknown.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from koed.g2p.converted import Converted
from koed.g2p.japanese_accent import NUMERAL_ACCENTS, Word, set_phrases
from koed.g2p.japanese_words import corrected
from koed.g2p.library import load
from koed.g2p.marks import plain

_SPOKEN = re.compile(r"[a-z0-9々〆\u3041-\u30ff\u4e00-\u9fff０-９ａ-ｚｦ-ﾝ]+")
_WORDS_FOR = (("％", "パーセント"), ("%", "パーセント"))
_HIDDEN = "\x1f"
_FIELDS = 12  # of an entry that the dictionary knows
_MORA_ENDS = frozenset(("a", "i", "u", "e", "o", "N", "cl"))
_PITCH_MARKS = frozenset("[]#_")
_UNFOUND_MOST = 12  # characters of a number, behind which the next word is looked for
_LABEL = re.compile(
    r"-(?P<phone>[^+]+)\+.*/A:(?P<from_fall>[-\dx]+)\+(?P<mora>[\dx]+)\+(?P<left>[\dx]+)/"
    r".*/F:(?P<morae>[\dx]+)_"
)


def convert(text: str, official_quirks: bool = False) -> Converted:
    """Phones, pitch marks and punctuation; signs that are neither are left as they are. The
    normalised text spells "％" out."""
    for symbol, word in _WORDS_FOR:
        text = text.replace(symbol, word)
    found: list[str] = []
    starts: list[tuple[int, int]] = []
    at, lower = 0, text.lower()
    for match in _SPOKEN.finditer(lower):
        found += [plain(mark) for mark in lower[at : match.start()] if mark != " "]
        spoken, begins = _clause(match[0])
        starts += [(match.start() + first, len(found) + phone) for first, phone in begins]
        found += spoken
        at = match.end()
    found += [plain(mark) for mark in lower[at:] if mark != " "]
    return Converted(text, found, starts=tuple(starts))


def _clause(text: str) -> tuple[list[str], list[tuple[int, int]]]:
    """Phones of text without marks, silence at both ends left out; and where its words begin, as
    character and phone."""
    spoken = text.lstrip("ー")  # nothing stands before that it could lengthen
    words = _words(spoken)
    if not any(word["mora_size"] for word in words):
        return [], []
    labels = [_LABEL.search(label) for label in _analyser().make_label(words)]
    found = list(_marked([label for label in labels if label]))
    written = [(word["string"], word["mora_size"]) for word in words]
    begins = _begins(spoken, written, found)
    return found, [(len(text) - len(spoken) + first, phone) for first, phone in begins]


def _begins(
    text: str, words: list[tuple[str, int]], phones: list[str]
) -> Iterator[tuple[int, int]]:
    """``words``: as the library writes them (numbers in its own way, so that they are not found),
    and how many morae they have; each mora ends with one phone."""
    ends = [at + 1 for at, phone in enumerate(phones) if phone in _MORA_ENDS]
    at, told, morae = 0, -1, 0
    for string, size in words:
        first = text.find(string, at, at + len(string) + _UNFOUND_MOST)
        phone = ends[morae - 1] if 0 < morae <= len(ends) else 0
        while phone < len(phones) and phones[phone] in _PITCH_MARKS:
            phone += 1
        begin = first if first >= 0 else at
        if size and begin > told:
            yield begin, phone
            told = begin
        at, morae = first + len(string) if first >= 0 else at, morae + size


def _marked(labels: list[re.Match[str]]) -> Iterator[str]:
    """Each phone, and after it what happens to the pitch before the next."""
    for label, following in itertools.pairwise(labels[1:]):
        phone = label["phone"]
        if phone in ("pau", "sil"):
            yield "_"
            continue
        yield phone.lower() if phone in "AIUEO" else phone
        mora, next_mora = _number(label["mora"]), _number(following["mora"])
        if label["left"] == "1" and next_mora == 1 and phone in (*"aeiouAEIOUN", "cl"):
            yield "#"
        elif label["from_fall"] == "0" and next_mora == mora + 1 != _number(label["morae"]) + 1:
            yield "]"
        elif mora == 1 and next_mora == 2:
            yield "["


def _number(field: str) -> int:
    return -50 if field == "xx" else int(field)


def _words(text: str) -> list[dict[str, Any]]:
    """OpenJTalk's features of each word, with our phrases and accents.

    Combination rules and accents travel through the library hidden behind the conjugation type, and
    the library sees no rules: so it neither joins nor accents by its own.
    """
    analyser = _analyser()
    entries = [_hide(number, entry) for number, entry in enumerate(analyser.run_mecab(text))]
    features: list[dict[str, Any]] = analyser.run_njd_from_mecab(
        entries, modify_numeral_reading=False
    )
    words: list[Word] = []
    entry, part = "", 0
    for feature in features:
        feature["ctype"], *hidden = feature["ctype"].split(_HIDDEN)
        part = part + 1 if hidden and hidden[0] == entry else 0
        entry = hidden[0] if hidden else ""
        words.append(_word(feature, hidden, part))
    set_phrases(words)
    for feature, word in zip(features, words, strict=True):
        feature["acc"] = word.accent
        if feature["chain_flag"] >= 0:
            feature["chain_flag"] = int(word.joined)
    return features


def _hide(number: int, entry: str) -> str:
    fields = corrected(entry.split(","))
    if len(fields) >= _FIELDS:  # the dictionary knows the word
        fields[5] = _HIDDEN.join((fields[5], str(number), fields[-1], fields[-2]))
        fields[-1] = "*"
    return ",".join(fields)


def _word(feature: dict[str, Any], hidden: list[str], part: int) -> Word:
    """``part`` counts the parts of a compound, which one entry of the dictionary holds."""
    word = Word(
        string=feature["string"],
        pos=feature["pos"],
        group1=feature["pos_group1"],
        group3=feature["pos_group3"],
        form=feature["cform"],
        rules=hidden[1] if hidden else feature["chain_rule"],
        morae=feature["mora_size"],
        accent=feature["acc"],
        joined=feature["chain_flag"] == 1,
        fixed=part > 0,
    )
    if word.numeral:
        word.rules, word.by_digit = "*", feature["chain_rule"] == "C5"
        if not word.by_digit:
            word.accent = NUMERAL_ACCENTS.get(word.string, word.accent)
    elif hidden:
        accents = hidden[2].split(":")
        accent = accents[min(part, len(accents) - 1)].partition("/")[0]
        word.accent = int(accent) if accent.isdigit() else word.accent
    return word


@functools.cache
def _analyser() -> Any:
    """The library's analyser by itself: its helpers would load 190 MB to guess at readings."""
    library = load("pyopenjtalk.openjtalk", "Japanese")
    folder = Path(library.__file__).parent / "dictionary"
    return library.OpenJTalk(os.fsencode(folder))
