"""The parts of the neural voice, each measured alone, on random weights made in memory.

Shapes: S samples.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import gc
import io
import os
import statistics
import time
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from koed.bench.engine.naive import NaiveGenerator, NaiveT2S
from koed.engine.gpt_sovits.checkpoints import s1_s2_keys, shared_keys
from koed.engine.gpt_sovits.decoding.cuda_graph import DeviceBatch
from koed.engine.gpt_sovits.decoding.decode import Prompt
from koed.engine.gpt_sovits.model.hubert import Hubert
from koed.engine.gpt_sovits.model.linear import Precision
from koed.engine.gpt_sovits.model.sampling import Sampling, seeded
from koed.engine.gpt_sovits.model.sovits import NOISE_SCALE, SoundModel
from koed.engine.gpt_sovits.model.speaker_encoder import Speaker
from koed.engine.gpt_sovits.model.t2s import T2S
from koed.testing import tiny


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured."""

    text: s1_s2_keys.S1 = dataclasses.field(default_factory=s1_s2_keys.S1)
    heads: int = 16
    sound: s1_s2_keys.S2 = dataclasses.field(default_factory=s1_s2_keys.S2)
    """Of v2."""
    ears: shared_keys.Hubert = dataclasses.field(default_factory=shared_keys.Hubert)
    speakers: shared_keys.SpeakerKeys = dataclasses.field(default_factory=shared_keys.SpeakerKeys)
    reference_s: float = 5.0
    phones: int = 100
    """Of transcript and line together."""
    codes: int = 100
    """Made in each measurement of the text model; 25 are a second."""
    rows: tuple[int, ...] = (1, 4, 8)
    audio_s: float = 4.0
    """Made in each measurement of sound."""
    line_s: float = 8.0
    """Streamed, where the work for all of it is measured."""
    repeats: int = 3
    together: int = 2
    """Lines that are streamed at once."""
    firsts: int = 0
    """Lines whose first chunk is timed for its 99th percentile; 0 = it is not."""

    def on(self, device: torch.device) -> Plan:
        """On a GPU more is asked for."""
        if device.type != "cuda":
            return self
        return dataclasses.replace(self, together=32, firsts=100)


BURST = 5
"""Codes of each row that are timed together."""


class Weights:
    """Random weights for all networks, made once."""

    def __init__(self, plan: Plan, device: torch.device) -> None:
        self.device = device
        self.text = _tensors(plan.text.shapes())
        # The end mark is never the likeliest: every measurement makes as many codes as it wants.
        self.text["model.ar_predict_layer.weight"][-1] = 0.0
        self.sound = _tensors(plan.sound.shapes())
        self.heads = plan.heads

    def t2s(self, setting: str) -> T2S:
        """``setting``: a precision, or `HALF_FILE`."""
        # Copies: what a model keeps of its file counts as its memory.
        weights, precision = _copies(self.text), cast(Precision, setting)
        if setting == HALF_FILE:
            weights, precision = {k: v.half() for k, v in weights.items()}, "fp32"
        return T2S(weights, self.heads, precision=precision, device=self.device)

    def sound_model(self, dtype: torch.dtype, fast: bool = True) -> SoundModel:
        return SoundModel.from_state(
            _copies(self.sound), device=self.device, generator_dtype=dtype, fast=fast
        )

    def hubert(self, plan: Plan) -> Hubert:
        return Hubert(_tensors(plan.ears.shapes()), tiny.hubert_config(plan.ears), self.device)


def _copies(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in weights.items()}


def _tensors(shapes: s1_s2_keys.Shapes) -> dict[str, Tensor]:
    return {
        key: torch.from_numpy(np.ascontiguousarray(value))
        for key, value in tiny.weights(shapes).items()
    }


# --- parts -----------------------------------------------------------------------------------


HALF_FILE = "fp32 of a half file"
"""Fine-tuned models are stored in half precision; on a CPU float32 then costs half as much."""


def text_formats(device: torch.device) -> tuple[str, ...]:
    return (
        ("fp32", "fp16", "bf16") if device.type == "cuda" else ("fp32", HALF_FILE, "fp16", "int8")
    )


