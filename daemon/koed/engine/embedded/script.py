"""Text made safe for a C synthesiser, with the way back to the caller's characters."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass

MAX_TOKEN_CHARS = 40
"""A longer run without a space is split: the letter-to-sound rules of C libraries are quadratic
or worse in it, and nobody can say it in one breath anyway."""

_SPOKEN_MARKS = frozenset("%&+=@#$€£¥°½¼¾")
_ASCII = str.maketrans(
    {
        "‘": "'", "’": "'", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "–": "-", "—": ", ",
        "…": "...", "、": ", ", "。": ". ", "・": " ", "ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe",
        "Œ": "OE", "ø": "o", "Ø": "O", "đ": "d", "Đ": "D", "ł": "l", "Ł": "L", "þ": "th", "ð": "th",
        "ı": "i", "€": " euro ", "£": " pounds ", "¥": " yen ", "°": " degrees ", "×": " times ",
        "(": ", ", ")": ", ", "[": ", ", "]": ", ", "{": ", ", "}": ", ", "<": " ", ">": " ",
        "`": "'", "|": " ", "\\": " ", "^": " ", "~": " ", "_": " ",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Script:
    """``text`` to speak; ``origin[i]`` is where its character ``i`` stands in the job's text."""

    text: str
    origin: tuple[int, ...]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The job's characters that ``text[start:end]`` stands for."""
        return self.origin[start], self.origin[end - 1] + 1

    def parts(self, max_chars: int) -> Iterator[Script]:
        """Pieces of at most ``max_chars``, cut after a mark or a space where there is one."""
        at = 0
        while len(self.text) - at > max_chars:
            window = self.text[at : at + max_chars]
            cut = max(window.rfind(mark) + 1 for mark in ". 。！？、，,")
            cut = cut if cut > max_chars // 3 else max_chars
            yield Script(self.text[at : at + cut], self.origin[at : at + cut])
            at += cut
        yield Script(self.text[at:], self.origin[at:])


def speakable(text: str) -> bool:
    """Whether anything in it has a sound: a letter, a digit or a mark with a name."""
    return any(c in _SPOKEN_MARKS or unicodedata.category(c)[0] in "LN" for c in text)


def as_ascii(char: str) -> str:
    """For a synthesiser that knows ASCII only: accents folded, everything else a space."""
    folded = char.translate(_ASCII)
    if not folded.isascii():
        base = unicodedata.normalize("NFKD", folded)
        folded = "".join(c for c in base if not unicodedata.combining(c))
        folded = folded if folded.isascii() else " "
    return "".join(c if c.isprintable() else " " for c in folded)


def as_unicode(char: str) -> str:
    """For a synthesiser that knows its script: only what is no character at all is left out."""
    category = unicodedata.category(char)
    if category in ("Cs", "Co", "Cn"):
        return ""
    if category == "Cc":
        return " "
    return "" if category == "Cf" else char


def write(text: str, fold: Callable[[str], str], max_token_chars: int = MAX_TOKEN_CHARS) -> Script:
    """``text`` with every character folded and no token longer than ``max_token_chars``."""
    chars: list[str] = []
    origin: list[int] = []
    run = 0
    for index, char in enumerate(text):
        for folded in fold(char):
            run = 0 if folded.isspace() else run + 1
            if run > max_token_chars:
                chars.append(" ")
                origin.append(index)
                run = 1
            chars.append(" " if folded.isspace() else folded)
            origin.append(index)
    return Script("".join(chars), tuple(origin))
