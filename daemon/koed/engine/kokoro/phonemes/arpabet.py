"""Phones of our own English dictionary and network in the model's symbols.

The rules are those that bring most words which both dictionaries hold to the same symbols; a test
counts them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_CONSONANTS = {
    "B": "b", "CH": "ʧ", "D": "d", "DH": "ð", "F": "f", "G": "ɡ", "HH": "h", "JH": "ʤ", "K": "k",
    "L": "l", "M": "m", "N": "n", "NG": "ŋ", "P": "p", "R": "ɹ", "S": "s", "SH": "ʃ", "T": "t",
    "TH": "θ", "V": "v", "W": "w", "Y": "j", "Z": "z", "ZH": "ʒ",
}  # fmt: skip
_VOWELS = {
    "AA": "ɑ", "AE": "æ", "AH": "ʌ", "AO": "ɔ", "AW": "W", "AY": "I", "EH": "ɛ", "ER": "ɜɹ",
    "EY": "A", "IH": "ɪ", "IY": "i", "OW": "O", "OY": "Y", "UH": "ʊ", "UW": "u",
}  # fmt: skip
_STRESS = {"0": "", "1": "ˈ", "2": "ˌ"}
_WEAK = {"AH": "ə", "ER": "əɹ"}

_ANY_VOWEL = "AIOQWYaiuæɑɒɔəɛɜɪʊʌᵻᵊ"
_NEGATION = re.compile(rf"^ən(?![{_ANY_VOWEL}ˈˌj])")
_AMERICAN = (
    (re.compile(r"(?<=[bdfɡkmnpstvzðŋɹʃʒʤʧθ])ə(?=l(?![AIOWYiuæɑəɛɜɪʊʌˈˌ]))"), "ᵊ"),
    (re.compile(r"(?<=[tdsz])ə(?=n(?![AIOWYiuæɑəɛɜɪʊʌˈˌ]))"), "ᵊ"),
    # in an open syllable within a word
    (re.compile(r"(?<=[bdfhklmnpɹstvwz])(?<![ˈˌ])ɪ(?=[bdfklmnpɹstvz][ˈˌ]?[AIOWYiuæɑəɛɪɔɜʌ])"), "ə"),
    (re.compile(r"(?<=[szʃʒʧʤ])ɪ(?=z$)|(?<=[td])ɪ(?=d$)"), "ᵻ"),
    # between vowels, the second without stress, t is a tap
    (re.compile(r"(?<=[AIOWYiuæɑəɛɪɹʊʌɔɜ])t(?=[AIOWYiuəɪᵻᵊ])(?!ᵊn)"), "T"),
)
_BRITISH = (
    (re.compile("æ"), "a"),
    (re.compile("O"), "Q"),
    (re.compile("ɑ(?!ɹ)"), "ɒ"),
    (re.compile("ɑɹ"), "ɑːɹ"),
    (re.compile("ɔ"), "ɔː"),
    (re.compile("ɜɹ"), "ɜːɹ"),
    (re.compile("(?<=[ˈˌ])i(?!ɹ)"), "iː"),
    (re.compile("iɹ|ɪɹ"), "ɪəɹ"),
    (re.compile(rf"ɛɹ(?![{_ANY_VOWEL}])"), "ɛːɹ"),
    (re.compile(rf"i(?=[ˈˌ]?[{_ANY_VOWEL}])"), "ɪ"),
    (re.compile(rf"u(?=[ˈˌ]?[{_ANY_VOWEL}])"), "ʊ"),
    (re.compile("u"), "uː"),
    (re.compile("ʊɹ"), "ʊəɹ"),
    (re.compile("əl$"), "ᵊl"),
    (re.compile(rf"(?<=[tdszfvmʃʒ])ən(?![{_ANY_VOWEL}])"), "ᵊn"),
    (re.compile(rf"ɹ(?![{_ANY_VOWEL}ˈˌ])"), ""),
)


def symbols(phones: Iterable[str], british: bool = False) -> str:
    """Of ARPAbet ``phones`` with digits for stress; any other name is left out."""
    said = ""
    for phone in phones:
        name, stress = (phone[:-1], phone[-1]) if phone[-1:].isdigit() else (phone, "0")
        if name in _VOWELS:
            weak = _WEAK.get(name) if stress == "0" else None
            said += _STRESS.get(stress, "") + (weak or _VOWELS[name])
        else:
            said += _CONSONANTS.get(name, "")
    said = _NEGATION.sub("ˌʌn", said)
    for pattern, other in _BRITISH if british else _AMERICAN:
        said = pattern.sub(other, said)
    return said
