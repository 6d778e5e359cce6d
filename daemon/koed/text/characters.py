"""Clean characters: what cannot be heard is removed, what is written oddly is written plainly.

Works on a stream: the pieces that `Cleaner` gives back, joined, do not depend on where the text
was cut.
"""

from __future__ import annotations

import re
import unicodedata

MAX_MARKS = 3
"""Combining marks kept after one letter; ordinary scripts need at most three."""

_MAX_CLUSTER = 64
"""A letter with more attached to it than this is not waited for."""

# Controls, fillers, bidi and zero-width marks, variation selectors, the keycap, private use, ™
# and lone surrogates. The joiner U+200D stays: emoji need it.
_UNSEEN = re.compile(
    r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    r"\u200b\u200c\u200e\u200f\u202a-\u202e\u2060-\u206f\u20e3\u2122\u3164\ud800-\udfff\ue000-\uf8ff"
    r"\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff\U000e0000-\U000e001f\U000e0100-\U000e01ef"
    r"\U000f0000-\U0010ffff]+"
)
_LINE_END = re.compile(r"[\r\x0b\x0c\x85\u2028\u2029]")

# Everything with a combining class lies in here, with other letters; `_cap_marks` looks closer.
MARK_BLOCKS = (
    r"\u0300-\u1dff\u20d0-\u20ff\u2cef-\u2cf1\u2d7f\u2de0-\u2dff\u302a-\u302f\u3099\u309a"
    r"\ua66f-\uabff\ufb1e\ufe20-\ufe2f\U000101fd-\U0001e94a"
)
_MARK_RUN = re.compile(f"[{MARK_BLOCKS}]{{{MAX_MARKS + 1},}}")

# NFKC would make three full stops of an ellipsis, conjoining jamo of Korean laughter, "102" of
# "10²" and a space with an accent of a lone accent.
_KEPT = re.compile(
    r"([\u2026\u3131-\u318e\xb2\xb3\xb4\xa8\xaf\xb8\u02d8-\u02dd\u2017\u203e\u309b\u309c]+)"
)
_PLAIN = str.maketrans(
    {"\u2025": "\u2026", "\u22ef": "\u2026", "\uff5e": "\u301c", "\u2018": "'", "\u2019": "'"}
)
_FRACTION = re.compile(r"[\xbc-\xbe\u2150-\u215e\u2189]")

_SETTLED = frozenset(" \n\t.,!?;:。、…！？，．；：」』）)")
"""Nothing composes with these, so they need not wait for what follows."""


def _attaches(char: str) -> bool:
    """Whether ``char`` may change the letter before it: combining marks and parts of Hangul."""
    if char < "\u0300":
        return False
    return (
        unicodedata.category(char)[0] == "M"
        or "\u1160" <= char <= "\u11ff"
        or "\ud7b0" <= char <= "\ud7ff"
        or "\uff9e" <= char <= "\uffdc"
    )


def _cap_marks(run: re.Match[str]) -> str:
    kept: list[str] = []
    marks = 0
    for char in run[0]:
        marked = unicodedata.category(char) in ("Mn", "Me") or unicodedata.combining(char) != 0
        marks = marks + 1 if marked else 0
        if marks <= MAX_MARKS:
            kept.append(char)
    return "".join(kept)


def _fraction(match: re.Match[str]) -> str:
    return " " + unicodedata.normalize("NFKC", match[0]).replace("\u2044", "/")


def _compose(text: str) -> str:
    """NFKC, except for what it would spoil."""
    text = _FRACTION.sub(_fraction, text.translate(_PLAIN))
    if unicodedata.is_normalized("NFKC", text):
        return text
    parts = _KEPT.split(text)
    parts[::2] = [unicodedata.normalize("NFKC", part) for part in parts[::2]]
    return "".join(parts)


class Cleaner:
    """Gives clean text back piece by piece; holds back the last letter, which may get an accent."""

    def __init__(self) -> None:
        self._tail = ""
        """Raw text after the last place where it is safe to cut; at most `_MAX_CLUSTER` long."""

    def feed(self, text: str) -> str:
        buffer = self._tail + _LINE_END.sub("\n", _UNSEEN.sub("", text))
        if not buffer.isascii():
            # Before NFKC: sorting a long run of marks takes time with the square of its length.
            buffer = _MARK_RUN.sub(_cap_marks, buffer)
        cut = self._safe_cut(buffer)
        self._tail = buffer[cut:]
        ready = buffer[:cut]
        return ready if ready.isascii() else _compose(ready)

    def close(self) -> str:
        tail, self._tail = self._tail, ""
        return tail if tail.isascii() else _compose(tail)

    @staticmethod
    def _safe_cut(buffer: str) -> int:
        if not buffer or buffer[-1] in _SETTLED:
            return len(buffer)
        cut = len(buffer) - 1
        lowest = len(buffer) - _MAX_CLUSTER
        while cut > max(lowest, 0) and _attaches(buffer[cut]):
            cut -= 1
        return cut if cut > lowest else len(buffer)
