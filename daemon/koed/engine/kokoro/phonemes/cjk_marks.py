"""Marks of Japanese and Chinese print, where no spaces part words, as the model knows them."""

from __future__ import annotations

import re
import unicodedata

_OPENING = "“"
_LIKE = {
    ".": "。．.｡\n",
    ",": "、，､,",
    "!": "！!",
    "?": "？?",
    ":": "：:",
    ";": "；;",
    "…": "…‥⋯",
    "—": "—―–─〜～~ー",
    _OPENING: "“‘「『｢«《〈【［〔（([",
    "”": "”’」』｣»》〉】］〕）)]",
}
_MARKS = {printed: mark for mark, group in _LIKE.items() for printed in group}
_DOTS = re.compile(r"\.{2,}|・{2,}|·{2,}")
_SOUNDLESS = frozenset("PZCM")


def written(printed: str) -> str:
    """What stands between two words, for the model: each mark once, a space, an opening quote."""
    marks = "".join(_MARKS.get(c, c) for c in printed)
    found = dict.fromkeys(c for c in _DOTS.sub("…", marks) if c in _LIKE)
    opening = _OPENING if _OPENING in found else ""
    return "".join(mark for mark in found if mark != _OPENING) + " " + opening


def unread(text: str) -> list[str]:
    """Of what no dictionary reads, the characters that a listener misses: no marks, no spaces."""
    return [c for c in text if unicodedata.category(c)[0] not in _SOUNDLESS and c not in _MARKS]
