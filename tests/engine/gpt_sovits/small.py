"""Small things that the tests of the engine speak with."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator
from functools import cache

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from koed.engine.base import Shape
from koed.engine.gpt_sovits.model.sovits import SoundModel
from koed.engine.gpt_sovits.model.style_encoder import Style
from koed.engine.gpt_sovits.streaming import Codes, Pace, StreamPlan
from koed.engine.gpt_sovits.timing.schedule import score
from koed.testing import tiny

SHAPES: tuple[Shape, ...] = ("a", "closed", "o", "rest", "i")
TRANSCRIPT = "Hello there, this is what I said when the clip was made."


def clip(
    seconds: float = 4.0, rate_hz: int = 32000, gain: float = 0.3, noise: float = 1e-4,
    pitch_hz: float = 140.0,
) -> NDArray[np.float32]:  # fmt: skip
    """Something like a voice: harmonics that come and go, [S]."""
    at = np.arange(round(seconds * rate_hz)) / rate_hz
    loud = 0.5 + 0.5 * np.sin(2 * np.pi * 2.7 * at)
    wave = sum(np.sin(2 * np.pi * pitch_hz * k * at) / k for k in range(1, 12))
    hiss = np.random.default_rng(3).standard_normal(len(at))
    out = gain * 0.5 * wave * np.where(loud > 0.25, loud, 0.0) + noise * hiss
    return np.asarray(out, np.float32)


def wav(pcm: NDArray[np.float32], rate_hz: int = 32000, subtype: str = "FLOAT") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, pcm, rate_hz, format="WAV", subtype=subtype)
    return buffer.getvalue()


@cache
def sound_model() -> SoundModel:
    """The one of a tiny set."""
    state = tiny.weights(dataclasses.replace(tiny.SOUND, dec=32).shapes())
    return SoundModel.from_state({key: torch.from_numpy(value) for key, value in state.items()})


def style_of(model: SoundModel, seed: int = 1) -> Style:
    draw = torch.Generator().manual_seed(seed)
    return model.style([torch.rand(1, 1025, 50, generator=draw) * 4])


def said(count: int, seed: int = 3) -> list[int]:
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(0, 1024, (count,), generator=draw).tolist()


def script(pace: Pace | None = None, speed: float = 1.0, phones: int = 20) -> StreamPlan:
    """Words of five phones each, with a shape in the middle of each."""
    ids = torch.arange(phones) + 10
    words = tuple((n, n + 4, float(n)) for n in range(0, phones, 5))
    shapes = tuple((shape, n + 2.0) for n, shape in zip(range(0, phones, 5), SHAPES, strict=False))
    beats = score(words, shapes, np.ones(phones), 0.08 / speed)
    return StreamPlan(ids, beats, seed=11, speed=speed, pace=pace or Pace())


def given(codes: list[int]) -> Codes:
    """Codes that no model makes."""

    def attempt(seed: int) -> Iterator[int]:
        yield from codes

    return Codes(attempt, lambda known, ended: None, seed=5)
