"""`koed check` tries the neural voice: one that works, is broken or is not there."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from koed.cli import check
from koed.config.daemon import Config, load
from koed.engine.base import ProfileSpec
from koed.engine.worker.check import check_apart


@pytest.mark.slow
def test_a_voice_that_works_has_spoken() -> None:
    found = next(check._neural(Config()))
    assert found.good is True, found
    assert found.detail.startswith("a trial spoke")
    assert not found.hint


@pytest.mark.parametrize(("missing", "good"), [("torch", None), ("soxr", False)])
def test_what_is_missing_is_named(
    missing: str, good: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without torch the extra was never asked for; without anything else it is broken."""
    real = importlib.util.find_spec

    def find(name: str, *rest: Any) -> Any:
        return None if name == missing else real(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", find)
    found = next(check._neural(Config()))
    assert found.good is good
    assert missing in found.detail
    assert "koed[gpt-sovits]" in found.hint


def test_a_library_that_cannot_be_loaded_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so.13: cannot open')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = next(check._neural(Config()))
    assert found.good is False
    assert "libcudart.so.13: cannot open" in found.detail
    assert "pip install" in found.hint


@pytest.mark.slow
def test_an_error_of_the_engine_comes_with_its_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "soundfile.py").write_text("raise ImportError('gone')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = next(check._neural(Config()))
    assert found.good is False
    assert "audio files cannot be read" in found.detail
    assert found.hint


STRANGERS = """
voice: hana
obs:
  password_file: nowhere
  scenes: {Game: {voice: hanna}}
  otherwise: {voice: nobody1}
  voices: {nobody2: {colour: "#ffffff"}}
chat: {voices: {among: [nobody3], assigned: {ann: nobody4}, platforms: {youtube: nobody5}}}
phrases: {hello: {text: hello, voices: [nobody6]}}
hotkeys: {keys: {F8: voice nobody7, F9: phrase nobody8, F10: {do: mute, output: nobody9}}}
"""


def test_whoever_is_named_and_is_not_there_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scene, a viewer, a phrase or a key with a name that nobody has: before the stream begins,
    and not when the scene is on air."""
    monkeypatch.delenv("KOED_OBS_PASSWORD", raising=False)
    path = tmp_path / "koed.yaml"
    path.write_text(STRANGERS)
    config = load(path)
    found = [*check._voices(config), *check._obs(config)]
    bad = {finding.what: finding for finding in found if finding.good is False}
    told = " ".join(finding.detail for finding in found if finding.good is False)
    assert all(f"nobody{number} " in f"{told} " for number in range(1, 10)), told
    assert bad["obs: scene 'Game'"].hint == "did you mean 'hana'?"
    assert "nowhere" in bad["OBS"].detail
    assert bad["OBS"].hint
    path.write_text("obs: {scenes: {Game: {voice: hana}}}\n")
    config = load(path)
    assert not [f for f in [*check._voices(config), *check._obs(config)] if f.good is False]


def profiles(folder: Path, **texts: str) -> Any:
    (folder / "profiles").mkdir()
    for name, text in texts.items():
        (folder / "profiles" / f"{name}.yaml").write_text(text)
    (folder / "koed.yaml").write_text("profiles: profiles\nvoice: low\n")
    return load(folder / "koed.yaml")


def test_what_an_engine_will_not_take_is_told_before_the_stream(tmp_path: Path) -> None:
    config = profiles(
        tmp_path,
        low="engine: tone\nlang: en\n",
        odd="engine: tone\nlang: en\nsettings: {hhz: 5, char_ms: -1}\n",
    )
    bad = {f.what: f for f in check._voices(config) if f.good is False}
    assert bad.keys() == {"profile odd"}
    assert "did you mean 'hz'" in bad["profile odd"].detail
    assert "char_ms may not be -1" in bad["profile odd"].detail


def test_an_engine_that_takes_all_its_profiles_is_well(tmp_path: Path) -> None:
    config = profiles(tmp_path, low="engine: tone\nlang: en\n", up="engine: tone\nlang: en\n")
    (found,) = [f for f in check._voices(config) if f.what == "engine tone"]
    assert (found.good, found.detail) == (True, "can speak as low, up")


def test_an_engine_that_ends_in_the_trial_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one whose library brings the process down."""
    (tmp_path / "msgpack.py").write_text("import os; os._exit(7)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (found,) = check_apart([ProfileSpec("low", "en", {})], "tone")
    assert found[0] == ""
    assert found[1].code == "engine_broken"
