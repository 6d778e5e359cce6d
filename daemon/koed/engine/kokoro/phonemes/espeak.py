"""Spanish, French, Italian, Portuguese and Hindi: the IPA of the espeak-ng program.

The model was trained with it in these languages. A word's sound is found by counting words; where
the program joins or parts them ("tout le monde" is one), by what each of them sounds like alone.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from koed.engine.kokoro.phonemes.marks import mapped
from koed.engine.kokoro.phonemes.values import Phonemes, SpokenWord
from koed.engine.kokoro.symbols import IDS
from koed.g2p.espeak import TIE, ipa

VOICES = {"es": "es", "fr": "fr-fr", "it": "it", "pt": "pt-br", "hi": "hi"}

_JOINED = {
    "a^ɪ": "I", "a^ʊ": "W", "e^ɪ": "A", "o^ʊ": "O", "ə^ʊ": "Q", "ɔ^ɪ": "Y",
    "d^z": "ʣ", "d^ʒ": "ʤ", "t^s": "ʦ", "t^ʃ": "ʧ", "s^s": "S",
}  # fmt: skip
_JOIN = re.compile("|".join(map(re.escape, _JOINED)))
_LANGUAGE_FLAG = re.compile(r"\([a-z-]+\)")
_UNHEARD = str.maketrans("", "", TIE + "-_\u0329\u032f\u0361\u200d")
_MARKS = re.compile(
    r"[;!?…\"()“”«»„‹›\[\]{}¿¡—–―।॥|~*_`\\]|[.,:](?!\d)|(?<!\d)[.,:]|(?<!\S)-+(?!\S)"
)
_BETWEEN = re.compile(rf"(?:\s|{_MARKS.pattern})*(?:{_MARKS.pattern})(?:\s|{_MARKS.pattern})*")
_WORD = re.compile(r"\S+")
_MOST_WORDS = 30
_LONGEST_WORD = 80
_LONGEST_MATCH = 500
"""Symbols of a clause whose words are looked for: that takes time that grows with the square."""


@dataclass(frozen=True, slots=True)
class _Clause:
    words: tuple[tuple[int, int], ...]
    """First and one past the last character of the text."""
    after: str
    """As it is written."""

    def texts(self, text: str) -> list[str]:
        return [text[start:end] for start, end in self.words]


def read(text: str, lang: str) -> Phonemes:
    """``lang`` is one of `VOICES`. Raises `EngineError`: ``library_missing``, ``espeak_failed``."""
    before, clauses = _clauses(text)
    voice = VOICES[lang]
    sounds = ipa([" ".join(clause.texts(text)) for clause in clauses], voice)
    said: list[SpokenWord] = []
    for clause, sound in zip(clauses, sounds, strict=True):
        words = list(_words(clause, [_symbols(word) for word in sound.split()], text, voice))
        last = clause is clauses[-1]
        after = mapped(clause.after)
        after = after.rstrip() if last else after or " "
        said += [SpokenWord(*word, " ") for word in words[:-1]]
        said += [SpokenWord(*word, after) for word in words[-1:]]
    return Phonemes.of(said, mapped(before, first=True))


def _clauses(text: str) -> tuple[str, list[_Clause]]:
    """The marks before the first, and all that the program is given at once."""
    found: list[_Clause] = []
    first, at = "", 0
    pieces = [(m.start(), m.end()) for m in _BETWEEN.finditer(text)] + [(len(text), len(text))]
    for start, end in pieces:
        words = list(_spans(text, at, start))
        if words:
            cuts = range(0, len(words), _MOST_WORDS)
            found += [_Clause(tuple(words[cut : cut + _MOST_WORDS]), " ") for cut in cuts]
            found[-1] = _Clause(found[-1].words, text[start:end])
        elif found:
            found[-1] = _Clause(found[-1].words, found[-1].after + text[at:end])
        else:
            first += text[at:end]
        at = end
    return first, found


def _spans(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    for match in _WORD.finditer(text, start, end):
        if any(unicodedata.category(c)[0] in "LNS" or c in "%&@#" for c in match[0]):
            for at in range(match.start(), match.end(), _LONGEST_WORD):
                yield at, min(at + _LONGEST_WORD, match.end())


def _symbols(word: str) -> str:
    """Of one word of the program's; what the model has no symbol for stays and is told."""
    word = _JOIN.sub(lambda m: _JOINED[m[0]], _LANGUAGE_FLAG.sub("", word)).translate(_UNHEARD)
    return "".join(c if c in IDS else unicodedata.normalize("NFD", c) for c in word)


def _words(
    clause: _Clause, sounds: Sequence[str], text: str, voice: str
) -> Iterator[tuple[int, int, str]]:
    """``(start, end, symbols)``: the words of the text where they are as many as the sounds."""
    if len(clause.words) == len(sounds):
        for (start, end), symbols in zip(clause.words, sounds, strict=True):
            yield start, end, symbols
        return
    if sum(map(len, sounds)) > _LONGEST_MATCH:
        yield clause.words[0][0], clause.words[-1][1], " ".join(sounds)
        return
    alone = [_symbols(sound.replace(" ", "")) for sound in ipa(clause.texts(text), voice)]
    owners = _owners(alone, sounds)
    at = 0
    while at < len(sounds):
        # Sounds that begin in one word are said by it; words within a sound are said with it.
        following = next((i for i in range(at + 1, len(sounds)) if owners[i] != owners[at]), None)
        last = len(clause.words) if following is None else owners[following]
        symbols = " ".join(sounds[at:following])
        yield clause.words[owners[at]][0], clause.words[max(last - 1, owners[at])][1], symbols
        at = len(sounds) if following is None else following


def _owners(alone: Sequence[str], sounds: Sequence[str]) -> list[int]:
    """For each of the ``sounds`` the word that it begins in, by what the words are ``alone``."""
    apart, joined = "".join(alone), "".join(sounds)
    word_at = [word for word, sound in enumerate(alone) for _ in sound]
    blocks = difflib.SequenceMatcher(None, joined, apart, autojunk=False).get_matching_blocks()
    place = {block.a + i: block.b + i for block in blocks for i in range(block.size)}
    owners: list[int] = []
    begins = 0
    for sound in sounds:
        matched = next((place[i] for i in range(begins, begins + len(sound)) if i in place), None)
        owner = word_at[matched] if matched is not None else (owners[-1] if owners else 0)
        owners.append(max(owner, owners[-1] if owners else 0))
        begins += len(sound)
    return [0, *owners[1:]]
