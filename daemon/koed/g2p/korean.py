"""Korean text to jamo: numbers, exceptions, sound changes, compound vowels in two."""

from __future__ import annotations

import functools
import re
import unicodedata

from koed.g2p import korean_numbers as numbers
from koed.g2p.converted import Converted
from koed.g2p.korean_sounds import changed, decompose
from koed.g2p.korean_tags import tags
from koed.g2p.marks import PUNCTUATION, plain
from koed.g2p.tables import lines

_STEM, _ENDING, _COUNTER = "\ue000", "\ue001", "\ue002"  # marks behind a character while at work
_NUMBER = re.compile(rf"(\d[\d,]*)(?:([가-힣]+){_COUNTER})?")
_PLAIN_NUMBER = re.compile(r"(\d[\d,]*)(?:\.(\d+))?")
_STEM_CODAS = frozenset("ᆫᆬᆷᆱᆰᆲᆴ")
# 11, 24, 25: after a verb's stem the ending becomes tense; 27: so does a word after ㄹ.
_AFTER_STEM = (
    (re.compile(f"ᆰ{_STEM}[ᄀᄁ]"), "ᆯᄁ"),
    *((re.compile(f"([ᆲᆴᆫᆷ]){_STEM}{a}"), rf"\1{b}") for a, b in ("ᄀᄁ", "ᄃᄄ", "ᄉᄊ", "ᄌᄍ")),
    *((re.compile(f"ᆬ{_STEM}{a}"), f"ᆫ{b}") for a, b in ("ᄀᄁ", "ᄃᄄ", "ᄉᄊ", "ᄌᄍ")),
    *((re.compile(f"ᆱ{_STEM}{a}"), f"ᆷ{b}") for a, b in ("ᄀᄁ", "ᄃᄄ", "ᄉᄊ", "ᄌᄍ")),
    *((re.compile(f"ᆯ{_ENDING} {a}"), f"ᆯ {b}") for a, b in ("ᄀᄁ", "ᄃᄄ", "ᄇᄈ", "ᄉᄊ", "ᄌᄍ")),
)
_WORK_MARKS = re.compile(f"[{_STEM}{_ENDING}{_COUNTER}]")
# Between words ㄹ draws the ㄴ of the next, but not after an object's 을 that stayed a syllable.
_OBJECT = re.compile(f"(?<![ᆨ-ᆻᆽ-ᇂ]){decompose('을')} (?=ᄂ)")
_APART = "\ue003"

_LEADS = "ᄀᄁᄂᄃᄄᄅᄆᄇᄈᄉᄊᄋᄌᄍᄎᄏᄐᄑᄒ"
_LETTERS = dict(zip(_LEADS, "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ", strict=True))
_LETTERS |= dict(zip("ᆨᆫᆮᆯᆷᆸᆼ", "ㄱㄴㄷㄹㅁㅂㅇ", strict=True))
_LETTERS |= dict(zip("ᅡᅢᅥᅦᅩᅮᅳᅵ", "ㅏㅐㅓㅔㅗㅜㅡㅣ", strict=True))
_LETTERS |= {
    **{"ᅣ": "ㅣㅏ", "ᅤ": "ㅣㅐ", "ᅧ": "ㅣㅓ", "ᅨ": "ㅣㅔ", "ᅭ": "ㅣㅗ", "ᅲ": "ㅣㅜ"},
    **{"ᅪ": "ㅗㅏ", "ᅫ": "ㅗㅐ", "ᅬ": "ㅗㅣ", "ᅯ": "ㅜㅓ", "ᅰ": "ㅜㅔ", "ᅱ": "ㅜㅣ", "ᅴ": "ㅡㅣ"},
}
_SPACE, _STRANGE = "空", "停"


