"""Katakana to the symbols that Kokoro's Japanese voices were trained on.

Those of `misaki` 0.7 (Apache-2.0, hexgrad), which came out with the model. They tell neither
accents nor unvoiced vowels.
"""

from __future__ import annotations

from collections.abc import Iterator

_ROWS = """
    アイウエオ a i ɯ e o
    ァィゥェォ a i ɯ e o
    カキクケコ ka kʲi kɯ ke ko
    ガギグゲゴ ɡa ɡʲi ɡɯ ɡe ɡo
    サシスセソ sa ɕi sɨ se so
    ザジズゼゾ ʣa ʥi zɨ ʣe ʣo
    タチツテト ta ʨi ʦɨ te to
    ダヂヅデド da ʥi zɨ de do
    ナニヌネノ na ɲi nɯ ne no
    ハヒフヘホ ha çi ɸɯ he ho
    バビブベボ ba bʲi bɯ be bo
    パピプペポ pa pʲi pɯ pe po
    マミムメモ ma mʲi mɯ me mo
    ラリルレロ ɾa ɾʲi ɾɯ ɾe ɾo
    ヤユヨャュョ ja jɯ jo ja jɯ jo
    ワヰヱヲヮ βa i e o βa
    ヴヷヸヹヺ vɯ va vʲi ve vo
    ヵヶ ka ke
"""
_PAIRS = """
    イ ェ j
    ウ ァィェォ β
    ク ァィェォヮ kᵝ
    グ ァィェォヮ ɡᵝ
    キ ャュョェ kʲ
    ギ ャュョェ ɡʲ
    シ ャュョェ ɕ
    ジ ャュョェ ʥ
    ス ィ s
    ズ ィ z
    チ ャュョェ ʨ
    ヂ ャュョェ ʥ
    ツ ァェォ ʦ
    ツ ィ ʦʲ
    テ ィャュョ tʲ
    デ ィャュョ dʲ
    ト ゥ t
    ド ゥ d
    ニ ャュョェ ɲ
    ヒ ャュョェ ç
    ビ ャュョェ bʲ
    ピ ャュョェ pʲ
    フ ァェォ ɸ
    フ ィャュョ ɸʲ
    ミ ャュョェ mʲ
    リ ャュョェ ɾʲ
    ヴ ァェォ v
    ヴ ィ vʲ
    ヴ ャュョ bʲ
"""
_VOWELS = dict(zip("ァィゥェォャュョヮ", "aiɯeoaɨoa", strict=True))
"""With what a small kana ends the mora that it makes with the one before."""
_LENGTHENING = {"a": "ァ", "i": "ィイ", "ɯ": "ゥウ", "ɨ": "ゥウ", "e": "ェ", "o": "ォ"}
"""What makes the vowel before it long, besides ー: まぁ, いい."""
_LONG, _STOP, _NASAL = "ー", "ッ", "ン"
_NASALS = {**dict.fromkeys("mpb", "m"), **dict.fromkeys("kɡ", "ŋ"), **dict.fromkeys("ɲʨʥ", "ɲ"),
           **dict.fromkeys("ntdɾz", "n")}  # fmt: skip
"""How ン is said before a sound that begins so; before any other, and at the end, it is ɴ."""


def _table() -> Iterator[tuple[str, str]]:
    for row in _ROWS.strip().splitlines():
        kana, *sounds = row.split()
        yield from zip(kana, sounds, strict=True)
    for row in _PAIRS.strip().splitlines():
        first, seconds, onset = row.split()
        yield from ((first + small, onset + _VOWELS[small]) for small in seconds)
    yield from ((_LONG, "ː"), (_STOP, "ʔ"), (_NASAL, "ɴ"))


MORAE = dict(_table())
"""Every mora that has a sound, as one or two katakana."""


def symbols(kana: str, following: str = "") -> list[str]:
    """Of each mora of ``kana``, which ``following`` follows without a gap; what is no mora is left
    out."""
    found = list(_morae(kana + following[:2]))
    said = [MORAE[mora] for at, mora in found]
    for number, (_, mora) in enumerate(found):
        after = said[number + 1] if number + 1 < len(said) else ""
        if mora == _NASAL:
            said[number] = _NASALS.get(after[:1], MORAE[mora])
        elif number and mora in _LENGTHENING.get(said[number - 1][-1:], ""):
            said[number] = MORAE[_LONG]
    return [sound for sound, (at, _) in zip(said, found, strict=True) if at < len(kana)]


def _morae(kana: str) -> Iterator[tuple[int, str]]:
    at = 0
    while at < len(kana):
        size = 2 if kana[at : at + 2] in MORAE else 1
        if kana[at : at + size] in MORAE:
            yield at, kana[at : at + size]
        at += size
