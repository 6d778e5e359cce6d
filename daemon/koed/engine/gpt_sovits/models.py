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
from functools import partial
from typing import cast

import torch
from torch import Tensor

from koed.engine.gpt_sovits import failures, text_features, warm_line
from koed.engine.gpt_sovits.cards import Card, Chosen, formats, told
from koed.engine.gpt_sovits.checkpoints import checkpoint
from koed.engine.gpt_sovits.decoding.continuous_batch import ContinuousBatch
from koed.engine.gpt_sovits.decoding.cuda_graph import CAPTURING, DeviceBatch
from koed.engine.gpt_sovits.decoding.decode import Prompt, Utterance
from koed.engine.gpt_sovits.decoding.vocoder_graphs import WindowGraphs
from koed.engine.gpt_sovits.memory import allowed_bytes, held_bytes
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

CACHE_STEP = 256
IDLE_CACHES = 2
ROW_POSITIONS = 2047
FEWEST_ROWS, MOST_ROWS, ROWS_SHARE = 2, 32, 0.05
"""Of utterances that are decoded together on a GPU, 0.1 GB each in half precision, and what part of
the memory that models may take is theirs. A line that finds no row decodes alone, in many small
calls."""


@dataclass(frozen=True, slots=True)
class Name:
    """Of a base model in memory."""

    model: str
    precision: str


class Base:
    """A base model in memory; `koed.engine.gpt_sovits.voice.Base`."""

    def __init__(
        self, name: Name, digest: str, version: Version, t2s: T2S, sound: SoundModel, parts: Parts,
    ) -> None:  # fmt: skip
        self.name, self.digest, self.version = name, digest, version
        self.t2s, self.sound = t2s, sound
        self.size_bytes = held_bytes(t2s, sound)
        self.windows: Windows = sound
        self.together: ContinuousBatch | None = None
        self._parts = parts
        self._idle: list[State] = []

    def warm_up(self, memory_bytes: int) -> None:
        """Record the graphs of both models where there is CUDA, with rows for ``memory_bytes``."""
        if self.sound.device.type != "cuda":
            return
        before = torch.cuda.memory_reserved(self.sound.device)
        graphs = WindowGraphs(self.sound)
        graphs.warm_up()
        self.windows = graphs
        rows = rows_together(self.t2s, memory_bytes)
        batch = DeviceBatch(self.t2s, rows, ROW_POSITIONS)
        batch.warm_up()
        self.together = ContinuousBatch(batch, rows)
        # What graphs keep for themselves is no tensor of ours: so much more is taken than before.
        taken = torch.cuda.memory_reserved(self.sound.device) - before
        buffers = held_bytes(self.t2s, self.sound, graphs, batch) - self.size_bytes
        self.size_bytes += max(taken, buffers)

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

    def __init__(self, store: Store, card: Card | None = None, budget_bytes: int = 0) -> None:
        """``card``: None is the processor. ``budget_bytes``: 0 = as `allowed_bytes` says."""
        self.store, self.card = store, card
        self.device = Chosen(card).device
        self.parts = Parts(store, self.device, card)
        allowed = (lambda used: budget_bytes) if budget_bytes else partial(allowed_bytes, card)
        self.cache: ModelCache[Name, Base] = ModelCache(
            self._load, lambda base: base.size_bytes, allowed, _free
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

    def shrink(self) -> None:
        """Memory ran out: give back what can be loaded again."""
        self.parts.release(all_of_them=True)
        self.cache.shrink()

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
        try:
            return self._read(name)
        except EngineError as error:
            if error.code != "oom":
                raise
        return self._read(name)  # others have left by now

    def _read(self, name: Name) -> Base:
        model = self.find(name.model)
        assert model.t2s is not None  # or it had a problem
        wanted = formats(self.card, name.precision)
        log.info("loading the model %s (%s, %s)", model.name, model.version, told(wanted))
        with translated(self):
            s1, s2 = checkpoint.load(model.t2s.path), checkpoint.load(model.sovits.path)

            def build(text: Precision, sound: torch.dtype) -> Base:
                return Base(
                    name,
                    self.digest(name.model),
                    cast(Version, s2.info.symbols),
                    T2S(s1.state, s1.info.dims["heads"], precision=text, device=self.device),
                    SoundModel.from_state(s2.state, s2.info.upsample_rates, self.device, sound),
                    self.parts,
                )

            if self.card is None:
                return build(*wanted)
            base = warm_line.working(build, wanted, f"the model {model.name} on {self.card}")
            base.warm_up(self.cache.budget_bytes)
        return base


@contextlib.contextmanager
def translated(models: Models | None) -> Iterator[None]:
    """torch's errors as `EngineError`: ``oom`` (and the budget shrinks), ``gpu_unsupported`` and
    ``device_lost``. What runs within is on the models' card, in whatever thread."""
    if models is not None and models.card is not None:
        torch.cuda.set_device(models.card.index)
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        found = failures.told(error)
        if found is None:
            raise
        if found.code == "oom" and models is not None:
            models.shrink()
        raise found from error


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        with CAPTURING:
            torch.cuda.empty_cache()
