"""Voices: what a reference must be, what is made of it, when it must be made anew."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import torch
from torch import Tensor

from koed.config.profile import load_profile
from koed.engine.base import ProfileSpec, Voice
from koed.engine.gpt_sovits import voice as voices
from koed.engine.gpt_sovits.model.features import Recording
from koed.engine.gpt_sovits.model.sovits import SoundModel
from koed.engine.gpt_sovits.text_features import TextFeatures, read, setting
from koed.engine.gpt_sovits.timing.words import shared
from koed.errors import ConfigError, EngineError
from koed.recordings.quality import check_clip, measure
from koed.voices.specs import spec as profile_spec
from tests.engine.gpt_sovits.small import TRANSCRIPT, clip, sound_model, wav

SETTINGS = {"model": "m", "official_quirks": "none", "precision": "auto"}
GOOD = wav(clip())


class Base:
    """A base model whose ears are a few sums."""

    digest = "d1"

    def __init__(self) -> None:
        self.sound: SoundModel = sound_model()
        self.heard: list[int] = []

    def hubert(self, wave: Tensor) -> Tensor:
        self.heard.append(len(wave))
        frames = (len(wave) - 400) // 320 + 1
        level = wave[: frames * 320].reshape(frames, 320).std(1)
        return level * torch.linspace(-9, 9, 32)[:, None][None]

    def speaker(self, wave: Tensor) -> Tensor:
        raise AssertionError("v2 has none")

    def read(self, text: str, lang: str) -> TextFeatures:
        return read(text, lang, "v2", lambda: None)


def spec(**reference: Any) -> ProfileSpec:
    told = {"audio": GOOD, "transcript": TRANSCRIPT, "lang": "en", **reference}
    return ProfileSpec("v", "en", {"model": "m"}, told)


def compiled(**reference: Any) -> Voice:
    return voices.compile_voice(spec(**reference), SETTINGS, Base(), "gpt_sovits")


def refusal(**reference: Any) -> EngineError:
    with pytest.raises(EngineError) as caught:
        compiled(**reference)
    assert caught.value.hint
    return caught.value


# --- what comes of it ------------------------------------------------------------------------


def test_a_voice_is_plain_values_and_comes_back_the_same() -> None:
    voice = compiled()
    state = msgpack.unpackb(msgpack.packb(dict(voice.state)), raw=False)
    back = voices.unpack(dataclasses.replace(voice, state=state), lambda name: "d1", "cpu")
    assert back.codes.dtype == back.phones.dtype == torch.int64
    assert back.codes.numel() == ((4 * 16000 + 4800 - 400) // 320 + 1) // 2
    assert back.phones.numel() > 30
    assert back.style.ge.shape == back.style.ge512.shape == (1, 32, 1)
    assert back.settings == SETTINGS
    assert -60 < voice.loudness_lufs < 0


def test_the_same_profile_gives_the_same_voice() -> None:
    assert compiled() == compiled()


def test_the_speaker_is_heard_in_the_main_clip_at_32_khz() -> None:
    class Pro(Base):
        def speaker(self, wave: Tensor) -> Tensor:
            self.heard.append(len(wave))
            return wave.std().expand(1, 20480)

    base = Pro()
    other = {"audio": wav(clip(seconds=6.0)), "weight": 1.0}
    heard = voices.hear_speaker(spec(timbre=[other]), base)
    assert (base.heard, heard.shape) == ([4 * 32000], (1, 20480))


def test_a_changed_base_model_makes_a_voice_stale() -> None:
    with pytest.raises(EngineError) as caught:
        voices.unpack(compiled(), lambda name: "d2", "cpu")
    assert caught.value.code == "stale_voice"


@pytest.mark.parametrize(
    "change",
    [{"format": 0}, {"tensors": b"nonsense"}, {"tensors": None}, {"settings": 3}, {"model": 7}],
)
def test_a_damaged_state_is_stale_and_nothing_worse(change: dict[str, Any]) -> None:
    voice = compiled()
    damaged = dataclasses.replace(voice, state={**voice.state, **change})
    with pytest.raises(EngineError) as caught:
        voices.unpack(damaged, lambda name: "d1", "cpu")
    assert caught.value.code == "stale_voice"


def test_timbre_comes_from_other_clips_by_weight_and_the_codes_from_the_reference() -> None:
    def styles(*clips: tuple[bytes, float]) -> voices.Prepared:
        timbre = [{"audio": data, "weight": weight} for data, weight in clips]
        return voices.unpack(compiled(timbre=timbre), lambda name: "d1", "cpu")

    low, high = wav(clip(pitch_hz=110.0)), wav(clip(12.0, pitch_hz=260.0))
    a, b = styles((low, 1.0)), styles((high, 1.0))
    both, mostly = styles((low, 1.0), (high, 1.0)), styles((low, 3.0), (high, 1.0))
    assert not torch.allclose(a.style.ge, b.style.ge)
    assert torch.allclose(both.style.ge, (a.style.ge + b.style.ge) / 2, atol=1e-5)
    assert torch.allclose(mostly.style.ge, (3 * a.style.ge + b.style.ge) / 4, atol=1e-5)
    assert torch.equal(a.codes, b.codes)


def test_the_prompt_ends_in_a_short_pause() -> None:
    base = Base()
    voices.compile_voice(spec(), SETTINGS, base, "gpt_sovits")
    assert base.heard == [4 * 16000 + 4800]


def test_a_voice_without_transcript_has_a_style_and_no_example() -> None:
    prepared = voices.unpack(compiled(transcript=" "), lambda name: "d1", "cpu")
    assert prepared.codes.numel() == prepared.phones.numel() == 0


def test_a_profile_file_names_the_clips_and_their_bytes_travel(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    for name, data in (("hana.wav", GOOD), ("clips/low.wav", b"low"), ("clips/high.wav", b"high")):
        (tmp_path / name).write_bytes(data)
    path = tmp_path / "hana.yaml"
    text = (
        "engine: gpt_sovits\nlang: en\nreference:\n  audio: hana.wav\n  transcript: Hello\n"
        "  timbre:\n  - {audio: clips/low.wav, weight: 3}\n  - {audio: clips/high.wav}\n"
    )
    path.write_text(text, encoding="utf-8")
    first = load_profile(path)
    told = profile_spec(first).reference
    assert told["audio"] == GOOD
    assert told["timbre"] == [
        {"audio": b"low", "weight": 3.0},
        {"audio": b"high", "weight": 1.0},
    ]
    (tmp_path / "clips/low.wav").write_bytes(b"lower")
    assert load_profile(path).digest != first.digest
    path.write_text(text.replace("clips/low", "clips/no"), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"clips/no\.wav"):
        load_profile(path)


# --- what is refused -------------------------------------------------------------------------


def test_a_voice_needs_a_reference() -> None:
    bare = ProfileSpec("v", "en", {})
    with pytest.raises(EngineError) as caught:
        voices.compile_voice(bare, SETTINGS, Base(), "gpt_sovits")
    assert caught.value.code == "reference_missing"
    assert "transcript" in caught.value.hint


with_nan = clip()
with_nan[500] = np.nan
six = np.stack([clip()] * 6, axis=1)


@pytest.mark.parametrize(
    ("code", "audio"),
    [
        ("reference_empty", wav(np.empty(0, np.float32))),
        ("reference_short", wav(clip(2.0))),
        ("reference_long", wav(clip(11.0))),
        ("reference_long", wav(clip(60.0))),
        ("reference_rate", wav(clip(rate_hz=8000), 8000)),
        ("reference_channels", wav(six)),
        ("reference_damaged", wav(with_nan)),
        ("reference_unreadable", b"this is no sound"),
        ("reference_unreadable", GOOD[:40]),
        ("reference_unfit", wav(np.zeros(4 * 32000, np.float32))),
        ("reference_unfit", wav(clip(gain=0.0005, noise=0.0))),
        ("reference_unfit", wav(np.clip(clip(gain=9.0), -1, 1))),
        ("reference_unfit", wav(clip(gain=0.0, noise=0.1))),
    ],
)
def test_a_clip_that_cannot_work_is_refused(code: str, audio: bytes) -> None:
    assert refusal(audio=audio).code == code


def test_96_khz_and_stereo_are_fine() -> None:
    compiled(audio=wav(clip(rate_hz=96000), 96000))
    compiled(audio=wav(np.stack([clip()] * 2, axis=1)))


def test_every_reason_is_told_at_once() -> None:
    with pytest.raises(EngineError) as caught:
        check_clip(Recording(clip(gain=0.0, noise=0.0005), 32000))
    assert "faint" in caught.value.message
    assert "noise and not speech" in caught.value.message


def test_what_could_be_better_is_a_remark() -> None:
    assert check_clip(Recording(clip(), 32000)) == []
    assert "faint" in check_clip(Recording(clip(gain=0.015, noise=1e-6), 32000))[0]
    pausing = np.concatenate([clip(1.2), np.zeros(round(1.8 * 32000), np.float32)])
    assert "silence" in check_clip(Recording(pausing, 32000))[0]


def test_noise_is_like_noise_and_a_voice_is_not() -> None:
    hiss = np.random.default_rng(1).standard_normal(96000).astype(np.float32) * 0.1
    assert measure(Recording(hiss, 32000)).entropy > 0.9
    assert measure(Recording(clip(), 32000)).entropy < 0.6


@pytest.mark.parametrize("text", ["a", TRANSCRIPT * 5])
def test_a_transcript_of_something_else_is_refused(text: str) -> None:
    assert refusal(transcript=text).code == "reference_transcript"


def test_a_transcript_that_cannot_be_read_is_refused() -> None:
    assert refusal(transcript="……").code == "reference_transcript"
    assert refusal(lang="fr").code == "reference_transcript"


@pytest.mark.parametrize("weights", [[0.0], [-1.0, 2.0], [float("nan")]])
def test_weights_that_blend_nothing_are_refused(weights: list[float]) -> None:
    timbre = [{"audio": GOOD, "weight": weight} for weight in weights]
    assert refusal(timbre=timbre).code == "reference_weight"


def test_a_bad_clip_among_those_for_the_timbre_is_refused_too() -> None:
    assert refusal(timbre=[{"audio": b"no", "weight": 1.0}]).code == "reference_unreadable"


# --- reading ---------------------------------------------------------------------------------


def test_words_begin_where_they_are_written() -> None:
    text = "Good evening, everyone!"
    reading = read(text, "en-GB", "v2", lambda: None)
    assert [text[start:end] for start, end, _ in reading.words] == ["Good", "evening", "everyone"]
    places = [phone for _, _, phone in reading.words]
    assert places[0] == 0
    assert places == sorted(places)
    assert places[-1] < reading.phones.numel()
    assert reading.bert is None


def test_ideographs_are_words_and_weigh_two_letters() -> None:
    assert shared("你好 ok", 12) == ((0, 1, 0.0), (1, 2, 4.0), (3, 5, 8.0))
    assert shared("…", 3) == ()


def test_languages_by_their_region() -> None:
    assert [setting(lang) for lang in ("ja", "en-US", "zh-HK", "zh-CN", "auto")] == [
        "ja", "en", "yue", "zh", "auto",
    ]  # fmt: skip
    with pytest.raises(EngineError):
        setting("tlh")


def test_a_transcript_in_another_language_is_refused_with_what_to_do() -> None:
    reference = {"audio": GOOD, "transcript": "Hello there, this is what I said", "lang": "ja"}
    with pytest.raises(EngineError) as caught:
        voices.compile_voice(ProfileSpec("v", "ja", {}, reference), SETTINGS, Base(), "e")
    assert caught.value.code == "reference_transcript"
    assert "said to be ja, and is written in Latin alone" in caught.value.message
    assert "--lang" in caught.value.hint
