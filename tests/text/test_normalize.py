"""Chat as it is typed, and what is left of it to say."""

from __future__ import annotations

import subprocess
import sys
import time
import unicodedata
from dataclasses import replace
from itertools import pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koed.config.daemon import TextConfig
from koed.text.characters import _MARK_RUN, MAX_MARKS
from koed.text.normalize import StreamNormalizer, clip, normalize, speakable
from koed.text.repeats import RepeatFilter

CONFIG = TextConfig()
QUICK = settings(derandomize=True, max_examples=150, deadline=None)

FRAGMENTS = [
    *["hello", "go", "Go!", "it's", "nooooo", "12:30", "3.14", "555", "1555", "no. 5", "w", "www"],
    *["hahaha", "jajaja", "kkkk", "lol", ":kappa:", ":Pog", "Champ:", "<:cat:12345>"],
    *["https://a.b", "/c?d=1", "youtube.com/x", "www.", "x.y", "すごい", "草", "今日", "は", "w。"],
    *[
        "かわいい",
        "!?",
        "哈",
        "哈哈",
        "你好",
        "，",
        "ㅋ",
        "ㅋㅋ",
        "안녕",
        "ㅠㅠ",
        "😂",
        "👨\u200d👩",
    ],
    *["\u200d👧", "🇯", "🇵", "👍", "🏽", "❤", "\ufe0f", "1️⃣", "♪", "→", "\u200b", "\u202e", "\x00"],
    *["\ud800", "e", "\u0301", "か\u3099", "ｶ", "ﾞ", "ᄒ", "ᅡ", "½", "…", "...", "。。", "～"],
    *[" ", "  ", "\n", "\r\n", "\t", "\u3000"],
]
CHAT = st.lists(st.sampled_from(FRAGMENTS), max_size=24).map("".join)
ANYTHING = st.one_of(
    st.text(max_size=80),
    st.text(st.characters(codec=None, exclude_categories=()), max_size=80),
    st.text("ab 。、wW5草ㅋ😂\u200d\u0301:", max_size=80),
    CHAT,
)

TABLE = [
    ("hel\u200dlo", "en", "hello"),
    # links
    ("see https://youtu.be/abc?x=1, ok", "en", "see link, ok"),
    ("これ見て https://x.com/a。", "ja", "これ見て リンク。"),
    ("看这个 www.bilibili.com/video", "zh", "看这个 链接"),
    ("이거 봐 http://a.kr/b", "ko", "이거 봐 링크"),
    ("discord.gg/abc (and twitch.tv)", "en", "link (and link)"),
    ("https://x.com/a すごいね", "en", "リンク すごいね"),
    ("e.g. this. and.that", "en", "e.g. this. and.that"),
    # emoji
    ("nice 😂", "en", "nice face with tears of joy"),
    ("すごい😂ね", "en", "すごい 嬉し泣き ね"),
    ("好😂", "zh", "好 笑哭了"),
    ("좋아 ❤️", "ko", "좋아 빨간색 하트"),
    ("👍🏽👨‍👩‍👧🇯🇵❤️1️⃣", "en", "thumbs up family man woman girl Japan 1"),
    ("😂😂😂😂😂😂😂", "en", "face with tears of joy"),
    ("😂 hello", "ja", "face with tears of joy hello"),
    ("いい曲♪★", "ja", "いい曲"),
    # emotes
    (":kappa: ok", "en", "kappa ok"),
    (":PogChamp::catJAM:", "en", "Pog Champ cat JAM"),
    ("hi <:peepo_happy2:123456789>", "en", "hi peepo happy 2"),
    ("at 12:30:45 or 10:20", "en", "at 12:30:45 or 10:20"),
    # repetition
    ("nooooooo!!!!!!", "en", "nooo!!!"),
    ("go go go go go go!", "en", "go go go!"),
    ("Go go GO gO", "en", "Go go GO"),
    ("go go go go go. on we go", "en", "go go go. on we go"),
    ("go go go go go on\ngo", "en", "go go go on\ngo"),
    ("1000000 and 99999", "en", "1000000 and 99999"),
    ("book keeper", "en", "book keeper"),
    ("あーーーーーーー", "ja", "あーーー"),
    ("かわいいかわいいかわいいかわいいかわいい", "ja", "かわいいかわいいかわいい"),
    ("かわいいかわいいかわいいかわいかった", "ja", "かわいいかわいいかわいいかわいかった"),
    ("가자 가자 가자 가자 가자", "ko", "가자 가자 가자"),
    # laughter
    ("すごいｗｗｗｗ", "ja", "すごい わら"),
    ("いいねw", "ja", "いいね わら"),
    ("wwww", "en", "わら"),
    ("w key", "en", "w key"),
    ("草www", "ja", "草"),
    ("草を食べる", "ja", "草を食べる"),
    ("草草草草", "ja", "草"),
    ("HAHAHAHAHA good", "en", "haha good"),
    ("jajajaja bueno", "es", "jaja bueno"),
    ("kkkkkk bom", "pt", "haha bom"),
    ("진짜 ㅋㅋㅋㅋㅋ", "ko", "진짜 크크"),
    ("哈哈哈哈哈哈 好", "zh", "哈哈 好"),
    ("555", "th", "ฮ่าๆ"),
    ("สวัสดี 5555", "en", "สวัสดี ฮ่าๆ"),
    ("好难过 555", "zh", "好难过 呜呜"),
    ("I got 555 points", "en", "I got 555 points"),
    ("1555円", "ja", "1555円"),
    ("lol lmao", "en", "lol lmao"),
    # characters
    ("ｶﾞｷﾞＡＢＣ１２３！", "ja", "ガギABC123!"),
    ("wait… what......", "en", "wait… what..."),
    ("10² 1½ 25℃", "en", "10² 1 1/2 25°C"),
    ("\u202eabc\u200b\x00\ud800d\u200fe", "en", "abcde"),
    ("Z" + "\u0337\u0322\u0316\u0301" * 50 + "a", "en", "Z\u0337\u0322\u0316a"),
    ("か\u3099ん\u3000は\r\n\r\n  い ", "ja", "がん は\nい"),
    ("ㅠㅏ", "ko", "ㅠㅏ"),
    # nothing to say
    ("", "en", ""),
    ("!!! ... 。", "en", ""),
    ("\u200b\u202e\x00", "en", ""),
    ("♪→★", "ja", ""),
]


