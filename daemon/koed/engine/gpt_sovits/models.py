"""Base models: found by name, held in memory for all voices that speak with them.

A base model is a text model and a sound model. HuBERT and the speaker network are there to prepare
voices, BERT to read Chinese; all base models share them.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import logging
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import torch
from torch import Tensor

from koed.engine.gpt_sovits import text_features
from koed.engine.gpt_sovits.checkpoints import checkpoint
from koed.engine.gpt_sovits.decoding.continuous_batch import ContinuousBatch
from koed.engine.gpt_sovits.decoding.cuda_graph import DeviceBatch
from koed.engine.gpt_sovits.decoding.decode import Prompt, Utterance
from koed.engine.gpt_sovits.decoding.vocoder_graphs import WindowGraphs
from koed.engine.gpt_sovits.model.bert import Bert
from koed.engine.gpt_sovits.model.hubert import Hubert
from koed.engine.gpt_sovits.model.linear import Precision
from koed.engine.gpt_sovits.model.sampling import Noise
from koed.engine.gpt_sovits.model.sovits import SoundModel
from koed.engine.gpt_sovits.model.speaker_encoder import Speaker
from koed.engine.gpt_sovits.model.t2s import T2S, State
from koed.engine.gpt_sovits.model_cache import ModelCache
from koed.engine.gpt_sovits.store.store import File, Model, Store
from koed.engine.gpt_sovits.streaming import Windows
from koed.engine.gpt_sovits.symbols import Version
from koed.engine.gpt_sovits.text_features import TextFeatures
from koed.errors import EngineError
from koed.g2p import chinese_g2pw
from koed.g2p.chinese_g2pw import Polyphones

log = logging.getLogger(__name__)

T = TypeVar("T")
Part = Literal["hubert", "bert", "sv"]

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
PART_NAMES: dict[Part, str] = {
    "hubert": "chinese-hubert-base, which hears the reference",
    "bert": "chinese-roberta-wwm-ext-large, which reads Chinese",
    "sv": "the speaker network, which v2Pro models need",
}
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


class Parts:
    """What base models share, each loaded when it is first asked for."""

    def __init__(self, store: Store, device: torch.device) -> None:
        self._store, self._device = store, device
        self._loaded: dict[Part, Any] = {}
        self._polyphones: Polyphones | None = None
        self._polyphones_sought = False
        self._lock = threading.Lock()

    def hubert(self) -> Hubert:
        return self._get("hubert", lambda path: Hubert.load(path, self._device))

    def bert(self) -> Bert | None:
        """None where it is not installed: Chinese is then read without its features."""
        try:
            return self._get("bert", lambda path: Bert.load(path, self._device))
        except EngineError as error:
            if error.code != "model_missing":
                raise
            if "bert" not in self._loaded:
                log.warning("%s; Chinese is spoken with less expression", error)
                self._loaded["bert"] = None
            return None

    def polyphones(self, text: str) -> Sequence[str | None]:
        """As `koed.g2p.converted.Pinyin`; nothing where g2pW is not installed."""
        with self._lock:
            if not self._polyphones_sought:
                self._polyphones_sought = True
                self._polyphones = self._found_polyphones()
        try:
            return self._polyphones(text) if self._polyphones is not None else ()
        except EngineError as error:
            log.warning("%s; characters with several readings go by the dictionary", error)
            self._polyphones = None
            return ()

    def _found_polyphones(self) -> Polyphones | None:
        model = self._store.file(chinese_g2pw.MODEL)
        if model is None:
            log.info("no %s: characters with several readings go by the dictionary",
                     chinese_g2pw.MODEL)  # fmt: skip
            return None
        try:
            vocabulary = self._store.part("bert")
        except EngineError:
            vocabulary = model.parent
        try:
            return Polyphones.of(model.parent, vocabulary)
        except EngineError as error:
            log.warning("%s; characters with several readings go by the dictionary", error)
            return None

    def speaker(self) -> Speaker:
        return self._get("sv", lambda path: Speaker(checkpoint.load_state(path), self._device))

    def release(self) -> None:
        """Forget what only preparing needs."""
        with self._lock:
            self._loaded.pop("hubert", None)
            self._loaded.pop("sv", None)

    def _get(self, part: Part, load: Callable[[Path], T]) -> T:
        with self._lock:
            if part not in self._loaded:
                self._loaded[part] = load(self._path(part))
            return cast(T, self._loaded[part])

    def _path(self, part: Part) -> Path:
        try:
            return self._store.part(part)
        except EngineError as error:
            what = f"the models folder lacks {PART_NAMES[part]}"
            raise EngineError(error.code, what, error.hint) from error


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
        return self.cache.get(self._named(name))

    def want(self, name: Name) -> None:
        """Begin to load it."""
        self.cache.want(self._named(name))

    def _named(self, name: Name) -> Name:
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
