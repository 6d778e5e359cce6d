"""Korean sound changes where syllables meet, on conjoining jamo (leads, vowels, codas).

The numbers are the articles of the Standard Pronunciation (표준 발음법). Words whose change no rule
tells are in ``data/korean_words.txt``.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import product

_LEADS = "ᄀᄁᄂᄃᄄᄅᄆᄇᄈᄉᄊᄌᄍᄎᄏᄐᄑᄒ"  # without the silent ᄋ
_TENSE = dict(zip("ᄀᄃᄇᄉᄌ", "ᄁᄄᄈᄊᄍ", strict=True))
_ASPIRATED = dict(zip("ᄀᄃᄇᄌ", "ᄏᄐᄑᄎ", strict=True))
_CODAS = "ᆨᆩᆪᆫᆬᆭᆮᆯᆰᆱᆲᆳᆴᆵᆶᆷᆸᆹᆺᆻᆼᆽᆾᆿᇀᇁᇂ"
# 9-11: what a coda sounds like at a word's end or before a consonant.
_CLOSED = dict(zip(_CODAS, "ᆨᆨᆨᆫᆫᆫᆮᆯᆨᆷᆯᆯᆯᆸᆯᆷᆸᆸᆮᆮᆼᆮᆮᆨᆮᆸᆮ", strict=True))
_NASAL = {"ᆨ": "ᆼ", "ᆮ": "ᆫ", "ᆸ": "ᆷ"}
# 12: codas whose last sound joins a following ᄒ; what stays and what comes of it.
_BEFORE_H = {
    **dict.fromkeys("ᆨᆩᆪᆿ", ("", "ᄏ")),
    **dict.fromkeys("ᆮᆺᆻᆾᇀ", ("", "ᄐ")),
    **dict.fromkeys("ᆸᇁ", ("", "ᄑ")),
    **dict.fromkeys("ᆹᆵ", ("ᆸ", "ᄑ")),
    "ᆽ": ("", "ᄎ"),
    "ᆬ": ("ᆫ", "ᄎ"),
    "ᆰ": ("ᆯ", "ᄏ"),
    "ᆲ": ("ᆯ", "ᄑ"),
    "ᇂ": ("", "ᄒ"),
}
_WITH_H = {"ᇂ": "", "ᆭ": "ᆫ", "ᆶ": "ᆯ"}
_TENSING = frozenset("ᆨᆩᆪᆮᆰᆲᆳᆵᆸᆹᆺᆻᆽᆾᆿᇀᇁ")  # 23, 25
# 13, 14: what a coda gives to a silent lead after it; what stays.
_SINGLE = dict(zip("ᆨᆩᆫᆮᆯᆷᆸᆺᆻᆽᆾᆿᇀᇁ", "ᄀᄁᄂᄃᄅᄆᄇᄉᄊᄌᄎᄏᄐᄑ", strict=True))
_DOUBLE = dict(zip("ᆪᆬᆰᆱᆲᆳᆴᆵᆹ", ("ᆨᄊ", "ᆫᄌ", "ᆯᄀ", "ᆯᄆ", "ᆯᄇ", "ᆯᄊ", "ᆯᄐ", "ᆯᄑ", "ᆸᄊ"), strict=True))
_LINKED = {**_SINGLE, **_DOUBLE, "ᇂ": "ᄋ", "ᆭ": "ᄂ", "ᆶ": "ᄅ"}

_PAIR = re.compile(f"([{_CODAS}])( ?)([{_LEADS}])")
_LINK = re.compile(f"([{''.join(_LINKED)}])ᄋ")
_END = re.compile(rf"([{_CODAS}])(?=\W|$)")
# Before the pairs: 5.1 져 as 저, 5.3 희 as 히, 10 밟 and 넓죽, 17 palatals, 27 껄 after ㄹ.
_FIRST = (
    (re.compile("([ᄌᄍᄎ])ᅧ"), r"\1ᅥ"),
    (re.compile(f"([{_LEADS}])ᅴ"), r"\1ᅵ"),
    (re.compile("(ᄇ[ᅡ])ᆲ(?=$|[^ᄋᄒ])"), r"\1ᆸ"),
    (re.compile("(ᄂ[ᅥ])ᆲ(?=[ᄌᄍᄃᄄ]ᅮ)"), r"\1ᆸ"),
    (re.compile("ᆮᄋ(?=[ᅵᅧ])"), "ᄌ"),
    (re.compile("ᇀᄋ(?=[ᅵᅧ])"), "ᄎ"),
    (re.compile("ᆴᄋ(?=[ᅵᅧ])"), "ᆯᄎ"),
    (re.compile("ᆮᄒ(?=ᅵ)"), "ᄎ"),
)


def decompose(text: str) -> str:
    """Syllables as conjoining jamo; other characters unchanged."""
    return unicodedata.normalize("NFD", text)


def changed(jamo: str) -> str:
    """``jamo`` as they sound. Changes cross one space, as in running speech."""
    for pattern, sound in _FIRST:
        jamo = pattern.sub(sound, jamo)
    jamo = _PAIR.sub(lambda m: _meet(m[1], m[3], m[2]), jamo)
    jamo = _LINK.sub(lambda m: _LINKED[m[1]], jamo)
    return _END.sub(lambda m: _CLOSED[m[1]], jamo)


def _meet(coda: str, lead: str, space: str) -> str:
    stays, sound = _MEETINGS[coda, lead]
    return stays + space + sound


def _change(coda: str, lead: str) -> tuple[str, str]:
    """What becomes of ``coda`` before the consonant ``lead``."""
    closed = _CLOSED[coda]
    if lead == "ᄒ":
        return _BEFORE_H.get(coda, (closed, lead))
    if coda in _WITH_H:
        if lead == "ᄉ":
            return _WITH_H[coda], "ᄊ"
        if lead == "ᄂ" and coda == "ᇂ":
            return "ᆫ", "ᄂ"
        if lead in "ᄀᄃᄌ":
            return _WITH_H[coda], _ASPIRATED[lead]
        if coda == "ᇂ":
            return "", lead
    if lead in _TENSE and coda in _TENSING:
        return closed, _TENSE[lead]
    if closed in _NASAL and lead in "ᄂᄆ":
        return ("ᆷ" if coda == "ᆲ" else _NASAL[closed]), lead
    if closed in "ᆫᆯ" and (closed, lead) in (("ᆫ", "ᄅ"), ("ᆯ", "ᄂ")):
        return ("ᆷ", lead) if (coda, lead) == ("ᆲ", "ᄂ") else ("ᆯ", "ᄅ")
    if lead == "ᄅ" and closed != "ᆯ":
        return _NASAL.get(closed, closed), "ᄂ"
    if (coda, lead) == ("ᆲ", "ᄆ"):
        return "ᆷ", lead
    return closed, lead


_MEETINGS = {pair: _change(*pair) for pair in product(_CODAS, _LEADS)}
