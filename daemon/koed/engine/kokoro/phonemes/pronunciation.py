"""How one English word is said: dictionary, endings, names of letters, then our own phones.

The endings, the stress of capitals and the weak forms are what the model was trained to read.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from koed.engine.kokoro.phonemes import arpabet
from koed.engine.kokoro.phonemes.dictionary import Entry, dictionaries
from koed.engine.kokoro.phonemes.stress import PRIMARY, SECONDARY, VOWELS, lowered, raised
from koed.g2p import english_net, english_words

LONGEST = 80
"""Letters of a word; a longer one is said as several."""

_PIECE = 20  # letters of an unknown word that the network reads at once
_LONGEST_KNOWN = 45
_ABBREVIATION = 3  # capitals, at most, that are never read as a word of the rarer dictionary
_VOWEL_LETTER = re.compile("[aeiouy]", re.IGNORECASE)
_DOUBLED = re.compile(r"([bcdgklmnprstvxz])\1$|ck$")
_LONG_RUN = re.compile(r"(.)\1\1+")
_DOUBLED_LAST = re.compile(r".(.)\1$")
_PLURAL_OF_CAPITALS = re.compile(r"([A-Z]{2,})'?s")
_CLITICS = {"'s": "s", "'d": "d", "'ll": "əl", "'ve": "əv", "'re": "əɹ"}
_TAP_AFTER = frozenset("AIOWYiuæɑəɛɪɹʊʌ")
_BY_TAG = frozenset({"a", "i", "by", "in"})
_UNTAGGED = {"DEFAULT", "None"}
_NAMES = frozenset({"US", "IT"})
"""Not the pronouns, where the words around them are not in capitals."""
_SOUNDS = {
    "shh": "ʃʃ", "sh": "ʃ", "pff": "pf", "brr": "bɹˈɜɹ", "grr": "ɡɹˈɜɹ", "zzz": "zz",
    "uwu": "ˈuwu", "owo": "ˈOwO", "kek": "kˈɛk", "lul": "lˈʌl",
}  # fmt: skip
_SPELLED = frozenset({"lmao", "lmfao", "imho", "iirc", "asmr", "ggez"})
_THANKS = "ty"
"""Not the name."""
_CLASSES = {"VB": "VERB", "NN": "NOUN", "RB": "ADV", "JJ": "ADJ"}


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a word stands."""

    tag: str = ""
    """Penn Treebank."""
    vowel_next: bool | None = None
    """Whether the next word begins with a vowel; None before a pause."""
    to_next: bool = False


