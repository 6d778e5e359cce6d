"""English text to ARPAbet phones."""

from __future__ import annotations

import functools
import re
import unicodedata

from koed.g2p.converted import Converted
from koed.g2p.english_numbers import spoken
from koed.g2p.english_tags import tags
from koed.g2p.english_words import word_phones
from koed.g2p.marks import collapse
from koed.g2p.tables import lines

_MARKS = str.maketrans("：，。！？’‘", ":,.!?''")
_UNSPOKEN = re.compile(r"[^ A-Za-z'.,?!\-]")
_CAPITAL_WITHIN = re.compile(r"(?<=\S)(?=[A-Z])")
_SPACES = re.compile(r"\s+")
_TOKEN = re.compile(r"[A-Za-z](?:[A-Za-z'\-]*[A-Za-z])?|\.{2,}|\S")
_MORE_HOMOGRAPHS = (
    "live|L IH1 V|L AY1 V|V",
    "lives|L IH1 V Z|L AY1 V Z|V",
    "tear|T EH1 R|T IH1 R|V",
    "tears|T EH1 R Z|T IH1 R Z|V",
    "wind|W AY1 N D|W IH1 N D|V",
    "winds|W AY1 N D Z|W IH1 N D Z|V",
    "wound|W AW1 N D|W UW1 N D|V",
)
"""Words that the official table lacks: there "the wind" is said as in "wind up"."""


def normalise(text: str, official_quirks: bool = False) -> str:
    """Words and the marks ``, . ! ? ' -`` only; a space before each capital within a word."""
    text = text.translate(_MARKS).replace("\n", " ")
    text = spoken(text, always_day_half=official_quirks)
    text = "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
    text = _UNSPOKEN.sub("", text.replace("%", " percent"))
    text = _SPACES.sub(" ", text)
    return collapse(_CAPITAL_WITHIN.sub(" ", text))


def convert(text: str, official_quirks: bool = False) -> Converted:
    """ARPAbet phones and marks; a text of one to three phones gets a comma before it."""
    normalised = normalise(text, official_quirks)
    matches = list(_TOKEN.finditer(normalised))
    tokens = [match[0] for match in matches]
    homographs = _homographs(official_quirks)
    ambiguous = any(token.lower() in homographs for token in tokens)
    classes = tags(tokens) if ambiguous else []
    found: list[str] = []
    starts = []
    for position, token in enumerate(tokens):
        starts.append((matches[position].start(), len(found)))
        if not token[0].isalpha():
            found.append("-" if token == "'" else "…" if token.startswith("..") else token)
        elif token.lower() in homographs:
            after = tokens[position + 1].lower() if position + 1 < len(tokens) else ""
            found += _homograph(token.lower(), classes[position], after, official_quirks)
        else:
            found += [phone for phone in word_phones(token) if phone != "UW"]
    if len(found) < 4:
        # Too few phones make the model repeat the reference's words: a pause lengthens them.
        found, starts = [",", *found], [(at, phone + 1) for at, phone in starts]
    return Converted(normalised, found, starts=tuple(starts))


@functools.cache
def _homographs(official: bool) -> dict[str, tuple[list[str], list[str], str]]:
    """Word -> phones if it is of the class, phones if not, class (Penn tag or its beginning)."""
    rows = [line.split("|") for line in lines("homographs.txt")]
    if not official:
        rows += [line.split("|") for line in _MORE_HOMOGRAPHS]
    return {word: (yes.split(), no.split(), tag) for word, yes, no, tag in rows}


def _homograph(word: str, tag: str, after: str, official_quirks: bool) -> list[str]:
    of_class, other, wanted = _homographs(official_quirks)[word]
    if not official_quirks:
        # The table means adjectives by "ADJ", which no tag begins with, and by the other "used"
        # the one of "used to".
        wanted = "JJ" if wanted == "ADJ" else wanted
        if word == "used":
            return other if after == "to" else of_class
    return of_class if tag.startswith(wanted) or wanted.startswith(tag) else other
