"""English: a sentence to words, each said as its place asks for."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from koed.engine.kokoro.phonemes.marks import PAUSES, mapped
from koed.engine.kokoro.phonemes.pronunciation import (
    LONGEST,
    Pronunciation,
    Setting,
    held,
    pronunciation,
)
from koed.engine.kokoro.phonemes.stress import VOWELS, compound
from koed.engine.kokoro.phonemes.values import Phonemes, SpokenWord
from koed.g2p.english_numbers import traced
from koed.g2p.english_tags import tags
from koed.g2p.tables import words
from koed.g2p.traced import Traced

_APOSTROPHE = re.compile("[’‘ʼ`´]")
_ACCENTED = re.compile("[\u00c0-\u024f]")
_PLAIN = str.maketrans({
    "æ": "ae", "Æ": "AE", "ø": "o", "Ø": "O", "œ": "oe", "Œ": "OE", "ß": "ss", "đ": "d", "Đ": "D",
    "ł": "l", "Ł": "L", "þ": "th", "ð": "th", "ı": "i",
})  # fmt: skip
_SCALED_MONEY = re.compile(
    r"([$£€])(\d+(?:\.\d+)?) ?(thousand|million|billion|trillion|[kmb])\b", re.IGNORECASE
)
_MONEY = {"$": "dollars", "£": "pounds", "€": "euros"}
_SCALES = {"k": "thousand", "m": "million", "b": "billion"}
_MINUS = re.compile(r"(?<![\w)])[-−](?=\d)")
_DECADE = re.compile(r"(?<![\d.,])'?(\d{0,2}[1-9]0)'?s\b")
_LONG_NUMBER = re.compile(r"\d{40,}")
_ABBREVIATIONS = {
    "mr.": "mister", "mrs.": "missus", "ms.": "miz", "dr.": "doctor", "prof.": "professor",
    "st.": "saint", "jr.": "junior", "sr.": "senior", "vs.": "versus", "etc.": "et cetera",
    "approx.": "approximately", "ft.": "feet", "feat.": "featuring", "w/o": "without",
    "w/": "with", "b/c": "because", "vol.": "volume", "ph.d.": "P H D", "ghz": "gigahertz",
    "mhz": "megahertz", "khz": "kilohertz", "24/7": "twenty four seven", "50/50": "fifty fifty",
    "<3": "heart",
}  # fmt: skip
_ABBREVIATION = re.compile(
    r"(?<![A-Za-z'])(?<!\d(?=\d|<))(?:"
    + "|".join(re.escape(form) for form in sorted(_ABBREVIATIONS, key=len, reverse=True))
    + r")(?<![^./](?=\w))",
    re.IGNORECASE,
)
_OUT_OF = re.compile(r"(?<![\d/])(\d{1,3})/(10|5)(?![\d/])")
_VERSION = re.compile(r"\d+(?:\.\d+){2,}")
_SHARP = re.compile(r"(?<=[A-Za-z])#")
_NUMBER_OF = re.compile(r"\bNo\. ?(?=\d)|#(?=\d)")
_LETTERS_AND = re.compile(r"(?<![A-Za-z])[A-Z]{2}(?=&[A-Z](?![A-Za-z]{2}))")
_SAID_MARKS = {
    "&": "and", "+": "plus", "@": "at", "%": "percent", "=": "equals", "°": "degrees",
    "×": "times", "÷": "divided by", "±": "plus or minus", "™": "", "®": "", "©": "copyright",
    "$": "dollars", "£": "pounds", "€": "euros", "¥": "yen", "<": "less than",
    ">": "greater than", "≤": "at most", "≥": "at least", "≠": "is not", "≈": "about",
    "→": "to", "∞": "infinity", "√": "root of", "π": "pi", "µ": "micro", "♥": "heart",
}  # fmt: skip
_SAID_MARK = re.compile(f"[{re.escape(''.join(_SAID_MARKS))}]")
_DOT = re.compile(r"(?<=[A-Za-z0-9])\.(?=[A-Za-z]{2})")
_SLASH = re.compile(r"(?<=[A-Za-z])/(?=[A-Za-z])")
_WORD = re.compile(
    r"(?P<initials>[A-Za-z](?:\.[A-Za-z])+\b\.?)|(?P<word>'?[A-Za-z]+(?:'[A-Za-z]+)*(?P<hyphens>(?:-[A-Za-z]+(?:'[A-Za-z]+)*){0,6})'?)"
)
_NO_HYPHEN = re.compile("[^-]+")
_PIECE = re.compile(
    r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+(?:'[a-z]+)*|[A-Z]+(?:'[A-Za-z]+)*s?(?![a-z])"
)
_OBJECTS = frozenset(words("a an the this that these those it me us him them my your our"))
_RUN = re.compile(r"(.)\1{3,}")
_MEANT = {
    "pls": "please", "plz": "please", "thx": "thanks", "vtuber": "VTuber", "vtubers": "VTubers",
}  # fmt: skip
"""How chat writes what nobody says as it is written."""
_CAPITAL_WITHIN = re.compile("[a-z][A-Z]|[A-Z]{2}[a-z]{2}")


@dataclass(slots=True)
class _Token:
    text: str
    start: int
    end: int
    """In the text with its numbers written out."""
    group: int
    """Tokens of one group are written without a space between them."""
    written_out: bool
    """From a number or a sign."""
    initials: bool = False
    symbols: str = ""


def read(text: str, british: bool = False) -> Phonemes:
    """Any ``text``; what has no sound in English is told as unsaid."""
    whole = _spelled_out(Traced.of(text))
    tokens = list(_tokens(whole, text, pronunciation(british)))
    _calm(tokens, british)
    _pronounce(whole.text, tokens, british)
    return Phonemes.of(*_with_marks(whole, [token for token in tokens if token.symbols]))


def _spelled_out(text: Traced) -> Traced:
    """Letters without accents; abbreviations, signs and numbers in words."""
    text = text.replace(_APOSTROPHE, lambda m: "'")
    text = text.replace(_ACCENTED, lambda m: _unaccented(m[0]))
    text = text.replace(_VERSION, lambda m: m[0].replace(".", " point "))
    text = text.replace(_OUT_OF, _out_of).replace(_SHARP, lambda m: " sharp ")
    text = text.replace(_LONG_NUMBER, lambda m: " ".join(m[0]))
    text = text.replace(_DECADE, lambda m: f" {_plural(m[1])} ")
    text = text.replace(_SCALED_MONEY, _scaled_money)
    text = text.replace(_MINUS, lambda m: " minus ")
    text = text.replace(_NUMBER_OF, lambda m: "number ")
    text = text.replace(_ABBREVIATION, lambda m: f"{_ABBREVIATIONS[m[0].lower()]} ")
    text = text.replace(_LETTERS_AND, lambda m: ".".join(m[0]))
    text = text.replace(_DOT, lambda m: " dot ").replace(_SLASH, lambda m: " slash ")
    text = traced(text)
    return text.replace(_SAID_MARK, lambda m: f" {_SAID_MARKS[m[0]]} ")


def _unaccented(letter: str) -> str:
    plain = unicodedata.normalize("NFD", letter.translate(_PLAIN))
    return "".join(c for c in plain if not unicodedata.combining(c))


def _plural(digits: str) -> str:
    """ "1980" as "nineteen eighties"."""
    words = traced(Traced.of(digits)).text
    return words[:-1] + "ies" if words.endswith("y") else words + "s"


def _out_of(match: re.Match[str]) -> str:
    """ "9/10" as a mark; "1/10" is a fraction."""
    return f"{match[1]} out of {match[2]}" if int(match[1]) > 1 else match[0]


def _scaled_money(match: re.Match[str]) -> str:
    scale = _SCALES.get(match[3].lower(), match[3])
    return f"{match[2]} {scale} {_MONEY[match[1]]}"


def _tokens(whole: Traced, source: str, voice: Pronunciation) -> Iterator[_Token]:
    """Words, and what is left of them where a number that was written out begins or ends."""
    group, last_end, joins = 0, -1, False
    for match in _WORD.finditer(whole.text):
        for start, end in _parts(whole, source, match, voice):
            written_out = _is_written_out(whole, source, start)
            if not joins or written_out or whole.text[last_end:start] != "-":
                group += 1
            initials = match["initials"] is not None
            yield _Token(whole.text[start:end], start, end, group, written_out, initials)
            last_end, joins = end, not written_out


def _parts(
    whole: Traced, source: str, match: re.Match[str], voice: Pronunciation
) -> Iterator[tuple[int, int]]:
    if match["hyphens"] and voice.held(match[0]):
        yield match.span()
        return
    for run in _NO_HYPHEN.finditer(whole.text, *match.span()):
        at = run.start()
        for here in range(run.start() + 1, run.end()):
            seam = whole.spans[here - 1] != whole.spans[here]
            beside = (here - 1, here)
            if seam and any(_is_written_out(whole, source, place) for place in beside):
                yield at, here
                at = here
        yield at, run.end()


def _is_written_out(whole: Traced, source: str, at: int) -> bool:
    """Whether one character of the text that is no letter became several."""
    span = whole.spans[at]
    several = span in (*whole.spans[max(at - 1, 0) : at], *whole.spans[at + 1 : at + 2])
    return several and not source[span[0]].isalpha()


def _calm(tokens: list[_Token], british: bool) -> None:
    """Words of a shouted sentence are words, not names of letters."""
    loud = [token for token in tokens if len(token.text) > 1 and token.text.isupper()]
    if len(loud) < 2 or 2 * len(loud) <= len(tokens):
        return
    for token in loud:
        if not token.initials and pronunciation(british).checked(token.text.lower()):
            token.text = token.text.lower()


def _pronounce(text: str, tokens: list[_Token], british: bool) -> None:
    """From the last to the first: how a word ends up depends on the one after it."""
    voice = pronunciation(british)
    classes = [""] * len(tokens)
    if any(voice.says_by_class(token.text) for token in tokens):
        classes = _tags(text, tokens)
    vowel_next: bool | None = None
    following = len(text)
    to_next = False
    for at in range(len(tokens) - 1, -1, -1):
        token = tokens[at]
        if any(mark in PAUSES for mark in text[token.end : following]):
            vowel_next = None
        adjacent = following == token.end and len(token.text) == 1
        setting = Setting("" if adjacent else classes[at], vowel_next, to_next)
        if token.initials:
            token.symbols = voice.letters(token.text)
        else:
            words = _of_length(token.text)
            token.symbols = "".join(_said(word, setting, british) for word in words)
        first = next((symbol for symbol in token.symbols if symbol not in "ˈˌ"), "")
        vowel_next = first in VOWELS if first else vowel_next
        following = token.start
        to_next = token.text.lower() == "to"
    _lighten(tokens)


def _of_length(word: str) -> Iterator[str]:
    """A word that is longer than any that is said, in several: first without its runs of letters,
    which are one long sound."""
    if len(word) > LONGEST:
        word = _RUN.sub(r"\1\1\1", word)
    for at in range(0, len(word), LONGEST):
        yield word[at : at + LONGEST]


def _tags(text: str, tokens: list[_Token]) -> list[str]:
    """The tagger was trained on words and marks."""
    items: list[str] = []
    places: list[int] = []
    last = 0
    for token in tokens:
        items += text[last : token.start].split()
        places.append(len(items))
        items.append(token.text)
        last = token.end
    items += text[last:].split()
    found = tags(items)
    for place in places:
        # The tagger takes an order for a noun: "Use it", "Record this".
        begins = place == 0 or items[place - 1][-1] in PAUSES
        if begins and items[place + 1 : place + 2] and items[place + 1].lower() in _OBJECTS:
            found[place] = "VB" if found[place].startswith("NN") else found[place]
    return [found[place] for place in places]


def _said(word: str, setting: Setting, british: bool) -> str:
    voice = pronunciation(british)
    word = _MEANT.get(word.lower(), word)
    leading = word.startswith("'")
    if leading and not voice.held(word):
        word = word[1:]
    if not _CAPITAL_WITHIN.search(word) or voice.held(word) or held(word):
        return voice.word(word, setting)
    pieces = [match[0] for match in _PIECE.finditer(word)]
    return "".join(compound([voice.word(piece, Setting("NN", False)) for piece in pieces]))


def _lighten(tokens: list[_Token]) -> None:
    """Words joined by hyphens share their stress."""
    at = 0
    while at < len(tokens):
        end = at + 1
        while end < len(tokens) and tokens[end].group == tokens[at].group:
            end += 1
        for token, symbols in zip(
            tokens[at:end], compound([token.symbols for token in tokens[at:end]]), strict=True
        ):
            token.symbols = symbols
        at = end


def _with_marks(whole: Traced, tokens: list[_Token]) -> tuple[list[SpokenWord], str]:
    spoken: list[SpokenWord] = []
    before = mapped(whole.text[: tokens[0].start if tokens else len(whole.text)], first=True)
    before = before if tokens else before.rstrip()
    for at, token in enumerate(tokens):
        following = tokens[at + 1] if at + 1 < len(tokens) else None
        between = whole.text[token.end : following.start if following else len(whole.text)]
        if following is None:
            after = mapped(between).rstrip()
        else:
            after = "" if following.group == token.group else mapped(between) or " "
        spoken.append(SpokenWord(*whole.span(token.start, token.end), token.symbols, after))
    return spoken, before
