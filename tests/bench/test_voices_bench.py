"""`koed bench voices`: what is said, what counts as missed, and a whole run with a quick voice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from koed.bench.voices import main as bench
from koed.bench.voices import picture, report
from koed.bench.voices.lines import LINES, lines
from koed.bench.voices.sound import Judged, distances
from koed.cli import commands
from koed.config.profile import load_profile
from koed.errors import EngineError, KoedError
from koed.testing.rig import TONE

PROFILES = Path(__file__).resolve().parents[2] / "profiles"
PNG = b"\x89PNG"
QUICK = TONE | {"settings": {"hz": 200, "char_ms": 5}}


def figures(**more: Any) -> dict[str, Any]:
    return {"lang": "en", "kind": "natural", **more}


def test_there_are_25_lines_of_each_language_and_none_twice() -> None:
    assert {lang: len(set(texts)) for lang, texts in LINES.items()} == {
        "en": 25,
        "ja": 25,
        "zh": 25,
    }
    assert lines("en-GB", 26)[25] == lines("en", 1)[0]
    assert len(lines("ko", 2)) == 2  # a greeting
    with pytest.raises(KoedError) as caught:
        lines("tlh", 1)
    assert caught.value.code == "no_text"


def test_what_was_not_reached_is_named_and_what_was_not_measured_is_not() -> None:
    good = figures(wer=0.03, p808=4.0, p808_lowest=3.85, clicks=0, rtf=0.4)
    assert report.missed({"fine": good, "unjudged": figures()}) == []
    bad = figures(wer=0.031, p808=3.9, onset_ms={"p50": 230, "p99": 300})
    assert report.missed({"bad": bad}) == ["bad.wer", "bad.p808", "bad.onset_ms.p50"]
    japanese = bad | {"lang": "ja"}
    assert report.missed({"ja": japanese, "old": bad | {"kind": "embedded", "clicks": 1}}) == [
        "old.clicks"
    ]


def test_voices_are_as_far_apart_as_their_vectors() -> None:
    def at(degrees: float) -> Judged:
        turn = np.deg2rad(degrees)
        return Judged(vectors=[np.array([np.cos(turn), np.sin(turn)], np.float32)])

    found = distances({"a": at(0), "b": at(60), "c": at(90), "unheard": Judged()})
    assert found["a"] == {"b": 0.5, "c": 1.0}
    assert "unheard" not in found


def test_a_british_voice_is_judged_as_it_speaks() -> None:
    """``en`` would be American phonemes from a British mouth."""
    said = {name: bench.spoken(load_profile(PROFILES / f"{name}.yaml")) for name in ("ivy", "mia")}
    assert said == {"ivy": "en-gb", "mia": "en"}
    ivy = load_profile(PROFILES / "ivy.yaml")
    assert bench._about(ivy, said["ivy"], Judged(lufs=[-18.0], before_s=[0.0], after_s=[0.0])) == {
        "lang": "en", "kind": "natural", "engine": "kokoro", "lufs": -18.0, "clicks": 0,
        "silence_ms": {"before": 0, "after": 0},
    }  # fmt: skip


def test_a_run_without_the_judges(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Columns that nobody can judge are absent, and one line says what to install."""

    def absent(threads: int = 1) -> None:
        raise EngineError("library_missing", "judging needs ctranslate2: none", bench.EXTRA)

    monkeypatch.setattr(bench.Judges, "load", absent)
    monkeypatch.setattr(bench, "FLITE", json.dumps(QUICK))
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "low.yaml").write_text(json.dumps(QUICK))
    config = tmp_path / "koed.yaml"
    config.write_text("profiles: profiles\nvoice: low\n")
    wanted = ["--voices", "low", "--sentences", "1", "--picture", str(tmp_path / "a.png")]
    given = ["bench", "voices", "--json", "--config", str(config), *wanted]
    assert commands.main(given) == 0
    out, err = capsys.readouterr()
    result = json.loads(out)
    (low,) = result["voices"].values()
    assert (low["kind"], low["lang"], result["missed"]) == ("tone", "en", [])
    assert not {"wer", "p808", "ovrl", "nearest"} & low.keys()
    assert (low["f0"]["hz"], low["clicks"], low["onset_ms"]["n"]) == (200, 0, 1)
    assert low["memory_mb"]["rest"] > 10
    assert "koed[judges]" in err
    assert "low: line 1 of 3" in err
    assert (tmp_path / "a.png").read_bytes().startswith(PNG)


def test_a_voice_that_is_not_there_and_a_senseless_count(tmp_path: Path) -> None:
    for more, code in ((["--voices", "nobody"], 1), (["--sentences", "0"], 1)):
        assert commands.main(["bench", "voices", *more]) == code


def test_a_picture_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(KoedError) as caught:
        picture.write(tmp_path / "no" / "a.png", {"a": figures(rtf=0.1)}, {})
    assert caught.value.code == "cannot_write"
