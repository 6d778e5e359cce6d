"""Who speaks, as a vector: the GE2E encoder of Resemblyzer (Wan et al. 2018; Apache-2.0), an LSTM
of three layers, in numpy. Shapes: P parts, T frames, M bands, H width.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from koed.bench.judges.mel import HOP, mel_spectrogram
from koed.bench.judges.packages import file_of, missing
from koed.engine.tensor_files import contents
from koed.errors import EngineError

PACKAGE = "resemblyzer"
WEIGHTS = (
    "resemblyzer/pretrained.pt",
    "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e",
)
INSTALL = "pip install --no-deps resemblyzer"
"""Without what it asks for, torch and a compiler: nothing of it is run."""
LAYERS = 3
WINDOW, BANDS = 400, 40
PART, STEP = 160, 77
"""Frames: 1.6 s are heard at once, 1.3 parts begin in a second."""
LEAST_OF_PART = 0.75
LEVEL_DB = -30.0
"""To which what is softer is raised, of full scale."""
SPEECH_DB = -40.0
"""Below the loudest frame; what is softer is no speech, and left out where it lasts."""
KEPT = 9
"""Frames around speech."""

Samples = NDArray[Any]
"""float32."""


class SpeakerEncoder:
    """A loaded network."""

    def __init__(self) -> None:
        """Raises `EngineError`, as `file_of`."""
        tensors = _tensors()
        self._layers = [
            (
                tensors[f"lstm.weight_ih_l{n}"].T,
                tensors[f"lstm.weight_hh_l{n}"].T,
                tensors[f"lstm.bias_ih_l{n}"] + tensors[f"lstm.bias_hh_l{n}"],
            )
            for n in range(LAYERS)
        ]
        self._out = tensors["linear.weight"].T, tensors["linear.bias"]

    def vector(self, pcm: Samples) -> Samples:
        """``pcm`` [S] at 16 kHz -> [256] of length 1."""
        frames = mel_spectrogram(speech(raised(pcm)), WINDOW, BANDS, "constant")
        vectors = self.of_parts(parts(frames.astype(np.float32)))
        return _unit(vectors.mean(axis=0))

    def of_parts(self, mels: Samples) -> Samples:
        """[P, 160, 40] -> [P, 256], each of length 1."""
        x = mels
        for into, back, bias in self._layers:
            x = _lstm(x @ into + bias, back)
        weight, bias = self._out
        return _unit(np.maximum(x[:, -1] @ weight + bias, 0.0))


def absent() -> EngineError:
    """For who wants a vector without the package."""
    return missing(PACKAGE, "it is not installed", INSTALL)


def _lstm(gates: Samples, back: Samples) -> Samples:
    """``gates`` [P, T, 4 H], of what comes in; ``back`` [H, 4 H] -> [P, T, H]."""
    count, length, width = gates.shape
    h = c = np.zeros((count, width // 4), np.float32)
    out = np.empty((count, length, width // 4), np.float32)
    for t in range(length):
        opened, kept, new, shown = np.split(gates[:, t] + h @ back, 4, axis=1)
        c = _sigmoid(kept) * c + _sigmoid(opened) * np.tanh(new)
        h = _sigmoid(shown) * np.tanh(c)
        out[:, t] = h
    return out


def _sigmoid(x: Samples) -> Samples:
    half: Samples = 0.5 + 0.5 * np.tanh(0.5 * x)
    return half


def _unit(x: Samples) -> Samples:
    unit: Samples = x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-9)
    return unit


def raised(pcm: Samples) -> Samples:
    """[S], at least as loud as the network is used to."""
    level_db = 10.0 * np.log10(max(float(np.mean(pcm.astype(np.float64) ** 2)), 1e-12))
    return np.float32(10.0 ** (max(0.0, LEVEL_DB - level_db) / 20.0)) * pcm


def speech(pcm: Samples) -> Samples:
    """[S] without long silences. The original asks a voice detector; levels tell a synthesised
    voice from its pauses as well."""
    count = len(pcm) // HOP
    frames = pcm[: count * HOP].reshape(count, HOP)
    power = np.mean(frames.astype(np.float64) ** 2, axis=1)
    loud = power > power.max(initial=0.0) * 10.0 ** (SPEECH_DB / 10.0)
    near = np.convolve(loud, np.ones(2 * KEPT + 1), mode="same") > 0 if count else loud
    return frames[near].reshape(-1)


def parts(frames: Samples) -> Samples:
    """[T, M] -> [P, 160, M]; the last is filled up with silence if most of it is there."""
    starts = range(0, max(1, len(frames) - PART + STEP), STEP)
    enough = [s for s in starts if s == 0 or len(frames) - s >= LEAST_OF_PART * PART]
    padded = np.pad(frames, ((0, PART), (0, 0)))
    return np.stack([padded[s : s + PART] for s in enough])


def _tensors() -> dict[str, Samples]:
    found = contents.read(file_of(PACKAGE, *WEIGHTS, INSTALL))
    made = {}
    for name, place in found.tensors.items():
        flat = np.frombuffer(found.data, np.float32, place.span, place.start)
        strides = [4 * step for step in place.stride]
        made[name] = np.lib.stride_tricks.as_strided(flat, place.shape, strides).copy()
    return made
