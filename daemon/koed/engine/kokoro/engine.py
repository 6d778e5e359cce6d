"""The engine `kokoro`: one small model for every voice, which is a table of styles."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from koed.engine import settings
from koed.engine.base import Capabilities, Job, ProfileSpec, Stream, Voice
from koed.engine.kokoro import passages, tables, weights
from koed.engine.kokoro.model import RATE_HZ, Model, Norms
from koed.engine.kokoro.phonemes.read import LANGUAGES, read, tag_of
from koed.engine.kokoro.phonemes.values import Phonemes
from koed.engine.kokoro.prosody import Prosody
from koed.engine.kokoro.shipped import DEFAULT, SHIPPED
from koed.engine.kokoro.speech import Speaker, Speech
from koed.engine.kokoro.table_files import table_of
from koed.engine.kokoro.tables import Table
from koed.engine.loudness import voice_lufs
from koed.errors import EngineError

log = logging.getLogger(__name__)

SCHEMA: settings.Schema = {
    "voice": settings.Mix({DEFAULT: 1.0}, tuple(SHIPPED)),
    "pitch": settings.Number(0.0, -12.0, 12.0),
    "range": settings.Number(1.0, 0.0, 2.0),
    "energy": settings.Number(0.0, -12.0, 12.0),
}
"""``voice``: a voice of the model, or several with their weights. The others as of a line: a line's
``pitch`` and ``energy`` are added, its ``range`` multiplies."""
_LINE = ("pitch", "range", "energy")
_SENTENCE_CHARS = 120
"""Planned in 0.2 s on two cores with AVX2 alone, and then any of it can sound."""
_KEPT = 64
"""Voices, 0.8 MB each."""
_MOST_TOLD = 200
"""Characters without a sound that the log tells of."""
_WARMING = 2
_TOO_SLOW = 0.9
"""Seconds for a second of sound."""
_FASTEST, _SLOWEST = 4.0, 0.25

_CALIBRATED = 3
"""Changes with what a voice is calibrated with, and with how a line sounds that is kept."""
_CALIBRATION = {
    "en": (
        "The quick brown fox jumps over the lazy dog, and welcome to the stream.",
        "Good game.", "Hello there.", "Wait, what?",
    ),
    "ja": (
        "こんばんは、今日も配信に来てくれて、本当にありがとうございます。",
        "そうだね。", "ありがとう。", "えっと、待って。",
    ),
    "zh": (
        "大家晚上好，欢迎来到今天的直播，谢谢你们。",
        "太好了。", "谢谢你。", "等一下。",
    ),
    "es": (
        "Buenas noches a todos, y bienvenidos a la transmisión de hoy.",
        "Muy bien.", "Hola a todos.", "Espera, ¿qué?",
    ),
    "fr": (
        "Bonsoir à tous, et bienvenue dans le direct de ce soir.",
        "Très bien.", "Salut tout le monde.", "Attends, quoi ?",
    ),
    "it": (
        "Buonasera a tutti, e benvenuti alla diretta di stasera.",
        "Va bene.", "Ciao a tutti.", "Aspetta, cosa?",
    ),
    "pt": (
        "Boa noite a todos, e bem-vindos à transmissão de hoje.",
        "Muito bem.", "Olá, pessoal.", "Espera, o quê?",
    ),
    "hi": (
        "नमस्ते दोस्तों, आज के प्रसारण में आपका स्वागत है।",
        "बहुत अच्छा।", "नमस्ते।", "रुको, क्या?",
    ),
}  # fmt: skip
"""A sentence with little silence in it and some with much: the two points of `Norms`."""
_EVERYTHING = {"en": "Zorgarth will read that."}
"""What needs every table of a language: a word that no dictionary has, one said by its class."""


class KokoroEngine:
    """See the module. ``state`` of a `Voice`: its settings, table and norms, as bytes."""

    name = "kokoro"
    version = f"{settings.fingerprint(SCHEMA)}-{weights.VERSION}-{_CALIBRATED}"
    """Moments are packed in the order in which the graph has them."""
    capabilities = Capabilities(
        languages=LANGUAGES, restyle=True, word_times=True, mouths=True,
        line_fields=("speed", *_LINE), sentence_chars=_SENTENCE_CHARS,
    )  # fmt: skip

    def __init__(self, graphs: Callable[[], weights.Graphs] = weights.graphs) -> None:
        self._graphs = graphs
        self._lock = threading.RLock()
        """Voices are prepared beside those that speak: of the model, of what the languages need and
        of `_speakers`. It is never held while sound is made."""
        self._model: Model | None = None
        self._speakers: dict[str, Speaker] = {}
        self._told: set[str] = set()

    def warm_up(self) -> None:
        """Where there is no model, each voice is refused with how to get it: an engine that did not
        start would be started for ever."""
        try:
            model = self._loaded()
        except EngineError as error:
            log.warning("%s", error)
            return
        plan = model.plan("jˈɛs.", tables.table(DEFAULT), 1.0)
        for _ in range(_WARMING):
            model.whole(plan)
        if model.best_pace > _TOO_SLOW:
            log.warning(
                "a second of natural speech takes this machine %.1f s: it will stutter; the "
                "embedded voices do not: koe voice hana, or KOED_VOICE=small make run",
                model.best_pace,
            )

    def check(self, profile: ProfileSpec) -> None:
        """`koed.engine.base.Checking`."""
        state = settings.read(SCHEMA, profile.settings, self.name)
        table_of(profile, state["voice"])
        tag_of(profile.lang or "en")

    def prepare(self, profile: ProfileSpec) -> Voice:
        model = self._loaded()
        state = settings.read(SCHEMA, profile.settings, self.name)
        table = table_of(profile, state["voice"])
        lang = profile.lang or "en"
        norms, lufs = self._calibrated(model, table, lang)
        return Voice(
            name=profile.name,
            key=profile.key(self.name),
            lang=lang,
            loudness_lufs=lufs,
            state={
                "prosody": {name: state[name] for name in _LINE},
                "table": table.astype("<f2").tobytes(),
                "shares": [norms.share, norms.other],
                "norms": np.stack([norms.values, norms.slope]).astype("<f4").tobytes(),
            },
        )

    def load(self, voice: Voice) -> None:
        """Reads a text in its language, so that the first line finds everything there."""
        self._speaker(voice)
        primary = tag_of(voice.lang).split("-")[0]
        self._parts(_EVERYTHING.get(primary, _CALIBRATION[primary][1]), voice.lang)

    def stream(self, voice: Voice, job: Job) -> Stream:
        found = self._parts(job.text, job.lang or voice.lang)
        return Speech(self._loaded(), found, self._speaker(voice), _prosody(voice, job))

    def restyle(self, stream: Stream, voice: Voice, job: Job) -> Stream:
        """In another prosody at once, in another voice from the next word on."""
        if not isinstance(stream, Speech):
            raise EngineError("restyle_lost", "what it continues is gone")
        return stream.restyled(self._speaker(voice), _prosody(voice, job), job.start_s)

    def close(self) -> None:
        self._model = None
        self._speakers.clear()

    def _loaded(self) -> Model:
        with self._lock:
            if self._model is None:
                self._model = _model(self._graphs())
            return self._model

    def _speaker(self, voice: Voice) -> Speaker:
        with self._lock:
            if voice.key not in self._speakers:
                if len(self._speakers) >= _KEPT:  # it can be made again of its voice
                    del self._speakers[next(iter(self._speakers))]
                self._speakers[voice.key] = _speaker(voice)
            return self._speakers[voice.key]

    def _read(self, text: str, lang: str) -> Phonemes:
        with self._lock:
            return read(text, lang)

    def _parts(self, text: str, lang: str) -> list[passages.Passage]:
        reading = self._read(text, lang)
        fresh = set(reading.unsaid) - self._told
        if fresh and len(self._told) < _MOST_TOLD:
            self._told |= fresh
            log.warning("the natural voice has no sound for %s", " ".join(sorted(fresh)))
        return list(passages.passages(reading))

    def _calibrated(self, model: Model, table: Table, lang: str) -> tuple[Norms, float]:
        """The norms of a voice, and its loudness in LUFS."""
        sounds, found = [], []
        for text in _CALIBRATION[tag_of(lang).split("-")[0]]:
            plan = model.plan(self._read(text, lang).symbols, table, 1.0)
            sound, moments = model.measured(plan)
            sounds.append(sound)
            found.append((plan.frames, plan.silence, moments))
        of = model.layout
        norms = Norms.through(Norms.mean(found[:1], of), Norms.mean(found[1:], of), of)
        return norms, voice_lufs(sounds[0], RATE_HZ)


def _model(graphs: weights.Graphs) -> Model:
    """Of files that were changed behind our back onnxruntime says this and that."""
    try:
        return Model(graphs)
    except EngineError:
        raise
    except Exception as error:
        what = f"onnxruntime cannot run the natural voice's model: {error!s:.200}"
        hint = f"remove {graphs.sound.parent}, it is made anew; or KOED_VOICE=natural make run"
        raise EngineError("model_broken", what, hint) from error


def _speaker(voice: Voice) -> Speaker:
    table = np.frombuffer(voice.state["table"], "<f2").astype(np.float32).reshape(510, 256)
    values, slope = np.frombuffer(voice.state["norms"], "<f4").reshape(2, -1)
    share, other = voice.state["shares"]
    return Speaker(table, Norms(share, other, values, slope), voice.loudness_lufs)


def _prosody(voice: Voice, job: Job) -> Prosody:
    """Of the voice and of the line together."""
    own: dict[str, Any] = voice.state["prosody"]
    line = settings.read({name: SCHEMA[name] for name in _LINE}, job.settings, "a line")
    return Prosody(
        speed=min(_FASTEST, max(_SLOWEST, job.speed)),
        pitch=own["pitch"] + line["pitch"],
        range=own["range"] * line["range"],
        energy=own["energy"] + line["energy"],
    )
