"""What is said in the clips of a pack, and who says so."""

from __future__ import annotations

import json
from pathlib import PurePosixPath

from koed.voices.packs import clips
from koed.voices.packs.clips import There
from koed.voices.packs.items import Item


def files(*names: str) -> list[Item]:
    return [Item(PurePosixPath(name), 1) for name in names]


def told(names: tuple[str, ...], texts: dict[str, str]) -> dict[str, tuple[str, str, str, str]]:
    items = files(*names, *texts)
    paths = {PurePosixPath(name): text for name, text in texts.items()}
    configs = [
        found
        for path, text in paths.items()
        if path.suffix == ".json" and (found := clips.config(path, text, There(items)))
    ]
    return {
        clip.item.path.name: (clip.text, clip.lang, clip.mood, clip.source)
        for clip in clips.collect(items, paths, configs)
    }


def test_names_and_folders() -> None:
    found = told(
        ("参考音频/开心/今天天气真好。.wav", "【怒】やめてください.flac", "001.m4a", "a.txt"), {}
    )
    assert found == {
        "今天天气真好。.wav": ("今天天气真好。", "ja", "happy", "its name"),
        "【怒】やめてください.flac": ("やめてください", "ja", "angry", "its name"),
        "001.m4a": ("", "", "", ""),
    }
    assert told(("今天天气真好。.wav",), {})["今天天气真好。.wav"][1] == "zh"


def test_a_text_beside_and_a_list() -> None:
    found = told(
        ("w/a.wav", "w/b.wav", "w/c.wav"),
        {
            "w/a.lab": "good evening\n  to all\x1b[2J",
            "x.list": "D:\\data\\b.wav|hana|JP|こんばんは\nno line\n/gone/x.wav|a|b|c\n",
            "w/c.txt": "안녕하세요 여러분",
        },
    )
    assert found["a.wav"] == ("good evening to all\ufffd[2J", "en", "", "the .lab beside it")
    assert found["b.wav"] == ("こんばんは", "ja", "", "x.list")
    assert found["c.wav"][:2] == ("안녕하세요 여러분", "ko")


def test_infer_config() -> None:
    config = {
        "gpt_path": "hana-e1.ckpt",
        "sovits_path": "C:\\pack\\hana_e1.pth",
        "emotion_list": {
            "default": {
                "ref_wav_path": "a.wav",
                "prompt_text": "你好啊",
                "prompt_language": "中文",
            },
            "开心": {"ref_wav_path": "x/../../etc/passwd", "prompt_text": "no"},
            "怒": {"ref_wav_path": "b.wav", "prompt_text": "", "prompt_language": "auto"},
            "strange": 3,
        },
    }
    text = json.dumps(config)
    found = told(("h/a.wav", "h/b.wav"), {"h/infer_config.json": text})
    assert found["a.wav"] == ("你好啊", "zh", "neutral", "infer_config.json")
    assert found["b.wav"] == ("", "", "angry", "")
    there = There(files("h/hana-e1.ckpt", "h/hana_e1.pth"))
    read = clips.config(PurePosixPath("h/infer_config.json"), text, there)
    assert read is not None
    assert {path.name for path in read.weights} == {"hana-e1.ckpt", "hana_e1.pth"}


def test_what_is_no_configuration() -> None:
    for text in ("", "[]", "{}", "[" * 100_000, '{"gpt_path": 3}', '{"emotion_list": [1]}'):
        assert clips.config(PurePosixPath("c.json"), text, There([])) is None