@pytest.mark.parametrize(("text", "lang", "said"), TABLE)
def test_says_what_chat_means(text: str, lang: str, said: str) -> None:
    assert normalize(text, CONFIG, lang) == said


@pytest.mark.parametrize(
    ("changes", "text", "said"),
    [
        ({"urls": "drop"}, "see https://a.b/c now", "see now"),
        ({"urls": "say"}, "see https://a.b/c now", "see https://a.b/c now"),
        ({"emoji": "drop"}, "a 😂 b", "a b"),
        ({"emoji": "say"}, "a 😂 b", "a 😂 b"),
        ({"emoji": "say"}, "😂", "😂"),
        ({"emotes": "drop"}, "a :kappa: b", "a b"),
        ({"emotes": "say"}, "a :kappa: b", "a :kappa: b"),
        ({"laughter": "drop"}, "すごいwww", "すごい"),
        ({"laughter": "drop"}, "hahaha ok", "ok"),
        ({"laughter": "say"}, "ok hahaha wwwww", "ok hahaha www"),
        ({"max_repeat": 1}, "hello hello aaaa!!", "hello aa!!"),
        ({"max_repeat": 5}, "aaaaaaaa", "aaaaa"),
    ],
)
def test_settings_choose(changes: dict[str, object], text: str, said: str) -> None:
    assert normalize(text, replace(CONFIG, **changes), "en") == said  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "limit", "cut"),
    [
        ("short", 10, ("short", False)),
        ("one two three four", 12, ("one two", True)),
        ("First part, and then more", 14, ("First part,", True)),
        ("今日はいい天気。明日も", 9, ("今日はいい天気。", True)),
        ("a" * 50, 10, ("a" * 10, True)),
        ("いろはにほへと", 4, ("いろはに", True)),
    ],
)
def test_clip_cuts_at_a_boundary(text: str, limit: int, cut: tuple[str, bool]) -> None:
    assert clip(text, limit) == cut


@QUICK
@given(ANYTHING, st.integers(1, 30))
def test_clip_never_exceeds_its_limit(text: str, limit: int) -> None:
    cut, was_cut = clip(text, limit)
    assert len(cut) <= limit
    assert text.startswith(cut)
    assert was_cut == (len(text) > limit)


@QUICK
@given(ANYTHING, st.sampled_from(["en", "ja", "zh", "ko", "th", None]))
def test_any_text_becomes_plain(text: str, lang: str | None) -> None:
    said = normalize(text, CONFIG, lang)
    assert said == "" or speakable(said)
    assert said == said.strip()
    assert "  " not in said
    assert not any(unicodedata.category(char) in ("Cs", "Co") for char in said)
    assert not any(unicodedata.category(char) == "Cc" and char != "\n" for char in said)
    said.encode()


