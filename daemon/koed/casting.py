"""The casting: which voice speaks the next segment of a line, and how long it is waited for."""

from __future__ import annotations

from collections.abc import Mapping

from koe.protocol import EngineFallback
from koed.config import EngineConfig
from koed.errors import KoedError
from koed.events import Bus
from koed.jobs import Host
from koed.performance import Performance
from koed.voices import ReadyVoice, VoiceBook


class Casting:
    """The line's own voice, else its fallback once the engine has been away too long."""

    def __init__(
        self, config: EngineConfig, book: VoiceBook, hosts: Mapping[str, Host], bus: Bus
    ) -> None:
        self._config = config
        self._book = book
        self._hosts = hosts
        self._bus = bus

    def voice_for(self, performance: Performance, now: float) -> ReadyVoice | None:
        """The voice that can speak the next segment now; None = wait.

        Raises `KoedError` when the line has waited in vain.
        """
        voice = self.available(performance.voice) or self._canned_voice(performance)
        if voice:
            performance.waiting_since = None
            return voice
        fallback = self.fallback(performance)
        if fallback:
            self.fall_back(performance, fallback, "the engine is down")
            return fallback
        if performance.waiting_since is None:
            performance.waiting_since = now
        if now - performance.waiting_since > self._patience_s(performance):
            error = self._book.error(performance.voice)
            raise KoedError(
                error.code if error else "engine_down",
                error.message if error else "the engine of this voice is not there",
            )
        return None

    def available(self, name: str) -> ReadyVoice | None:
        voice = self._book.ready(name)
        return voice if voice and self._hosts[voice.engine].state == "up" else None

    def fallback(self, performance: Performance) -> ReadyVoice | None:
        """The fallback of the voice that speaks a line, if it can speak now."""
        profile = self._book.profile(performance.voice)
        return self.available(profile.fallback) if profile and profile.fallback else None

    def fall_back(self, performance: Performance, voice: ReadyVoice, reason: str) -> None:
        self._bus.publish(
            EngineFallback(
                utterance=performance.line.utterance,
                voice=performance.voice,
                fallback=voice.name,
                reason=reason,
            )
        )
        performance.voice = voice.name

    def _canned_voice(self, performance: Performance) -> ReadyVoice | None:
        """The line's voice, if it needs no engine for the next segment."""
        voice = self._book.ready(performance.voice)
        found = voice and performance.canned(performance.script.upcoming, voice)
        return voice if found else None

    def _patience_s(self, performance: Performance) -> float:
        """A line that was cut in the middle waits shorter than one that has not begun, for which
        an engine that is just starting is worth waiting."""
        voice = performance.voice
        ready = self._book.ready(voice)
        host = self._hosts.get(ready.engine) if ready else None
        starting = (host is None and self._book.error(voice) is None) or (
            host is not None and host.state == "starting"
        )
        if starting and not performance.begun:
            return self._config.start_s
        return self._config.failover_wait_s
