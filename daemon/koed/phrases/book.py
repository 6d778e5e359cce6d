"""The phrases of the configuration: which are rendered in which voice, and what happens next.

A phrase and a voice make an entry. An entry's key names the content that its sound follows from, so
an edited text, profile or engine is another key, and the old sound is never heard again.

    unknown ──disk──▶ ready ◀──disk── stored (no room in memory)
       └──▶ missing ──rendered, when nothing sounds──▶ ready | stored | failed
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from koe.protocol import PhraseReady, Trouble
from koed.config.daemon import Config
from koed.config.delivery import Delivery
from koed.config.phrases import PhraseConfig, phrase
from koed.errors import KoedError
from koed.events import Bus
from koed.phrases.disk_cache import DiskCache
from koed.phrases.memory_cache import MemoryCache
from koed.phrases.renderer import LOST, Done, PhraseRenderer, RenderRequest
from koed.phrases.takes import take_key
from koed.playback.takes import Take
from koed.playback.voice_choice import VoiceState
from koed.text.normalize import normalize
from koed.text.segment import segments
from koed.voices.catalog import ReadyVoice, VoiceBook

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""How often voices are looked at for a change."""
LOSSES_ALLOWED = 1
"""A phrase over which its engine ended more often is not rendered."""
PASSING = ("engine_down",)
"""Failures that say nothing about the phrase."""

State = Literal["unknown", "missing", "ready", "stored", "failed"]


class Host(Protocol):
    """The part of an engine host that decides whether a phrase can be rendered."""

    @property
    def state(self) -> str: ...
    @property
    def version(self) -> str: ...


@dataclass(slots=True)
class _Entry:
    """A phrase in a voice."""

    phrase: str
    request: RenderRequest
    text: str
    """As a line of it is queued: normalised."""
    state: State = "unknown"
    error: str = ""
    losses: int = 0
    wanted: bool = False
    """It was asked for while it was not in memory: room is made for it."""


