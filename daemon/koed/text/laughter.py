"""Laughter as chat writes it, and one short word for it per language."""

from __future__ import annotations

import re

_WORDS = {
    "ja": "わら",
    "zh": "哈哈",
    "yue": "哈哈",
    "ko": "크크",
    "th": "ฮ่าๆ",
    "es": "jaja",
    "ru": "хаха",
}
_CRYING = "呜呜"
"""555 sounds like crying in Chinese, and like laughing in Thai."""

_W_RUN = re.compile(r"w+", re.IGNORECASE)
_FIVES = re.compile(r"5{3,}")
_SPANISH = re.compile(r"(?:j[aei]){2,}j?|j?(?:aj){2,}a?")
_SPELLED = re.compile(
    r"[bm]?w?a?(?:ha){2,}h?|(?:he){3,}h?|(?:hi){3,}h?|(?:ho){4,}|(?:ah){3,}a?|ha+ha+[ha]*"
    r"|k{4,}|(?:ke){4,}|x(?:ax)+|(?:hue){2,}|(?:rs){3,}"
)
_ANY = re.compile(rf"w+|{_FIVES.pattern}|{_SPANISH.pattern}|kkk|{_SPELLED.pattern}", re.IGNORECASE)


def may_laugh(core: str) -> bool:
    """Whether ``core`` is laughter in some surroundings."""
    return _ANY.fullmatch(core) is not None


def laugh_word(lang: str) -> str:
    return _WORDS.get(lang, "haha")


def spelled_laugh(core: str, lang: str) -> str | None:
    """The word for ``core`` (hahaha, jajaja, kkkk) amid text in ``lang``; None: no laughter."""
    low = core.lower()
    if _SPANISH.fullmatch(low):
        return "jaja"
    if core == "kkk" or _SPELLED.fullmatch(low):
        return laugh_word(lang)
    return None


def is_w_run(core: str) -> bool:
    """w, ww, wwww: Japanese laughter, if its surroundings agree."""
    return _W_RUN.fullmatch(core) is not None


def is_fives(core: str) -> bool:
    """555, 5555: Thai laughter or Chinese crying, if its surroundings agree."""
    return _FIVES.fullmatch(core) is not None


def fives_word(lang: str) -> str:
    return _CRYING if lang in ("zh", "yue") else laugh_word(lang)
