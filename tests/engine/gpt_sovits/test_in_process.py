"""A voice in this process: what docs/neural.md shows, word for word, on a tiny set of models."""

from __future__ import annotations

import re
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from koed.in_process import LoadedVoice
from koed.testing import tiny
from tests.engine.gpt_sovits.small import TRANSCRIPT, clip, wav

PAGE = Path(__file__).parents[3] / "docs" / "neural.md"
PROFILE = {
    "engine": "gpt_sovits",
    "lang": "en",
    # The tiny model babbles, so that the guards would be right to refuse it.
    "settings": {"model": "gsv-v2final-pretrained", "guards": "none"},
    "reference": {"audio": "mika.wav", "transcript": TRANSCRIPT},
}


def example() -> str:
    found = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(found) == 1
    return str(found[0])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tiny.make(tmp_path / "data" / "koed" / "models")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # the suite shares few cores
    monkeypatch.chdir(tmp_path)
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "mika.wav").write_bytes(wav(clip()))
    (tmp_path / "profiles" / "mika.yaml").write_text(yaml.safe_dump(PROFILE))
    return tmp_path


def test_the_ten_lines_of_the_page(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(example().splitlines()) <= 10
    known: dict[str, Any] = {}
    exec(compile(example(), str(PAGE), "exec"), known)
    told = capsys.readouterr().out
    assert "'model': 'gsv-v2final-pretrained', 'version': 'v2'" in told
    assert "'device': 'cpu', 'precision': 'fp32'" in told
    assert "samples at 32000 Hz" in told
    with wave.open("evening.wav") as file:
        assert file.getnframes() == len(known["spoken"].pcm) > 0
    style = known["style"]
    assert style.dtype == np.float32
    assert style.ndim == 1
    assert np.isfinite(style).all()

    with LoadedVoice.load("profiles/mika.yaml") as again:
        assert again.cached
        assert again.vectors().keys() == {"style"}
        assert np.array_equal(again.vectors()["style"], style)


def test_a_profile_may_say_how_loud_it_is_played(tmp_path: Path) -> None:
    loud = []
    for volume in (0, -12):
        path = tmp_path / "beep.yaml"
        path.write_text(f"engine: tone\nlang: en\nvolume: {volume}\n")
        with LoadedVoice.load(path) as voice:
            loud.append(np.abs(voice.speak("Hello.").pcm).max())
    assert loud[1] / loud[0] == pytest.approx(10 ** (-12 / 20), rel=0.02)
