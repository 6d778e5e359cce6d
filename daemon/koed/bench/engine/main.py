"""`koed bench engine`: how fast the neural voice is here, on full-size models of random weights.

Time does not depend on what weights have learned, so nothing need be fetched. The whole engine is
measured as well as its parts: a profile is prepared and a line is streamed.

Shapes: N phones, T codes, S samples.
"""

from __future__ import annotations

import contextlib
import os
import resource
import statistics
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from koed.bench.engine import parts, targets
from koed.bench.engine.parts import Plan, Weights, buzz_wav, used_mb
from koed.engine.base import Job, ProfileSpec, Voice
from koed.engine.gpt_sovits import threads
from koed.engine.gpt_sovits.cards import Card, formats
from koed.engine.gpt_sovits.engine import GptSovitsEngine
from koed.engine.gpt_sovits.model.hubert import Hubert
from koed.engine.gpt_sovits.model.sovits import SAMPLE_RATE_HZ
from koed.engine.gpt_sovits.models import Base, Models, Name
from koed.engine.gpt_sovits.parts import Parts
from koed.engine.gpt_sovits.store.store import Store
from koed.engine.gpt_sovits.symbols import Version
from koed.engine.gpt_sovits.text_features import TextFeatures, read
from koed.engine.gpt_sovits.timing.words import shared
from koed.errors import EngineError

LINE = "Good evening, and welcome to the stream. This is a line of the usual length, so far."
SAID = "Now this is what was said in the recording of the reference voice."
MODEL = "bench"
MODEL_BYTES = 64 << 30
"""Budget: measuring must never evict."""


