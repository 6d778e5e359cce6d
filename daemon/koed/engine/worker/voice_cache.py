"""Prepared voices on disk, by content hash, so that a restarted worker speaks at once.

One file per voice, ``KEY.msgpack``: schema number, engine and its version, and the voice. A file
that cannot be used for any reason is as good as none: it is written anew. A disk that cannot be
written costs time at the next start and nothing else.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import msgpack

from koed.engine.base import Voice
from koed.engine.loudness import VOICE_LUFS

log = logging.getLogger(__name__)

SCHEMA = 1
KEEP = 256
"""Voices kept; of more, the longest unused are removed."""

_KEY = re.compile(r"[0-9a-zA-Z_-]{1,128}")


class VoiceCache:
    """``folder`` is made (0700) at the first write."""

    def __init__(self, folder: Path, engine: str, version: str, keep: int = KEEP) -> None:
        self._folder = folder
        self._head = [SCHEMA, engine, version]
        self._keep = keep

    def get(self, key: str) -> Voice | None:
        """The voice of a key, or None; a hit makes it the most recently used."""
        path = self._path(key)
        if path is None:
            return None
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("cannot read the prepared voice %s: %s", path.name, error.strerror)
            return None
        voice = self._parse(data, key)
        if voice is None:
            log.info("prepared voice %s is of another version or damaged; making it anew", key)
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return voice

    def put(self, voice: Voice) -> bool:
        """Write a voice, atomically and readable by its owner only. False = it could not be."""
        path = self._path(voice.key)
        if path is None:
            return False
        body = {
            "name": voice.name, "key": voice.key, "lang": voice.lang,
            "loudness_lufs": voice.loudness_lufs, "state": dict(voice.state),
        }  # fmt: skip
        try:
            data = msgpack.packb([*self._head, body], use_bin_type=True)
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(path, data)
            self._evict()
        except (OSError, TypeError, ValueError, OverflowError) as error:
            log.warning("cannot keep the prepared voice %s: %s", voice.name, error)
            return False
        return True

    def _path(self, key: str) -> Path | None:
        # A key may come over the network: it must not name a file elsewhere.
        return self._folder / f"{key}.msgpack" if _KEY.fullmatch(key) else None

    def _parse(self, data: bytes, key: str) -> Voice | None:
        try:
            values = msgpack.unpackb(data, raw=False)
        except Exception:  # noqa: BLE001 - msgpack documents no closed set of errors
            return None
        if not isinstance(values, list) or values[:-1] != self._head:
            return None
        return _voice(values[-1], key)

    def _evict(self) -> None:
        files = sorted(self._folder.glob("*.msgpack"), key=_used_at, reverse=True)
        for path in files[self._keep :]:
            path.unlink(missing_ok=True)


def _voice(body: Any, key: str) -> Voice | None:
    if not isinstance(body, dict) or body.get("key") != key:
        return None
    loudness, state = body.get("loudness_lufs"), body.get("state")
    name, lang = body.get("name"), body.get("lang")
    if not (isinstance(name, str) and isinstance(lang, str) and isinstance(state, dict)):
        return None
    if not isinstance(loudness, float) or not VOICE_LUFS[0] <= loudness <= VOICE_LUFS[1]:
        return None
    return Voice(name=name, key=key, lang=lang, loudness_lufs=loudness, state=state)


def _used_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # another worker removed it
        return 0.0


def _write(path: Path, data: bytes) -> None:
    # mkstemp makes the file 0600; the rename makes it whole or absent for every reader.
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
