"""How the mouth looks while a phone is said: five vowels, shut, and at rest.

Most consonants are made behind the lips, which meanwhile go to the vowel that follows; so only
those that need the lips have a shape of their own. Pure; phones are named as the front ends name
them.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence

from koed.engine.base import Shape

Shapes = tuple[Shape, ...]
"""What a phone goes through, in equal parts of its time; empty = as the vowel that follows."""

_VOWELS: dict[str, Shape] = {"a": "a", "i": "i", "u": "u", "e": "e", "o": "o"}
_SHUT: Shapes = ("closed",)
_REST: Shapes = ("rest",)

_ENGLISH: dict[str, Shapes] = {
    "aa": ("a",), "ae": ("a",), "ah": ("a",), "ax": ("a",), "ao": ("o",), "aw": ("a", "u"),
    "ay": ("a", "i"), "eh": ("e",), "er": ("e",), "ey": ("e", "i"), "ih": ("i",), "iy": ("i",),
    "ow": ("o", "u"), "oy": ("o", "i"), "uh": ("u",), "uw": ("u",),
    "b": _SHUT, "p": _SHUT, "m": _SHUT, "f": _SHUT, "v": _SHUT,
    "w": ("u",), "sh": ("u",), "zh": ("u",), "ch": ("u",), "jh": ("u",),
}  # fmt: skip
_JAPANESE: dict[str, Shapes] = {
    **{vowel: (shape,) for vowel, shape in _VOWELS.items()},
    **{vowel.upper(): (shape,) for vowel, shape in _VOWELS.items()},  # unvoiced
    **dict.fromkeys(("b", "by", "p", "py", "m", "my", "v", "V", "N"), _SHUT),
    "f": ("u",), "w": ("u",),
}  # fmt: skip
_KOREAN: dict[str, Shapes] = {
    "ㅏ": ("a",), "ㅐ": ("e",), "ㅓ": ("o",), "ㅔ": ("e",), "ㅗ": ("o",), "ㅜ": ("u",),
    "ㅡ": ("u",), "ㅣ": ("i",), **dict.fromkeys("ㅁㅂㅃㅍ", _SHUT),
}  # fmt: skip
IPA: dict[str, Shapes] = {
    **dict.fromkeys("aɑɐæʌəᵊ", ("a",)), **dict.fromkeys("iɪᵻ", ("i",)),
    **dict.fromkeys("uʊɯɨyw", ("u",)), **dict.fromkeys("eɛɜɚɤøœ", ("e",)),
    **dict.fromkeys("oɔɒ", ("o",)),
    "A": ("e", "i"), "I": ("a", "i"), "O": ("o", "u"), "Q": ("o", "u"), "W": ("a", "u"),
    "Y": ("o", "i"),
    **dict.fromkeys("bpmfvʋɴ", _SHUT), **dict.fromkeys("ʃʒʧʤβɸɥᵝ", ("u",)),
    **dict.fromkeys("cdhjklnqrstxzçðɖɟɡɰŋɳɲθɹɾɻʁɽʂʈɣχʎʝɕʔʣʥʦʨꭧST", ()),
    **dict.fromkeys(";:—", _REST), **dict.fromkeys('ˈˌʰʲ "()“”', ()),
}  # fmt: skip
"""IPA a character at a time, with the capitals that stand for diphthongs of English."""
HELD = frozenset("ː\u0303↓→↗↘")
"""Length, nasality and tone belong to the vowel before, whose shape stays."""
_LABIALS = frozenset("bpmf")
_PAUSES = frozenset(
    {"!", "?", "…", ",", ".", "-", "SP", "SP2", "SP3", "_", "pau", "sil"}  # marks and silence
)
_ROUND = str.maketrans({"v": "u", "w": "u", "y": "i", "E": "e"})
_DIGITS = re.compile(r"\d")


def shapes(phone: str, lang: str) -> Shapes:
    """Of one phone of ``en``, ``ja``, ``zh``, ``yue`` or ``ko``, or a character of ``ipa``."""
    if phone in _PAUSES:
        return _REST
    if lang in _TABLES:
        name = _DIGITS.sub("", phone).lower() if lang == "en" else phone
        return _TABLES[lang].get(name, ())
    return _syllable_part(phone[1:] if lang == "yue" else phone)


_TABLES: Mapping[str, Mapping[str, Shapes]] = {
    "en": _ENGLISH,
    "ja": _JAPANESE,
    "ko": _KOREAN,
    "ipa": IPA,
}


@functools.cache
def _syllable_part(part: str) -> Shapes:
    """Of a Chinese initial or final as it is written: ``iao3`` goes from i through a to o."""
    sounds = part.rstrip("0123456789")
    if not sounds or not sounds.isalpha():
        return ()
    sounds = sounds.replace("yu", "v").replace("oe", "o").replace("eo", "o")
    found: list[Shape] = [_VOWELS[c] for c in sounds.lower().translate(_ROUND) if c in _VOWELS]
    if sounds[0] in _LABIALS or sounds[-1] in "mp":
        found.append("closed")
    return tuple(shape for at, shape in enumerate(found) if at == 0 or shape != found[at - 1])


def along(phones: Sequence[str], lang: str) -> list[tuple[Shape, float]]:
    """The shapes of ``phones`` and where each begins, counted in phones (1.5 = half through the
    second). Neighbours differ; one that begins with the first phone is always there."""
    out: list[tuple[Shape, float]] = []
    waiting: float | None = None  # since when the lips are free to go to the next vowel
    for number, phone in enumerate(phones):
        if phone in HELD:
            continue
        found = shapes(phone, lang)
        if not found:
            waiting = number if waiting is None else waiting
            continue
        for part, shape in enumerate(found):
            at = number + part / len(found)
            if part == 0 and waiting is not None and shape in _VOWELS:
                at = waiting
            if not out or shape != out[-1][0]:
                out.append((shape, at))
        waiting = None
    if not out or out[0][1] > 0.0:
        out.insert(0, ("rest", 0.0))
    return out


def timed(
    phones: Sequence[str], starts: Sequence[float], lang: str
) -> Iterator[tuple[Shape, float]]:
    """The shapes of ``phones`` and when each begins, in the unit of ``starts``: where each phone
    begins, and one more, where the last one ends."""
    for shape, at in along(phones, lang):
        phone = int(at)
        yield shape, starts[phone] + (at - phone) * (starts[phone + 1] - starts[phone])
