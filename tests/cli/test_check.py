"""`koed check` tries the neural voice: one that works, is broken or is not there."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from koed.cli import check
from koed.config.daemon import load


@pytest.mark.slow
def test_a_voice_that_works_has_spoken() -> None:
    found = check._neural()
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
    found = check._neural()
    assert found.good is good
    assert missing in found.detail
    assert "koed[gpt-sovits]" in found.hint


def test_a_library_that_cannot_be_loaded_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so.13: cannot open')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = check._neural()
    assert found.good is False
    assert "libcudart.so.13: cannot open" in found.detail
    assert "pip install" in found.hint


@pytest.mark.slow
def test_an_error_of_the_engine_comes_with_its_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "soundfile.py").write_text("raise ImportError('gone')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = check._neural()
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