def run(profile: Path | None = None, plan: Plan | None = None) -> dict[str, Any]:
    """Measure and print a table; ``profile``: where to write a trace of one streamed line."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    plan = plan or Plan().on(device)
    made = Weights(plan, device)
    settings = ("fp32", "fp16") if device.type == "cuda" else ("fp32", "bf16", "int8")
    results: dict[str, Any] = {"device": _device(device), "torch": torch.__version__}
    most = threads.allowed(os.environ)
    counts = [most] if device.type == "cuda" else sorted({1, most})
    results["threads"] = {}
    for count in counts:
        torch.set_num_threads(count)
        print(f"{count} threads ...", file=sys.stderr, flush=True)
        results["threads"][str(count)] = _parts(plan, made, settings[-1], count)
    torch.set_num_threads(most)
    results["reference"] = parts.reference(plan, made)
    results["speech"] = {
        name: _speech(plan, made, name, profile if name == settings[-1] else None)
        for name in settings
    }
    results["together"] = {"precision": settings[-1], **_together(plan, made, settings[-1])}
    results["peak_rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    if device.type == "cuda":
        results["peak_gpu_mb"] = torch.cuda.max_memory_allocated() >> 20
        judged = list(targets.rows_of_a_gpu(results))
    else:
        judged = list(targets.rows(results["threads"]))
    results["targets"] = targets.as_json(judged)
    _table(results)
    for row in judged:
        print(row.told())
    return {"engine": results}


def _parts(plan: Plan, made: Weights, precision: str, count: int) -> dict[str, Any]:
    """The models alone and a streamed line, with ``count`` threads."""
    return {
        "text": parts.text_models(plan, made),
        "decoder": parts.decoder(plan, made),
        "streaming": {"precision": precision, **_streaming(plan, made, precision, count)},
    }


# --- the whole -------------------------------------------------------------------------------


class _Ears:
    """In place of `Parts`: what a v2 model needs, from memory."""

    def __init__(self, plan: Plan, made: Weights) -> None:
        self._plan, self._made = plan, made
        self._hubert: Hubert | None = None

    def hubert(self) -> Hubert:
        if self._hubert is None:
            self._hubert = self._made.hubert(self._plan)
        return self._hubert

    def bert(self) -> None:
        return None

    def language(self, lang: str, version: Version) -> Future[None]:
        """Each is there, or is loaded by whoever reads it."""
        there: Future[None] = Future()
        there.set_result(None)
        return there

    def release(self, all_of_them: bool = False) -> None:
        self._hubert = None

    def close(self) -> None:
        """Nothing is being loaded."""


class _Base(Base):
    """Reads English; where its libraries are missing, letters stand for phones."""

    def read(self, text: str, lang: str) -> TextFeatures:
        try:
            return read(text, lang, self.version, lambda: None)
        except EngineError as error:
            if error.code != "library_missing":
                raise
        phones = torch.tensor([1 + ord(c) % 200 for c in text if c.isalpha()])
        return TextFeatures(phones, None, shared(text, phones.numel()))


class _Memory(Models):
    """One model, from memory."""

    def __init__(self, plan: Plan, made: Weights, card: Card | None) -> None:
        super().__init__(Store(Path(os.devnull)), card, MODEL_BYTES)
        self._made, self._ears = made, _Ears(plan, made)
        self.parts = cast(Parts, self._ears)

    def digest(self, name: str) -> str:
        return "0" * 32

    def _load(self, name: Name) -> Base:
        text, sound = formats(self.card, name.precision)
        made = self._made
        self._ears.hubert()  # to make its weights is no part of preparing
        base = _Base(
            name, self.digest(""), "v2", made.t2s(text), made.sound_model(sound), self.parts
        )
        base.warm_up(self.cache.budget_bytes)
        return base


def loaded(
    plan: Plan, made: Weights, precision: str, count: int = 0
) -> tuple[GptSovitsEngine, ProfileSpec]:
    """An engine whose models are loaded, and a profile."""
    engine = GptSovitsEngine(Path(os.devnull), made.device.type, cores=count)
    engine.models.cache.close()
    engine.models = _Memory(plan, made, engine.models.card)
    settings = {"model": MODEL, "precision": precision, "guards": "none"}  # it babbles
    reference = {"audio": buzz_wav(plan.reference_s, 44_100), "transcript": SAID, "lang": "en"}
    engine.models.get(Name(MODEL, precision))
    return engine, ProfileSpec("bench", "en", settings, reference)


def _streaming(plan: Plan, made: Weights, precision: str, count: int) -> dict[str, float]:
    """All work for a line, chunk after chunk as they are sent, for a second of its sound.

    With one thread the processor's time, which other work hardly changes, else the watch's.
    """
    engine, spec = loaded(plan, made, precision, count)
    voice = engine.prepare(spec)
    engine.load(voice)
    streamed(engine, voice, plan.line_s, 0)
    heard = [streamed(engine, voice, plan.line_s, n) for n in range(1, plan.repeats + 1)]
    engine.close()
    torch.set_num_threads(count)
    took_s = min(h.took_s / h.sound_s for h in heard)
    busy_s = min(h.processor_s / h.sound_s for h in heard)
    return {
        "s_per_s": round(busy_s if count == 1 and made.device.type == "cpu" else took_s, 3),
        "processor_s_per_s": round(busy_s, 3),
        "first_chunk_ms": round(1000 * min(h.first_s for h in heard), 1),
    }


def _speech(plan: Plan, made: Weights, precision: str, profile: Path | None) -> dict[str, Any]:
    """Prepare a profile and stream a line, as the worker does."""
    before = used_mb(made.device)
    engine, spec = loaded(plan, made, precision)
    began = time.monotonic()
    voice = engine.prepare(spec)
    prepare_s = time.monotonic() - began
    engine.load(voice)
    streamed(engine, voice, plan.audio_s, 0)
    held_mb, counted_mb = used_mb(made.device) - before, engine.models.cache.used_bytes / 2**20
    firsts = [streamed(engine, voice, 0.01, n).first_s for n in range(plan.firsts)]
    heard = [streamed(engine, voice, plan.audio_s, n) for n in range(1, plan.repeats + 1)]
    if profile is not None:
        with _trace(profile, made.device):
            streamed(engine, voice, plan.audio_s, 1)
    engine.close()
    return {
        "prepare_s": round(prepare_s, 2),
        "first_chunk_ms": round(1000 * statistics.median(h.first_s for h in heard), 1),
        **({"first_chunk_p99_ms": _p99_ms(firsts)} if firsts else {}),
        "first_chunk_sound_ms": round(1000 * heard[0].first_sound_s),
        "rtf": round(statistics.median(h.took_s / h.sound_s for h in heard), 3),
        "memory_mb": round(held_mb),
        "counted_mb": round(counted_mb),
    }


def _p99_ms(seconds: list[float]) -> float:
    return round(1000 * sorted(seconds)[99 * len(seconds) // 100], 1)


def _together(plan: Plan, made: Weights, precision: str) -> dict[str, float]:
    """Several lines at once, a chunk of each in turn, as a worker's lanes take turns."""
    engine, spec = loaded(plan, made, precision)
    voice = engine.prepare(spec)
    engine.load(voice)
    streamed(engine, voice, plan.audio_s, 0)
    began = time.monotonic()
    jobs = [Job(n, n, voice.key, LINE, "en", seed=n) for n in range(1, plan.together + 1)]
    streams = [engine.stream(voice, job) for job in jobs]
    samples = [0] * len(jobs)
    enough = plan.audio_s * SAMPLE_RATE_HZ
    while min(samples) < enough:
        for n, stream in enumerate(streams):
            if samples[n] < enough:
                chunk = next(stream, None)
                samples[n] += len(chunk.pcm) if chunk is not None else round(enough)
    took_s = time.monotonic() - began
    for stream in streams:
        stream.close()
    engine.close()
    return {"lines": len(jobs), "s_per_s": round(took_s / plan.audio_s, 3)}


