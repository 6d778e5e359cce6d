"""Which letters speak against the language that a text is said to be in."""

from __future__ import annotations

import pytest

from koed.g2p import script_check


@pytest.mark.parametrize(
    ("text", "lang", "found"),
    [
        ("Good evening, GPU number 3.", "en", ""),
        ("今日はちょっと、静かな話をしますね。", "ja", ""),
        ("OBSで配信します", "ja", ""),
        ("一期一会", "ja", ""),
        ("今天天气很好，OK", "zh", ""),
        ("안녕하세요, hello", "ko", ""),
        ("... 1 2 3", "ja", ""),
        ("привет", "ru", ""),
        ("Hello there, this is what I said", "ja", "Latin alone"),
        ("Hello there", "ko", "Latin alone"),
        ("今日はちょっと、静かな話をしますね。", "zh", "kana"),
        ("今日はちょっと、静かな話をしますね。", "en", "kana and ideographs"),
        ("今天天气很好我们一起去公园吧", "ja", "ideographs without any kana"),
        ("안녕하세요 여러분", "ja", "hangul"),
        ("こんにちは、みなさん", "ko", "kana"),
    ],
)
def test_the_letters_tell_another_language(text: str, lang: str, found: str) -> None:
    assert script_check.foreign_to(text, lang) == found