class PhraseBook:
    """A `koed.integrations.base.Companion`; all of it but the disk runs on the main thread."""

    def __init__(
        self,
        config: Config,
        book: VoiceBook,
        hosts: Mapping[str, Host],
        bus: Bus,
        disk: DiskCache,
        renderer: Callable[[Done], PhraseRenderer],
        busy: Callable[[], bool],
        current: Callable[[], str],
    ) -> None:
        """``busy``: something sounds or is about to. ``current``: the voice to render first."""
        self._config = config
        self._book = book
        self._hosts = hosts
        self._bus = bus
        self._disk = disk
        self._busy = busy
        self._current = current
        self._memory = MemoryCache(int(config.phrase_cache.memory_mb * 1e6))
        self.renderer = renderer(self._rendered)
        self.phrases = {name: phrase(value) for name, value in config.phrases.items()}
        self._entries: dict[tuple[str, str], _Entry] = {}
        """By (phrase, voice)."""
        self._lines: dict[tuple[str, str], _Entry] = {}
        """By (voice, normalised text)."""
        self._looked_at = float("-inf")
        self._voices: tuple[tuple[str, str, str, Delivery], ...] = ()
        self._busy_at: float | None = None

    # --- asking ------------------------------------------------------------------------------

    def check(self, name: str) -> PhraseConfig:
        """Raises `KoedError` ``unknown_phrase``."""
        if name not in self.phrases:
            known = ", ".join(sorted(self.phrases)) or "none"
            raise KoedError(
                "unknown_phrase",
                f"there is no phrase {name[:40]!r}",
                f"phrases: of koed.yaml has: {known[:300]}",
            )
        return self.phrases[name]

    def is_ready(self, name: str, voice: str) -> bool:
        """Whether a phrase can be heard at once in a voice."""
        entry = self._entries.get((name, voice))
        return entry is not None and entry.state == "ready"

    def take(self, text: str, voice: VoiceState) -> Take | None:
        """The sound of a whole line, if it is one of the phrases and was rendered in this voice."""
        entry = self._lines.get((voice.name, text))
        if entry is None or entry.request.voice.key != voice.key:
            return None
        take = self._memory.get(entry.request.key)
        if take is None and not entry.wanted:
            entry.wanted = True
            if entry.state == "stored" and self._disk.fetch(entry.request.key):
                entry.state = "unknown"
        return take

    def describe(self) -> list[dict[str, Any]]:
        """A map per phrase: ``{name, text, lang, voices, waiting, failed, seconds}``."""
        self._look()
        return [self._describe(name, wanted) for name, wanted in sorted(self.phrases.items())]

    def _describe(self, name: str, wanted: PhraseConfig) -> dict[str, Any]:
        entries = [e for (phrase_name, _), e in self._entries.items() if phrase_name == name]
        takes = [self._memory.peek(e.request.key) for e in entries]
        return {
            "name": name,
            "text": wanted.text,
            "lang": wanted.lang,
            "voices": sorted(e.request.voice.name for e in entries if e.state == "ready"),
            "waiting": sorted(
                e.request.voice.name for e in entries if e.state in ("unknown", "missing")
            ),
            "stored": sorted(e.request.voice.name for e in entries if e.state == "stored"),
            "failed": {e.request.voice.name: e.error for e in entries if e.state == "failed"},
            "seconds": round(max((take.seconds for take in takes if take), default=0.0), 3),
        }

    def status(self) -> dict[str, Any]:
        states = [entry.state for entry in self._entries.values()]
        request = self.renderer.request
        return {
            "ready": states.count("ready"),
            "waiting": states.count("unknown") + states.count("missing"),
            "stored": states.count("stored"),
            "failed": states.count("failed"),
            "rendering": request.voice.name if request else None,
            "memory_mb": round(self._memory.size_bytes / 1e6, 3),
        }

    # --- life --------------------------------------------------------------------------------

    def start(self) -> None:
        self._disk.start()

    def stop(self, deadline_s: float) -> None:
        self.renderer.cancel()
        self._disk.close(deadline_s)

    def turn(self, now: float) -> None:
        """Take what the disk gave; give way to lines; else render the next phrase."""
        for fetched in self._disk.fetched():
            self._fetched(fetched.key, fetched.take)
        if self._busy():
            self._busy_at = now
            self.renderer.cancel()
            return
        if self._busy_at is None:  # the greeting is to come
            self._busy_at = now
        if now - self._looked_at >= LOOK_S:
            self._looked_at = now
            self._look()
        idle = now - self._busy_at >= self._config.phrase_cache.idle_s
        if idle and self.renderer.request is None:
            voice = self._current()
            # a stable order: the phrases as they are written, in the current voice first
            entries = sorted(self._renderable(), key=lambda e: e.request.voice.name != voice)
            for entry in entries[:1]:
                self.renderer.begin(entry.request)

    def reload(self, phrases: Mapping[str, str | PhraseConfig]) -> list[str]:
        """Other phrases from now on; the names of those that changed."""
        fresh = {name: phrase(value) for name, value in phrases.items()}
        changed = [n for n in {*fresh, *self.phrases} if fresh.get(n) != self.phrases.get(n)]
        self.phrases = fresh
        for entry in self._entries.values():  # whoever reloads has perhaps mended something
            if entry.state == "failed":
                entry.state, entry.losses = "missing", 0
        self._voices = ()
        self._look()
        return sorted(changed)

    # --- entries -----------------------------------------------------------------------------

    def _look(self) -> None:
        """Plan anew if a voice has changed."""
        if not self._config.phrase_cache.memory_mb:
            return
        found = [self._book.ready(name) for name in self._book.all_names()]
        ready = [voice for voice in found if voice is not None]
        seen = tuple((v.name, v.key, self._version(v), v.profile.delivery) for v in ready)
        if seen == self._voices:
            return
        self._voices = seen
        before = {entry.request.key: entry for entry in self._entries.values()}
        self._entries = {}
        for name, wanted in self.phrases.items():
            for voice in ready:
                plain = wanted.voices is None and not voice.profile.style_of
                if plain or voice.name in (wanted.voices or ()):
                    self._plan(name, wanted, voice, before)
        self._lines = {(v, e.text): e for (_, v), e in self._entries.items()}
        self._memory.retain({entry.request.key for entry in self._entries.values()})
        request = self.renderer.request
        if request is not None and request.key not in {
            e.request.key for e in self._entries.values()
        }:
            self.renderer.cancel()

    def _plan(
        self, name: str, wanted: PhraseConfig, voice: ReadyVoice, before: Mapping[str, _Entry]
    ) -> None:
        lang = voice.profile.lang
        text = normalize(wanted.text, self._config.text, wanted.lang or lang)
        pieces = tuple(segments(text, self._config.text, lang, wanted.lang))
        if not pieces:
            return
        key = take_key(voice.key, self._version(voice), voice.profile.delivery, pieces)
        entry = _Entry(name, RenderRequest(key, voice, pieces), text)
        old = before.get(key)
        if old is not None:
            entry.state, entry.error, entry.losses = old.state, old.error, old.losses
        self._entries[name, voice.name] = entry
        if entry.state == "unknown" and old is None and not self._disk.fetch(key):
            entry.state = "missing"

    def _version(self, voice: ReadyVoice) -> str:
        return self._hosts[voice.engine].version

    def _renderable(self) -> Iterator[_Entry]:
        """What is missing and can be made now; voices that are still compiled go first, for the
        engine would make them wait."""
        pending = self._book.pending()
        for entry in self._entries.values():
            engine = entry.request.voice.engine
            if (
                entry.state == "missing"
                and engine not in pending
                and self._hosts[engine].state == "up"
            ):
                yield entry

    def _with_key(self, key: str) -> Iterator[_Entry]:
        """Entries of one content: two names for one text have one sound."""
        return (entry for entry in self._entries.values() if entry.request.key == key)

    def _fetched(self, key: str, take: Take | None) -> None:
        for entry in self._with_key(key):
            if entry.state == "unknown":
                entry.state = "missing"
        if take is not None:
            self._store(take, cached=True)

    def _store(self, take: Take, cached: bool) -> None:
        entries = list(self._with_key(take.key))
        wanted = any(entry.wanted for entry in entries)
        if not entries:
            return
        kept = (wanted or self._memory.has_room(take.size_bytes)) and self._memory.put(take)
        for entry in entries:
            entry.state, entry.error, entry.wanted = "ready" if kept else "stored", "", False
            if kept:
                self._bus.publish(
                    PhraseReady(
                        phrase=entry.phrase,
                        voice=entry.request.voice.name,
                        seconds=round(take.seconds, 3),
                        cached=cached,
                    )
                )
        for entry in self._entries.values():  # room was made
            if entry.state == "ready" and entry.request.key not in self._memory:
                entry.state = "stored"

    def _rendered(self, request: RenderRequest, take: Take | None, code: str, message: str) -> None:
        if take is not None:
            self._disk.keep(take)
            self._store(take, cached=False)
            return
        if code in PASSING or (code == LOST and not self._lost_too_often(request)):
            return
        for entry in self._with_key(request.key):
            entry.state, entry.error = "failed", message
            self._bus.publish(
                Trouble(
                    code="phrase_failed",
                    message=f"phrase {entry.phrase} cannot be rendered ahead in voice "
                    f"{request.voice.name}: {message} ({code})",
                    hint="it is still spoken when it is asked for, as any line; koe phrases",
                )
            )

    def _lost_too_often(self, request: RenderRequest) -> bool:
        """A worker is gone with the job of ``request``."""
        entries = list(self._with_key(request.key))
        for entry in entries:
            entry.losses += 1
        return any(entry.losses > LOSSES_ALLOWED for entry in entries)
