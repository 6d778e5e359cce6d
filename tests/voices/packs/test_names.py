"""What names tell, in the encodings and habits of those who make packs."""

from __future__ import annotations

import pytest

from koed.voices.packs import names


@pytest.mark.parametrize(
    ("written", "encoding"),
    [
        (["GPT_weights/hana-e15.ckpt"], "utf-8"),
        (["参考音频/【开心】今天天气真好。.wav", "胡桃-e15.ckpt"], "utf-8"),
        (["参考音频/【开心】今天天气真好。.wav", "胡桃-e15.ckpt", "胡桃_e8_s200.pth"], "gbk"),
        (["胡桃/使用说明.txt"], "gbk"),
        (["リファレンス/こんにちは、元気ですか.wav", "初音ミク-e15.ckpt"], "cp932"),
        (["花/お読みください.txt"], "cp932"),
        (["語音/請不要這樣說我.wav"], "big5"),
    ],
)
def test_the_encoding_of_a_zip_shows_in_all_of_its_names(written: list[str], encoding: str) -> None:
    assert names.encoding_of([name.encode(encoding) for name in written]) == encoding


@pytest.mark.parametrize(
    ("stem", "told"),
    [
        ("hana-e15", ("hana", (15, -1))),
        ("hana_e8_s200", ("hana", (8, 200))),
        ("胡桃_e8_s200_l32", ("胡桃", (8, 200))),
        ("花 v2 -E10", ("花 v2", (10, -1))),
        ("e15", ("", (15, -1))),
        ("scene15", ("scene15", (-1, -1))),
        ("model", ("model", (-1, -1))),
    ],
)
def test_stem_and_epoch(stem: str, told: tuple[str, tuple[int, int]]) -> None:
    assert names.stem_and_age(stem) == told


def test_stems_are_compared_by_their_letters() -> None:
    assert names.same_stem("Hu Tao", "hu_tao")
    assert names.same_stem("ﾊﾅ", "ハナ")
    assert not names.same_stem("hana", "hanae")
    assert not names.same_stem("", "")


def test_a_safe_name_for_every_title() -> None:
    assert names.safe_id("Hu Tao (v2)") == "hu-tao-v2"
    assert names.safe_id("ミク") == "miku"
    assert names.safe_id("안녕") == "annyeong"
    assert names.safe_id("hana", {"hana", "hana-2"}) == "hana-3"
    assert names.safe_id("a" * 50, {"a" * 32}) == "a" * 30 + "-2"
    assert names.safe_id("☆") != names.safe_id("★")
    assert names.safe_id("胡桃") != names.safe_id("甘雨")


def test_ideographs_do_without_pypinyin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(names.importlib.sys.modules, "pypinyin", None)  # type: ignore[attr-defined]
    assert names.safe_id("胡桃").startswith("voice-")
    assert names.safe_id("胡桃") != names.safe_id("甘雨")
    assert names.safe_id("胡桃 Hutao") == "hutao"


@pytest.mark.parametrize(
    ("stem", "text", "mood"),
    [
        ("【开心】今天天气真好。", "今天天气真好。", "happy"),
        ("[angry] Leave me alone at once!", "Leave me alone at once!", "angry"),
        ("（中立）こんにちは、元気ですか", "こんにちは、元気ですか", "neutral"),
        ("开心_今天天气真好", "今天天气真好", "happy"),
        ("001_こんにちは、元気ですか_02", "こんにちは、元気ですか", ""),
        ("安녕하세요 여러분 (1)", "安녕하세요 여러분", ""),
        ("I have been waiting for you", "I have been waiting for you", ""),
        ("【得意】看我的厉害吧", "看我的厉害吧", names.safe_id("得意")),
        ("happy", "", "happy"),
        ("vo_hutao_dialog_0012", "", ""),
        ("参考音频", "", ""),
        ("reference 3", "", ""),
        ("audio", "", ""),
    ],
)
def test_a_clip_may_be_named_by_its_words(stem: str, text: str, mood: str) -> None:
    assert names.of_clip(stem) == (text, mood)


@pytest.mark.parametrize(
    ("folders", "mood"),
    [
        (["hana", "参考音频", "开心"], "happy"),
        (["reference", "Angry"], "angry"),
        (["reference", "tsundere"], "tsundere"),
        (["参考音频"], ""),
        (["reference", "reference_audio"], ""),
        (["hana", "wavs"], ""),
        ([], ""),
    ],
)
def test_a_folder_may_be_a_mood(folders: list[str], mood: str) -> None:
    assert names.mood_of_folders(folders) == mood


def test_what_a_terminal_would_obey_is_not_printed() -> None:
    assert names.shown("a\x1b[2Jb\u202ec\udc80") == "a\ufffd[2Jb\ufffdc?"
    assert names.shown("か\u3099") == "が"
