"""A voice in this process, without daemon, queue or device: for scripts, notebooks and benches.

    with LoadedVoice.load("profiles/hana.yaml") as hana:
        hana.render("Good evening.", "evening.wav")

The daemon itself never does this: there an engine runs in a worker, which may fail without
silencing the stream. docs/neural.md has more.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from koed.audio.arrangement import Entry
from koed.audio.history import to_int16
from koed.audio.mixer import Mixer
from koed.audio.sinks import write_wav
from koed.config.daemon import Config, cache_dir
from koed.config.profile import Profile, load_profile
from koed.engine import registry
from koed.engine.base import Chunk, Engine, Job, Telling
from koed.engine.worker.prepare import prepared
from koed.engine.worker.voice_cache import VoiceCache
from koed.errors import EngineError, KoedError
from koed.text import language
from koed.text.normalize import normalize
from koed.text.segment import segments
from koed.voices.specs import spec

LANE = 1
BLOCK_FRAMES = 480
BETWEEN_S = 0.7
"""Silence between two lines in a file."""
Samples = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Spoken:
    """A text as sound, and how long that took."""

    pcm: Samples = field(repr=False)
    """[S] mono in -1..1 at ``rate_hz``, as loud as on the air."""
    rate_hz: int
    first_chunk_s: float
    """From the text to the first sound of the engine."""
    took_s: float
    """All work of the engine."""
    made_s: float
    """Sound that it made; pauses between segments are not its."""

    @property
    def seconds(self) -> float:
        return len(self.pcm) / self.rate_hz

    @property
    def rtf(self) -> float:
        """Real-time factor: seconds of work for a second of sound."""
        return self.took_s / self.made_s if self.made_s else float("inf")


class LoadedVoice:
    """A profile's voice, ready to speak. Not for several threads at once.

    Raises `KoedError` with a code and a hint wherever something cannot be done.
    """

    def __init__(
        self, profile: Profile, config: Config | None = None, beside: LoadedVoice | None = None
    ) -> None:
        """Loads the engine and prepares the voice, unless a daemon or an earlier run has left it in
        the cache of voices. ``beside``: another voice, whose engine it shares if that is the same;
        it must stay open for as long."""
        if profile.remote is not None:
            raise EngineError(
                "engine_elsewhere",
                f"{profile.name} is spoken by an engine on another machine",
                "koed render speaks it into a file",
            )
        self.profile, self.config = profile, config or Config()
        began = time.monotonic()
        shared = beside is not None and beside.profile.engine == profile.engine
        self.engine: Engine = (
            beside.engine if beside and shared else registry.create(profile.engine)
        )
        self._owned = not shared
        self._spec = spec(profile)
        try:
            if self._owned:
                self.engine.warm_up()
            cache = VoiceCache(cache_dir() / "voices", self.engine.name, self.engine.version)
            key = self._spec.key(profile.engine)
            self.voice, self.cached = prepared(self.engine, self._spec, key, cache)
        except BaseException:
            self.close()
            raise
        self.ready_s = time.monotonic() - began
        """For loading and preparing."""

    @classmethod
    def load(cls, path: Path | str) -> LoadedVoice:
        """Of the profile in a file ``NAME.yaml``."""
        return cls(load_profile(Path(path)))

    def __enter__(self) -> LoadedVoice:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        if self._owned:
            self.engine.close()

    def stream(
        self, text: str, lang: str | None = None, seed: int = 0
    ) -> Generator[Chunk, None, None]:
        """The sound of ``text`` as the engine makes it, at the engine's own loudness, the same for
        the same ``seed``. It is normalised and cut into segments as on the air; a chunk of zeros
        is the pause between two. Close it to stop."""
        for job, pause_s in self._jobs(text, lang, seed):
            rate_hz = 0
            for chunk in self._sound(job):
                rate_hz = chunk.rate_hz
                yield chunk
            if rate_hz and pause_s:
                yield Chunk(np.zeros(round(pause_s * rate_hz), np.float32), rate_hz)

    def begin(self, text: str, lang: str | None = None, seed: int = 0) -> float:
        """Seconds until the first sound of ``text``, of which no more is made. What loads with the
        first line of a language is loaded then."""
        began = time.monotonic()
        with closing(self.stream(text, lang, seed)) as stream:
            any(len(chunk.pcm) for chunk in stream)
        return time.monotonic() - began

    def speak(self, text: str, lang: str | None = None, seed: int = 0) -> Spoken:
        """``text`` as a whole, as loud as on the air, and what that took."""
        chunks: list[Chunk] = []
        first_s = made_s = took_s = 0.0
        for job, pause_s in self._jobs(text, lang, seed):
            began = time.monotonic()
            for chunk in self._sound(job):
                if chunk.pcm.any() and not first_s:
                    first_s = time.monotonic() - began + took_s
                made_s += len(chunk.pcm) / chunk.rate_hz
                chunks.append(chunk)
            took_s += time.monotonic() - began
            if chunks and pause_s:
                rate_hz = chunks[-1].rate_hz
                chunks.append(Chunk(np.zeros(round(pause_s * rate_hz), np.float32), rate_hz))
        return Spoken(self._mixed(chunks), self.config.audio.rate_hz, first_s, took_s, made_s)

    def render(self, text: str, path: Path | str, lang: str | None = None, seed: int = 0) -> Spoken:
        """`speak` into a WAV file, 16 bit mono."""
        spoken = self.speak(text, lang, seed)
        write(path, [spoken])
        return spoken

    def facts(self) -> dict[str, str]:
        """``voice`` and ``engine``; of an engine that has models also ``model``, ``version``,
        ``device`` and ``precision``."""
        known = self.engine.facts(self.voice) if isinstance(self.engine, Telling) else {}
        return {"voice": self.profile.name, "engine": self.profile.engine, **known}

    def vectors(self) -> dict[str, Samples]:
        """What the engine knows of who speaks, by name, each ``[C]``: see its own ``vectors``.
        Empty for engines whose voices are no recordings."""
        if not isinstance(self.engine, Telling):
            return {}
        return self.engine.vectors(self._spec, self.voice)

    def _jobs(self, text: str, lang: str | None, seed: int) -> Iterator[tuple[Job, float]]:
        """Each segment, and the seconds of silence behind it."""
        language.check(lang)
        limits, own = self.config.text, self.profile.lang
        if len(text) > limits.max_chars:
            raise KoedError(
                "text_too_long", f"{len(text)} characters; at most {limits.max_chars} are taken",
                "speak it in pieces",
            )  # fmt: skip
        words = normalize(text, limits, lang or own)
        if not words:
            raise KoedError("nothing_to_say", "nothing in this text can be spoken")
        can = self.engine.capabilities
        delivery = self.profile.delivery.only(can.line_fields)
        parts = segments(words, limits, own, lang, can.sentence_chars)
        for number, segment in enumerate(parts):
            job = Job(
                number + 1, LANE, self.voice.key, segment.text, segment.lang,
                speed=self.profile.speed, seed=seed + number, settings=delivery.job_settings,
            )  # fmt: skip
            yield job, segment.pause_s

    def _sound(self, job: Job) -> Iterator[Chunk]:
        stream = self.engine.stream(self.voice, job)
        try:
            yield from stream
        finally:
            stream.close()

    def _mixed(self, chunks: list[Chunk]) -> Samples:
        """[S] at the mixer's rate: at the loudness that the profile or the configuration wants, and
        through the limiter."""
        audio = self.config.audio
        wanted = self.profile.loudness_lufs
        gain_db = (audio.loudness_lufs if wanted is None else wanted) - self.voice.loudness_lufs
        gain_db += self.profile.volume or 0.0
        mixer = Mixer(
            audio.rate_hz, fade_ms=audio.fade_ms, true_peak_db=audio.true_peak_db, history_s=0.0
        )
        mixer.arrange(LANE, [Entry(1, gain_db)])
        blocks: list[Samples] = []
        for chunk in chunks:
            mixer.feed(1, chunk.pcm, chunk.rate_hz)
            blocks += _pulled(mixer)
        mixer.end(1)
        blocks += [*_pulled(mixer), mixer.render(mixer.delay_frames).copy()]
        return np.concatenate(blocks)[mixer.delay_frames :]


def write(path: Path | str, lines: Sequence[Spoken]) -> None:
    """All of ``lines`` into one WAV file, 16 bit mono. Raises `DeviceError` ``cannot_write``."""
    rate_hz = lines[0].rate_hz
    gap = np.zeros(round(BETWEEN_S * rate_hz), np.float32)
    parts = [part for line in lines for part in (gap, line.pcm)]
    write_wav(str(path), to_int16(np.concatenate(parts[1:])), rate_hz)


def _pulled(mixer: Mixer) -> Iterator[Samples]:
    """Whatever can be rendered now."""
    while (frames := min(BLOCK_FRAMES, mixer.ready())) > 0:
        yield mixer.render(frames).copy()
