"""The engine `embedded`: one profile, several synthesisers, chosen by language."""

from __future__ import annotations

import logging
import math
from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from koed.engine import settings
from koed.engine.base import Capabilities, Chunk, Job, ProfileSpec, Stream, Voice
from koed.engine.embedded import espeak, flite, openjtalk
from koed.engine.embedded.script import as_ascii, speakable, write
from koed.engine.embedded.sound import Manner, Piece, Shape, chunks
from koed.engine.loudness import voice_lufs
from koed.errors import EngineError

log = logging.getLogger(__name__)

SCHEMA: settings.Schema = {
    "voice": settings.Choice("slt", tuple(flite.SPEAKERS)),
    "pitch": settings.Number(0.0, -12.0, 12.0),
    "rate": settings.Number(1.0, 0.5, 2.0),
    "intonation": settings.Number(1.0, 0.0, 2.0),
    "formants": settings.Number(0.0, -6.0, 6.0),
    "timbre": settings.Number(0.0, -6.0, 6.0),
    "brightness": settings.Number(0.0, -1.0, 1.0),
    "ja_pitch": settings.Number(0.0, -12.0, 12.0),
    "ja_formants": settings.Number(0.0, -6.0, 6.0),
    "ja_timbre": settings.Number(0.0, -6.0, 6.0),
    "variant": settings.Text("", 24),
}
"""``voice``: the English speaker. ``pitch`` (semitones), ``rate`` (factor) and ``intonation``
(0 = monotone, 1 = natural). ``formants``: semitones by which they move, up = a smaller speaker.
``timbre``: the same by playing the sound faster or slower, as older profiles have it; words suffer.
``brightness``: spectral tilt. ``ja_pitch``, ``ja_formants`` and ``ja_timbre`` are added in
Japanese, where everybody is mei, a young woman. ``variant``: an espeak-ng voice variant, such as f2
or m3."""

LINE: settings.Schema = {
    "pitch": settings.Number(0.0, -12.0, 12.0),
    "range": settings.Number(1.0, 0.0, 2.0),
}
"""What a line may say besides its speed: ``pitch`` is added to the voice's, ``range`` multiplies
its intonation. espeak-ng knows no intonation, and rms has a melody that nothing moves."""

NOMINAL_LUFS = -26.0
"""Every synthesiser is brought to about this level, so that a voice is as loud in each language."""

_CALIBRATION = {
    "en": "The quick brown fox jumps over the lazy dog. Good evening, and welcome to the stream.",
    "ja": "こんばんは。今日も配信に来てくれて、本当にありがとうございます。",
    "zh": "大家晚上好，欢迎来到今天的直播，谢谢你们。",
    "ko": "여러분 안녕하세요. 오늘 방송에 와 주셔서 감사합니다.",
}
_ANY_LANGUAGE = "1 2 3 4 5 6 7 8 9 10"
_SENTENCE_CHARS = 80
"""flite and OpenJTalk take about 0.2 ms to plan each: twelve words cost 12 ms, three cost 4."""
_RATE_STEP_HZ = 50
"""Rates are rounded to this: the mixer's resampler likes small ratios."""


