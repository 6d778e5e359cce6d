"""Which voice speaks the next segment of a line, and how long it is waited for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from koed.config.daemon import EngineConfig
from koed.config.delivery import PLAIN, Delivery
from koed.config.styles import styled, voice_of
from koed.engine.jobs import EngineState
from koed.errors import KoedError


@dataclass(frozen=True, slots=True)
class VoiceState:
    """A voice as the player knows it."""

    name: str
    lang: str = "en"
    """Of a line that names none."""
    fallback: str | None = None
    speed: float = 1.0
    gain_db: float = 0.0
    """Brings it to the loudness that is asked for."""
    engine: str = ""
    """Name of the host; "" = not compiled yet."""
    key: str = ""
    """Of the compiled voice; "" = not compiled yet."""
    code: str = ""
    """Why it cannot be used, or not as it was edited last."""
    message: str = ""
    delivery: Delivery = PLAIN

    @property
    def ready(self) -> bool:
        return bool(self.key)


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine as the player knows it."""

    name: str
    state: EngineState
    restyle: bool = False
    """It can go on in another voice within a sound."""
    word_times: bool = False
    doing: str = ""
    """As its worker told last: idle, warming, preparing, loading, speaking; "" = nothing yet."""
    jobs: frozenset[int] = frozenset()
    """Serials of the jobs that it has and has not finished, as its worker told last."""
    languages: tuple[str, ...] = ()
    """As in `koed.engine.base.Capabilities`."""
    line_fields: tuple[str, ...] = ("speed",)
    """As `koed.engine.base.Capabilities` has them; all of them while that is not known."""
    sentence_chars: int = 0
    """As in `koed.engine.base.Capabilities`."""


class Choosing(Protocol):
    """The part of an utterance that matters here."""

    voice: str
    before: str
    begun: bool
    waiting_since: float | None

    def upcoming_is_canned(self, voice: VoiceState) -> bool:
        """Whether the next segment needs no engine in this voice."""


@dataclass(slots=True)
class Voices:
    """The line's own voice, else its fallback once its engine cannot be had."""

    config: EngineConfig
    by_name: dict[str, VoiceState] = field(default_factory=dict)
    engines: dict[str, Engine] = field(default_factory=dict)

    def available(self, name: str) -> VoiceState | None:
        """A voice that can speak now."""
        voice = self.by_name.get(name)
        return voice if voice and voice.ready and self._state(voice) == "up" else None

    def fallback(self, line: Choosing) -> VoiceState | None:
        """Who can go on now in place of the line's voice: its fallback, or who spoke before."""
        names = (*self._fallbacks(line.voice), line.before)
        found = (self.available(name) for name in names if name and name != line.voice)
        return next((other for other in found if other is not None), None)

    def of_language(self, lang: str, besides: str) -> VoiceState | None:
        """Who can speak it now, of all but the voices of the engine ``besides``: rather a voice of
        that language than another, rather one whose engine names it than one that takes any."""
        plain, found = lang.split("-")[0], []
        for name in self.by_name:
            voice = self.available(name) if voice_of(name) == name else None
            speaks = self.engines[voice.engine].languages if voice else ()
            if voice and voice.engine != besides and {plain, "*"} & {*speaks}:
                found.append((voice.lang.split("-")[0] != plain, plain not in speaks, name))
        return self.by_name[min(found)[2]] if found else None

    def _fallbacks(self, name: str) -> Iterator[str]:
        """Whom a voice names, whom that one names, and so on."""
        seen = {name}
        voice = self.by_name.get(name)
        while voice is not None and voice.fallback and voice.fallback not in seen:
            yield voice.fallback
            seen.add(voice.fallback)
            voice = self.by_name.get(voice.fallback)

    def styled(self, name: str, style: str) -> str:
        """The name of a voice, with a line's style if that is one of its own; of a style that
        somebody chose, that."""
        with_style = styled(name, style)
        return with_style if voice_of(name) == name and with_style in self.by_name else name

    def ready_style(self, voice: VoiceState, style: str) -> VoiceState:
        """A voice with a style, if that can be heard at once."""
        found = self.by_name.get(self.styled(voice.name, style))
        return found if found is not None and found.ready else voice

    def delivery(self, wanted: Delivery, voice: VoiceState) -> Delivery:
        """How a voice speaks what is ``wanted`` so, as far as its engine can."""
        engine = self.engines.get(voice.engine)
        return wanted.over(voice.delivery).only(engine.line_fields if engine else ())

    def as_ever(self, wanted: Delivery, voice: VoiceState) -> bool:
        """Whether a voice makes the sound that it makes by itself."""
        made, own = self.delivery(wanted, voice), self.delivery(PLAIN, voice)
        return made.engine_part == own.engine_part

    def can_restyle(self, voice: VoiceState) -> bool:
        engine = self.engines.get(voice.engine)
        return engine is not None and engine.state == "up" and engine.restyle

    def own(self, line: Choosing) -> VoiceState | None:
        """The line's voice, if it can speak the next segment now."""
        voice = self.by_name.get(line.voice)
        canned = voice and voice.ready and line.upcoming_is_canned(voice)
        return voice if canned else self.available(line.voice)

    def trouble(self, line: Choosing) -> str:
        """Why the line's own voice cannot speak now."""
        voice = self.by_name.get(line.voice)
        if voice and not voice.ready:
            return voice.message or "it is being prepared"
        return "the engine is down"

    def check_patience(self, line: Choosing, now: float) -> None:
        """Raises `KoedError` when a line has waited in vain for its voice."""
        if line.waiting_since is None:
            line.waiting_since = now
        if now - line.waiting_since <= self._patience_s(line):
            return
        voice = self.by_name.get(line.voice)
        if voice and voice.code and not voice.ready:
            raise KoedError(voice.code, voice.message)
        raise KoedError("engine_down", "the engine of this voice is not there")

    def _patience_s(self, line: Choosing) -> float:
        """An engine that is just starting is worth waiting for."""
        voice = self.by_name.get(line.voice)
        if voice is not None and voice.ready:
            starting = self._state(voice) == "starting"
        else:
            starting = voice is None or not voice.code
        return self.config.start_s if starting else self.config.failover_wait_s

    def _state(self, voice: VoiceState) -> EngineState:
        engine = self.engines.get(voice.engine)
        return engine.state if engine else "stopped"
