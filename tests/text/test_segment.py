"""Clauses, sentences and languages: where a text is parted, and that nothing gets lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koed.config.daemon import TextConfig
from koed.text.language import language_spans
from koed.text.normalize import StreamNormalizer, normalize, speakable
from koed.text.segment import Segment, Segmenter, segments

CONFIG = TextConfig()
QUICK = settings(derandomize=True, max_examples=150, deadline=None)

FRAGMENTS = [
    *["hello ", "world", "A", "I", "Mr.", "U.S.", "No.", " 5", "3.14", "1,000", "e.g.", "ok", "! "],
    *[
        "? ",
        ". ",
        ", ",
        "...",
        "… ",
        "。",
        "、",
        "！",
        "」",
        "「",
        '"',
        ")",
        "(",
        "\n",
        " ",
        ":",
        "; ",
    ],
    *[
        "今日は",
        "いい天気",
        "你好",
        "吗",
        "안녕",
        "하세요 ",
        "OBS",
        "Tシャツ",
        "Привет ",
        "สวัสดี",
        "2024",
    ],
    *["ー", "・・", "・", "—", "。。", "\u0301", "っ", "と", "a" * 40, "漢" * 40, "\u200d", "😂"],
]
TEXT = st.one_of(
    st.lists(st.sampled_from(FRAGMENTS), max_size=40).map("".join),
    st.text(max_size=100),
    st.text(st.characters(codec=None, exclude_categories=()), max_size=100),
)
LANG = st.sampled_from(["en", "ja", "zh", "ko", "fr"])
LIMITS = st.sampled_from([(24, 120), (1, 1), (5, 10), (60, 30)])


def said(text: str, lang: str, config: TextConfig = CONFIG) -> list[str]:
    return [segment.text for segment in segments(text, config, lang)]


TABLE = [
    (
        "en",
        ["Hello everyone,", "welcome to the stream! Today we play Minecraft,", "and later more."],
    ),
    ("en", ["Hello!", "I came, I saw, and then I went away again."]),
    ("en", ["Yes.", "No. OK. I know that. Sure."]),
    ("en", ["Mr. Smith met Dr. Jones.", "It was 3.14 p.m. in old St. Paul."]),
    ("en", ["It costs $1,000 at 12:30.", "That is v1.2.3 of example.com e.g. the new one."]),
    ("en", ['He said "No way!"', "and left. (Really.) Yes."]),
    ("en", ["So...", "I think that it will do."]),
    ("en", ["1. First thing\n", "2. Second thing"]),
    ("en", ["A very good day to you"]),
    ("en", ["this is a rather long", "line without any marks at all"]),
    ("ja", ["今日はいい天気ですね。", "みなさん、配信に来てくれてありがとうございます!"]),
    ("ja", ["こんにちは、", "みなさん、配信に来てくれてありがとうございます。"]),
    ("ja", ["12:30に会いましょう。", "3.5倍です。1,000円です。"]),
    ("ja", ["そう。。。", "かな、うん・・・まあいいか。"]),
    ("ja", ["彼は「すごい。」", "と言った。「本当?」そう。"]),
    ("ja", ["今日はOBSの設定をします。", "Tシャツが好き。"]),
    ("zh", ["大家好,", "欢迎来到我的直播间!今天我们要玩一个新游戏。", "你们准备好了吗?"]),
    ("zh", ["他说:", "“你好。”然后走了……再见。"]),
    ("ko", ["안녕하세요,", "여러분! 오늘은 새로운 게임을 해볼 거예요.", "준비됐나요?"]),
    ("en", ["I love", "寿司", "so much"]),
    ("en", ["Hello!", "こんにちは!", "안녕!"]),
    ("ja", ["Minecraft", "で遊ぶ"]),
]


@pytest.mark.parametrize(("lang", "parts"), TABLE)
def test_parts_are_those_of_speech(lang: str, parts: list[str]) -> None:
    text = ("" if lang in ("ja", "zh") else " ").join(parts)
    assert said(text, lang) == [part.strip() for part in parts]


@pytest.mark.parametrize(
    "text",
    [
        *["No. 5 is alive", "It is 3.14 here", "Ask Dr. Who now", "v1.2.3 is out", "etc. and so"],
        *["at 12:30 sharp", "the U.S. Army", "e.g. like so", "see a.b.com now", "J. R. Smith"],
        *["wait :) ok", "1,000,000 of us", "10:30に来て", "3.5倍だ", "5 p.m. or so", "Yahoo!x"],
    ],
)  # fmt: skip
def test_marks_inside_words_and_numbers_part_nothing(text: str) -> None:
    assert said(text, "ja" if text[-1] in "てだ" else "en") == [text]


@pytest.mark.parametrize(
    ("lang", "parts"),
    [
        ("en", ["Hello everyone, welcome to the stream, my dear friends!", "And later, more."]),
        ("en", ["this is a rather long line without any marks at all"]),
        ("en", ["Mr. Smith met Dr. Jones, at 3.14 p.m. or so.", "Yes, he did."]),
        ("en", ["Yes.", "Well, as I said, and he knows that: this is it."]),
        ("en", ["I love, as you all know,", "寿司", "so much"]),
        ("en", ["Hello everyone,", "this " * 30 + "is too long for one breath."]),
        ("ja", ["こんにちは、みなさん、配信に来てくれてありがとうございます。"]),
        ("ja", ["こんにちは、", "みなさん、" + "配信に来てくれて" * 5 + "ありがとうございます。"]),
    ],
)
def test_a_quick_engine_begins_with_the_whole_sentence(lang: str, parts: list[str]) -> None:
    text = ("" if lang == "ja" else " ").join(parts)
    found = [part.text for part in segments(text, CONFIG, lang, sentence_chars=100)]
    assert found[0] == parts[0]
    assert "".join(found).replace(" ", "") == text.replace(" ", "")


def test_pauses_follow_the_marks() -> None:
    text = "One, two is here and there now. And this, too.\nLast 寿司 ok then"
    pauses = [(part.text[-1], part.pause_s) for part in segments(text, CONFIG, "en")]
    comma, stop = CONFIG.comma_pause_s, CONFIG.sentence_pause_s
    assert pauses[0] == (",", comma)
    assert pauses[1] == (".", stop)
    assert pauses[2] == (".", stop)
    assert pauses[3:] == [("t", 0.0), ("司", 0.0), ("n", 0.0)]


@pytest.mark.parametrize(
    ("text", "default", "parts"),
    [
        ("hello", "ja", [("en", "hello")]),
        ("bonjour", "fr", [("fr", "bonjour")]),
        ("漢字", "en", [("zh", "漢字")]),
        ("漢字", "ja", [("ja", "漢字")]),
        ("漢字", "yue", [("yue", "漢字")]),
        ("漢字だ", "zh", [("ja", "漢字だ")]),
        ("안녕 hello there", "ko", [("ko", "안녕 "), ("en", "hello there")]),
        ("今日「hello you」だ", "ja", [("ja", "今日"), ("en", "「hello you」"), ("ja", "だ")]),
        ("新しいPCを買う", "ja", [("ja", "新しいPCを買う")]),
        ("Tシャツ", "ja", [("ja", "Tシャツ")]),
        ("OK 了解です", "ja", [("en", "OK "), ("ja", "了解です")]),
        ("第3回 2024", "zh", [("zh", "第3回 2024")]),
        ("привіт", "uk", [("uk", "привіт")]),
        ("привет", "en", [("ru", "привет")]),
        ("(´・ω・)いい", "ja", [("ja", "(´・ω・)いい")]),
        ("123!", "ko", [("ko", "123!")]),
        ("", "ko", []),
    ],
)  # fmt: skip
def test_languages_by_script(text: str, default: str, parts: list[tuple[str, str]]) -> None:
    spans = language_spans(text, default)
    assert [(lang or default, text[start:end]) for lang, start, end in spans] == parts


@QUICK
@given(TEXT, LANG)
def test_language_parts_join_to_the_text(text: str, lang: str) -> None:
    assert "".join(text[start:end] for _, start, end in language_spans(text, lang)) == text


def test_kana_later_in_the_line_makes_han_japanese() -> None:
    assert [s.lang for s in segments("東京、すごいですね", CONFIG, "zh")] == ["ja", "ja"]
    assert [s.lang for s in segments("東京,\nすごいですね", CONFIG, "zh")] == ["zh", "ja"]


def test_forced_language_is_kept() -> None:
    text = "Hello! こんにちは, world 안녕"
    assert {s.lang for s in segments(text, CONFIG, "en", forced_lang="ja")} == {"ja"}


@settings(QUICK, max_examples=300)
@given(TEXT, LANG, LIMITS, st.sampled_from([0, 40]))
def test_no_word_is_lost_or_repeated(
    text: str, lang: str, limits: tuple[int, int], sentence_chars: int
) -> None:
    config = replace(CONFIG, first_segment_chars=limits[0], segment_chars=limits[1])
    parts = list(segments(text, config, lang, sentence_chars=sentence_chars))
    at = 0
    for index, part in enumerate(parts):
        assert part.index == index
        assert part.text == text[part.start : part.end] == part.text.strip()
        assert speakable(part.text)
        assert part.lang
        assert part.start >= at
        assert not speakable(text[at : part.start])
        at = part.end
    assert not speakable(text[at:])
    assert not parts or parts[-1].pause_s == 0


@settings(QUICK, max_examples=300)
@given(TEXT, LANG, LIMITS, st.lists(st.integers(0, 100), max_size=15))
def test_incremental_equals_whole(
    text: str, lang: str, limits: tuple[int, int], cuts: list[int]
) -> None:
    config = replace(CONFIG, first_segment_chars=limits[0], segment_chars=limits[1])
    segmenter = Segmenter(config, lang)
    parts: list[Segment] = []
    places = [0, *sorted(cuts), len(text)]
    for start, end in pairwise(places):
        parts += segmenter.feed(text[start:end])
    parts += segmenter.close()
    whole = list(segments(text, config, lang))
    assert parts[:-1] == whole[:-1]
    assert [replace(part, pause_s=0.0) for part in parts[-1:]] == whole[-1:]


@pytest.mark.parametrize(("lang", "parts"), TABLE)
def test_incremental_by_character_equals_whole(lang: str, parts: list[str]) -> None:
    text = " ".join(parts)
    segmenter = Segmenter(CONFIG, lang)
    found = [part.text for char in text for part in segmenter.feed(char)]
    found += [part.text for part in segmenter.close()]
    assert found == said(text, lang)


def test_a_segment_is_given_out_as_soon_as_it_is_certain() -> None:
    segmenter = Segmenter(CONFIG, "en")
    assert segmenter.feed("Hel") == []
    assert segmenter.feed("lo!") == []
    assert [part.text for part in segmenter.feed(" ")] == ["Hello!"]
    assert segmenter.feed("This is how it goes when somebody talks.") == []
    assert len(segmenter.feed(" ")) == 1
    assert [part.text for part in segmenter.feed("A line\n")] == ["A line"]
    assert segmenter.close() == []


def test_japanese_stream_starts_at_the_first_comma() -> None:
    normalizer, segmenter = StreamNormalizer(CONFIG, "ja"), Segmenter(CONFIG, "ja")
    tokens = ["こん", "にち", "は", "、", "み", "なさん"]
    heard = [segmenter.feed(normalizer.feed(token)) for token in tokens]
    # "み" might still get an accent, so the comma is certain one letter later.
    assert [[part.text for part in parts] for parts in heard[:5]] == [[]] * 5
    assert [part.text for part in heard[5]] == ["こんにちは、"]


def test_first_segment_is_short_and_later_ones_are_bounded() -> None:
    text = "word " * 200
    lengths = [len(part.text) for part in segments(text, CONFIG, "en")]
    assert lengths[0] <= CONFIG.first_segment_chars
    assert max(lengths) <= CONFIG.segment_chars
    assert min(lengths[1:-1]) > CONFIG.segment_chars // 2


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_first_segment_is_never_absurd(limit: int) -> None:
    config = replace(CONFIG, first_segment_chars=limit)
    assert said("A cat sat on the mat", "en", config)[0] == "A cat"
    assert len(said("今日はいい天気になりました", "ja", config)[0]) >= 6


def test_whole_text_is_cut_lazily() -> None:
    class Counted(str):
        touched = 0

        def __getitem__(self, key: object) -> str:
            Counted.touched += 1
            return super().__getitem__(key)  # type: ignore[index]

    parts: Iterator[Segment] = segments(Counted("One clause, " * 5000), CONFIG, "en")
    assert next(parts).text == "One clause,"
    assert Counted.touched < 3


@pytest.mark.parametrize(
    "unit",
    ["a", " ", "!", "。", "今日は", "a漢", "! ", "a. ", "1, ", "\n", '"', "\u0301", "—", "hi, "],
)
def test_time_is_linear(unit: str) -> None:
    def seconds(size: int) -> float:
        text = (unit * size)[:size]
        begun = time.process_time()
        segmenter = Segmenter(CONFIG, "en")
        for start in range(0, size // 4, 5):
            segmenter.feed(text[start : start + 5])
        segmenter.feed(text[size // 4 :])
        segmenter.close()
        return time.process_time() - begun

    seconds(500)
    small = min(seconds(5_000) for _ in range(2))
    # The least of three, as a machine that stands still may count that as our time.
    assert any(seconds(40_000) < 24 * small + 0.1 for _ in range(3))


@QUICK
@given(TEXT, LANG)
def test_normalised_and_cut(text: str, lang: str) -> None:
    plain = normalize(text, CONFIG, lang)
    parts = list(segments(plain, CONFIG, lang))
    assert bool(parts) == bool(plain)