class Pronunciation:
    """Of one region. Raises `EngineError` ``library_missing``, ``dictionary_broken``."""

    def __init__(self, british: bool) -> None:
        self._british = british
        self._checked, self._derived = dictionaries(british)

    def says_by_class(self, word: str) -> bool:
        """Whether it sounds by its part of speech."""
        entry = self._checked.find(word.lower())
        return word.lower() in _BY_TAG or (isinstance(entry, dict) and bool(set(entry) - _UNTAGGED))

    def checked(self, word: str) -> bool:
        """Whether the better of the two dictionaries has it."""
        return self._checked.find(word) is not None

    def held(self, word: str) -> bool:
        return self._checked.find(word) is not None or self._derived.find(word) is not None

    def word(self, word: str, setting: Setting) -> str:
        """Symbols of a ``word`` of ASCII letters and apostrophes; empty for apostrophes alone."""
        word = word.replace("'", "") if len(word) > LONGEST else word
        said = self._function_word(word, setting)
        if not said:
            said = self._any(word, setting)
            if word != word.lower():
                said = raised(said, PRIMARY if word == word.upper() else SECONDARY)
        return said.replace("ɾ", "T").replace("ʔ", "t")

    def _function_word(self, word: str, setting: Setting) -> str:
        tag, vowel = setting.tag, setting.vowel_next
        match word.lower():
            case "a" if tag == "DT" and vowel is not None:
                return "ɐ"
            case "an" if word != "AN":
                return "ɐn"
            case "am" if word == "am" and vowel is not None:
                return "ɐm"
            case "i" if tag == "PRP":
                return SECONDARY + "I"
            case "by" if tag.startswith("RB"):
                return "bˈI"
            case "to" if vowel is not None:
                return "tʊ" if vowel else "tə"
            case "in" if tag != "NNP":
                return ("" if vowel is not None and tag == "IN" else PRIMARY) + "ɪn"
            case "the":
                return "ði" if vowel else "ðə"
            case "used" if setting.to_next:
                return self._entry(self._checked.find("used"), Setting("VBD")) or ""
            case "vs":
                return self.word("versus", setting)
        return ""

    def _any(self, word: str, setting: Setting) -> str:
        if len(word) == 1 or word == _THANKS:
            return self.letters(word)
        if word.lower() in _SOUNDS:
            return _SOUNDS[word.lower()]
        if word == word.upper():
            return self._capitals(word, setting)
        plural = _PLURAL_OF_CAPITALS.fullmatch(word)
        if plural:
            return self._with_s(self._capitals(plural[1], setting))
        return self._known(word, setting) or self._clitic(word, setting) or self._guess(word)

    def _capitals(self, word: str, setting: Setting) -> str:
        """A name of letters, or a word that is shouted."""
        if word in _NAMES:
            return self.letters(word)
        for spelling in (word, word.lower()):
            entry = self._checked.find(spelling)
            if entry is not None:
                said = self._entry(entry, setting)
                return self.letters(word) if said is None else said
        if len(word) <= _ABBREVIATION or not _VOWEL_LETTER.search(word):
            return self.letters(word)
        known = self._known(word.lower(), setting) or self._clitic(word.lower(), setting)
        if known:
            return known
        if len(word) == _ABBREVIATION + 1 and not held(word):
            return self.letters(word)
        return self._guess(word)

    def letters(self, word: str) -> str:
        """Their names, the last with the main stress."""
        names = [self._checked.find(letter) for letter in word.upper() if letter.isalpha()]
        said = [name for name in names if isinstance(name, str)]
        return "".join([lowered(name) for name in said[:-1]] + said[-1:])

    def _known(self, word: str, setting: Setting) -> str:
        """From the dictionaries, with an ending or without; empty if neither has it."""
        if len(word) > _LONGEST_KNOWN:
            return ""
        return self._held(word, setting) or self._inflected(word, setting)

    def _held(self, word: str, setting: Setting) -> str:
        entry = self._checked.find(word)
        if entry is None:
            entry = self._derived.find(word)
        said = self._entry(entry, setting)
        return self.letters(word) if said is None else said

    @staticmethod
    def _entry(entry: Entry | None, setting: Setting) -> str | None:
        """None for what is spelled out, empty for what there is not."""
        if not isinstance(entry, dict):
            return entry or ""
        if setting.vowel_next is None and "None" in entry:
            return entry["None"]
        for name in (setting.tag, _CLASSES.get(setting.tag[:2], ""), "DEFAULT"):
            if name in entry:
                return entry[name]
        return ""

    def _inflected(self, word: str, setting: Setting) -> str:
        for stem in _stems_of_s(word):
            if said := self._held(stem, setting):
                return self._with_s(said)
        for stem in _stems_of_ed(word):
            if said := self._held(stem, setting):
                return self._with_ed(said)
        for stem in _stems_of_ing(word):
            if said := self._held(stem, setting):
                return self._with_ing(raised(said, SECONDARY))
        return ""

    def _with_s(self, stem: str) -> str:
        if stem[-1] in "ptkfθ":
            return stem + "s"
        return stem + (self._weak + "z" if stem[-1] in "szʃʒʧʤ" else "z")

    def _with_ed(self, stem: str) -> str:
        if stem[-1] in "pkfθʃsʧ":
            return stem + "t"
        if stem[-1] not in "dt":
            return stem + "d"
        return self._tapped(stem) + self._weak + "d"

    def _with_ing(self, stem: str) -> str:
        linked = "ɹ" if self._british and stem[-1] in "əː" else ""
        return self._tapped(stem) + linked + "ɪŋ"

    @property
    def _weak(self) -> str:
        return "ɪ" if self._british else "ᵻ"

    def _tapped(self, stem: str) -> str:
        tap = not self._british and stem[-1] == "t" and stem[-2:-1] in _TAP_AFTER
        return stem[:-1] + "ɾ" if tap and len(stem) > 1 else stem

    def _clitic(self, word: str, setting: Setting) -> str:
        base, mark, ending = word.rpartition("'")
        if not mark or not base:
            return ""
        stem = self.word(base, setting)
        if not stem or not ending:
            return stem
        if mark + ending == "'s":
            return self._with_s(stem)
        return stem + _CLITICS.get(mark + ending, "") if mark + ending in _CLITICS else ""

    def _guess(self, word: str) -> str:
        return _guess(word.lower().replace("'", ""), self._british)


