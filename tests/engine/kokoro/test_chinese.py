"""Mandarin for the natural voice: every syllable has its symbols, every word its characters."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koed.engine.kokoro.phonemes import pinyin
from koed.engine.kokoro.phonemes.chinese import read
from koed.engine.kokoro.symbols import IDS

readings = pytest.importorskip("pypinyin.contrib.tone_convert")
pytest.importorskip("opencc")
pytest.importorskip("rjieba")
NO_SYLLABLES = {"hm", "hng", "ng", "n", "m", "ê", "r"}
"""Interjections that are a consonant, and a letter for 儿."""


def syllables() -> set[str]:
    """Every reading of a character that pypinyin knows, with tone digit."""
    from pypinyin.constants import PINYIN_DICT

    marked = {reading for several in PINYIN_DICT.values() for reading in several.split(",")}
    return {readings.to_tone3(reading, neutral_tone_with_five=True) for reading in marked}


def test_every_syllable_in_every_tone_is_said_in_symbols_of_the_model() -> None:
    plain = {syllable[:-1] for syllable in syllables()} - NO_SYLLABLES
    assert len(plain) > 400
    for name in sorted(plain):
        initial = readings.to_initials(name)
        final = readings.to_finals(name)
        said = [pinyin.symbols(initial, final + tone) for tone in "12345"]
        assert len(set(said)) == 5, name
        assert all(symbol in IDS for sounds in said for symbol in sounds), name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("你好，欢迎！", "ni↗xau↓, xwa→ni↗ŋ!"),
        ("不对。", "pu↗twei↘."),
        ("一个人", "i↗kɤ ɻə↗n"),
        ("花儿", "xwa→ɚ↗"),
        ("後來呢？", "xou↘lai↗ nɤ?"),
        ("绿色女儿", "ly↘sɤ↘ ny↓ɚ↗"),
        ("10%", "pai↓fə→nꭧɨ→ʂɨ↗"),
        ("￥100", "i↘pai↓ɥɛ↗n"),
        ("嗯……", "ə→n…"),
        ("。。。", "."),
        ("", ""),
    ],
)
def test_chinese_is_read(text: str, said: str) -> None:
    assert read(text).symbols == said


def test_a_word_has_the_characters_that_it_was_written_with() -> None:
    text = "「你好」，2026年11月30日气温-5℃ 後來"
    said = read(text)
    written = [text[start:end] for start, end, _ in said.words]
    assert written == ["你好", "2026年11月30日", "气温", "-5℃", "後來"]
    assert said.symbols[said.words[2][2] :].startswith("ʨʰi↘wə→n")


def test_what_nobody_can_read_is_told_and_the_rest_is_said() -> None:
    said = read("A我😀赢了𠮷兙")
    assert said.symbols == "wo↓ i↗ŋ lɤ"
    assert said.unsaid == ("A", "😀", "𠮷", "兙")


@settings(max_examples=40, deadline=None)
@given(
    st.text(
        st.sampled_from("我不一子儿妈银行長〇1０.-:%￥，。！？…「」 \nA😀𠮷\u0301\x00"), max_size=24
    )
)
def test_any_text_is_read_in_order_and_in_symbols_of_the_model(text: str) -> None:
    said = read(text)
    assert all(symbol in IDS for symbol in said.symbols)
    assert said.symbols == said.symbols.strip()
    assert all(0 <= start < end <= len(text) for start, end, _ in said.words)
    assert all(left[1] <= right[0] for left, right in itertools.pairwise(said.words))
    assert [at for _, _, at in said.words] == sorted({at for _, _, at in said.words})


def test_of_a_word_of_four_thousand_characters_nothing_is_lost() -> None:
    text = "1" * 2000 + "我" * 2000
    said = read(text)
    assert [said.words[0][0], said.words[-1][1]] == [0, len(text)]
    assert said.symbols.count("wo") == 2000
