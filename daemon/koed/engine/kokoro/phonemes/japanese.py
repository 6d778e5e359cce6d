"""Japanese: OpenJTalk reads, its kana become the model's symbols."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from koed.engine.kokoro.phonemes import kana
from koed.engine.kokoro.phonemes.cjk_marks import unread, written
from koed.engine.kokoro.phonemes.values import Mora, Phonemes, SpokenWord
from koed.g2p.library import load
from koed.g2p.traced import Traced

_STOP = r"。！？!?\n"
_PIECE = re.compile(
    rf"[^{_STOP}]{{1,200}}(?:[{_STOP}]+|\Z|(?<=[、，,\s]))|[^{_STOP}]{{1,200}}|[{_STOP}]+"
)
"""A sentence, or the part of a long one that OpenJTalk gets at once, which takes it 0.05 s."""
_RESPELT = (
    (re.compile(r"(?<=\d)[〜～~](?=\d)"), lambda m: "から"),
    (re.compile(r"(?<![\d:])([01]?\d|2[0-4]):([0-5]\d)(?![\d:])"), lambda m: _clock(m[1], m[2])),
    (re.compile(r"(?<![\w)）])[-−](?=\d)"), lambda m: "マイナス"),
    (re.compile(r"(?<=[ぁ-ゖァ-ヺ])[〜～~ー]+"), lambda m: "ー"),
    (re.compile(r"(?<![ぁ-ゖァ-ヺ])ー+"), lambda m: "—"),  # nothing before that it could lengthen
)
_INFLECTED = ("動詞", "形容詞", "助動詞")
_LINKS = ("て", "で", "ば")
"""Particles that end a verb's form."""
_NO_KANA = re.compile(r"[^ァ-ヺー]")


@dataclass(frozen=True, slots=True)
class _Entry:
    """A word of OpenJTalk's, or, without ``kana``, what stands between words."""

    start: int
    end: int
    printed: str
    kana: str
    joined: bool
    """Said without a gap after the word before."""
    more: bool
    """A further part of the number before, whose characters cannot be told apart."""
    falls: int = 0
    """The mora of its accent phrase after which pitch falls; 0 = none."""
    goes_on: bool = False
    """It belongs to the accent phrase of the word before."""


def read(text: str) -> Phonemes:
    """Spans are those of ``text``. Raises `EngineError` ``library_missing``."""
    spelt = Traced.of(text)
    for pattern, spelling in _RESPELT:
        spelt = spelt.replace(pattern, spelling)
    entries = [
        entry
        for match in _PIECE.finditer(spelt.text)
        for entry in _entries(spelt.part(match.start(), match.end()))
    ]
    words: list[SpokenWord] = []
    before, marks = "", ""
    accents = _Accents()
    missed: list[str] = []
    for entry, following in itertools.zip_longest(entries, entries[1:]):
        if not entry.kana:
            marks += entry.printed
            missed += unread(entry.printed)
            continue
        after = following.kana if following and following.joined else ""
        said = kana.symbols(entry.kana, after)
        morae = tuple(accents.morae(entry, said, new=bool(marks)))
        word = SpokenWord(entry.start, entry.end, "".join(said), morae=morae)
        gap = written(marks) if marks or not entry.joined else ""
        if not words:
            before = gap.lstrip()
        elif entry.more and not marks:
            number = words.pop()
            before_it = number.symbols + gap
            word = SpokenWord(
                number.start, max(number.end, word.end), before_it + word.symbols,
                morae=(*number.morae, *(mora.moved(len(before_it)) for mora in word.morae)),
            )  # fmt: skip
        else:
            words[-1] = _before(gap, words[-1])
        words.append(word)
        marks = ""
    end = written(marks).rstrip(" “")
    if words:
        words[-1] = _before(end, words[-1])
    return replace(Phonemes.of(words, before if words else end), unsaid=tuple(missed))


def _before(marks: str, word: SpokenWord) -> SpokenWord:
    morae = word.morae
    if morae and "?" in marks:
        morae = (*morae[:-1], replace(morae[-1], asks=True))
    return replace(word, after=marks, morae=morae)


class _Accents:
    """Which morae are high, word by word."""

    def __init__(self) -> None:
        self._falls = self._number = 0

    def morae(self, entry: _Entry, said: list[str], new: bool) -> Iterator[Mora]:
        """Of a word's sounds, one each mora; ``new``: a pause or mark stands before it."""
        if new or not entry.goes_on:
            self._falls, self._number = entry.falls, 0
        at = 0
        for sound in said:
            self._number += 1
            rises = self._number > 1 or self._falls == 1
            high = rises and (not self._falls or self._number <= self._falls)
            yield Mora(at, at + len(sound), high, self._number == 1)
            at += len(sound)


def _entries(piece: Traced) -> Iterator[_Entry]:
    library = load("pyopenjtalk", "Japanese")
    # Sudachi would load 190 MB to guess at readings.
    features, morphemes = library.run_frontend_detailed(piece.text, use_sudachi_kanji_yomi=False)
    span = (piece.spans[0][0],) * 2
    before: dict[str, Any] = {"pos": "", "pos_group1": "", "pron": ""}
    for word in library.make_phoneme_mapping(features, morphemes, caller_text=piece.text):
        at, (first, last) = span, word["char_span"]
        span = piece.span(first, last) if first < last else at
        more = span == at or word["pos_group1"] == before["pos_group1"] == "数"
        yield _Entry(
            *span, piece.text[first:last], _spoken(word), _joined(before, word), more,
            word["accent_nucleus"], word["chain_flag"] == 1,
        )  # fmt: skip
        before = word


def _spoken(word: dict[str, Any]) -> str:
    said = _NO_KANA.sub("", word["pron"])
    if said.endswith("イウ") and word["surface"].endswith(("言う", "いう")):
        return said[:-2] + "ユー"
    return said


def _joined(before: dict[str, Any], word: dict[str, Any]) -> bool:
    """Whether no gap parts them: inflections and what is no word by itself; most particles are."""
    if (
        before["pos"] == "接頭詞"
        or before["pron"].endswith("ッ")
        or word["pron"].startswith(("ッ", "ー", "ン"))
    ):
        return True
    return word["chain_flag"] == 1 and (
        word["pos_group1"] in ("接尾", "数")
        or (word["pos_group1"] == "接続助詞" and word["surface"] in _LINKS)
        or (word["pos"] == "助動詞" and before["pos"] in _INFLECTED)
    )


def _clock(hour: str, minute: str) -> str:
    return f"{hour}時" + ("" if minute == "00" else f"{int(minute)}分")
