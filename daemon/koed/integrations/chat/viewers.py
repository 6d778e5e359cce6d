"""Which voice a viewer has: assigned, by platform, derived from the name, or remembered."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from koed.config.chat import ViewerVoicesConfig
from koed.errors import KoedError
from koed.integrations.chat.names import author_key
from koed.integrations.chat.recent import Recent
from koed.service import files

MAX_FILE_BYTES = 64 * 1024 * 1024
DERIVED_KEPT = 4096


def derived_voice(author: str, voices: Sequence[str]) -> str:
    """The voice of ``author``: always the same, and nearly always even if voices come or go.

    Highest random weight (Thaler and Ravishankar, 1998): a voice that is taken away changes only
    the viewers that had it.
    """

    def weight(voice: str) -> bytes:
        return hashlib.blake2b(f"{author}\0{voice}".encode(), digest_size=8).digest()

    return max(voices, key=weight)


class Viewers:
    """Pure but for `load` and `save`. ``remembered`` holds ``author key: voice``."""

    def __init__(self, config: ViewerVoicesConfig) -> None:
        self._config = config
        self._assigned = {
            name.lower().removeprefix("@"): voice for name, voice in config.assigned.items()
        }
        self._platforms = {name.lower(): voice for name, voice in config.platforms.items()}
        self._derived: Recent[str, tuple[tuple[str, ...], str]] = Recent(DERIVED_KEPT)
        self._sticky: Recent[str, str] = Recent(config.remember)
        self._used: Counter[str] = Counter()
        self.changed = False
        """Something is to be saved."""

    def named_voices(self) -> set[str]:
        """Every voice that the configuration names."""
        config = self._config
        return {*config.among, *config.assigned.values(), *config.platforms.values()}

    def voice(self, platform: str, author: str, usable: Mapping[str, Any]) -> str | None:
        """The viewer's voice among the ``usable`` ones; None = the current voice."""
        key = author_key(platform, author)
        wanted = (
            self._assigned.get(key)
            or self._assigned.get(author.lower())
            or self._platforms.get(platform.lower())
        )
        if wanted in usable:
            return wanted
        if self._config.mode == "current" or not author:
            return None
        among = tuple(v for v in self._config.among or sorted(usable) if v in usable)
        if not among:
            return None
        if self._config.mode == "derived":
            return self._own(key, among)
        return self._kept(key, usable, among)

    def _own(self, key: str, among: tuple[str, ...]) -> str:
        known = self._derived.get(key)
        if known is not None and known[0] == among:
            return known[1]
        voice = derived_voice(key, among)
        self._derived.put(key, (among, voice))
        return voice

    def _kept(self, key: str, usable: Mapping[str, Any], among: tuple[str, ...]) -> str:
        voice = self._sticky.get(key)
        if voice is None:
            own = derived_voice(key, among)
            voice = min(among, key=lambda name: (self._used[name], name != own))
            self._remember(key, voice)
            self.changed = True
        # a voice that is away for tonight is not forgotten
        return voice if voice in usable else derived_voice(key, among)

    def _remember(self, key: str, voice: str) -> None:
        before = self._sticky.pop(key)
        if before is not None:
            self._used[before] -= 1
        elif len(self._sticky) >= self._config.remember:
            gone, its = self._sticky.oldest()
            self._sticky.pop(gone)
            self._used[its] -= 1
        self._sticky.put(key, voice)
        self._used[voice] += 1

    # --- the file ----------------------------------------------------------------------------

    def to_json(self) -> str:
        return json.dumps({"viewers": dict(self._sticky.items())}, ensure_ascii=False, indent=0)

    def from_json(self, text: str) -> None:
        """Raises ValueError for anything but what `to_json` gives."""
        data = json.loads(text)
        viewers = data.get("viewers") if isinstance(data, dict) else None
        if not isinstance(viewers, dict):
            raise ValueError('there is no "viewers" in it')
        for key, voice in viewers.items():
            if isinstance(voice, str):
                self._remember(key, voice)


def load(viewers: Viewers, path: Path) -> None:
    """Read what was remembered; nothing if there is no file. Raises `KoedError` ``bad_viewers``."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ValueError(f"it has more than {MAX_FILE_BYTES} bytes")
        viewers.from_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except (OSError, ValueError, RecursionError) as error:
        raise KoedError(
            "bad_viewers",
            f"the voices of the viewers cannot be read from {path}: {error}",
            "viewers get new voices, and the file is written anew; move it away to keep it",
        ) from error


def save(viewers: Viewers, path: Path) -> None:
    """Write whole or not at all. Raises `KoedError` ``bad_viewers``."""
    try:
        files.write(path, viewers.to_json().encode())
    except (OSError, UnicodeEncodeError) as error:
        raise KoedError(
            "bad_viewers",
            f"the voices of the viewers cannot be written to {path}: {error}",
            "they are kept until koed ends, and tried again",
        ) from error
    viewers.changed = False
