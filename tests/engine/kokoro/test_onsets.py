"""When words are heard: behind silence as the energy says, elsewhere ahead of their symbols."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from koed.engine.base import Job, ProfileSpec
from koed.engine.kokoro import onsets, weights
from koed.engine.kokoro.engine import KokoroEngine
from koed.errors import EngineError
from tools import natural_words

LASTS = 8
"""Frames, of every symbol."""


def heard(symbols: str, *silences: tuple[int, int]) -> list[float]:
    """With silence in these frames."""
    energy = np.ones(2 * LASTS * (len(symbols) + 2), np.float32)
    for start, end in silences:
        energy[2 * start : 2 * end] = -9.0
    starts: NDArray[np.int64] = np.arange(len(symbols) + 3) * LASTS
    return onsets.heard(symbols, starts, energy).tolist()


def test_within_speech_the_sound_is_ahead_of_its_symbol() -> None:
    assert heard("ab") == [8 - onsets.AHEAD, 16 - onsets.AHEAD, 24]
    assert heard("asa")[1] == 16 - onsets.HISSING_AHEAD
    stressed = heard("aˈsa")
    assert stressed[1] == 16 - onsets.HISSING_AHEAD
    assert stressed == sorted(stressed)


def test_behind_a_silence_it_is_where_that_ends() -> None:
    assert heard("aba", (0, 3))[0] == 3
    assert heard("a, ba", (18, 30))[3] == 30
    assert heard("a ba", (10, 20))[2] == 24 - onsets.AHEAD  # that is within a word
    assert heard("a, ba")[3] == 32 - onsets.AHEAD  # nothing is silent at this comma


def test_the_times_told_of_words_are_those_of_the_sound(graphs: weights.Graphs) -> None:
    engine = KokoroEngine(lambda: graphs)
    text, lang = natural_words.SENTENCES["mia"][6], "en"
    voice = engine.prepare(ProfileSpec("mia", lang, {"voice": "af_heart"}))
    chunks = list(engine.stream(voice, Job(serial=1, lane=0, voice="", text=text, lang=lang)))
    words = [word for chunk in chunks for word in chunk.words]
    pcm = np.concatenate([chunk.pcm for chunk in chunks])

    def off_ms(late_s: float) -> float:
        told = [replace(word, at_s=max(0.0, word.at_s + late_s)) for word in words]
        return natural_words.row(natural_words.errors(pcm, told, text, lang))["p50_ms"]

    assert off_ms(0.0) <= 20
    assert off_ms(0.05) > 30
    assert off_ms(-0.05) > 30


def test_without_the_model_the_bench_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def absent(_: object, __: object) -> object:
        raise EngineError("model_missing", "it is not installed", "make run")

    monkeypatch.setattr(KokoroEngine, "prepare", absent)
    assert natural_words.measure() == {}
    assert capsys.readouterr().err == "the natural voice is left out: it is not installed\n"
