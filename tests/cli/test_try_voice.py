"""`koed voices try`, as it is typed, with voices that need no model."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import pytest
import yaml

from koed.cli import commands

LOW = {"engine": "tone", "lang": "en", "settings": {"hz": 400, "char_ms": 5}}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PULSE_SERVER", f"unix:{tmp_path}/nobody")
    (tmp_path / "profiles").mkdir()
    for name, changes in {
        "low": {},
        "high": {"settings": {"hz": 900}},
        "fr": {"lang": "fr"},
    }.items():
        (tmp_path / "profiles" / f"{name}.yaml").write_text(yaml.safe_dump(LOW | changes))
    path = tmp_path / "koed.yaml"
    path.write_text(yaml.safe_dump({"profiles": "profiles", "voice": "low"}))
    return str(path)


def test_two_voices_in_turns_into_a_file(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "both.wav"
    line = ["voices", "--config", config, "try", "low", "Good evening", "--against", "high"]
    assert commands.main([*line, "--out", str(out), "--json"]) == 0
    rows = [json.loads(row) for row in capsys.readouterr().out.splitlines()]
    assert [row["voice"] for row in rows] == ["low", "high", "low", "high"]
    for row in rows:
        assert row["engine"] == "tone"
        assert row["seconds"] > 0
        assert row["rtf"] > 0
        assert row["first_chunk_ms"] > 0
    with wave.open(str(out)) as file:
        seconds = file.getnframes() / file.getframerate()
    assert seconds > sum(row["seconds"] for row in rows)  # with pauses between


def test_without_speakers_a_file_is_offered_before_anything_loads(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert commands.main(["voices", "--config", config, "try", "low"]) == 1
    assert "--out FILE.wav" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (["try", "lo"], "unknown_voice"),
        (["try", "low", "--against", "lo"], "unknown_voice"),
        (["try", "fr"], "no_text"),
        (["try", "low", "--out", "/nowhere/at/all.wav"], "no_folder"),
        (["try", "low", "hello", "--out", "out.wav", "--lang", "jp"], "unknown_language"),
    ],
)
def test_what_cannot_be_tried_is_told(
    line: list[str],
    code: str,
    config: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert commands.main(["voices", "--json", "--config", config, *line]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["error"] == code
    assert told["hint"]


def test_without_a_word_the_voices_are_listed(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for line in (["voices", "--json"], ["voices", "list", "--json"]):
        assert commands.main([*line[:1], "--config", config, *line[1:]]) == 0
        rows = [json.loads(row)["name"] for row in capsys.readouterr().out.splitlines()]
        assert rows == ["fr", "high", "low"]


def test_the_bench_measures_a_voice_of_ones_own(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert commands.main(["bench", "engine", "--voice", "low", "--config", config]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])["engine"]
    assert found["voice"] == "low"
    assert 0 < found["first_chunk_ms"] <= found["first_chunk_worst_ms"]
    assert found["rtf"] > 0
