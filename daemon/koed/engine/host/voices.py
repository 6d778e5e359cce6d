"""The voices that the stage wants of one engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from koed.engine.base import ProfileSpec
from koed.engine.host.listener import HostListener
from koed.engine.loudness import checked_lufs
from koed.engine.wire import Prepared, PrepareFailed
from koed.errors import EngineError


@dataclass(slots=True)
class _Wanted:
    """``told`` is what the listener heard of it last."""

    spec: ProfileSpec
    told: Literal["", "ready", "failed"] = ""


class WantedVoices:
    """By key. The listener hears once what became of each, however many workers prepare it."""

    def __init__(self, engine: str, listener: HostListener) -> None:
        self._engine = engine
        self._listener = listener
        self._wanted: dict[str, _Wanted] = {}

    def add(self, key: str, spec: ProfileSpec) -> None:
        self._wanted[key] = _Wanted(spec)

    def remove(self, key: str) -> None:
        self._wanted.pop(key, None)

    def specs(self) -> dict[str, ProfileSpec]:
        return {key: wanted.spec for key, wanted in self._wanted.items()}

    def made(self) -> set[str]:
        """Keys of those that lines may speak with already."""
        return {key for key, wanted in self._wanted.items() if wanted.told == "ready"}

    def answered(self, message: Prepared | PrepareFailed) -> None:
        wanted = self._wanted.get(message.key)
        if wanted is None:
            return
        told = wanted.told
        message = _checked(message)
        wanted.told = "ready" if isinstance(message, Prepared) else "failed"
        if told == wanted.told:  # again, by a worker that was started anew
            return
        match message:
            case Prepared(key, name, lufs, cached, took_s):
                self._listener.voice_ready(self._engine, name, key, lufs, cached, took_s)
            case PrepareFailed(key, name, code, text, hint):
                self._listener.voice_failed(self._engine, name, key, code, text, hint)


def _checked(message: Prepared | PrepareFailed) -> Prepared | PrepareFailed:
    """A voice whose loudness cannot be is as good as none, whatever worker says it has one."""
    if isinstance(message, Prepared):
        try:
            checked_lufs(message.loudness_lufs)
        except EngineError as bad:
            return PrepareFailed(message.key, message.name, bad.code, bad.message, bad.hint)
    return message