@dataclass(frozen=True, slots=True)
class _Heard:
    first_s: float
    first_sound_s: float
    took_s: float
    processor_s: float
    """Of all threads."""
    sound_s: float


def streamed(engine: GptSovitsEngine, voice: Voice, audio_s: float, seed: int) -> _Heard:
    """One line, until there are ``audio_s`` of it."""
    began, first_s, first, samples = time.monotonic(), 0.0, 0, 0
    busy_s = time.process_time()
    stream = engine.stream(voice, Job(1 + seed, 0, voice.key, LINE, "en", seed=seed))
    for chunk in stream:
        samples += len(chunk.pcm)
        if samples and not first:
            first_s, first = time.monotonic() - began, samples
        if samples >= audio_s * SAMPLE_RATE_HZ:
            break
    took_s, busy_s = time.monotonic() - began, time.process_time() - busy_s
    stream.close()
    return _Heard(first_s, first / SAMPLE_RATE_HZ, took_s, busy_s, samples / SAMPLE_RATE_HZ)


@contextlib.contextmanager
def _trace(path: Path, device: torch.device) -> Iterator[None]:
    """A trace for chrome://tracing or Perfetto."""
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as taken:
        yield
    taken.export_chrome_trace(str(path))


def _device(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name()
    return f"CPU, {len(os.sched_getaffinity(0))} cores"


def _table(results: dict[str, Any]) -> None:
    print(f"{results['device']}, torch {results['torch']}; full-size v2, random weights")
    if "1" in results["threads"] and results["device"].startswith("CPU"):
        print("1 thr.: processor time; more: as the watch shows, while nothing else runs")
    for count, found in results["threads"].items():
        _table_of_parts(f"{count} thr.", found)
    for name, speech in results["speech"].items():
        print(
            f"speech     {name:20} first chunk after {speech['first_chunk_ms']:g} ms, "
            f"RTF {speech['rtf']:g}, prepared in {speech['prepare_s']:g} s, "
            f"{speech['memory_mb']} MB, of which the model was counted {speech['counted_mb']}"
        )
    together = results["together"]
    print(
        f"together   {together['precision']:20} {together['lines']} lines at once: "
        f"{together['s_per_s']:g} s for a second of each"
    )


def _table_of_parts(count: str, found: dict[str, Any]) -> None:
    naive = found["text"]["naive"]["tokens_s"]["1"]
    for name, text in found["text"].items():
        rates = ", ".join(f"{rate:g} ({rows} rows)" for rows, rate in text["tokens_s"].items())
        times = f", {text['tokens_s']['1'] / naive:.2f} x naive" if name != "naive" else ""
        prefill = f", prefill {text['prefill_ms']:g} ms" if name != "naive" else ""
        print(f"{count} text model {name:20} tokens/s {rates}{times}{prefill}")
    for name, sound in found["decoder"].items():
        print(f"{count} decoder    {name:20} {sound['s_per_s']:g} s for a second of sound")
    streamed = found["streaming"]
    print(
        f"{count} streaming  {streamed['precision']:20} {streamed['s_per_s']:g} s for a second of "
        f"sound, {streamed['processor_s_per_s']:g} s of processor time; first chunk after "
        f"{streamed['first_chunk_ms']:g} ms"
    )
