"""How long phones last beside each other: what times rest on where attention says nothing.

English and Japanese are means of 700 and 25 sentences of two synthesisers whose models were made
from labelled speech (flite's slt, OpenJTalk's mei), in means of a phone; Chinese, Cantonese and
Korean have the values of like sounds there. `koed bench words` measures what that is worth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from koed.g2p.marks import PAUSES, PUNCTUATION, SILENT

Table = Mapping[str, float]

PAUSE: Table = {"en": 2.0, "ja": 4.0}
PAUSE_ELSEWHERE = 3.0
PAUSE_AT_END = 1.0
"""What is left of the last: the model ends soon after the last sound."""
LENGTHENED: Table = {"en": 1.6, "ja": 2.0}
"""Of the last syllable before a pause."""
LENGTHENED_ELSEWHERE = 1.6
_RESTS = frozenset({*PUNCTUATION, *PAUSES, "_"})
_UNHEARD = SILENT - _RESTS


def _table(rows: str) -> dict[str, float]:
    """``1.5 a b`` a line: the value of ``a`` and ``b``."""
    lines = (line.split() for line in rows.strip().splitlines())
    return {phone: float(value) for value, *phones in lines for phone in phones}


_ENGLISH = _table("""
2.3 AW OY
1.9 AY
1.7 EY CH SH
1.5 OW
1.3 ER F IY JH L NG P S TH ZH
1.2 AA AE K UW Y
1.1 AO EH Z
0.9 G M R W
0.8 AH HH IH N T V
0.7 B UH
0.6 D DH
0.5 AH0
""")
_JAPANESE = _table("""
1.3 ch sh s ts f ky hy
1.0 a i e o cl h k p py
0.8 u gy j z t
0.7 m my y b by ry v V
0.6 N n ny g dy
0.5 d w r
0.4 I U
""")
_CHINESE = _table("""
1.5 q x ch sh c s
1.2 p t k f j zh z h
0.9 m n l r ng
0.7 b d g gw kw w y
0.2 AA EE OO
""")
_KOREAN = _table("""
1.2 ㅅ ㅆ ㅊ ㅋ ㅌ ㅍ ㅎ
1.0 ㄲ ㄸ ㅃ ㅉ ㅏ ㅐ ㅓ ㅔ ㅗ ㅜ ㅡ ㅣ
0.8 ㅈ ㅁ ㄴ ㅇ
0.7 ㄱ ㄷ ㅂ ㄹ
""")
_FINAL, _NEUTRAL = 1.8, 1.2
"""What follows the initial of a Chinese syllable; in the neutral tone."""
_VOWELS: Mapping[str, frozenset[str]] = {
    "en": frozenset("AEIOU"),  # the first letter of a phone
    "ja": frozenset("aiueoNIU"),
    "ko": frozenset("ㅏㅐㅓㅔㅗㅜㅡㅣ"),
}


def weights(pieces: Sequence[tuple[Sequence[str], str]]) -> NDArray[np.float64]:
    """[N] of phones and their language; 1 = a phone of mean length, 0 = not heard."""
    out = [weight for phones, lang in pieces for weight in _of_piece(phones, lang)]
    if pieces and pieces[-1][0] and pieces[-1][0][-1] in _RESTS:
        out[-1] = PAUSE_AT_END
    return np.array(out)


def _of_piece(phones: Sequence[str], lang: str) -> list[float]:
    out = [_weight(phone, lang) for phone in phones]
    longer = LENGTHENED.get(lang, LENGTHENED_ELSEWHERE)
    final = True  # within the last syllable before a pause or the end
    for number in reversed(range(len(phones))):
        if phones[number] in _RESTS:
            final = True
        elif final and out[number]:
            out[number] *= longer
            final = not _is_vowel(phones[number], lang)
    return out


def _weight(phone: str, lang: str) -> float:
    if phone in _RESTS:
        return PAUSE.get(lang, PAUSE_ELSEWHERE)
    if phone in _UNHEARD:
        return 0.0
    if lang == "en":
        return _ENGLISH.get(phone, _ENGLISH.get(phone.rstrip("012"), 1.0))
    if lang in ("ja", "ko"):
        return (_JAPANESE if lang == "ja" else _KOREAN).get(phone, 1.0)
    part = phone[1:] if lang == "yue" else phone
    if part[-1:].isdigit():
        return _NEUTRAL if lang == "zh" and part.endswith("5") else _FINAL
    return _CHINESE.get(part, 0.2 if part[:1] in "aeiou" else 1.0)


def _is_vowel(phone: str, lang: str) -> bool:
    if lang in _VOWELS:
        return phone[:1] in _VOWELS[lang]
    return phone[-1:].isdigit()
