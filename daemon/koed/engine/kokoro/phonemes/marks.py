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

    Marks without a sound are left out; signs, which have a name that is not known here, stay.
    """
    marks = _DASH.sub("—", _DOTS.sub("…", marks)).translate(_SAME)
    marks = _OPENING.sub("“", marks) if first or marks[:1] != '"' else marks
    marks = _RUN.sub(r"\1", marks.replace('"', "”"))
    kept = "".join(c for c in marks if c in _KNOWN or unicodedata.category(c)[0] in "LNS")
    kept = _NO_GAP.sub("", _GAP.sub(" ", kept))
    return kept.lstrip() if first else kept
