"""Marks of any print in those that the model knows: ``; : , . ! ? — … " ( ) “ ”``."""

from __future__ import annotations

import re
import unicodedata

PAUSES = frozenset(";:,.!?—…")

_SAME = str.maketrans({
    "«": "“", "»": "”", "„": "“", "‟": "“", "‹": "“", "›": "”", "[": "(", "]": ")", "{": "(",
    "}": ")", "–": "—", "―": "—", "、": ",", "。": ".", "，": ",", "；": ";", "：": ":",
    "！": "!", "？": "?", "「": "“", "」": "”", "『": "“", "』": "”", "（": "(", "）": ")",
    "¿": "", "¡": "", "·": ",", "・": " ", "।": ".", "॥": ".", "~": "—", "|": ",", "/": " ",
    "\\": " ", "_": " ", "\n": " ", "\t": " ", "‽": "?",
})  # fmt: skip
_DOTS = re.compile(r"\.(?:\s?\.)+|…(?:\s?[….])+")
_DASH = re.compile(r"(?<=\s)-+(?=\s)|--+")
_OPENING = re.compile(r'(?:^|(?<=[\s(—]))"(?=\S|$)')
_RUN = re.compile(r"([;:,!?—…])\1+")
_GAP = re.compile(r"\s+")
_NO_GAP = re.compile(r" +(?=[;:,.!?…”)])|(?<=[“(]) +")
_KNOWN = frozenset(';:,.!?—…"()“” ')


def mapped(marks: str, first: bool = False) -> str:
    """What stands between two words, with its spaces; ``first`` where none stands before it.

    Marks without a sound are left out; signs, whose names are not known here, come first.
    """
    marks = _DASH.sub("—", _DOTS.sub("…", marks)).translate(_SAME)
    marks = _OPENING.sub("“", marks) if first or marks[:1] != '"' else marks
    marks = _RUN.sub(r"\1", marks.replace('"', "”"))
    signs = "".join(c for c in marks if c not in _KNOWN and _is_sign(c))
    kept = _NO_GAP.sub("", _GAP.sub(" ", "".join(c for c in marks if c in _KNOWN)))
    return signs + (kept.lstrip() if first else kept)


def _is_sign(character: str) -> bool:
    """Letters, digits, symbols; not marks, nor accents that stand alone."""
    category = unicodedata.category(character)
    return category[0] in "LNS" and category != "Sk"
