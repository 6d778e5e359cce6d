"""What is done to a synthesiser's sound: formants moved, and what no ear hears taken off."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from koed.engine import settings
from koed.engine.base import Job, Voice
from koed.engine.embedded import espeak
from koed.engine.embedded.engine import NOMINAL_LUFS, SCHEMA, EmbeddedEngine, _manner
from koed.engine.embedded.sound import HighPass, Manner
from koed.engine.embedded.warp import Warp
from koed.engine.loudness import integrated_lufs

RATE_HZ = 16000


def vowel(formant_hz: float, f0_hz: float = 200.0) -> NDArray[np.float32]:
    """Half a second of harmonics under one formant 150 Hz wide."""
    at = np.arange(RATE_HZ // 2) / RATE_HZ
    harmonics = f0_hz * np.arange(1, int(7000 / f0_hz))
    levels = 0.02 / np.hypot(1.0, (harmonics - formant_hz) / 150.0)
    return (levels @ np.sin(2 * np.pi * harmonics[:, None] * at)).astype(np.float32)


def formant_hz(pcm: NDArray[np.float32]) -> float:
    """Centre of the power about the loudest harmonic."""
    power = np.abs(np.fft.rfft(pcm * np.hanning(len(pcm)))) ** 2
    hz = np.fft.rfftfreq(len(pcm), 1 / RATE_HZ)
    near = np.abs(hz - hz[power.argmax()]) < 500
    return float((power * hz)[near].sum() / power[near].sum())


def noise() -> NDArray[np.float32]:
    return (0.1 * np.random.default_rng(1).standard_normal(4500)).astype(np.float32)


def through(tool: Any, pcm: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    parts = [tool.push(part) for part in np.split(pcm, range(size, len(pcm), size))]
    return np.concatenate([*parts, tool.finish()] if hasattr(tool, "finish") else parts)


def test_formants_moved_by_nothing_leave_every_sample() -> None:
    assert through(Warp(0.0, RATE_HZ), noise(), 320) == pytest.approx(noise(), abs=1e-6)


@pytest.mark.parametrize("semitones", [-3.0, 1.0, 3.0])
def test_a_formant_moves_by_semitones_and_its_harmonics_stay(semitones: float) -> None:
    moved = through(Warp(semitones, RATE_HZ), vowel(1500.0), 320)
    wanted_hz = formant_hz(vowel(1500.0 * 2 ** (semitones / 12)))
    assert formant_hz(moved) == pytest.approx(wanted_hz, rel=0.05)
    power = np.abs(np.fft.rfft(moved[1600:-1600])) ** 2
    on_harmonics = power[:: round(200 * len(moved[1600:-1600]) / RATE_HZ)].sum()
    assert on_harmonics > 0.98 * power.sum()


def test_hissing_stays_a_hiss() -> None:
    high = np.sin(2 * np.pi * 7800 * np.arange(8000) / RATE_HZ).astype(np.float32) * 0.1
    moved = through(Warp(3.0, RATE_HZ), high, 320)
    assert np.std(moved) == pytest.approx(np.std(high), rel=0.2)


def test_formants_come_at_their_own_place_and_soon() -> None:
    warp, click = Warp(3.0, RATE_HZ), np.zeros(4000, dtype=np.float32)
    click[2345] = 0.5
    given = sum(len(warp.push(part)) for part in np.split(click[:3200], 10))
    assert given >= 3200 - 0.02 * RATE_HZ
    assert int(np.abs(through(Warp(3.0, RATE_HZ), click, 320)).argmax()) == 2345


@pytest.mark.parametrize("make", [lambda: Warp(2.0, RATE_HZ), lambda: HighPass(RATE_HZ)])
def test_in_pieces_it_sounds_as_whole(make: Callable[[], Any]) -> None:
    whole = through(make(), noise(), 9999)
    assert len(whole) == len(noise())
    for size in (50, 159, 320, 4097):
        assert through(make(), noise(), size) == pytest.approx(whole, abs=1e-6)


def test_the_high_pass_begins_without_a_click_and_leaves_the_voice() -> None:
    tone = (0.1 * np.sin(2 * np.pi * 150 * np.arange(16000) / RATE_HZ)).astype(np.float32)
    clean = through(HighPass(RATE_HZ), tone + np.float32(0.05), 320)
    assert abs(float(clean[0])) < 1e-6
    assert abs(float(clean[8000:].mean())) < 1e-5
    assert np.std(clean[8000:]) == pytest.approx(np.std(tone), rel=0.05)


def spoken(text: str, lang: str, **given: Any) -> tuple[NDArray[np.float32], int]:
    state = settings.read(SCHEMA, given, "embedded")
    voice = Voice("x", "", lang, NOMINAL_LUFS, state)
    chunks = list(EmbeddedEngine().stream(voice, Job(1, 1, "", text, lang)))
    return np.concatenate([chunk.pcm for chunk in chunks]), chunks[0].rate_hz


@pytest.mark.parametrize("variant", ["", "robosoft"])
@pytest.mark.parametrize(
    ("lang", "text"),
    [
        ("zh", "大家晚上好，欢迎来到今天的直播，谢谢你们。"),
        ("vi", "Chào buổi tối và chào mừng các bạn đến với buổi phát trực tiếp."),
        ("ko", "여러분 안녕하세요. 오늘 방송에 와 주셔서 감사합니다."),
        ("fr", "Bonsoir à tous et bienvenue dans le direct, mes amis."),
    ],
)
def test_every_language_is_as_loud_in_every_variant(variant: str, lang: str, text: str) -> None:
    assert integrated_lufs(*spoken(text, lang, variant=variant)) == pytest.approx(
        NOMINAL_LUFS, abs=2.0
    )


def test_a_variant_that_is_silent_is_not_raised_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(espeak, "_sound", lambda process, text: iter(()))
    assert espeak.Espeak().level_lufs("de", "") == -35.0


@pytest.mark.parametrize(
    ("lang", "text"), [("en", "Good evening."), ("ja", "こんばんは。"), ("zh", "晚上好。")]
)
def test_nothing_below_hearing_is_sent(lang: str, text: str) -> None:
    pcm, _ = spoken(text, lang)
    assert abs(float(pcm.mean())) < 5e-5


def test_an_older_profile_is_made_as_it_was() -> None:
    """flite and HTS give the same samples for the same manner."""
    state = settings.read(SCHEMA, {"timbre": 3.0, "pitch": 4.0, "rate": 1.08}, "embedded")
    manner, rate_hz = _manner(state, Job(1, 1, "", "", "en"), RATE_HZ)
    assert rate_hz == 19050
    assert manner == Manner(4.0 - 12 * math.log2(19050 / 16000), 1.08 / (19050 / 16000), 1.0, 0)
    assert state["formants"] == 0.0
