"""From an unknown pack to a voice: what is planned, what is asked, what is made."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from koed.cli import commands as cli
from koed.config.profile import load_profile
from koed.engine.gpt_sovits.checkpoints import s1_s2_keys
from koed.engine.gpt_sovits.store.store import Store
from koed.errors import EngineError
from koed.recordings import recording as reference
from koed.recordings.recording import Recording
from koed.testing import tiny
from koed.voices.packs import act, plan
from koed.voices.packs.plan import PackPlan, PackWish
from koed.voices.packs.sources import opened

RATE_HZ = 16_000
Files = Mapping[str, bytes]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """An s1 and an s2 file of v2, and another s2."""
    folder = tmp_path_factory.mktemp("weights")
    text = tiny.weights(dataclasses.replace(tiny.T2S, phones=732).shapes())
    config = {"model": {"head": tiny.HEADS}}
    tiny.save(folder / "s1", {"weight": tiny.half(text), "config": config})
    for seed in (0, 1):
        sound = tiny.weights(s1_s2_keys.S2.shapes(tiny.SOUND), seed)
        tiny.save(folder / f"s2-{seed}", {"weight": tiny.half(sound)})
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def clip(folder: Path, seconds: float) -> bytes:
    """A WAV file of something like speech between two silences."""
    at_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    voice = sum(np.sin(2 * np.pi * 140 * n * at_s) / n for n in range(1, 20))
    hiss = 1e-4 * np.random.default_rng(0).standard_normal(RATE_HZ // 5)
    loud = 0.2 * voice * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * at_s))
    samples = np.concatenate([hiss, loud, hiss]).astype(np.float32)
    reference.write(folder / "clip.wav", Recording(samples, RATE_HZ))
    return (folder / "clip.wav").read_bytes()


@pytest.fixture
def pack(tmp_path: Path, weights: dict[str, bytes]) -> dict[str, bytes]:
    return {
        "胡桃/GPT_weights_v2/胡桃-e10.ckpt": b"never opened",
        "胡桃/GPT_weights_v2/胡桃-e15.ckpt": weights["s1"],
        "胡桃/SoVITS_weights_v2/胡桃_e8_s200.pth": weights["s2-0"],
        "胡桃/参考音频/中立/I am so glad to see you.wav": clip(tmp_path, 4.0),
        "胡桃/参考音频/开心/太好了，终于等到你了，你好吗。.wav": clip(tmp_path, 3.5),
        "胡桃/参考音频/短的，今天太短了。.wav": clip(tmp_path, 1.0),
        "胡桃/使用须知.txt": "不可商用".encode(),
    }


def planned(tmp_path: Path, files: Files, asked: PackWish = PackWish()) -> PackPlan:  # noqa: B008
    folder = tmp_path / "pack"
    shutil.rmtree(folder, ignore_errors=True)
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    with opened([folder], tmp_path) as source:
        return plan.make(source, asked)


def test_the_plan_of_a_pack(tmp_path: Path, pack: Files) -> None:
    found = planned(tmp_path, pack)
    (voice,) = found.voices
    assert (voice.name, voice.pair.title, voice.problem) == ("hutao", "胡桃", "")
    assert voice.clips[0].clip.text == "I am so glad to see you"
    assert voice.clips[0].seconds == pytest.approx(4.3, abs=0.1)
    assert [heard.clip.mood for heard in voice.moods] == ["happy"]
    assert found.terms == ("胡桃/使用须知.txt",)
    passed = {path.rpartition("/")[2]: why for path, why in found.passed}
    assert passed["胡桃-e10.ckpt"] == "an earlier epoch than 胡桃-e15.ckpt"
    assert "too short" in passed["短的，今天太短了。.wav"]


def test_several_voices_and_their_clips(
    tmp_path: Path, pack: dict[str, bytes], weights: Files
) -> None:
    sound = clip(tmp_path, 4.0)
    pack["凛/凛-e2.ckpt"], pack["凛/凛_e3_s9.pth"] = weights["s1"], weights["s2-1"]
    pack["凛/こんにちは、元気ですか.wav"] = sound
    pack["nobody's/どなたの声でしょうか.wav"] = sound
    found = planned(tmp_path, pack)
    assert {voice.pair.title: voice.clips[0].clip.text for voice in found.voices} == {
        "胡桃": "I am so glad to see you",
        "凛": "こんにちは、元気ですか",
    }
    (only,) = planned(tmp_path, pack, PackWish(only="凛", name="rin")).voices
    assert only.name == "rin"
    for asked, code in (
        (PackWish(name="x"), "pack_several"),
        (PackWish(only="x"), "pack_unknown_voice"),
    ):
        with pytest.raises(EngineError) as caught:
            planned(tmp_path, pack, asked)
        assert caught.value.code == code


def test_a_clip_that_says_nothing_of_itself(tmp_path: Path, pack: dict[str, bytes]) -> None:
    for name in [name for name in pack if name.endswith(".wav")]:
        del pack[name]
    assert planned(tmp_path, pack).voices[0].problem == "there is no clip"
    pack["a/ref.wav"] = clip(tmp_path, 4.0)
    assert "--text" in planned(tmp_path, pack).voices[0].problem
    (voice,) = planned(tmp_path, pack, PackWish(text="good evening to all", lang="en")).voices
    assert (voice.problem, voice.clips[0].clip.lang) == ("", "en")
    pack["a/other.wav"] = pack["a/ref.wav"]
    several = planned(tmp_path, pack, PackWish(text="good evening to all")).voices[0]
    assert "--clip says which: other.wav, ref.wav" in several.problem
    (voice,) = planned(tmp_path, pack, PackWish(text="good evening to all", clip="REF")).voices
    assert voice.clips[0].clip.item.path.name == "ref.wav"
    (voice,) = planned(tmp_path, pack, PackWish(clip="no such")).voices
    assert voice.problem == "there is no clip"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "a .ckpt and a .pth"),
        ({"a/inner.zip": b"PK"}, "it holds inner.zip"),
        ({"a.index": b""}, "RVC"),
        ({"a.ckpt": b"no weights", "b.pth": b"neither"}, "a.ckpt: "),
    ],
)
def test_what_holds_no_voice(tmp_path: Path, files: Files, said: str) -> None:
    (tmp_path / "pack").mkdir()
    with pytest.raises(EngineError) as caught:
        planned(tmp_path, {"x.txt": b"", **files})
    assert caught.value.code == "pack_empty"
    assert said in str(caught.value)


def test_what_a_killed_import_left_goes_away_and_a_running_one_stays(tmp_path: Path) -> None:
    store = Store(tmp_path / "models")
    left = store.folder / ".unpack-left"
    left.mkdir(parents=True)
    (left / "1.pth").write_bytes(b"")
    with act.staging(store) as first, act.staging(store) as second:
        assert first != second
        assert first.is_dir()
        assert not left.exists()
    assert list(store.folder.iterdir()) == []


# --- the command ---------------------------------------------------------------------------------


@pytest.fixture
def koed(tmp_path: Path, pack: Files, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A user's machine, and the pack as a zip there: words of a command line -> exit code."""
    (tmp_path / "profiles").mkdir()
    (tmp_path / "koed.yaml").write_text(f"profiles: {tmp_path / 'profiles'}\n")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with zipfile.ZipFile(tmp_path / "pack.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for name, data in pack.items():
            file.writestr(name, data)

    def run(command: str, *words: str) -> int:
        return cli.main([command, "--config", str(tmp_path / "koed.yaml"), *words])

    return run


def test_one_command_and_one_confirmation(
    tmp_path: Path, koed: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("voices", "import", str(tmp_path / "pack.zip"), "--no-prepare", "--consent", "herself")
    store, profile = Store(tmp_path / "koed" / "models"), tmp_path / "profiles" / "hutao.yaml"
    assert koed(*words) == 1  # nobody can be asked
    told = capsys.readouterr().out
    for part in ("hutao (胡桃)", "胡桃-e15.ckpt", "the same stem", "4.3 s", "by its name", "--yes",
                 "unknown, and stays empty: --licence", "使用须知.txt", "models pull"):  # fmt: skip
        assert part in told
    assert not store.scan().models
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    for answer, code in (("", 1), ("n", 1), ("y", 0)):
        monkeypatch.setattr("builtins.input", lambda _, answer=answer: answer)
        assert koed(*words) == code
        assert profile.exists() == (code == 0)
    assert "koe say --voice hutao" in capsys.readouterr().out
    (model,) = store.scan().models
    assert (model.name, model.card["title"], model.card["consent"]) == ("hutao", "胡桃", "herself")
    made = load_profile(profile)
    assert (made.lang, made.description, made.rights) == ("en", "胡桃", "herself")
    assert made.settings == {"model": "hutao"}
    assert sorted(path.name for path in store.folder.iterdir()) == ["hutao"]


def test_again_and_by_the_other_command(
    tmp_path: Path, koed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("import", str(tmp_path / "pack.zip"), "--no-prepare", "--yes", "--json")
    assert koed("models", *words) == 0
    first = json.loads(capsys.readouterr().out)["voices"][0]
    assert (first["model"], first["new"], first["enrolment"]["remarks"] != []) == (
        "hutao", True, True,
    )  # fmt: skip
    assert koed("voices", *words) == 1
    again = json.loads(capsys.readouterr().out)["voices"][0]
    assert (again["new"], "--force" in again["remark"]) == (False, True)
    assert koed("voices", *words, "--force") == 0
    assert koed("voices", "show", "hutao", "--json") == 1
    capsys.readouterr()


def test_a_whole_gpt_sovits_lends_its_networks(
    tmp_path: Path, koed: Any, pack: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    planned(tmp_path, pack)
    hubert = tmp_path / "pack" / "GPT_SoVITS" / "pretrained_models" / "chinese-hubert-base"
    tiny.save(hubert / "pytorch_model.bin", tiny.weights(tiny.EARS.shapes()))
    (hubert / "config.json").write_text("{}")
    words = ("voices", "import", str(tmp_path / "pack"), "--no-prepare", "--yes")
    assert koed(*words) == 0
    told = capsys.readouterr().out
    assert f"hubert: linked, {hubert}" in told
    assert "missing" not in told
    store = Store(tmp_path / "koed" / "models")
    assert store.part("hubert").resolve() == hubert
    assert [model.name for model in store.scan().models] == ["hutao"]


def test_show(tmp_path: Path, koed: Any, capsys: pytest.CaptureFixture[str]) -> None:
    pack = ("import", str(tmp_path / "pack.zip"), "--no-prepare", "--yes", "--licence", "CC-BY-4.0")
    assert koed("voices", *pack) == 0
    capsys.readouterr()
    assert koed("voices", "show", "hutao", "--json") == 1
    row = json.loads(capsys.readouterr().out)
    assert (row["version"], row["rate_hz"], row["licence"], row["consent"]) == (
        "v2", 32_000, "CC-BY-4.0", "",
    )  # fmt: skip
    assert row["languages"] == ["en", "ja", "ko", "yue", "zh"]
    missing = dict(row["missing"])
    assert missing["the network hubert"] == "koed models pull hubert"
    assert koed("voices", "show", "hutao") == 1
    assert "licence      CC-BY-4.0" in capsys.readouterr().out
    assert koed("voices", "show", "nobody") == 1
    assert koed("voices") == koed("voices", "list") == 0
