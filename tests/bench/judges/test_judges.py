"""The judges themselves, with their real networks.

The expected scores are those of the packages' own programs on the same sound (speechmos 0.0.1.1;
resemblyzer 0.1.4, its silences cut by levels as here).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from koed.bench.judges import Judges, packages
from koed.bench.judges.wer import wer
from koed.errors import EngineError
from koed.in_process import LoadedVoice

ROOT = Path(__file__).resolve().parents[3]
RATE_HZ = 16_000


@pytest.fixture(scope="module")
def judges() -> Judges:
    try:
        loaded = Judges.load()
    except EngineError as error:
        pytest.skip(f"{error.message}: {error.hint}")
    return loaded


def sung() -> NDArray[np.float32]:
    """Three seconds of a gliding buzz that swells."""
    t = np.arange(3 * RATE_HZ) / RATE_HZ
    hz = 140 * 2 ** (0.3 * np.sin(2 * np.pi * 0.7 * t))
    phase = 2 * np.pi * np.cumsum(hz) / RATE_HZ
    wave = sum(np.sin(n * phase) / n for n in range(1, 20))
    return (wave * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * t)) * 0.1).astype(np.float32)


@pytest.mark.slow
def test_scores_are_those_of_the_authors(judges: Judges) -> None:
    assert judges.dnsmos(sung(), RATE_HZ) == pytest.approx((2.6197, 1.7385), abs=0.002)


@pytest.mark.slow
def test_the_vector_is_that_of_the_authors(judges: Judges) -> None:
    if judges.encoder is None:
        pytest.skip("resemblyzer is not installed")
    vector = judges.speaker(sung(), RATE_HZ)
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)
    expected = (0.22473, 0.21798, 0.21111, 0.19274)
    assert vector[[246, 146, 122, 189]] == pytest.approx(expected, abs=1e-4)


@pytest.mark.slow
def test_words_are_understood(judges: Judges) -> None:
    text = "Please be nice to each other, we are all here to have fun."
    with LoadedVoice.load(ROOT / "profiles" / "ken.yaml") as ken:
        spoken = ken.speak(text)
    assert wer([(text, judges.words(spoken.pcm, spoken.rate_hz))]) == 0.0


def test_another_file_than_was_measured_with_is_refused() -> None:
    """pytest itself stands for a package whose file has changed."""
    with pytest.raises(EngineError) as caught:
        packages.file_of("pytest", "pytest/__init__.py", "0" * 64)
    assert caught.value.code == "model_damaged"
    with pytest.raises(EngineError) as caught:
        packages.file_of("no-such-package-of-koed", "a.bin", "0" * 64)
    assert caught.value.code == "library_missing"
    assert "koed[judges]" in caught.value.hint