class EmbeddedEngine:
    """See the module. ``state`` of a `Voice` is the checked settings."""

    name = "embedded"
    version = settings.fingerprint(SCHEMA)
    capabilities = Capabilities(
        languages=("en", "ja", "*"),
        word_times=True,
        mouths=True,
        line_fields=("speed", *LINE),
        sentence_chars=_SENTENCE_CHARS,
    )

    def __init__(self) -> None:
        self._flite = flite.Flite()
        self._openjtalk = openjtalk.OpenJTalk()
        self._espeak = espeak.Espeak()
        self._told: set[str] = set()

    def warm_up(self) -> None:
        """Raises `EngineError` ``library_missing`` if nothing at all can speak here."""
        for _ in self._speak(_defaults(), _job("Hello.", "en")):
            pass

    def check(self, profile: ProfileSpec) -> None:
        """`koed.engine.base.Checking`."""
        state = settings.read(SCHEMA, profile.settings, self.name)
        if not espeak.is_variant(state["variant"]):
            raise EngineError("bad_setting", "variant may have letters and digits only")
        if profile.reference:
            raise EngineError(
                "bad_reference", "an embedded voice cannot imitate a reference",
                "leave out reference, or choose another engine",
            )  # fmt: skip

    def prepare(self, profile: ProfileSpec) -> Voice:
        self.check(profile)
        state = settings.read(SCHEMA, profile.settings, self.name)
        lang = profile.lang or "en"
        text = _CALIBRATION.get(_primary(lang), _ANY_LANGUAGE)
        spoken = list(self._speak(state, _job(text, lang)))
        if not spoken:
            raise EngineError("engine_silent", f"the voice gave no sound for {lang!r}")
        sound = np.concatenate([chunk.pcm for chunk in spoken])
        return Voice(
            name=profile.name,
            key=profile.key(self.name),
            lang=lang,
            loudness_lufs=voice_lufs(sound, spoken[0].rate_hz),
            state=state,
        )

    def load(self, voice: Voice) -> None:
        """Speaks a word in the voice's language, and in English, so that nothing is cold."""
        for lang, word in (
            ("en", "Yes."),
            (voice.lang, _CALIBRATION.get(_primary(voice.lang), "1")),
        ):
            for _ in self._speak(voice.state, _job(word, lang)):
                break

    def stream(self, voice: Voice, job: Job) -> Stream:
        line = settings.replaced(LINE, {}, job.settings, LINE)
        state = {
            **voice.state,
            "pitch": voice.state["pitch"] + line["pitch"],
            "intonation": voice.state["intonation"] * line["range"],
        }
        return self._speak(state, job if job.lang else replace(job, lang=voice.lang))

    def restyle(self, stream: Stream, voice: Voice, job: Job) -> Stream:
        raise EngineError("no_restyle", "the embedded engine cannot change voice within a word")

    def close(self) -> None:
        self._openjtalk.close()

    def _speak(self, state: Any, job: Job) -> Generator[Chunk, None, None]:
        if not speakable(job.text):
            return
        primary = _primary(job.lang)
        if primary == "en" and speakable(write(job.text, as_ascii).text):
            speak = self._english
        elif primary == "ja":
            speak = self._japanese
        else:
            speak = self._other
        try:
            pieces, shape = speak(state, job)
        except EngineError as error:
            if error.code != "library_missing" or speak == self._other:
                raise
            if error.message not in self._told:
                self._told.add(error.message)
                log.warning("%s; espeak-ng speaks %s instead", error, job.lang)
            pieces, shape = self._other(state, job)
        yield from chunks(pieces, shape)

    def _english(self, state: Any, job: Job) -> tuple[Iterator[Piece], Shape]:
        speaker = flite.SPEAKERS[state["voice"]]
        self._flite.load(state["voice"])
        manner, rate_hz = _manner(state, job, flite.RATE_HZ, can_pitch=speaker.pitch)
        pieces = self._flite.speak(job.text, state["voice"], manner)
        return pieces, _shape(state, rate_hz, speaker.level_lufs, speaker.silence)

    def _japanese(self, state: Any, job: Job) -> tuple[Iterator[Piece], Shape]:
        self._openjtalk.load()
        own = {name: state[name] + state[f"ja_{name}"] for name in ("pitch", "formants", "timbre")}
        state = {**state, **own}
        manner, rate_hz = _manner(state, job, openjtalk.RATE_HZ)
        pieces = self._openjtalk.speak(job.text, manner)
        return pieces, _shape(state, rate_hz, openjtalk.LEVEL_LUFS, openjtalk.SILENCE)

    def _other(self, state: Any, job: Job) -> tuple[Iterator[Piece], Shape]:
        manner, rate_hz = _manner(state, job, espeak.RATE_HZ)
        pieces = self._espeak.speak(job.text, job.lang, state["variant"], manner)
        level_lufs = self._espeak.level_lufs(job.lang, state["variant"])
        return pieces, _shape(state, rate_hz, level_lufs, espeak.SILENCE)


def _defaults() -> dict[str, Any]:
    return settings.read(SCHEMA, {}, "embedded")


def _job(text: str, lang: str) -> Job:
    """A sentence of the engine's own."""
    return Job(serial=0, lane=0, voice="", text=text, lang=lang)


def _primary(lang: str) -> str:
    return lang.lower().replace("_", "-").split("-")[0]


def _manner(state: Any, job: Job, rate_hz: int, can_pitch: bool = True) -> tuple[Manner, int]:
    """How to speak, and the rate at which that is to be played.

    Sound made at ``rate_hz`` but played at another has its formants, pitch and pace moved
    together; pitch and pace are asked for the other way, so that only the formants stay moved.
    """
    moved = state["timbre"] if can_pitch else state["timbre"] + state["pitch"]
    factor = math.exp2(max(-8.0, min(8.0, moved)) / 12.0)
    played_hz = round(rate_hz * factor / _RATE_STEP_HZ) * _RATE_STEP_HZ
    factor = played_hz / rate_hz
    manner = Manner(
        pitch=state["pitch"] - 12.0 * math.log2(factor) if can_pitch else 0.0,
        rate=max(0.25, min(4.0, state["rate"] * job.speed)) / factor,
        intonation=state["intonation"],
        seed=job.seed,
    )
    return manner, played_hz


def _shape(state: Any, rate_hz: int, level_lufs: float, silence: float) -> Shape:
    return Shape(
        rate_hz=rate_hz,
        gain=10.0 ** ((NOMINAL_LUFS - level_lufs) / 20.0),
        brightness=state["brightness"],
        threshold=silence,
        formants=state["formants"],
    )