def text_models(plan: Plan, made: Weights) -> dict[str, Any]:
    """Prefill and tokens a second for each number of rows, in each format and by `NaiveT2S`.

    On a processor ours have one thread, as in the engine (see `threads`); `NaiveT2S` has all.
    """
    models: dict[str, T2S] = {}
    out: dict[str, Any] = {}
    for setting in text_formats(made.device):
        before = used_mb(made.device)
        models[setting] = made.t2s(setting)
        out[setting] = {"memory_mb": round(used_mb(made.device) - before)}
    prompts = [_prompt(plan, n, made.device) for n in range(max(plan.rows))]
    with _alone():
        for setting, model in models.items():
            out[setting]["prefill_ms"] = round(1000 * _prefill_s(plan, model, prompts[0]), 1)
    text = {key: value.to(made.device) for key, value in made.text.items()}
    naive = NaiveT2S(text, plan.text, plan.heads)
    out["naive"] = {}
    for rows in plan.rows:
        steps = {name: _by_itself(_steps(model, prompts[:rows])) for name, model in models.items()}
        steps["naive"] = _naive_steps(naive, prompts[:rows], plan.codes)
        for name, rate in _rates(steps, rows, plan.codes).items():
            out[name].setdefault("tokens_s", {})[str(rows)] = round(rate, 1)
    return out


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(count)


def _by_itself(steps: Iterator[int]) -> Iterator[int]:
    """Each of the steps with one thread."""
    while True:
        with _alone():
            said = next(steps)
        yield said


def _prefill_s(plan: Plan, model: T2S, prompt: Prompt) -> float:
    state = model.new_state(1, prompt.positions)

    def prefill() -> None:
        model.prefill(state, 0, prompt.phones, None, prompt.codes)

    prefill()  # the first time is for the libraries
    return min(median_s(prefill, 1, model.device) for _ in range(plan.repeats))


def _steps(model: T2S, prompts: list[Prompt]) -> Iterator[int]:
    """Step by step, how many codes all rows have said."""
    positions = max(prompt.positions for prompt in prompts) + 8
    # On a processor a look costs nothing, and rows that have ended compute along until one.
    every = 4 if model.device.type == "cuda" else 1
    batch = DeviceBatch(model, len(prompts), positions, every=every)
    batch.warm_up()
    for n, prompt in enumerate(prompts):
        batch.join(n, prompt, seeded(n, model.dims.codes, model.device))
    while True:
        yield sum(one.code is not None for one in batch.step())


def _naive_steps(model: NaiveT2S, prompts: list[Prompt], count: int) -> Iterator[int]:
    phones, codes = (
        torch.stack([p.phones for p in prompts]),
        torch.stack([p.codes for p in prompts]),
    )
    noise = seeded(0, model.dims.codes, phones.device)
    for said in model.steps(phones, codes, 2 * count, Sampling(), noise):
        yield len(said)


