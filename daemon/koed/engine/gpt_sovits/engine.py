"""GPT-SoVITS as a koed engine: any voice from some seconds of it, streamed as it is made.

profile ─▶ voice.compile_voice ─▶ Voice          (once, cached)
text ─▶ reading ─▶ T2S codes ─▶ guards ─▶ stream.Speech ─▶ chunks
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import Counter, OrderedDict
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import Executor, wait
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from koed.engine import folders, settings
from koed.engine.base import (
    DEVICE_VARIABLE,
    Capabilities,
    Job,
    ProfileSpec,
    Stream,
    Voice,
)
from koed.engine.gpt_sovits import cards, guards, threads
from koed.engine.gpt_sovits.decoding.decode import MOST_CODES, Prompt
from koed.engine.gpt_sovits.line import LineStream, Opened, arrival
from koed.engine.gpt_sovits.model.sampling import Sampling, seeded
from koed.engine.gpt_sovits.models import Base, Models, Name, translated
from koed.engine.gpt_sovits.store.store import Store
from koed.engine.gpt_sovits.streaming import Codes, Pace, Speech, StreamPlan
from koed.engine.gpt_sovits.symbols import symbols
from koed.engine.gpt_sovits.text_features import (
    BERT_WIDTH,
    TextFeatures,
    languages,
    languages_of,
    setting,
)
from koed.engine.gpt_sovits.timing import durations
from koed.engine.gpt_sovits.timing.schedule import score
from koed.engine.gpt_sovits.voice import Prepared, compile_voice, hear_speaker, unpack
from koed.errors import EngineError

log = logging.getLogger(__name__)

PACE = Pace()
CODES_HZ = 25

SCHEMA: settings.Schema = {
    "model": settings.Text(),
    "precision": settings.Choice("auto", ("auto", "fp32", "fp16", "bf16", "int8")),
    "residency": settings.Choice("shared", ("shared", "pinned")),
    "top_k": settings.Number(15, 1, 1024),
    "top_p": settings.Number(1.0, 0.01, 1.0),
    "temperature": settings.Number(1.0, 0.01, 2.0),
    "repetition_penalty": settings.Number(1.35, 1.0, 3.0),
    "noise_scale": settings.Number(0.5, 0.0, 1.0),
    "first_tokens": settings.Number(PACE.first, 2, 100),
    "lookahead": settings.Number(PACE.lookahead, 2, 100),
    "guards": settings.Choice("strict", ("strict", "none")),
    "retry_ms": settings.Number(1500.0, 0.0, 10000.0),
    "official_quirks": settings.Choice("none", ("none", "all"), removed=("all",)),
}
"""``model`` is a name that ``koed models list`` prints; empty = the only one. Tokens last 40 ms.
``residency: pinned`` keeps the base model in memory for good."""

LINE_FIELDS = ("speed", "seed", "temperature", "top_k")

REVISION = 2
"""Of the state of a voice and of what it sounds like."""
PREPARED_MOST = 64


class GptSovitsEngine:
    """See the module."""

    name = "gpt_sovits"
    version = settings.fingerprint(SCHEMA, REVISION)
    capabilities = Capabilities(
        languages=("zh", "ja", "en", "ko", "yue"), restyle=True, word_times=True, mouths=True,
        line_fields=LINE_FIELDS,
    )  # fmt: skip

    def __init__(
        self, folder: Path | None = None, device: str = "", budget_bytes: int = 0, cores: int = 0
    ) -> None:
        """``folder`` of models: as `koed models` has it, if None. ``device``: see `cards.choose`;
        as the environment says, if empty. ``cores`` that may be used: see `threads`."""
        chosen = cards.here(device or os.environ.get(DEVICE_VARIABLE, "auto"))
        if chosen.why:
            log.warning("%s", chosen.why)
        store = Store(folder or folders.models(os.environ))
        self.models = Models(store, chosen.card, budget_bytes)
        self.threads = cores or threads.allowed(os.environ)
        self._beside: Executor | None = None
        if chosen.card is not None:
            # torch's default for convolutions has 10 bits: "fp32" would not be float32.
            torch.backends.cudnn.allow_tf32 = False
            torch.backends.cuda.matmul.allow_tf32 = False
        else:
            torch.set_num_threads(1)
            self._beside = threads.beside(self.threads)
        self.refused: Counter[str] = Counter()
        """Verdicts of the guards, counted."""
        self._prepared: OrderedDict[str, Prepared] = OrderedDict()
        self._lock = threading.Lock()
        """Of ``_prepared``."""
        self._preparing = threading.Lock()

    def warm_up(self) -> None:
        """Begins to load the only model, if there is only one. Where there is none, each voice is
        refused with how to get one: an engine that did not start would be started for ever."""
        models = [model for model in self.models.store.scan().models if not model.problem]
        if len(models) == 1:
            self.models.coming(Name("", "auto"))

    def check(self, profile: ProfileSpec) -> None:
        """`koed.engine.base.Checking`: settings, language and model; the reference is not heard."""
        values = settings.read(SCHEMA, profile.settings, self.name)
        setting(profile.lang)
        self.models.find(values["model"])

    def prepare(self, profile: ProfileSpec) -> Voice:
        values = settings.read(SCHEMA, profile.settings, self.name)
        with translated(self.models), self._preparing:
            base = self._base(values)
            base.digest = self.models.digest(base.name.model)  # files came since it was loaded
            with threads.all_of(self.threads):
                return compile_voice(profile, values, base, self.name)

    def load(self, voice: Voice) -> None:
        """And all that it needs to speak its own languages. Raises `EngineError` ``stale_voice``
        where it must be prepared anew, ``bad_setting`` where it was prepared with what is not there
        any more, or why its language cannot be read."""
        with translated(self.models):
            prepared = unpack(voice, self.models.digest, self.models.device)
            settings.read(SCHEMA, prepared.settings, self.name)
            base = self._base(prepared.settings)
            _learn(base, voice.lang)
        if prepared.settings["residency"] == "pinned":
            self.models.cache.pin(base.name)
        self._keep(voice.key, prepared)

    def stream(self, voice: Voice, job: Job) -> Stream:
        if self._preparing.acquire(blocking=False):
            self.models.parts.release()  # voices are prepared before they speak
            self._preparing.release()
        line = LineStream(self.models, self._open(voice, job))
        line.begin()
        return line

    def _open(self, voice: Voice, job: Job) -> Generator[None, None, Opened]:
        """Yields as long as something that the line needs is being loaded."""
        prepared = self._get(voice)
        base = yield from arrival(self.models.coming(self._name(prepared.settings)))
        lang = job.lang or voice.lang
        for language in languages(job.text, lang):
            with contextlib.suppress(EngineError):  # which reading the text raises as well
                yield from arrival(base.language(language))
        refused: list[guards.Verdict] = []
        reading = base.read(job.text, lang)
        script = _script(reading, prepared, job, _pace(prepared, base, voice))
        codes = self._codes(base, prepared, reading, job, refused)
        speech = Speech(base.sound, base.windows, prepared.style, script, codes, self._beside)
        return Opened(speech, base, refused)

    def restyle(self, stream: Stream, voice: Voice, job: Job) -> Stream:
        """The codes go on as they are, in the style of ``voice`` from the next chunk on.

        Raises `EngineError` ``restyle_lost`` if the voices do not share a sound model.
        """
        if isinstance(stream, LineStream) and stream.opened is None:  # nothing was heard of it
            stream.close()
            return self.stream(voice, job)
        with translated(self.models):
            prepared = self._get(voice)
            name = self.models.named(self._name(prepared.settings))
        if (
            not isinstance(stream, LineStream)
            or stream.opened is None
            or stream.opened.base.name != name
        ):
            raise EngineError("restyle_lost", f"{voice.name} speaks with another sound model")
        speech, base, refused = stream.opened
        other = speech.restyled(base.sound, base.windows, prepared.style, job.start_s)
        return LineStream(self.models, Opened(other, base, refused))

    def facts(self, voice: Voice) -> dict[str, str]:
        """`koed.engine.base.Telling`; ``precision`` is that of the text model."""
        with translated(self.models):
            base = self._base(self._get(voice).settings)
            model = self.models.find(base.name.model)
        device = base.t2s.device
        return {
            "model": model.name,
            "version": model.version,
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
            "precision": base.t2s.precision,
        }

    def vectors(self, profile: ProfileSpec, voice: Voice) -> dict[str, NDArray[np.float32]]:
        """``style``: [512], Pro [1024], what flow and generator are given, of all clips together.
        Pro also ``speaker``: [20480], what the speaker network hears in the main clip."""
        with translated(self.models):
            prepared = self._get(voice)
            base = self._base(prepared.settings)
            found = {"style": prepared.style.ge}
            if base.sound.needs_speaker:
                found["speaker"] = hear_speaker(profile, base)
        return {name: vector.float().cpu().numpy().ravel() for name, vector in found.items()}

    def close(self) -> None:
        if self._beside is not None:
            self._beside.shutdown(wait=False, cancel_futures=True)
        self.models.parts.close()
        self.models.cache.close()
        self._prepared.clear()

    def _name(self, values: Mapping[str, Any]) -> Name:
        return Name(values["model"], values["precision"])

    def _base(self, values: Mapping[str, Any]) -> Base:
        return self.models.get(self._name(values))

    def _get(self, voice: Voice) -> Prepared:
        with self._lock:
            prepared = self._prepared.get(voice.key)
        if prepared is None:
            prepared = unpack(voice, self.models.digest, self.models.device)
        self._keep(voice.key, prepared)
        return prepared

    def _keep(self, key: str, prepared: Prepared) -> None:
        """It was used last."""
        with self._lock:
            self._prepared[key] = prepared
            self._prepared.move_to_end(key)
            while len(self._prepared) > PREPARED_MOST:
                self._prepared.popitem(last=False)

    def _codes(
        self, base: Base, prepared: Prepared, reading: TextFeatures, job: Job,
        refused: list[guards.Verdict],
    ) -> Codes:  # fmt: skip
        """The text model on its way, not yet begun; verdicts go into ``refused``."""
        values = settings.replaced(SCHEMA, prepared.settings, job.settings, LINE_FIELDS)
        guarded = values["guards"] == "strict"
        bounds = guards.limits(reading.phones.numel(), prepared.codes_per_phone)
        most = min(MOST_CODES, bounds.most + 1) if guarded else MOST_CODES
        prompt = _prompt(values, prepared, reading, base, most)
        again = torch.equal(prepared.phones.cpu(), reading.phones)
        example = [] if again else prepared.codes.tolist()

        def attempt(seed: int) -> Iterator[int]:
            return base.codes(prompt, seeded(seed, base.t2s.dims.codes, base.t2s.device))

        def wrong(verdict: guards.Verdict) -> None:
            self.refused[verdict] += 1
            refused.append(verdict)

        def judge(codes: list[int], ended: bool) -> guards.Verdict | None:
            if not guarded:
                return None if codes else "empty"
            return guards.judge(codes, ended, bounds, example)

        return Codes(
            attempt, judge, job.seed, hold=bounds.hold if guarded else 0,
            budget_s=values["retry_ms"] / 1000.0, wrong=wrong,
        )  # fmt: skip


def _learn(base: Base, lang: str) -> None:
    """Load what reads the languages of a voice; only its own can be in vain."""
    try:
        own, *others = [base.language(each) for each in languages_of(lang, base.version)]
    except (EngineError, ValueError):
        return  # a line of it is refused, one of another language is spoken
    wait(others)
    own.result()


def _pace(prepared: Prepared, base: Base, voice: Voice) -> float:
    """Seconds that a phone of mean length takes, in the reference."""
    names = [symbols(base.version)[number] for number in prepared.phones.tolist()]
    length = durations.weights([(names, setting(voice.lang))]).sum()
    return guards.pace(round(float(length)), prepared.codes.numel()) / CODES_HZ


def _script(reading: TextFeatures, prepared: Prepared, job: Job, pace_s: float) -> StreamPlan:
    values = prepared.settings
    weights = np.ones(reading.phones.numel()) if reading.weights is None else reading.weights
    return StreamPlan(
        reading.phones,
        score(reading.words, reading.shapes, weights, pace_s / job.speed),
        job.seed,
        job.speed,
        Pace(values["first_tokens"], values["lookahead"]),
        values["noise_scale"],
    )


def _prompt(
    values: Mapping[str, Any], prepared: Prepared, reading: TextFeatures, base: Base, most: int
) -> Prompt:
    """What the reference says, and then the text."""
    device = base.t2s.device
    bert: Tensor | None = None
    if prepared.bert is not None or reading.bert is not None:
        bert = torch.cat(
            [_features(prepared.bert, prepared.phones), _features(reading.bert, reading.phones)], 1
        )
    return Prompt(
        phones=torch.cat([prepared.phones.cpu(), reading.phones]).to(device),
        codes=prepared.codes.to(device),
        bert=bert,
        sampling=Sampling(
            int(values["top_k"]),
            values["top_p"],
            values["temperature"],
            values["repetition_penalty"],
        ),
        most=most,
    )


def _features(bert: Tensor | None, phones: Tensor) -> Tensor:
    """-> [1024, N]"""
    return torch.zeros(BERT_WIDTH, phones.numel()) if bert is None else bert.cpu()
