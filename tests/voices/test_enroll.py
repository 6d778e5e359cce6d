"""`koed enroll`: what is taken of a recording, what is said about it, what is written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from koed.config.profile import load_profile
from koed.engine.base import ProfileSpec
from koed.engine.worker import prepare
from koed.errors import KoedError
from koed.recordings import quality
from koed.recordings import recording as reference
from koed.recordings.excerpt import LEAD_S, TAIL_S, cut, take
from koed.recordings.recording import Recording
from koed.voices import enroll as enrolment
from koed.voices.enroll import StyleWish, Wish, enroll

RATE_HZ = 44_100
Sound = NDArray[np.float32]


def spoken(seconds: float, level: float = 0.2, seed: int = 0) -> Sound:
    """Something with the spectrum of a vowel and the envelope of syllables."""
    at_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    voice = sum(np.sin(2 * np.pi * 140 * n * at_s + seed) / n for n in range(1, 20))
    return (level * voice * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * at_s))).astype(np.float32)


def silence(seconds: float, level: float = 1e-4) -> Sound:
    noise = np.random.default_rng(0).standard_normal(round(seconds * RATE_HZ))
    return (level * noise).astype(np.float32)


def talk(*parts: float, level: float = 0.2) -> Recording:
    """Seconds of speech; negative ones are silence."""
    made = [spoken(s, level) if s > 0 else silence(-s) for s in parts]
    return Recording(np.concatenate(made), RATE_HZ)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "profiles"
    made.mkdir()
    return made


def wish(folder: Path, recording: Recording, **options: Any) -> Wish:
    audio = folder.parent / "given.wav"
    reference.write(audio, recording)
    values: dict[str, Any] = {"text": "good evening", "lang": "en", "prepare": False}
    return Wish("mika", audio, **(values | options))


# --- which part ------------------------------------------------------------------------------


def test_silence_at_both_ends_is_left_out() -> None:
    found = take(talk(-1.5, 4.0, -0.5, 2.0, -2.0), "good evening")
    assert found.start_s == pytest.approx(1.5 - LEAD_S, abs=0.03)
    assert found.end_s == pytest.approx(8.0 + TAIL_S, abs=0.03)
    assert (found.text, found.guessed) == ("good evening", False)


def test_silence_can_be_kept() -> None:
    found = take(talk(-1.5, 4.0, -1.0), "x", keep_silence=True)
    assert (found.start_s, found.end_s) == (0.0, pytest.approx(6.5))


def test_a_noisy_room_is_trimmed_as_well() -> None:
    quiet = talk(-1.5, 5.0, -2.0)
    noise = 0.01 * np.random.default_rng(1).standard_normal(len(quiet.samples))
    found = take(Recording(quiet.samples + noise.astype(np.float32), RATE_HZ), "x")
    assert found.start_s == pytest.approx(1.5 - LEAD_S, abs=0.05)
    assert found.end_s == pytest.approx(6.5 + TAIL_S, abs=0.05)


def test_a_click_is_no_speech() -> None:
    recording = talk(-2.0, 4.0, -1.0)
    recording.samples[RATE_HZ // 2 : RATE_HZ // 2 + 900] = 0.5
    assert take(recording, "x").start_s == pytest.approx(2.0 - LEAD_S, abs=0.05)


def test_the_best_part_begins_and_ends_in_pauses_with_its_words() -> None:
    # Three sentences, 4 s, 6 s and 5 s; letters go with seconds.
    text = f"{'a' * 40}. {'b' * 60}. {'c' * 50}."
    found = take(talk(-0.5, 4.0, -0.4, 6.0, -0.6, 5.0, -0.5), text)
    assert found.guessed
    assert found.text == f"{'b' * 60}."
    assert found.start_s == pytest.approx(4.9 - LEAD_S, abs=0.05)
    assert found.end_s == pytest.approx(10.9 + TAIL_S, abs=0.05)


def test_japanese_is_matched_by_its_marks() -> None:
    text = "あ" * 20 + "。" + "い" * 30 + "。" + "う" * 25 + "。"
    found = take(talk(4.0, -0.4, 6.0, -0.6, 5.0), text)
    assert found.text == "い" * 30 + "。"


@pytest.mark.parametrize(
    ("recording", "text", "code"),
    [
        (talk(-1.0, 1.5, -1.0), "x", "reference_short"),
        (talk(-4.0), "x", "reference_silent"),
        (Recording(np.zeros(4 * RATE_HZ, np.float32), RATE_HZ), "x", "reference_silent"),
        (talk(14.0), "all in one breath", "reference_long"),
        # Pauses are there, but nothing in the text that goes with them.
        (talk(4.0, -0.4, 6.0, -0.6, 5.0), "no mark in all of this text", "reference_long"),
    ],
)
def test_what_cannot_be_taken(recording: Recording, text: str, code: str) -> None:
    with pytest.raises(KoedError) as caught:
        take(recording, text)
    assert caught.value.code == code
    assert caught.value.hint


# --- what is said about it -------------------------------------------------------------------


def test_findings_name_what_is_wrong() -> None:
    good = {f.what: f.grade for f in quality.examine(talk(3.0, -0.5, 3.0, -0.5))}
    assert set(good.values()) == {"good"}
    faint = talk(3.0, -0.5, 3.0, -0.5, level=0.004)
    loud = Recording(np.clip(talk(4.0).samples * 30, -1, 1), RATE_HZ)
    hiss = Recording(silence(4.0, 0.1), RATE_HZ)
    pausing = talk(1.5, -4.0, 1.5)
    for recording, what, grade in (
        (faint, "level", "poor"),
        (loud, "clipping", "unfit"),
        (hiss, "noise", "unfit"),
        (hiss, "entropy", "unfit"),
        (pausing, "silence", "poor"),
    ):
        (found,) = (f for f in quality.examine(recording) if f.what == what)
        assert (what, found.grade) == (what, grade), found
        assert found.advice


def test_floats_beyond_full_scale_are_cut_only_where_they_are_flat() -> None:
    hot = Recording(talk(4.0).samples * 30, RATE_HZ)
    flat = Recording(np.clip(hot.samples, -5, 5), RATE_HZ)
    assert quality.measure(hot).clipped < quality.CLIPPED_REMARK
    assert quality.measure(flat).clipped > quality.CLIPPED_ERROR


# --- what is written -------------------------------------------------------------------------


def test_the_profile_is_whole_and_loads(folder: Path, tmp_path: Path) -> None:
    given = talk(-1.0, 2.0, -0.2, 1.8, -1.0)
    asked = wish(
        folder, given, model="mine", rights="my own voice", text=" こんばんは: # ", lang="ja"
    )
    report = enroll(asked, folder, tmp_path)
    profile = load_profile(folder / "mika.yaml")
    assert profile.engine == "gpt_sovits"
    assert profile.settings == {"model": "mine"}
    assert profile.reference is not None
    assert profile.reference.transcript == "こんばんは: #"
    assert profile.rights == "my own voice"
    with wave.open(str(folder / "mika.wav")) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE_HZ)
        assert file.getnframes() / RATE_HZ == pytest.approx(4.0 + LEAD_S + TAIL_S, abs=0.05)
    kept = reference.read(folder / "mika.wav").samples
    want = cut(given, report.took.start_s, report.took.end_s).samples
    assert np.abs(kept - want).max() < 1e-4
    assert sorted(p.name for p in folder.iterdir()) == ["mika.png", "mika.wav", "mika.yaml"]
    assert report.remarks == []


def test_styles_have_clips_of_their_own(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, parts in (("glad", (-1.0, 4.0, -1.0)), ("mad", (1.0,))):
        reference.write(tmp_path / f"{name}.wav", talk(*parts))
    styles = tuple(
        StyleWish(name, tmp_path / f"{name}.wav", "it is so good", "auto")
        for name in ("glad", "mad")
    )
    monkeypatch.setattr(enrolment, "load_profile", lambda path: path)  # it may not know styles
    monkeypatch.setattr(enrolment, "spec", lambda profile: profile)
    report = enroll(wish(folder, talk(4.0), styles=styles), folder, tmp_path)
    written = yaml.safe_load((folder / "mika.yaml").read_text())
    said = {"audio": "mika-glad.wav", "transcript": "it is so good", "lang": "en"}
    assert written["styles"] == {"glad": {"reference": said}}
    assert reference.read(folder / "mika-glad.wav").duration_s == pytest.approx(4.3, abs=0.05)
    assert any("style mad is left out" in remark for remark in report.remarks)
    assert not (folder / "mika-mad.wav").exists()


def test_without_matplotlib_it_says_so_and_goes_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    report = enroll(wish(folder, talk(4.0)), folder, tmp_path)
    assert report.picture is None
    assert any("matplotlib" in remark for remark in report.remarks)
    assert (folder / "mika.yaml").exists()


def test_nothing_is_replaced_without_force(folder: Path, tmp_path: Path) -> None:
    (folder / "mika.wav").write_bytes(b"dear to me")
    asked = wish(folder, talk(4.0))
    with pytest.raises(KoedError, match="there already"):
        enroll(asked, folder, tmp_path)
    assert (folder / "mika.wav").read_bytes() == b"dear to me"
    enroll(wish(folder, talk(4.0), force=True), folder, tmp_path)
    assert load_profile(folder / "mika.yaml").lang == "en"


@pytest.mark.parametrize(
    ("given", "text", "lang"),
    [
        ("JP", "こんばんは", "ja"),
        ("all_zh", "你好，很高兴见到你", "zh"),
        (" EN ", "good evening", "en"),
        ("auto", "今日はOBSの話をします", "ja"),
        ("auto", "good evening, みんな, how are you", "en"),
        ("auto", "안녕하세요 여러분", "ko"),
        ("en-GB", "good evening", "en-GB"),
    ],
)
def test_a_language_may_be_named_as_people_write_it(
    folder: Path, tmp_path: Path, given: str, text: str, lang: str
) -> None:
    enroll(wish(folder, talk(4.0), lang=given, text=text), folder, tmp_path)
    assert load_profile(folder / "mika.yaml").lang == lang


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"text": "  "}, "no_transcript"),
        ({"lang": "auto", "text": "12 34"}, "bad_config"),
        ({"lang": "English"}, "bad_config"),
        ({"part": (0.0, 2.0)}, "reference_short"),
        ({"lang": "ja"}, "reference_transcript"),
        ({"text": "a word too much, " * 20}, "reference_transcript"),
    ],
)
def test_a_refusal_leaves_nothing(
    folder: Path, tmp_path: Path, options: dict[str, Any], code: str
) -> None:
    with pytest.raises(KoedError) as caught:
        enroll(wish(folder, talk(-1.0, 4.0, -1.0), **options), folder, tmp_path)
    assert caught.value.code == code
    assert list(folder.iterdir()) == []


def test_an_unfit_clip_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    loud = Recording(np.clip(talk(4.0).samples * 30, -1, 1), RATE_HZ)
    with pytest.raises(KoedError, match="clipped"):
        enroll(wish(folder, loud), folder, tmp_path)
    assert list(folder.iterdir()) == []


def test_a_part_is_taken_by_the_clock(folder: Path, tmp_path: Path) -> None:
    recording = talk(5.0, -0.5, 5.0, -0.5, 5.0)
    asked = wish(folder, recording, part=(5.2, 10.8), text="good evening to all")
    report = enroll(asked, folder, tmp_path)
    assert report.took.start_s == pytest.approx(5.5 - LEAD_S, abs=0.05)
    assert report.took.end_s == pytest.approx(10.5 + TAIL_S, abs=0.05)
    assert report.transcript == "good evening to all"


def test_a_part_that_is_not_there_and_a_file_that_is_not_there(
    folder: Path, tmp_path: Path
) -> None:
    beyond = wish(folder, talk(4.0), part=(10.0, 20.0))
    with pytest.raises(KoedError, match=r"ends at 20 s, and the recording lasts 4\.00 s"):
        enroll(beyond, folder, tmp_path)
    for audio, why in ((tmp_path / "no.wav", "does not exist"), (tmp_path, "is a folder")):
        with pytest.raises(KoedError, match=why):
            enroll(Wish("mika", audio, "good evening", "en"), folder, tmp_path)
    assert not list(folder.iterdir())


def test_what_the_engine_refuses_is_not_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Preparing happens in a child; its answer decides."""
    answers: list[dict[str, Any]] = [
        {"error": "reference_transcript", "message": "too little", "hint": "write all of it"},
        {"error": "unknown_model", "message": "no model", "hint": "pull one"},
        {"loudness_lufs": -20.0, "took_s": 1.0, "remarks": ["so-so"]},
    ]

    def child(command: list[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
        spec = ProfileSpec(**msgpack.unpackb(options["input"], raw=False))
        assert spec.reference["transcript"] == "good evening"
        assert command[-2:] == ["gpt_sovits", str(tmp_path / "voices")]
        return subprocess.CompletedProcess(command, 0, json.dumps(answers.pop(0)).encode())

    monkeypatch.setattr(prepare.subprocess, "run", child)
    with pytest.raises(KoedError) as caught:
        enroll(wish(folder, talk(4.0), prepare=True), folder, tmp_path)
    assert caught.value.code == "reference_transcript"
    assert list(folder.iterdir()) == []
    report = enroll(wish(folder, talk(4.0), prepare=True), folder, tmp_path)
    assert (report.prepared, load_profile(report.profile).lang) == (None, "en")
    report = enroll(wish(folder, talk(4.0), prepare=True, force=True), folder, tmp_path)
    assert report.prepared == {"loudness_lufs": -20.0, "took_s": 1.0}
    assert "so-so" in report.remarks


def test_a_voice_is_prepared_in_a_child(tmp_path: Path) -> None:
    spec = ProfileSpec("t", "en", {"hz": 200.0})
    answer = prepare.prepare_apart(spec, "tone", tmp_path / "voices")
    assert -60 < answer["loudness_lufs"] < 0
    assert [p.stem for p in (tmp_path / "voices").iterdir()] == [spec.key("tone")]
    with pytest.raises(KoedError) as caught:
        prepare.prepare_apart(ProfileSpec("t", "en", {"no": 1}), "tone", tmp_path)
    assert caught.value.code == "bad_setting"


def koed(tmp_path: Path, *arguments: str, code: int) -> tuple[Any, str]:
    environ = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "koed.cli", *arguments],
        env=environ, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


@pytest.mark.slow
def test_the_command(folder: Path, tmp_path: Path) -> None:
    """With the example of a user who has no model yet; the command itself loads no torch."""
    settings = tmp_path / "koed.yaml"
    settings.write_text(yaml.safe_dump({"profiles": str(folder)}))
    asked = wish(folder, talk(-1.0, 4.0, -1.0))
    arguments = ["enroll", "mika", "--config", str(settings), "--audio", str(asked.audio)]
    arguments += ["--text", "good evening", "--lang", "en", "--json"]
    told, log = koed(tmp_path, *arguments, code=0)
    assert told["taken_s"] == pytest.approx([1.0 - LEAD_S, 5.0 + TAIL_S], abs=0.05)
    assert told["prepared"] is None
    assert any("not prepared yet" in remark for remark in told["remarks"])
    assert {"level", "clipping", "noise", "silence", "entropy"} == {
        finding["what"] for finding in told["findings"]
    }
    assert not any(line.endswith((" torch", " transformers")) for line in log.splitlines())
    told, _ = koed(tmp_path, *arguments, code=1)
    assert told["error"] == "profile_exists"
    told, _ = koed(tmp_path, *arguments, "--force", "--model", "nobody", code=1)
    assert told["error"] in ("unknown_model", "library_missing")
