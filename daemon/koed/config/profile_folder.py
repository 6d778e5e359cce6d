"""A folder of voice profiles, looked at every second: what is new, changed, gone or broken.

Looking is a `stat` per file; only what changed is read. Nothing here raises on a bad edit: the
last good profile stays, and each problem is reported once.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from koed.config import shipped, styles
from koed.config.profile import (
    FileStamp,
    Profile,
    Reading,
    file_stamp,
    printable,
    read_profile,
)
from koed.config.yaml_nodes import Problem, bad_config
from koed.errors import ConfigError, did_you_mean

FOLDER = "*"
"""Stands for the folder itself among the broken names."""

Spare = Callable[[Mapping[str, Profile]], Profile | None]

Stamp = tuple[FileStamp, ...]
"""Of a profile and of the files that it depends on."""


@dataclass(frozen=True, slots=True)
class ScanResult:
    profiles: dict[str, Profile]
    """All that can be used now, with their styles; of a broken one the last good state."""
    changed: list[str]
    """New, different, or mended since the last scan; all of them are in ``profiles``."""
    removed: list[str]
    broken: dict[str, ConfigError]
    """Problems not reported before. Those that last are in `ProfileFolder.problems`."""

    @property
    def voices(self) -> dict[str, Profile]:
        """Those that have a file."""
        return {name: p for name, p in self.profiles.items() if not p.style_of}


@dataclass(slots=True)
class _Entry:
    """What is known about one file."""

    stamp: Stamp = ()
    depends: tuple[Path, ...] = ()
    good: Profile | None = None
    lines: Mapping[str, int] = field(default_factory=dict)
    error: ConfigError | None = None
    waiting: Stamp | None = None
    """A broken or vanished state seen once. Editors truncate before they write and rename before
    they rename back, so a bad state counts only if it lasts from one scan to the next."""


class ProfileFolder:
    """``outputs``: names that a profile may ask for; empty = any. ``spare``: what is added to the
    profiles that are there, if anything."""

    def __init__(
        self, folder: Path, outputs: Collection[str] = (), spare: Spare = lambda _there: None
    ) -> None:
        self.folder = folder
        self.problems: dict[str, ConfigError] = {}
        """Everything that is broken now, by name of the profile."""
        self._outputs = outputs
        self._spare = spare
        self._left_out = shipped.left_out(folder)
        self._entries: dict[str, _Entry] = {}
        self._shown: dict[str, Profile] = {}
        self._first = True

    def scan(self, at_once: bool = False) -> ScanResult:
        """What changed since the last call.

        A broken edit or a removal is reported when a second scan still sees it; ``at_once``
        (somebody asked for a reload) and the first scan do not wait.
        """
        at_once, self._first = at_once or self._first, False
        problems: dict[str, ConfigError] = {}
        paths = self._list(problems)
        if paths is not None:
            for name in [name for name in self._entries if name not in paths]:
                self._vanished(name, at_once)
            for name, path in paths.items():
                self._look(self._entries.setdefault(name, _Entry()), path, at_once)
        problems |= {name: e.error for name, e in self._entries.items() if e.error}
        good = {name: e.good for name, e in self._entries.items() if e.good}
        voices = [self._connected(p, good, problems) for p in good.values()]
        profiles = {p.name: p for voice in voices for p in (voice, *styles.of(voice))}
        spare = self._spare(profiles)
        if spare is not None:
            profiles[spare.name] = spare
        return self._difference(profiles, problems)

    def _list(self, problems: dict[str, ConfigError]) -> dict[str, Path] | None:
        """Name -> file, sorted. None, if the folder cannot be read: then all stays as it was."""
        try:
            with os.scandir(self.folder) as entries:
                names = sorted(entry.name for entry in entries)
        except OSError as error:
            problems[FOLDER] = ConfigError(
                "no_profiles", f"{self.folder} cannot be read: {error.strerror}"
            )
            return None
        # A leading point: the locks and swap files of editors.
        wanted = [n for n in names if n.endswith((".yaml", ".yml")) and not n.startswith(".")]
        paths = {printable(name.removesuffix(".yaml")): self.folder / name for name in wanted}
        return {name: path for name, path in paths.items() if name not in self._left_out}

    # --- one file ----------------------------------------------------------------------------

    def _vanished(self, name: str, at_once: bool) -> None:
        entry = self._entries[name]
        if at_once or entry.waiting == () or entry.good is None:
            del self._entries[name]
        else:
            entry.waiting = ()

    def _look(self, entry: _Entry, path: Path, at_once: bool) -> None:
        stamp = tuple(file_stamp(one) for one in (path, *entry.depends))
        if stamp == entry.stamp:
            entry.waiting = None
            return
        reading = read_profile(path)
        # Stamps are older than what was read: what is written in between is seen the next time.
        stamp = (stamp[0], *reading.depends.values())
        if reading.profile is None and not at_once and entry.waiting != stamp:
            entry.waiting = stamp
            return
        _accept(entry, reading, stamp)

    # --- between profiles --------------------------------------------------------------------

    def _connected(
        self, profile: Profile, good: Mapping[str, Profile], problems: dict[str, ConfigError]
    ) -> Profile:
        """The profile without what leads nowhere, which becomes a problem."""
        found = dict(self._loose_ends(profile, good))
        if not found:
            return profile
        lines = self._entries[profile.name].lines
        if profile.name not in problems:
            listed = [
                Problem(lines.get(p.key, 1), 1, p.key, p.what, p.hint) for p in found.values()
            ]
            problems[profile.name] = bad_config(str(profile.source), listed)
        cleared: dict[str, Any] = dict.fromkeys(found)
        return dataclasses.replace(profile, **cleared)

    def _loose_ends(
        self, profile: Profile, good: Mapping[str, Profile]
    ) -> Iterator[tuple[str, Problem]]:
        fallback, output = profile.fallback, profile.output
        if fallback is not None and fallback not in good:
            hint = did_you_mean(fallback, sorted(good))
            what = f"there is no profile {fallback!r}"
            yield "fallback", Problem(1, 1, "fallback", what, hint)
        elif fallback is not None and (circle := _circle(profile, good)):
            what = f"the fallbacks go in a circle: {' -> '.join(circle)}"
            yield "fallback", Problem(1, 1, "fallback", what, "let one of them have none")
        if output is not None and self._outputs and output not in self._outputs:
            hint = did_you_mean(output, self._outputs)
            yield "output", Problem(1, 1, "output", f"there is no output {output!r}", hint)

    # --- against the last scan ---------------------------------------------------------------

    def _difference(
        self, profiles: dict[str, Profile], problems: dict[str, ConfigError]
    ) -> ScanResult:
        shown, known = self._shown, self.problems
        mended = {name for name in known if name not in problems}
        changed = [
            name
            for name, profile in profiles.items()
            if shown.get(name) != profile or name in mended
        ]
        removed = [name for name in shown if name not in profiles]
        broken = {
            name: error
            for name, error in problems.items()
            if name not in known or known[name].message != error.message
        }
        self._shown, self.problems = dict(profiles), problems
        return ScanResult(profiles, changed, removed, broken)


def _accept(entry: _Entry, reading: Reading, stamp: Stamp) -> None:
    entry.stamp, entry.depends, entry.waiting = stamp, tuple(reading.depends), None
    entry.error = reading.error
    if reading.profile is not None:
        entry.good, entry.lines = reading.profile, reading.lines


def _circle(profile: Profile, good: Mapping[str, Profile]) -> list[str]:
    """The names from this profile back to itself, or nothing."""
    way, here = [profile.name], profile.fallback
    while here is not None and here in good and here not in way:
        way.append(here)
        here = good[here].fallback
    return [*way, here] if here == profile.name else []
