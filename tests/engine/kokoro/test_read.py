"""A text of several scripts: each part in its own language, nothing dropped unseen."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from koed.engine.kokoro.phonemes import LANGUAGES, Phonemes, read
from koed.engine.kokoro.phonemes.read import tag_of
from koed.errors import EngineError


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What the readers of Japanese and Chinese were given; each says "a" for a character."""
    given: list[tuple[str, str]] = []
    for name in ("japanese", "chinese"):

        def say(text: str, name: str = name) -> Phonemes:
            given.append((name, text))
            letters = [at for at, c in enumerate(text) if c.isalnum()]
            words = tuple((place, place + 1, at) for at, place in enumerate(letters))
            return Phonemes("a" * len(letters), words)

        module = f"koed.engine.kokoro.phonemes.{name}"
        monkeypatch.setitem(sys.modules, module, SimpleNamespace(read=say))
    return given


@pytest.mark.parametrize(
    ("lang", "text", "parts"),
    [
        ("ja", "今日はOBSで配信", [("japanese", "今日は"), ("japanese", "で配信")]),
        ("ja", "今日", [("japanese", "今日")]),
        ("en", "hello 世界 again", [("chinese", "世界 ")]),
        ("en", "hello こんにちは世界", [("japanese", "こんにちは世界")]),
        ("zh", "你好 world 2", [("chinese", "你好 ")]),
        ("zh", "12 个", [("chinese", "12 个")]),
        ("ja", "ﾊﾟｿｺﾝ　１２", [("japanese", "パソコン 12")]),
    ],
)
def test_parts_go_to_their_readers(
    asked: list[tuple[str, str]], lang: str, text: str, parts: list[tuple[str, str]]
) -> None:
    said = read(text, lang)
    assert asked == parts
    assert said.unsaid == ()


def test_spans_are_those_of_the_text_as_it_came(asked: list[tuple[str, str]]) -> None:
    text = "ＯＢＳ   で   hi 2026、配"
    said = read(text, "ja")
    assert said.symbols == "ˌObˌiˈɛs a hˈI twˈɛnti twˈɛnti sˈɪks, a"
    spans = [text[start:end] for start, end, _ in said.words]
    assert spans == ["ＯＢＳ", "で", "hi", "2026", "2026", "2026", "配"]
    assert [said.symbols[at] for _, _, at in said.words] == ["ˌ", "a", "h", "t", "t", "s", "a"]


def test_a_script_that_the_model_cannot_say_is_told() -> None:
    said = read("hi 한국 Привет you 톂ﾞ", "en")
    assert said.symbols == "hˈI ju"
    assert "".join(said.unsaid).startswith("한국Привет톂")


def test_tags() -> None:
    assert [tag_of(tag) for tag in ("en", "EN_gb", "en-AU", "pt-BR", "zh-Hans")] == [
        "en-us", "en-gb", "en-gb", "pt", "zh",
    ]  # fmt: skip
    assert {tag_of(tag)[:2] for tag in LANGUAGES} == set(LANGUAGES)
    with pytest.raises(EngineError) as told:
        tag_of("xx")
    assert told.value.code == "unknown_language"


def test_morae_are_counted_in_the_symbols_of_the_whole() -> None:
    pytest.importorskip("pyopenjtalk")
    said = read("今日はOBSで配信、箸。", "ja")
    found = [(said.symbols[mora.at : mora.end], mora.high) for mora in said.morae]
    assert found[:3] == [("kʲo", True), ("ː", False), ("βa", False)]
    assert found[-2:] == [("ha", True), ("ɕi", False)]