def held(word: str) -> bool:
    """Whether our own dictionary has it."""
    return word.lower() in english_words.lexicon()


@functools.cache
def pronunciation(british: bool) -> Pronunciation:
    return Pronunciation(british)


@functools.lru_cache(4096)
def _guess(word: str, british: bool) -> str:
    """A word that the model's dictionaries lack."""
    voice = pronunciation(british)
    if _LONG_RUN.search(word):
        for run in (r"\1\1", r"\1"):
            if said := voice._known(_LONG_RUN.sub(run, word), Setting("NN", False)):
                return said
        word = _LONG_RUN.sub(r"\1\1", word)
    phones = english_words.lexicon().get(word, "").split()
    if not phones:
        if _DOUBLED_LAST.search(word) and (said := voice._known(word[:-1], Setting("NN", False))):
            return said
        if len(word) <= _ABBREVIATION or word in _SPELLED or not _VOWEL_LETTER.search(word):
            return voice.letters(word[:LONGEST])
        if said := _joined_words(word, voice):
            return said
        pieces = [word[at : at + _PIECE] for at in range(0, min(len(word), LONGEST), _PIECE)]
        pieces = [word] if len(word) < 2 * _PIECE else pieces
        phones = [phone for piece in pieces for phone in english_net.predict(piece)]
    said = arpabet.symbols(phones, british)
    return said if any(symbol in VOWELS for symbol in said) else voice.letters(word[:LONGEST])


def _joined_words(word: str, voice: Pronunciation) -> str:
    """``word`` as two words that the dictionary has, the longest first one; empty if it is none."""
    if len(word) > _LONGEST_KNOWN:
        return ""
    for cut in range(len(word) - 3, 2, -1):
        first, second = (
            voice._entry(voice._checked.find(part), Setting("NN", False))
            for part in (word[:cut], word[cut:])
        )
        if first and second:
            return first + lowered(second)
    return ""


def _stems_of_s(word: str) -> Iterator[str]:
    if len(word) > 2 and word.endswith("s") and not word.endswith("ss"):
        yield word[:-1].removesuffix("'")
    if len(word) > 4 and word.endswith("ies"):
        yield word[:-3] + "y"
    elif len(word) > 4 and word.endswith("es"):
        yield word[:-2]


def _stems_of_ed(word: str) -> Iterator[str]:
    if len(word) > 3 and word.endswith("d") and not word.endswith("dd"):
        yield word[:-1]
    if len(word) > 4 and word.endswith("ed") and not word.endswith("eed"):
        yield word[:-2]
        if word.endswith("ied"):
            yield word[:-3] + "y"
        if _DOUBLED.search(word[:-2]):
            yield word[:-3]


def _stems_of_ing(word: str) -> Iterator[str]:
    if len(word) > 4 and word.endswith("ing"):
        if len(word) > 5:
            yield word[:-3]
        yield word[:-3] + "e"
        if len(word) > 5 and _DOUBLED.search(word[:-3]):
            yield word[:-4]
