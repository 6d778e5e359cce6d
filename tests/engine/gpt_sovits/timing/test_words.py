"""Where words begin among the phones, in each language, whatever the normaliser made of them."""

from __future__ import annotations

import pytest

from koed.engine.gpt_sovits.symbols import table
from koed.engine.gpt_sovits.timing.words import words
from koed.g2p.phones import phones


def begun(text: str, lang: str) -> dict[str, str]:
    """Word -> the first two phones of it."""
    found = phones(text, lang, table("v2"))
    return {
        text[first:last]: " ".join(found.phones[round(at) : round(at) + 2])
        for first, last, at in words(text, found.pieces)
    }


@pytest.mark.parametrize(
    ("lang", "text", "expected"),
    [
        ("en", "In 2024, I paid $5 there; Café isn't NASA!", {
            "In": "IH0 N", "2024": "T W", "I": "AY1 P", "there": "DH EH1", "Café": "K AH0",
            "isn't": "IH1 Z", "NASA": "EH1 N",
        }),
        ("en", "Hi", {"Hi": "HH AY1"}),  # it is too short: two marks stand before it
        ("ja", "今日は2024年です、東京へ", {
            "今": "ky o", "は": "w a", "2024": "n i", "年": "n e", "で": "d e", "東": "t o",
            "へ": "e",
        }),
        ("zh", "你好，2024年的世界。", {
            "你": "n i2", "好": "h ao3", "2024": "EE er4", "年": "n ian2", "世": "sh ir4",
        }),
        ("zh", "你好 world 世界", {"好": "h ao3", "world": "W ER1", "世": "sh ir4"}),
        ("ko", "여러분 안녕하세요. 오늘 방송에 왔어요.", {
            "여러분": "ㅇ ㅣ", "안녕하세요": "ㅇ ㅏ", "오늘": "ㅇ ㅗ", "방송에": "ㅂ ㅏ",
        }),
        ("yue", "你好，今日點呀？", {"好": "Yh You2", "今": "Yg Yam1", "點": "Yd Yim2"}),
    ],
)  # fmt: skip
def test_a_word_begins_with_its_own_phones(lang: str, text: str, expected: dict[str, str]) -> None:
    found = begun(text, lang)
    assert {word: found.get(word) for word in expected} == expected


@pytest.mark.parametrize("lang", ["en", "ja", "zh", "ko", "yue"])
@pytest.mark.parametrize(
    "text",
    ["a", "…a…", "5", "ーー1ー", "😀 hi 😀", "1,000,000.5%", "ab" * 400, "ＡＢＣ１２３", "۱۲۳ x"],
)
def test_places_rise_and_stay_within_whatever_the_text(lang: str, text: str) -> None:
    found = phones(text, lang, table("v2"))
    places = words(text, found.pieces)
    assert all(0 <= first < last <= len(text) for first, last, _ in places)
    at = [place for _, _, place in places]
    assert at == sorted(at)
    assert all(0.0 <= place <= len(found.phones) for place in at)