def convert(text: str, official_quirks: bool = False) -> Converted:
    """Jamo, marks, ``空`` for a space and ``停`` for what is none of them."""
    phones: list[str] = []
    for character in sounds(text, official_quirks):
        mark = plain(character)
        if character in _LETTERS:
            phones += _LETTERS[character]
        elif "ㄱ" <= character <= "ㅣ" and decompose(character) == character:
            phones += _letter(character)
        else:
            phones.append(_SPACE if mark == " " else mark if mark in PUNCTUATION else _STRANGE)
    if phones and "ㄱ" <= phones[-1] <= "ㅣ":
        phones.append(".")
    return Converted(text, phones, starts=_starts(text, phones))


def _starts(text: str, phones: list[str]) -> tuple[tuple[int, int], ...]:
    """Where words begin, if as many are spoken as are written."""
    written = [0, *(at + 1 for at, character in enumerate(text) if character == " ")]
    spoken = [0, *(at + 1 for at, phone in enumerate(phones) if phone == _SPACE)]
    return tuple(zip(written, spoken, strict=True)) if len(written) == len(spoken) else ()


def sounds(text: str, official_quirks: bool = False) -> str:
    """Conjoining jamo of ``text`` as it is spoken; marks and spaces unchanged."""
    text = unicodedata.normalize("NFC", text)
    for word, sound in _words():
        text = text.replace(word, sound)
    text = _read_numbers(_annotated(text), official_quirks)
    jamo = decompose(text)
    for pattern, sound in _AFTER_STEM:
        jamo = pattern.sub(sound, jamo)
    jamo = _WORK_MARKS.sub("", jamo)
    jamo = _OBJECT.sub(lambda match: match[0] + _APART, jamo)
    return changed(jamo).replace(_APART, "")


def _letter(letter: str) -> str:
    """A letter that stands alone (ㅋㅋ), as far as the models know it."""
    conjoining = unicodedata.normalize("NFKD", letter)
    return "".join(_LETTERS.get(jamo, "") for jamo in conjoining) or _STRANGE


def _annotated(text: str) -> str:
    """``text`` with work marks behind verb stems, adnominal endings and counting nouns."""
    tokens = [(token, tag.rsplit("+", 1)[-1]) for token, tag in tags(text)]
    if "".join(token for token, _ in tokens) != text.replace(" ", ""):
        return text  # the tagger read something else than what stands there
    lasts: dict[int, str] = {}
    at = 0
    for token, tag in tokens:
        at += len(token)
        lasts[at - 1] = tag
    marked, at = "", 0
    for character in text:
        marked += character
        if character != " ":
            marked += _work_mark(character, lasts.get(at, ""))
            at += 1
    return marked


def _work_mark(character: str, tag: str) -> str:
    coda = decompose(character)[-1]
    if tag == "NNBC":
        return _COUNTER
    if tag.startswith("E") and coda == "ᆯ":
        return _ENDING
    return _STEM if tag.startswith("V") and coda in _STEM_CODAS else ""


def _read_numbers(text: str, official_quirks: bool) -> str:
    counted = numbers.OFFICIALLY_COUNTED if official_quirks else numbers.NATIVE_COUNTED

    def before_counter(match: re.Match[str]) -> str:
        digits, noun = match[1].replace(",", ""), match[2]
        if noun is None:
            return match[0]
        read = numbers.native if noun in counted else numbers.sino
        return read(digits) + noun

    def plainly(match: re.Match[str]) -> str:
        if official_quirks:  # digit by digit, as the recording's library does
            return re.sub(r"\d", lambda digit: numbers.digit_by_digit(digit[0]), match[0])
        part = f" 점 {numbers.digit_by_digit(match[2])}" if match[2] else ""
        return numbers.sino(match[1].replace(",", "")) + part

    return _PLAIN_NUMBER.sub(plainly, _NUMBER.sub(before_counter, text))


@functools.cache
def _words() -> list[tuple[str, str]]:
    """Words that sound as no rule tells, and how."""
    rows = (line.split("=") for line in lines("korean_words.txt"))
    return [(word, sound) for word, sound in rows]
