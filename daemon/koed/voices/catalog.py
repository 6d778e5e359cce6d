"""The voices that can be asked for by name: profiles, and what their engines made of them.

A profile that is edited is compiled in the background; until that has succeeded the old voice
stays in use. A broken edit changes nothing but what `voices` reports.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from koe.protocol import VoiceBroken, VoiceReady
from koed.config import styles
from koed.config.profile import Profile
from koed.config.profile_folder import ProfileFolder
from koed.engine.base import ProfileSpec
from koed.errors import ConfigError, KoedError, did_you_mean
from koed.events import Bus
from koed.voices.specs import spec

log = logging.getLogger(__name__)

MISSING = ("unknown_model", "model_missing", "models_unreadable", "library_missing")
"""What is wrong with a voice that needs a file which may come yet."""
RETRY_AFTER = 20
"""Looks at the profiles until such a voice is tried again."""
FORGET_AFTER = 60
"""Looks at the folder, one a second, until an engine may drop a voice that was replaced."""


class Preparer(Protocol):
    """The part of an engine host that voices need."""

    def prepare(self, spec: ProfileSpec) -> str: ...
    def forget(self, key: str) -> None: ...


HostOf = Callable[[Profile], tuple[str, Preparer]]
"""Where a profile's engine comes from; a new kind of engine is started on demand."""


@dataclass(frozen=True, slots=True)
class ReadyVoice:
    """A compiled voice and where it lives. Frozen: a line that began with it keeps it."""

    name: str
    profile: Profile
    engine: str
    """Name of the host."""
    key: str
    loudness_lufs: float


@dataclass(slots=True)
class _Entry:
    ready: ReadyVoice | None = None
    wanted: tuple[Profile, str, str] | None = None
    """(profile, host, key) that is being compiled."""
    latest: Profile | None = None
    """As its file says now, or said when it could be read last."""
    error: KoedError | None = None
    removed: bool = False


@dataclass(slots=True)
class _Made:
    """A compiled voice in an engine, and for how many looks at the folder nobody wanted it."""

    preparer: Preparer
    unwanted: int = 0


