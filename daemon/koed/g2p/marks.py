"""Names that stand for no sound: punctuation (``! ? … , . -``), pauses, marks of the pitch."""

from __future__ import annotations

import re

PUNCTUATION = ("!", "?", "…", ",", ".", "-")
PAUSES = ("SP", "SP2", "SP3")
PITCH = ("[", "]")
"""In Japanese: it rises, it falls."""
UNKNOWN = "UNK"
SILENT = frozenset((*PUNCTUATION, *PAUSES, *PITCH, UNKNOWN, "_", "#", "空", "停"))

_SAME_SOUND = {
    "：": ",",
    "；": ",",
    "，": ",",
    "。": ".",
    "！": "!",
    "？": "?",
    "\n": ".",
    "·": ",",
    "、": ",",
    "...": "…",
    "．": ".",
    "､": ",",
    "｡": ".",
}
RUN = re.compile(r"([!?…,.\-])(?:\s*[!?…,.\-])+")


def plain(mark: str) -> str:
    """Our mark for a mark of Chinese or Japanese print; others unchanged."""
    return _SAME_SOUND.get(mark, mark)


def collapse(text: str) -> str:
    """Of each run of our marks only the first."""
    return RUN.sub(r"\1", text)