@settings(QUICK, max_examples=300)
@given(ANYTHING, st.lists(st.integers(0, 80), max_size=12), st.sampled_from(["en", "ja", "zh"]))
def test_streamed_equals_whole(text: str, cuts: list[int], lang: str) -> None:
    stream = StreamNormalizer(CONFIG, lang)
    places = [0, *sorted(cuts), len(text)]
    parts = [stream.feed(text[a:b]) for a, b in pairwise(places)]
    joined = ("".join(parts) + stream.close()).strip()
    assert (joined if speakable(joined) else "") == normalize(text, CONFIG, lang)


@pytest.mark.parametrize("text", [text for text, *_ in TABLE])
def test_streamed_by_character_equals_whole(text: str) -> None:
    stream = StreamNormalizer(CONFIG, "ja")
    joined = ("".join(map(stream.feed, text)) + stream.close()).strip()
    assert (joined if speakable(joined) else "") == normalize(text, CONFIG, "ja")


def test_a_stream_is_said_while_it_comes() -> None:
    stream = StreamNormalizer(CONFIG, "en")
    assert stream.feed("Hello the") == "Hello "
    assert stream.feed("re! 3") == "there! "
    assert stream.feed("0 ") == "30 "
    assert stream.feed("すごい。") == "すごい。"
    assert stream.feed("😂") == ""
    assert stream.close() == " 嬉し泣き"


@QUICK
@given(st.text("ab。", max_size=60), st.lists(st.integers(0, 60), max_size=10), st.integers(2, 4))
def test_repeats_are_found_wherever_the_text_is_cut(text: str, cuts: list[int], keep: int) -> None:
    whole, parted = RepeatFilter(keep), RepeatFilter(keep)
    places = [0, *sorted(cuts), len(text)]
    parts = [parted.push(text[a:b]) for a, b in pairwise(places)]
    assert "".join(parts) + parted.flush() == whole.push(text) + whole.flush()


@pytest.mark.parametrize("keep", [2, 3])
def test_repeats_within_repeats_are_found_alike(keep: int) -> None:
    units = ["".join(unit) for size in range(2, 6) for unit in product("ab", repeat=size)]
    for inner, outer in product(units, ["ab", "b", "aab"]):
        text = (inner * keep + outer) * (keep + 2)
        whole, parted = RepeatFilter(keep), RepeatFilter(keep)
        parts = [parted.push(char) for char in text]
        assert "".join(parts) + parted.flush() == whole.push(text) + whole.flush()


def test_every_combining_mark_can_be_capped() -> None:
    for code in range(0x110000):
        char = chr(code)
        if unicodedata.combining(char):
            assert _MARK_RUN.fullmatch(char * (MAX_MARKS + 1)), hex(code)


@pytest.mark.parametrize(
    "unit",
    [
        *["a", "ab", "草", "今日は", "w", "a.", ":a", "😂", "\u0301\u0316", "\u1161", " ", "go "],
        *["あああい", "http://", "<:", "5", "가자 ", "\u200d", "1.", "x.com"],
    ],
)  # fmt: skip
def test_time_is_linear(unit: str) -> None:
    def seconds(size: int) -> float:
        text = (unit * size)[:size]
        begun = time.process_time()
        normalize(text, CONFIG, "ja")
        return time.process_time() - begun

    seconds(1000)
    small = min(seconds(20_000) for _ in range(2))
    # Eight times the text: linear is 8, quadratic 64; the constant forgives a coarse clock. The
    # least of three, as a machine that stands still may count that as our time.
    assert any(seconds(160_000) < 24 * small + 0.1 for _ in range(3))


def test_a_megabyte_without_a_space() -> None:
    text = "".join(chr(0x4E00 + i * 7919 % 20000) for i in range(1_000_000))
    begun = time.process_time()
    assert normalize(text, CONFIG, "ja") == unicodedata.normalize("NFKC", text)
    assert time.process_time() - begun < 20


def test_emoji_data_is_read_only_when_needed() -> None:
    code = (
        "import sys, resource; from koed.config.daemon import TextConfig\n"
        "from koed.text import emoji_names, normalize, segment\n"
        "normalize.normalize('hello', TextConfig(), 'en')\n"
        "assert emoji_names._names.cache_info().currsize == 0\n"
        "assert 'emoji' not in sys.modules and 'numpy' not in sys.modules\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for lang in ('en', 'ja', 'zh', 'ko'): emoji_names.preload(lang)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    grown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(grown.stdout) < 12_000  # kilobytes
