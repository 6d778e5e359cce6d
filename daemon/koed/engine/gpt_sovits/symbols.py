"""The symbols that the text models know; a phone's id is its position in the list.

Two lists exist. ``v1`` serves Chinese, English and Japanese; ``v2`` (all later versions too) is v1
followed by the Japanese pitch marks, Korean jamo and Cantonese syllable parts. A checkpoint knows
only positions, so the order, sorted by code point within each block, must never change.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Literal

from koed.g2p import pinyin
from koed.g2p.marks import PAUSES, PITCH, PUNCTUATION, UNKNOWN
from koed.g2p.split import LANGUAGES
from koed.g2p.symbol_table import SymbolTable
from koed.g2p.tables import words

Version = Literal["v1", "v2"]

ZH_TONES = "12345"

JA_PHONES = words(
    "N a i u e o I U b by ch cl d dy f g gy h hy j k ky m my n ny p py r ry s sh t ts u v V w y z _"
)

EN_CONSONANTS = words("B CH D DH F G HH JH K L M N NG P R S SH T TH V W Y Z ZH")
EN_VOWELS = words("AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW")
EN_UNSTRESSED = ("ER", "IH")

KO_JAMO = (*"ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎㅏㅐㅓㅔㅗㅜㅡㅣ", "空", "停")

YUE_INITIALS = words("b c d f g gw h j k kw l m n ng p s t w z")
YUE_ONSETS = words("a aa ai ak au e o oi ok on ou uk")  # before a final cut from themselves
YUE_FINALS = words(
    "a aa aai aak aam aan aang aap aat aau ai ak am an ang ap at au e ei ek eng eoi eon eot "
    "g i ik im in ing ip it iu k m n o oe oek oeng oi ok on ong ot ou p t "
    "u ui uk un ung ut yu yun yut"
)
YUE_TONES = "123456"


def _toned(finals: Iterable[str], tones: str) -> set[str]:
    return {final + tone for final in finals for tone in tones}


@functools.cache
def symbols(version: Version) -> tuple[str, ...]:
    """All symbols in the order of their ids: 322 of v1, 732 of v2."""
    v1 = sorted(
        {*PUNCTUATION, *PAUSES, UNKNOWN, *pinyin.INITIALS, *pinyin.ONSETS, *JA_PHONES}
        | {*_toned(pinyin.FINALS, ZH_TONES), *_toned(EN_VOWELS, "012")}
        | {*EN_CONSONANTS, *EN_UNSTRESSED}
    )
    if version == "v1":
        return tuple(v1)
    yue = {*YUE_INITIALS, *YUE_ONSETS, *_toned(YUE_FINALS, YUE_TONES)}
    return (*v1, *PITCH, *KO_JAMO[:27], "停", "空", *sorted("Y" + part for part in yue))


@functools.cache
def table(version: Version) -> SymbolTable:
    v1 = version == "v1"
    hint = "a voice whose language is that of the text"
    return SymbolTable(
        name=f"a {version} model",
        positions={symbol: position for position, symbol in enumerate(symbols(version))},
        languages=frozenset({"zh", "ja", "en"} if v1 else LANGUAGES),
        hint=f"use a v2 or later model, or {hint}" if v1 else f"use {hint}",
        plain_mandarin=v1,
    )
