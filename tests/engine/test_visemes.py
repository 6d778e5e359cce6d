"""Shapes of the mouth: the table, and what the embedded voices show while they speak."""

from __future__ import annotations

import numpy as np
import pytest

from koed.engine import visemes
from koed.engine.base import Job, Mouth, ProfileSpec
from koed.engine.embedded.engine import EmbeddedEngine
from koed.engine.kokoro.symbols import IDS


def shown(phones: str, lang: str) -> str:
    return " ".join(f"{shape}@{at:g}" for shape, at in visemes.along(phones.split(), lang))


@pytest.mark.parametrize(
    ("lang", "phones", "expected"),
    [
        ("en", "HH EH1 L OW0 .", "e@0 o@2 u@3.5 rest@4"),
        ("en", "S IY1 M Z", "i@0 closed@2"),  # nothing to go to: the lips stay
        ("en", "pau b ay1 pau", "rest@0 closed@1 a@2 i@2.5 rest@3"),
        ("ja", "k o [ N n i ch i w a", "o@0 closed@3 i@4 u@8 a@9"),
        ("ja", "a cl t a _ m e", "a@0 rest@4 closed@5 e@6"),
        ("zh", "n i2 h ao3 , m a5", "i@0 a@2 o@3.5 rest@4 closed@5 a@6"),
        ("zh", "y ve4 AA ang1", "i@0 u@1 e@1.5 a@2"),
        ("yue", "Yh You2 Yg Yam1", "o@0 u@1.5 a@2 closed@3.5"),
        ("ko", "ㅇ ㅏ ㄴ ㄴ ㅣ ㅓ ㅇ 空 ㅂ ㅏ .", "a@0 i@2 o@5 closed@8 a@9 rest@10"),
        (
            "ipa",
            "p ˈ A p ə ː m , j ˈ u !",
            "closed@0 e@1 i@2.5 closed@3 a@4 closed@6 rest@7 u@8 rest@11",
        ),
        ("ipa", "x w a → ŋ t ɤ ↘", "u@0 a@2 e@4"),
        ("en", ". S S", "rest@0"),
        ("en", "S", "rest@0"),
        ("en", "", "rest@0"),
    ],
)
def test_the_lips_go_through_the_vowels_and_shut_where_they_must(
    lang: str, phones: str, expected: str
) -> None:
    assert shown(phones, lang) == expected


def test_every_symbol_of_the_models_has_an_answer() -> None:
    from koed.engine.gpt_sovits.symbols import symbols

    for symbol in symbols("v2"):
        for lang in ("en", "ja", "zh", "yue", "ko"):
            assert set(visemes.shapes(symbol, lang)) <= {
                "a", "i", "u", "e", "o", "closed", "rest",
            }  # fmt: skip


def test_every_symbol_of_the_natural_voice_is_decided() -> None:
    marks = {symbol for symbol in IDS if visemes.shapes(symbol, "ipa") == ("rest",)}
    assert marks == set(".,!?…;:—")
    assert set(IDS) == visemes.IPA.keys() | visemes.HELD | marks
    assert not visemes.IPA.keys() & visemes.HELD


@pytest.mark.parametrize(
    ("lang", "text"),
    [("en", "A papa, a piper, a puppy, a pope."), ("ja", "パパと、ピピと、パピと、ポピが。")],
)
@pytest.mark.parametrize("timbre", [0.0, 4.0])
def test_a_mouth_is_open_where_it_is_loud(lang: str, text: str, timbre: float) -> None:
    engine = EmbeddedEngine()
    voice = engine.prepare(ProfileSpec("a", lang, {"timbre": timbre}))
    pcm, found = [], []
    for chunk in engine.stream(voice, Job(1, 1, "", text, lang)):
        begins_s = sum(map(len, pcm)) / chunk.rate_hz
        ends_s = begins_s + len(chunk.pcm) / chunk.rate_hz
        assert all(begins_s <= mouth.at_s < ends_s for mouth in chunk.mouths)
        pcm.append(chunk.pcm)
        found += chunk.mouths
    assert found[0].at_s == 0.0
    sound, rate_hz = np.concatenate(pcm), chunk.rate_hz
    ends = [mouth.at_s for mouth in found[1:]] + [len(sound) / rate_hz]
    levels: dict[str, list[float]] = {"rest": [], "closed": [], "open": []}
    for mouth, end_s in zip(found, ends, strict=True):
        part = sound[round(mouth.at_s * rate_hz) : round(end_s * rate_hz)]
        kind = mouth.shape if mouth.shape in levels else "open"
        levels[kind].append(float(np.sqrt(np.mean(part**2))))
    assert max(levels["rest"][:-1]) < 0.2 * np.median(levels["open"])
    assert np.median(levels["closed"]) < 0.5 * np.median(levels["open"])
    assert len(levels["closed"]) >= 4
    engine.close()


def test_what_fell_into_the_trimmed_silence_is_one_shape_at_the_first_sample() -> None:
    engine = EmbeddedEngine()
    voice = engine.prepare(ProfileSpec("a", "en", {}))
    chunks = list(engine.stream(voice, Job(1, 1, "", "... my name", "en")))
    found = [mouth for chunk in chunks for mouth in chunk.mouths]
    assert found[0] == Mouth("rest", 0.0)
    assert [m.shape for m in found[1:]] == ["closed", "a", "i", "e", "i", "closed", "rest"]
    assert 0.0 < found[1].at_s < 0.05
    engine.close()