class VoiceBook:
    """All voices by name."""

    def __init__(self, folder: ProfileFolder, host_of: HostOf, bus: Bus) -> None:
        self._folder = folder
        self._host_of = host_of
        self._bus = bus
        self._entries: dict[str, _Entry] = {}
        self.version = 0
        """Rises with every change, so that a look need not go through all voices."""
        self._looks = 0
        self._made: dict[tuple[str, str], _Made] = {}
        """Everything that was given to an engine, by (host, key)."""

    # --- asking ------------------------------------------------------------------------------

    def check(self, name: str) -> None:
        """Raises `KoedError` ``unknown_voice`` with a "did you mean", or ``voice_broken``."""
        entry = self._entries.get(name)
        if entry is not None and entry.removed and entry.error is not None:
            raise KoedError(
                "voice_broken", f"voice {name} cannot be used: {entry.error.message}", "koe voices"
            )
        if entry is None or entry.removed:
            hint = did_you_mean(name, self.names())
            raise KoedError("unknown_voice", f"there is no voice {name[:40]!r}", hint)

    def all_names(self) -> list[str]:
        """The styles of voices included, see `koed.config.styles`."""
        return sorted(name for name, entry in self._entries.items() if not entry.removed)

    def names(self) -> list[str]:
        return [name for name in self.all_names() if styles.voice_of(name) == name]

    def styles(self, name: str) -> list[str]:
        """Of a voice, or of that of which this is a style."""
        profile = self.profile(styles.voice_of(name))
        return sorted(profile.styles) if profile else []

    def profile(self, name: str) -> Profile | None:
        entry = self._entries.get(name)
        if entry is None:
            return None
        return entry.ready.profile if entry.ready is not None else entry.latest

    def ready(self, name: str) -> ReadyVoice | None:
        entry = self._entries.get(name)
        return entry.ready if entry else None

    def error(self, name: str) -> KoedError | None:
        entry = self._entries.get(name)
        return entry.error if entry else None

    def pending(self) -> set[str]:
        """The hosts that have not ended compiling."""
        return {entry.wanted[1] for entry in self._entries.values() if entry.wanted}

    def awaited(self, up: Collection[str]) -> set[str]:
        """The hosts without which a voice is silent: nobody that it falls back to can speak yet.
        ``up``: hosts that speak; a voice may be compiled before its host does."""
        hosts = ((entry, self._host(entry)) for entry in self._entries.values())
        return {host for entry, host in hosts if host and not self._speaks(entry, up)}

    @staticmethod
    def _host(entry: _Entry) -> str:
        """Empty if there is nothing to wait for."""
        if entry.removed:
            return ""
        return entry.wanted[1] if entry.wanted else entry.ready.engine if entry.ready else ""

    def _speaks(self, entry: _Entry, up: Collection[str]) -> bool:
        profile = entry.wanted[0] if entry.wanted else entry.latest
        able = (self.ready(one.name) for one in _with_fallbacks(profile, self.profile))
        return any(voice and voice.engine in up for voice in able)

    def is_coming(self, name: str) -> bool:
        """Its first compilation has not ended."""
        entry = self._entries.get(name)
        return entry is not None and entry.ready is None and entry.wanted is not None

    def describe(self) -> list[dict[str, Any]]:
        """The voices that can be asked for, and those that cannot because they are broken."""
        broken = [
            name
            for name, entry in self._entries.items()
            if entry.error and entry.removed and styles.voice_of(name) == name
        ]
        return [self._describe(name) for name in sorted({*self.names(), *broken})]

    def _describe(self, name: str) -> dict[str, Any]:
        entry, profile = self._entries[name], self.profile(name)
        return {
            "name": name,
            "ready": entry.ready is not None,
            "engine": profile.engine if profile else "",
            "lang": profile.lang if profile else "",
            "tags": list(profile.tags) if profile else [],
            "styles": self.styles(name),
            "description": profile.description if profile else "",
            "rights": profile.rights if profile else "",
            "fallback": profile.fallback if profile else None,
            "output": profile.output if profile else None,
            "error": str(entry.error) if entry.error else self._error_of_a_style(name),
        }

    def _error_of_a_style(self, name: str) -> str | None:
        names = (styles.styled(name, style) for style in self.styles(name))
        found = ((each, self.error(each)) for each in names)
        return next((f"{each}: {error}" for each, error in found if error), None)

    # --- changing ----------------------------------------------------------------------------

    def refresh(
        self, at_once: bool = False, only: str | None = None, first: str | None = None
    ) -> tuple[list[str], list[str]]:
        """Look at the folder; compile what changed. Returns (changed names, problems).

        ``only``: compile this voice and those that it falls back to; of the others only the names
        are known. ``first``: compile this one before the others.
        """
        scan = self._folder.scan(at_once)
        self.version += bool(scan.changed or scan.removed or scan.broken)
        needed = set(scan.changed)
        if only is not None:
            asked = {only, styles.voice_of(only)}
            of = scan.profiles.get
            needed = {p.name for name in asked for p in _with_fallbacks(of(name), of)}
        for name in sorted(scan.changed, key=lambda name: name != first):
            if name in needed:
                self._compile(scan.profiles[name])
            else:
                self._entries.setdefault(name, _Entry())
        for name in scan.removed:
            if name in self._entries:
                self._entries[name].removed = True
                self._entries[name].wanted = None
        for name, error in scan.broken.items():
            self._broken(name, error)
        for name, entry in self._entries.items():
            if entry.removed and name not in self._folder.problems:
                entry.error = None
        self._forget_replaced()
        self._retry_missing()
        return [*scan.changed, *scan.removed], [error.message for error in scan.broken.values()]

    def _forget_replaced(self) -> None:
        """Let the engines drop what no profile has meant for a while; a line may still need it."""
        wanted = {(e.ready.engine, e.ready.key) for e in self._entries.values() if e.ready}
        wanted |= {e.wanted[1:] for e in self._entries.values() if e.wanted}
        for place, made in list(self._made.items()):
            made.unwanted = 0 if place in wanted else made.unwanted + 1
            if made.unwanted > FORGET_AFTER:
                made.preparer.forget(place[1])
                del self._made[place]

    def _retry_missing(self) -> None:
        """Whoever fetched what a voice lacked need not start koed anew."""
        self._looks += 1
        if self._looks % RETRY_AFTER:
            return
        for entry in self._entries.values():
            lacks = entry.error is not None and entry.error.code in MISSING
            if lacks and entry.latest and not (entry.removed or entry.wanted):
                with contextlib.suppress(KoedError):  # its clip is gone as well, which is told
                    self._order(entry, entry.latest)

    def _compile(self, profile: Profile) -> None:
        entry = self._entries.setdefault(profile.name, _Entry())
        entry.removed = False
        entry.error = None
        entry.latest = profile
        try:
            self._order(entry, profile)
        except KoedError as error:
            entry.wanted = None
            self._broken(profile.name, error)

    def _order(self, entry: _Entry, profile: Profile) -> None:
        host, preparer = self._host_of(profile)
        key = preparer.prepare(spec(profile))
        entry.wanted = (profile, host, key)
        self._made.setdefault((host, key), _Made(preparer)).unwanted = 0

    def _broken(self, name: str, error: KoedError | ConfigError) -> None:
        entry = self._entries.setdefault(name, _Entry(removed=True))
        known, entry.error = entry.error, error
        if known and str(known) == str(error):
            return  # it was tried again
        kept = entry.ready is not None and not entry.removed
        log.warning("voice %s: %s%s", name, error, "; the old one stays in use" if kept else "")
        self._bus.publish(
            VoiceBroken(voice=name, code=error.code, message=error.message, kept_old=kept)
        )

    # --- what the hosts report ---------------------------------------------------------------

    def voice_ready(
        self, engine: str, key: str, loudness_lufs: float, cached: bool, prepare_s: float
    ) -> None:
        for name, entry in self._entries.items():
            if entry.wanted and entry.wanted[1:] == (engine, key):
                profile = entry.wanted[0]
                entry.ready = ReadyVoice(name, profile, engine, key, loudness_lufs)
                entry.wanted = entry.error = None
                self.version += 1
                self._bus.publish(VoiceReady(voice=name, cached=cached, prepare_s=prepare_s))

    def voice_failed(self, engine: str, key: str, error: KoedError) -> None:
        """Two profiles may have one key; one that was edited since has another."""
        for name, entry in self._entries.items():
            if entry.wanted and entry.wanted[1:] == (engine, key):
                entry.wanted = None
                self.version += 1
                self._broken(name, error)


def _with_fallbacks(
    profile: Profile | None, named: Callable[[str], Profile | None]
) -> Iterator[Profile]:
    """Each once: profiles that go in a circle are broken, but old and new ones may meet here."""
    seen = set[str]()
    while profile is not None and profile.name not in seen:
        yield profile
        seen.add(profile.name)
        profile = named(profile.fallback or "")
