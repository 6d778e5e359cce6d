"""Japanese for the natural voice: every sound has a symbol, and every word its characters."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koed.engine.kokoro.phonemes import kana
from koed.engine.kokoro.phonemes.japanese import read
from koed.engine.kokoro.symbols import IDS

pytest.importorskip("pyopenjtalk")

SMALL = "ァィゥェォャュョヮ"
ALL_KANA = [chr(code) for code in range(ord("ァ"), ord("ヺ") + 1)]


def words(text: str) -> list[tuple[str, str]]:
    """Each word of ``text`` as it is written and as it is said."""
    said = read(text)
    ends = [at for _, _, at in said.words[1:]] + [len(said.symbols)]
    return [
        (text[start:end], said.symbols[at:until].rstrip(" .,!?…—“”"))
        for (start, end, at), until in zip(said.words, ends, strict=True)
    ]


@pytest.mark.parametrize("first", ALL_KANA)
def test_every_kana_and_every_pair_is_said_in_symbols_of_the_model(first: str) -> None:
    for pair in (first, *(first + small for small in SMALL)):
        said = kana.symbols(pair)
        assert said
        assert all(symbol in IDS for sound in said for symbol in sound), pair


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("コンニチワ", "koɲɲiʨiβa"),
        ("センパイ", "sempai"),
        ("ホンガ", "hoŋɡa"),
        ("マンネンヒツ", "manneɴçiʦɨ"),
        ("キョー", "kʲoː"),
        ("キューリ", "kʲɨːɾʲi"),
        ("ヴュー", "bʲɨː"),
        ("ウィンドー", "βindoː"),
        ("クァルテット", "kᵝaɾɯteʔto"),
        ("パーティー", "paːtʲiː"),
        ("マァ", "maː"),
        ("カワイイ", "kaβaiː"),
        ("アッ", "aʔ"),
        ("ン", "ɴ"),
    ],
)
def test_morae_are_said_as_their_neighbours_let_them(written: str, said: str) -> None:
    assert "".join(kana.symbols(written)) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("こんにちは、今日もよろしく！", "koɲɲiʨiβa, kʲoː mo joɾoɕikɯ!"),
        ("橋が見えなかった。", "haɕi ɡa mʲienakaʔta."),
        ("え？", "e?"),
        ("お茶「どうぞ」と言う。", "oʨa “doːʣo” to jɯː."),
        ("3本と6匹", "samboɴ to ɾoʔpʲikʲi"),
        ("2026年11月30日", "ɲiseɴ ɲiʥɨː ɾokɯneɴ ʥɨːiʨiɡaʦɨ saɲʥɨːɲiʨi"),
        ("10:30に", "ʥɨːʥi saɲʥɨʔpɯɴ ɲi"),
        ("5〜6人", "ɡo kaɾa ɾokɯɲiɴ"),
        ("-5度", "mainasɨ ɡodo"),
        ("何ですか", "naɴ desɨ ka"),
        ("ﾊﾟﾝﾀﾞ", "panda"),
        ("そっか〜〜…", "soʔkaː…"),
        ("OBSとiPhone", "oːbʲiːesɨ to aiɸoɴ"),
        ("。。。", "…"),
        ("え!?!?", "e!?"),
        ("", ""),
    ],
)
def test_japanese_is_read(text: str, said: str) -> None:
    assert read(text).symbols == said


def test_a_word_has_the_characters_that_it_was_written_with() -> None:
    text = "ﾊﾟﾝﾀﾞは 1,234円、10:30から。"
    assert words(text) == [
        ("ﾊﾟﾝﾀﾞ", "panda"),
        ("は", "βa"),
        ("1,234", "seɴ ɲiçakɯ saɲʥɨː jo"),
        ("円", "eɴ"),
        ("10:30", "ʥɨːʥi saɲʥɨʔpɯɴ"),
        ("から", "kaɾa"),
    ]


def test_what_nobody_can_read_is_told_and_the_rest_is_said() -> None:
    said = read("😀 テスト 한국→")
    assert said.symbols == "tesɨto"
    assert said.unsaid == ("😀", "한", "국", "→")


@settings(max_examples=30, deadline=None)
@given(
    st.text(
        st.sampled_from("あ橋ンッーゃヴ1０,:〜-「」。！？… 　\nAw😀ﾊﾟ゛々한\u0301\u200d\x00"),
        max_size=24,
    )
)
def test_any_text_is_read_in_order_and_in_symbols_of_the_model(text: str) -> None:
    said = read(text)
    assert all(symbol in IDS for symbol in said.symbols)
    assert said.symbols == said.symbols.strip()
    assert all(0 <= start < end <= len(text) for start, end, _ in said.words)
    assert list(said.words) == sorted(said.words)
    assert [at for _, _, at in said.words] == sorted({at for _, _, at in said.words})


def test_of_a_word_of_four_thousand_characters_nothing_is_lost() -> None:
    text = "コ" * 4000
    said = read(text)
    assert [said.words[0][0], said.words[-1][1]] == [0, len(text)]
    assert all(left[1] == right[0] for left, right in itertools.pairwise(said.words))


def levels(text: str) -> str:
    """High and low morae, phrases parted."""
    return "".join(
        (" " if mora.begins else "") + ("H" if mora.high else "L") + ("?" if mora.asks else "")
        for mora in read(text).morae
    ).lstrip()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("箸を", "HLL"),
        ("橋を", "LHL"),
        ("端を", "LHH"),
        ("橋を渡る。", "LHL LHH"),
        ("コーヒーを飲みました。", "LHHLL LHHLL"),
        ("橋、を", "LH L"),  # a pause ends a phrase
        ("本当？", "LHHH?"),
        ("ですか？", "HLL?"),
        ("12月", "LHHHH"),
        ("Hello!", "HLL"),
    ],
)
def test_which_morae_are_high(text: str, said: str) -> None:
    assert levels(text) == said


@given(st.text("橋箸端雨飴1２三、。？!ーっンaゃ 々のがはです", max_size=30))
@settings(max_examples=60, deadline=None)
def test_morae_are_the_symbols_of_words_in_order(text: str) -> None:
    said = read(text)
    at = 0
    for mora in said.morae:
        assert at <= mora.at < mora.end <= len(said.symbols)
        assert not set(said.symbols[mora.at : mora.end]) & set(" .,!?…—“”")
        assert not said.symbols[at : mora.at].strip(" .,!?…—“”")  # only marks between
        at = mora.end
    assert not said.symbols[at:].strip(" .,!?…—“”")
