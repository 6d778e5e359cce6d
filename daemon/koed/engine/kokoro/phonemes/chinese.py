"""Mandarin: words by jieba's dictionary, readings by pypinyin, tones in context; pinyin becomes the
model's symbols."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from koed.engine.kokoro.phonemes import pinyin
from koed.engine.kokoro.phonemes.cjk_marks import unread, written
from koed.engine.kokoro.phonemes.values import Phonemes, SpokenWord
from koed.g2p.chinese import syllables
from koed.g2p.chinese_numbers import digit_by_digit
from koed.g2p.chinese_sandhi import Token
from koed.g2p.chinese_text import traced
from koed.g2p.library import load
from koed.g2p.traced import Traced

_PART = re.compile(r"[^!?…,.\-]{1,100}|[!?…,.\-]")
"""A mark, or words between marks."""
_RESPELT = (
    (re.compile(r"[￥¥](\d+(?:\.\d+)?)(?![\d.]*[元块])"), lambda m: f"{m[1]}元"),
    (re.compile(r"[$＄](\d+(?:\.\d+)?)(?![\d.]*美?元)"), lambda m: f"{m[1]}美元"),
    (re.compile(r"〇"), lambda m: "零"),
    (re.compile(r"\d{20,}"), lambda m: digit_by_digit(m[0])),  # no number anybody could follow
)


def read(text: str) -> Phonemes:
    """Spans are those of ``text``. Raises `EngineError` ``library_missing``."""
    spelt = Traced.of(text)
    for pattern, spelling in _RESPELT:
        spelt = spelt.replace(pattern, spelling)
    spelt = traced(spelt)
    words: list[SpokenWord] = []
    before, missed = "", _left_out(text, spelt)
    for match in _PART.finditer(spelt.text):
        if match[0] in "!?…,.-":
            mark = written(match[0])
            before = before if words else mark.lstrip()
            words[-1:] = [replace(word, after=mark) for word in words[-1:]]
            continue
        for word, dumb in _words(match[0], spelt.part(match.start(), match.end())):
            missed += dumb
            if not word.symbols:
                continue
            if words and word.start < words[-1].end:  # of one number
                last = words[-1]
                said = last.symbols + last.after + word.symbols
                words[-1] = SpokenWord(last.start, max(word.end, last.end), said, " ")
            else:
                words.append(word)
    words[-1:] = [replace(word, after=word.after.rstrip()) for word in words[-1:]]
    return replace(Phonemes.of(words, before if words else before.rstrip()), unsaid=tuple(missed))


def _words(text: str, spelt: Traced) -> Iterator[tuple[SpokenWord, list[str]]]:
    """And the characters of each that have no sound."""
    library = load("rjieba", "Chinese")
    tokens = [Token(*pair) for pair in library.tag(text)]
    at = 0
    for word, initials, finals in syllables(text, tokens, library.cut_for_search):
        sounds = list(map(pinyin.symbols, initials, finals))
        dumb = [character for character, sound in zip(word, sounds, strict=True) if not sound]
        yield SpokenWord(*spelt.span(at, at + len(word)), "".join(sounds), " "), dumb
        at += len(word)


def _left_out(text: str, spelt: Traced) -> list[str]:
    kept = {at for start, end in set(spelt.spans) for at in range(start, end)}
    return unread("".join(c for at, c in enumerate(text) if at not in kept))
