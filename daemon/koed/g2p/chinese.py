"""Mandarin text to phones: readings by pypinyin, words and classes by jieba, tones in context."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from koed.g2p import chinese_sandhi as sandhi
from koed.g2p.chinese_sandhi import Token
from koed.g2p.chinese_text import normalise
from koed.g2p.converted import Converted, Pinyin
from koed.g2p.library import load
from koed.g2p.marks import PUNCTUATION, UNKNOWN
from koed.g2p.pinyin import syllable_phones

# Signs that stand for a pause symbol: every comma of their piece becomes it.
_PAUSE_SIGNS = {"￥": "SP2", "^": "SP3"}
_PRICE = re.compile(r"￥(\d+(?:\.\d+)?)(?![\d.]*[元块\d])")
_SENTENCE = re.compile(r"[^!?…,.\-]+|[!?…,.\-]")


def convert(
    text: str, official_quirks: bool = False, erhua: bool = True, readings: Pinyin | None = None
) -> Converted:
    """Phones of Mandarin text, two a character, one a mark. ``readings`` go before pypinyin's.

    Without ``erhua`` 儿 is always a syllable of its own with its own tone.
    """
    pause = next((name for sign, name in _PAUSE_SIGNS.items() if sign in text), "")
    if pause and not official_quirks:
        pause = ""
        text = _PRICE.sub(r"\1元", text)
    for sign in _PAUSE_SIGNS:
        text = text.replace(sign, "," if pause else "")
    norm_text = normalise(text)
    phones: list[str] = []
    word2ph: list[int] = []
    for sentence in _SENTENCE.findall(norm_text):
        if sentence in PUNCTUATION:
            phones.append(pause if pause and sentence == "," else sentence)
            word2ph.append(1)
        else:
            found = _sentence(sentence, erhua, readings(sentence) if readings else ())
            phones += found
            word2ph += [2] * len(sentence)
    return Converted(norm_text, phones, word2ph)


def _sentence(text: str, erhua: bool, known: Sequence[str | None] = ()) -> list[str]:
    """Two phones a character, for text without marks; ``known`` readings of each, or none."""
    tokens = [Token(pair.word, pair.flag) for pair in _tagger().cut(text)]
    phones: list[str] = []
    for _, initials, finals in syllables(text, tokens, _subwords, erhua, known):
        for initial, final in zip(initials, finals, strict=True):
            phones += syllable_phones(initial, final[:-1], final[-1:]) or [UNKNOWN, UNKNOWN]
    return phones


def syllables(
    text: str,
    tokens: Sequence[Token],
    subwords: sandhi.SplitWord,
    erhua: bool = True,
    known: Sequence[str | None] = (),
) -> Iterator[tuple[str, list[str], list[str]]]:
    """Words of ``text``, which ``tokens`` are, as they are said together, and the initials and
    finals with tone digit of their characters."""
    at = 0
    for token in sandhi.merged(tokens, finals_of):
        initials, finals = _readings(token.word)
        if text.startswith(token.word, at):
            _correct(initials, finals, known[at : at + len(token.word)])
        at += len(token.word)
        sandhi.apply(token, finals, subwords)
        if erhua:
            sandhi.erhua(token, finals)
        yield token.word, initials, finals


def finals_of(word: str) -> list[str]:
    """Finals with tone digit, before any change."""
    return _readings(word)[1]


def _readings(word: str) -> tuple[list[str], list[str]]:
    """Initials and finals with tone digit, one of each per character."""
    library = load("pypinyin", "Chinese")
    initials = library.lazy_pinyin(word, neutral_tone_with_five=True, style=library.Style.INITIALS)
    finals = library.lazy_pinyin(
        word, neutral_tone_with_five=True, style=library.Style.FINALS_TONE3
    )
    if len(initials) == len(finals) == len(word):
        return initials, finals
    # A character that pypinyin does not know comes in one piece with its neighbours.
    return [""] * len(word), ["5"] * len(word)


def _correct(initials: list[str], finals: list[str], known: Sequence[str | None]) -> None:
    """Put what is known in the place of what the dictionary says."""
    if not any(known):
        return
    parts = load("pypinyin.contrib.tone_convert", "Chinese")
    for at, reading in enumerate(known):
        if reading:
            initials[at] = parts.to_initials(reading)
            finals[at] = parts.to_finals_tone3(reading, neutral_tone_with_five=True)


def _subwords(word: str) -> list[str]:
    return list(_segmenter().cut_for_search(word))


@functools.cache
def _segmenter() -> Any:
    """jieba's dictionary, read without the cache file that it shares in the temporary folder."""
    jieba = load("jieba", "Chinese")
    jieba.setLogLevel(logging.WARNING)
    segmenter = jieba.Tokenizer()
    with (Path(jieba.__file__).parent / "dict.txt").open("rb") as dictionary:
        segmenter.FREQ, segmenter.total = segmenter.gen_pfdict(dictionary)
    segmenter.initialized = True
    return segmenter


@functools.cache
def _tagger() -> Any:
    return load("jieba.posseg", "Chinese").POSTokenizer(_segmenter())