def _rates(steps: dict[str, Iterator[int]], rows: int, codes: int) -> dict[str, float]:
    """Codes of all rows in a second, prefill not counted.

    A few steps of each in turn, as other work on the machine comes and goes; a quarter of them was
    faster than what is told.
    """
    took: dict[str, list[float]] = {name: [] for name in steps}
    for name in steps:
        for _ in range(3):
            next(steps[name])
    now = clock()
    for _ in range(codes // BURST):
        for name, some in steps.items():
            began, said = now(), 0
            while said < BURST * rows:
                said += next(some)
            took[name].append((now() - began) / said)
    return {name: 1 / sorted(seconds)[len(seconds) // 4] for name, seconds in took.items()}


def _prompt(plan: Plan, seed: int, device: torch.device) -> Prompt:
    rng = torch.Generator().manual_seed(seed)
    phones = torch.randint(0, plan.text.phones, (plan.phones,), generator=rng)
    codes = torch.randint(0, plan.text.end, (round(25 * plan.reference_s),), generator=rng)
    return Prompt(phones.to(device), codes.to(device), most=2 * plan.codes)


def decoder(plan: Plan, made: Weights) -> dict[str, Any]:
    """Seconds of work for a second of sound, all in one go; the ways in turn, the best of each."""
    out: dict[str, Any] = {}
    rng = torch.Generator().manual_seed(0)
    codes = torch.randint(0, 1000, (round(25 * plan.audio_s),), generator=rng)
    phones = torch.randint(0, 300, (plan.phones // 2,), generator=rng)
    spec = torch.rand(1, 1025, 100, generator=rng)
    models: dict[str, SoundModel] = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        before = used_mb(made.device)
        models[name] = made.sound_model(dtype)
        out[name] = {"memory_mb": round(used_mb(made.device) - before)}
    models["naive"], out["naive"] = _naive_sound(made), {}

    def say(model: SoundModel) -> None:
        model.synthesize(codes % model.dims.codes, phones, model.style([spec]))

    for model in models.values():
        say(model)
    took: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(plan.repeats):
        for name, model in models.items():
            took[name].append(median_s(lambda model=model: say(model), 1, made.device))  # type: ignore[misc]
    for name, seconds in took.items():
        out[name]["s_per_s"] = round(min(seconds) / plan.audio_s, 4)
    return out


def _naive_sound(made: Weights) -> SoundModel:
    """Our encoder and flow with `NaiveGenerator`, as hardly any of the work is not there."""
    model = made.sound_model(torch.float32, fast=False)
    weights = {key: value.to(made.device) for key, value in made.sound.items()}
    slow = NaiveGenerator(weights, model.dims.generator)
    model.decode = lambda encoded, noise, style, noise_scale=NOISE_SCALE: slow(  # type: ignore[method-assign]
        model._latent(encoded.m, encoded.logs, noise, style, noise_scale), style.ge
    )[0]
    return model


def reference(plan: Plan, made: Weights) -> dict[str, Any]:
    """What is done once for a voice: what is said there, and for Pro models, who speaks."""
    hubert = made.hubert(plan)
    speaker = Speaker(_tensors(plan.speakers.shapes()), made.device)
    wave_16k = torch.from_numpy(buzz(plan.reference_s, 16_000)).to(made.device)
    wave_32k = torch.from_numpy(buzz(plan.reference_s, 32_000)).to(made.device)
    return {
        "hubert_s": round(median_s(lambda: hubert(wave_16k), plan.repeats, made.device), 3),
        "speaker_s": round(median_s(lambda: speaker(wave_32k), plan.repeats, made.device), 3),
    }


# --- tools ---------------------------------------------------------------------------------------


def buzz(seconds: float, rate_hz: int) -> NDArray[np.float32]:
    """[S]: a buzz in syllables with pauses: what passes for speech where a reference is checked."""
    at_s = np.arange(round(seconds * rate_hz)) / rate_hz
    buzz = sum(np.sin(2 * np.pi * 140 * n * at_s) / n for n in range(1, 20))
    return (0.2 * buzz * np.maximum(0.0, np.sin(2 * np.pi * 2 * at_s) + 0.6)).astype(np.float32)


def buzz_wav(seconds: float, rate_hz: int) -> bytes:
    """The same as a WAV file."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes((buzz(seconds, rate_hz) * 32767).astype("<i2").tobytes())
    return buffer.getvalue()


def clock() -> Callable[[], float]:
    """With one thread, processor time, which other work on the machine hardly changes."""
    alone = torch.get_num_threads() == 1 and not torch.cuda.is_available()
    return time.process_time if alone else time.monotonic


def median_s(work: Callable[[], Any], repeats: int, device: torch.device) -> float:
    now = clock()

    def once() -> float:
        began = now()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return now() - began

    return statistics.median(once() for _ in range(repeats))


def used_mb(device: torch.device) -> float:
    """Memory of the process, or of the GPU that it has taken, what graphs keep included."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        return torch.cuda.memory_reserved() / 2**20
    # What was freed must not be taken for what is used next.
    with contextlib.suppress(AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
