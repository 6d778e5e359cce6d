"""Base models: found by name, held in memory for all voices that speak with them.

A base model is a text model and a sound model; what all of them share is in `parts`.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import logging
from collections.abc import Generator, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from koed.engine.gpt_sovits import text_features
from koed.engine.gpt_sovits.checkpoints import checkpoint
from koed.engine.gpt_sovits.decoding.continuous_batch import ContinuousBatch
from koed.engine.gpt_sovits.decoding.cuda_graph import DeviceBatch
from koed.engine.gpt_sovits.decoding.decode import Prompt, Utterance
from koed.engine.gpt_sovits.decoding.vocoder_graphs import WindowGraphs
from koed.engine.gpt_sovits.model.linear import Precision
from koed.engine.gpt_sovits.model.sampling import Noise
from koed.engine.gpt_sovits.model.sovits import SoundModel
from koed.engine.gpt_sovits.model.t2s import T2S, State
from koed.engine.gpt_sovits.model_cache import ModelCache
from koed.engine.gpt_sovits.parts import Part, Parts
from koed.engine.gpt_sovits.store.store import File, Model, Store
from koed.engine.gpt_sovits.streaming import Windows
from koed.engine.gpt_sovits.symbols import Version
from koed.engine.gpt_sovits.text_features import TextFeatures
from koed.errors import EngineError

log = logging.getLogger(__name__)

PRECISIONS: dict[tuple[str, str], tuple[Precision, torch.dtype]] = {
    ("cpu", "auto"): ("fp32", torch.float32),
    ("cpu", "fp32"): ("fp32", torch.float32),
    ("cpu", "fp16"): ("fp16", torch.float32),
    ("cpu", "bf16"): ("fp16", torch.bfloat16),
    ("cpu", "int8"): ("int8", torch.bfloat16),
    ("cuda", "auto"): ("fp16", torch.bfloat16),
    ("cuda", "fp32"): ("fp32", torch.float32),
    ("cuda", "fp16"): ("fp16", torch.float16),
    ("cuda", "bf16"): ("bf16", torch.bfloat16),
}
"""Kind of device and setting -> of the text model and of the generator."""
FULL = ("allocate memory", "out of memory", "ALLOC_FAILED")
"""Of messages of a RuntimeError: a device or a library of its has no memory left."""
LOST = ("CUDA error", "CUDNN_STATUS_EXECUTION_FAILED", "CUDNN_STATUS_INTERNAL_ERROR")
"""The device fails all that comes after."""
CACHE_STEP = 256
IDLE_CACHES = 2
ROW_POSITIONS = 2048
FEWEST_ROWS, MOST_ROWS, ROWS_SHARE = 8, 32, 0.05
"""Of utterances that are decoded together on a GPU, 0.1 GB each in half precision, and what part of
its memory they may take. A line that finds no row decodes alone, in many small calls."""


@dataclass(frozen=True, slots=True)
class Name:
    """Of a base model in memory."""

    model: str
    precision: str


class Base:
    """A base model in memory; `koed.engine.gpt_sovits.voice.Base`."""

    def __init__(
        self, name: Name, digest: str, version: Version, t2s: T2S, sound: SoundModel,
        size_bytes: int, parts: Parts,
    ) -> None:  # fmt: skip
        self.name, self.digest, self.version = name, digest, version
        self.t2s, self.sound, self.size_bytes = t2s, sound, size_bytes
        self.windows: Windows = sound
        self.together: ContinuousBatch | None = None
        self._parts = parts
        self._idle: list[State] = []

    def warm_up(self) -> None:
        """Record the graphs of both models where there is CUDA."""
        if self.sound.device.type == "cuda":
            graphs = WindowGraphs(self.sound)
            graphs.warm_up()
            self.windows = graphs
            memory = torch.cuda.get_device_properties(self.sound.device).total_memory
            rows = rows_together(self.t2s, memory)
            batch = DeviceBatch(self.t2s, rows, ROW_POSITIONS)
            batch.warm_up()
            self.together = ContinuousBatch(batch, rows)

    def codes(self, prompt: Prompt, noise: Noise) -> Generator[int, None, None]:
        """The codes of an utterance, one by one; close it to stop."""
        if self.together is not None and self.together.has_room(prompt):
            yield from self.together.say(prompt, noise)
            return
        with self.state(prompt.positions) as state:
            yield from Utterance(self.t2s, prompt, noise, state)

    def hubert(self, wave: Tensor) -> Tensor:
        """[S] at 16 kHz -> [1, 768, F]"""
        return self._parts.hubert()(wave)

    def speaker(self, wave: Tensor) -> Tensor:
        """[S] at 32 kHz -> [1, 20480]"""
        return self._parts.speaker()(wave)

    def read(self, text: str, lang: str) -> TextFeatures:
        parts = self._parts
        return text_features.read(text, lang, self.version, parts.bert, parts.polyphones)

    def language(self, lang: str) -> Future[None]:
        """What reads text of this language, as `Parts.language`."""
        return self._parts.language(lang, self.version)

    @contextlib.contextmanager
    def state(self, positions: int) -> Iterator[State]:
        """A cache for one row of ``positions``, used again by those who come later."""
        size = -(-positions // CACHE_STEP) * CACHE_STEP
        fits = [state for state in self._idle if state.bias.shape[-1] >= size]
        state = min(fits, key=lambda s: s.bias.shape[-1]) if fits else None
        if state is not None:
            # Not by list.remove: it would compare the tensors of others with those of this one.
            self._idle = [other for other in self._idle if other is not state]
        else:
            state = self.t2s.new_state(1, size)
        try:
            yield state
        finally:
            self._idle = [*self._idle, state][-IDLE_CACHES:]


def rows_together(t2s: T2S, memory_bytes: int) -> int:
    """How many lines a GPU with so much memory decodes at once."""
    row_bytes = 2 * t2s.dims.layers * t2s.dims.width * ROW_POSITIONS * t2s.dtype.itemsize
    return min(MOST_ROWS, max(FEWEST_ROWS, int(ROWS_SHARE * memory_bytes / row_bytes)))


class Models:
    """All base models of a folder, and those of them that are in memory."""

    def __init__(self, store: Store, device: torch.device, budget_bytes: int) -> None:
        self.store, self.device = store, device
        self.parts = Parts(store, device)
        self.cache: ModelCache[Name, Base] = ModelCache(
            self._load, lambda base: base.size_bytes, budget_bytes, _free
        )
        self._only = ""

    def find(self, name: str) -> Model:
        """By name; "" is the only one that can speak. Raises `EngineError` ``unknown_model``."""
        if name:
            return self.store.find(name)
        models = [model for model in self.store.scan().models if not model.problem]
        if len(models) == 1:
            return models[0]
        if not models:
            folder = self.store.folder
            raise EngineError("unknown_model", f"no model in {folder}", "koed models pull v2")
        names = ", ".join(model.name for model in models)
        raise EngineError("unknown_model", "several models are there", f"set model to: {names}")

    def digest(self, name: str) -> str:
        """Of what a voice is made with: the pair, HuBERT, and for Pro the speaker network.

        Three words with ``/`` between them; one is empty where its file is not there. See
        `koed.engine.gpt_sovits.voice.fits`.
        """
        model = self.find(name)
        pair = [self._hash(file) for file in (model.t2s, model.sovits) if file is not None]
        whole = hashlib.sha256("".join(pair).encode()).hexdigest()[:32]
        is_pro = bool(model.sovits.info.dims.get("speaker"))
        return f"{whole}/{self._part_hash('hubert')}/{self._part_hash('sv') if is_pro else ''}"

    def get(self, name: Name) -> Base:
        """The model in memory; waits if it is still to be loaded."""
        return self.coming(name).result()

    def coming(self, name: Name) -> Future[Base]:
        """The same without waiting: begins to load it."""
        return self.cache.get(self.named(name))

    def named(self, name: Name) -> Name:
        """An empty name as the real one, so that nothing is loaded twice."""
        if name.model:
            return name
        if not self._only:
            self._only = self.find("").name
        return Name(self._only, name.precision)

    def _hash(self, file: File) -> str:
        if file.info.source_sha256:
            return file.info.source_sha256
        return self.store.index.sha256(file.path)

    def _part_hash(self, part: Part) -> str:
        try:
            return self.store.index.sha256(checkpoint.weights_of(self.store.part(part)))[:16]
        except EngineError:  # whoever needs it will say so
            return ""

    def _load(self, name: Name) -> Base:
        key = (self.device.type, name.precision)
        if key not in PRECISIONS:
            raise EngineError(
                "bad_setting", f"precision {name.precision} is not for {self.device.type}", "auto"
            )
        text, sound = PRECISIONS[key]
        model = self.find(name.model)
        assert model.t2s is not None  # or it had a problem
        log.info("loading the model %s (%s, %s)", model.name, model.version, name.precision)
        with translated(self):
            s1, s2 = checkpoint.load(model.t2s.path), checkpoint.load(model.sovits.path)
            base = Base(
                name,
                self.digest(name.model),
                cast(Version, s2.info.symbols),
                T2S(s1.state, s1.info.dims["heads"], precision=text, device=self.device),
                SoundModel.from_state(s2.state, s2.info.upsample_rates, self.device, sound),
                _bytes(s1.info.parameters, text) + _bytes(s2.info.parameters, sound),
                self.parts,
            )
            base.warm_up()
        return base


@contextlib.contextmanager
def translated(models: Models | None) -> Iterator[None]:
    """torch's errors as `EngineError`: ``oom`` (and the budget shrinks) and ``device_lost``."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error)
        full = isinstance(error, (MemoryError, torch.OutOfMemoryError))
        if full or any(words in text for words in FULL):
            if models is not None:
                models.cache.shrink()
            raise EngineError(
                "oom", f"memory ran out: {text[:120]}", "fewer models at once, or a lower precision"
            ) from error
        if isinstance(error, torch.AcceleratorError) or any(words in text for words in LOST):
            raise EngineError("device_lost", f"the GPU failed: {text[:120]}") from error
        raise


def _bytes(parameters: int, precision: Precision | torch.dtype) -> int:
    each = {"int8": 1, "fp16": 2, "bf16": 2}.get(str(precision), 4)
    if isinstance(precision, torch.dtype):
        each = precision.itemsize
    return parameters * each


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
