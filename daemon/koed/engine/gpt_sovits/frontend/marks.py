"""Punctuation as the models know it: ``! ? … , . -``."""

from __future__ import annotations

import re

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
_RUN = re.compile(r"([!?…,.\-])(?:\s*[!?…,.\-])+")


def plain(mark: str) -> str:
    """The model's mark for a mark of Chinese or Japanese print; others unchanged."""
    return _SAME_SOUND.get(mark, mark)


def collapse(text: str) -> str:
    """Of each run of model marks only the first."""
    return _RUN.sub(r"\1", text)
