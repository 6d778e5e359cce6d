"""Styles of a profile: voices of their own, and what a line says over them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from koed.config import styles
from koed.config.delivery import PLAIN, Delivery
from koed.config.profile import MAX_STYLES, Profile, load_profile
from koed.config.profile_folder import ProfileFolder
from koed.errors import ConfigError, KoedError
from koed.voices.specs import spec

HEAD = "engine: tone\nlang: en\nsettings: {hz: 400}\nreference: {audio: plain.wav}\n"
STYLES = """styles:
  happy: {reference: {audio: happy.wav, transcript: yes indeed}, speed: 1.25, temperature: 0.9}
  quick: {speed: 1.5, pitch: 2, range: 1.3, volume: -3}
  high: {settings: {hz: 1000}, reference: {audio: happy.wav}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("plain", "happy"):
        (tmp_path / f"{name}.wav").write_bytes(name.encode())
    return tmp_path


def read(folder: Path, text: str = HEAD + STYLES) -> Profile:
    (folder / "hana.yaml").write_text(text)
    return load_profile(folder / "hana.yaml")


def keys(profile: Profile) -> dict[str, str]:
    return {each.name: spec(each).key("tone") for each in (profile, *styles.of(profile))}


def test_a_style_is_a_voice_with_what_it_says_in_place_of_the_profile(folder: Path) -> None:
    profile = read(folder)
    found = {each.name: each for each in styles.of(profile)}
    assert list(found) == [
        "hana/happy", "hana/happy/clip", "hana/quick", "hana/high", "hana/high/clip",
    ]  # fmt: skip
    happy, clip = found["hana/happy"], found["hana/happy/clip"]
    assert happy.delivery == Delivery(1.25, 0.9)
    quick = Delivery(1.5, pitch=2.0, range=1.3, volume=-3.0)
    assert found["hana/quick"].delivery == quick
    assert clip.delivery == profile.delivery == Delivery(1.0)
    assert spec(happy).reference["audio"] == spec(clip).reference["audio"] == b"happy"
    assert spec(happy).reference["transcript"] == "yes indeed"
    assert {each.fallback for each in found.values()} == {"hana"}
    assert (found["hana/high"].settings, found["hana/high/clip"].settings) == (
        {"hz": 1000}, {"hz": 400},
    )  # fmt: skip


def test_what_needs_no_other_sound_needs_no_other_preparing(folder: Path) -> None:
    made = keys(read(folder))
    assert made["hana/quick"] == made["hana"]
    assert made["hana/happy"] == made["hana/happy/clip"]
    assert len(set(made.values())) == 4


def test_a_voice_is_prepared_as_before_whatever_styles_it_has(folder: Path) -> None:
    assert keys(read(folder, HEAD))["hana"] == keys(read(folder))["hana"]
    assert keys(read(folder, HEAD))["hana"] == "d3d459b98f0ffdcc5d3cce4b2048bed0"


def test_an_edit_of_a_style_is_seen_in_the_folder(folder: Path) -> None:
    read(folder, HEAD)
    there = ProfileFolder(folder)
    assert list(there.scan().profiles) == ["hana"]
    read(folder)
    assert set(there.scan().changed) == {"hana", *(p.name for p in styles.of(read(folder)))}
    (folder / "happy.wav").write_bytes(b"another take")
    assert "hana/happy" in there.scan().changed
    read(folder, HEAD + "styles: {quick: {speed: 1.5}}\n")
    assert "hana/happy/clip" in there.scan().removed


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("styles: {Happy!: {}}", "styles.Happy!"),
        ("styles: {happy: {speed: 9}}", "not between 0.5 and 2"),
        ("styles: {happy: {speed: .nan}}", "styles.happy.speed"),
        ("styles: {happy: {temprature: 1}}", "did you mean 'temperature'"),
        ("styles: {happy: {reference: {audio: ../../etc/passwd}}}", "leaves the folder"),
        ("styles: {happy: {reference: {audio: hapy.wav}}}", "did you mean 'happy.wav'"),
        ("styles: [happy]", "a map expected"),
        ("top_k: 0.5", "top_k"),
        (f"styles: {{{', '.join(f's{n}: {{}}' for n in range(30_000))}}}", f"at most {MAX_STYLES}"),
    ],
)
def test_what_is_wrong_with_a_style_is_told_with_its_place(
    folder: Path, text: str, told: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(folder, HEAD + text)
    assert told in caught.value.message
    assert len(caught.value.message) < 20_000


# --- what is said over it ---------------------------------------------------------------------


def test_what_a_line_says_counts_before_what_is_more_general() -> None:
    line, style, voice = Delivery(speed=1.5), Delivery(speed=1.1, top_k=5), Delivery(1.0, 0.9, 9, 7)
    assert line.over(style).over(voice) == Delivery(1.5, 0.9, 5, 7)
    assert PLAIN.over(PLAIN) == PLAIN
    assert line.over(style).only(("top_k", "pitch")) == Delivery(top_k=5)
    assert voice.job_settings == {"temperature": 0.9, "top_k": 9}


def test_volume_needs_no_engine_and_no_engine_hears_of_it() -> None:
    asked = Delivery(pitch=3.0, energy=-2.0, volume=-6.0)
    assert asked.only(("pitch",)) == Delivery(pitch=3.0, volume=-6.0)
    assert asked.only(()).given == {"volume": -6.0}
    assert asked.job_settings == {"pitch": 3.0, "energy": -2.0}
    assert asked.engine_part == Delivery(pitch=3.0, energy=-2.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("speed", 0.49), ("speed", math.nan), ("speed", math.inf), ("temperature", 0), ("top_k", 0),
        ("top_k", 2**63), ("seed", -1), ("seed", 2**31), ("pitch", -12.1), ("range", -0.1),
        ("energy", 13), ("volume", -25), ("volume", math.inf),
    ],
)  # fmt: skip
def test_a_number_that_may_not_be_is_refused_with_those_that_may(name: str, value: float) -> None:
    with pytest.raises(KoedError) as caught:
        Delivery(**{name: value}).checked()  # type: ignore[arg-type]
    assert caught.value.code == "bad_field"
    assert caught.value.hint.startswith(f"{name} is from ")


def test_a_style_of_a_style_is_one_of_its_voice() -> None:
    assert styles.styled("hana", "happy") == styles.styled("hana/sad", "happy") == "hana/happy"
    assert styles.styled("hana/sad", "") == "hana/sad"
    assert styles.voice_of("hana/happy/clip") == "hana"
