"""What the player wants done. `koed.playback.dispatch` does it, in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from koe.protocol import Event
from koed.audio.arrangement import Entry
from koed.engine.base import Job
from koed.errors import KoedError
from koed.playback.takes import Piece


@dataclass(frozen=True, slots=True)
class Arrange:
    """The tracks of a lane, in the order in which they are to be heard."""

    lane: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Speak:
    engine: str
    job: Job


@dataclass(frozen=True, slots=True)
class Play:
    """Feed a track with sound that was rendered ahead."""

    serial: int
    piece: Piece


@dataclass(frozen=True, slots=True)
class End:
    """No more sound comes for a track; ``pause_s`` of silence follow it."""

    serial: int
    pause_s: float


@dataclass(frozen=True, slots=True)
class Keep:
    """The jobs that are still wanted of an engine."""

    engine: str
    serials: frozenset[int]


@dataclass(frozen=True, slots=True)
class Gain:
    lane: int
    gain_db: float


@dataclass(frozen=True, slots=True)
class Mute:
    """Latch or release the silence of an output, with what has left the mixer already."""

    output: str
    on: bool


@dataclass(frozen=True, slots=True)
class Pause:
    output: str
    on: bool


@dataclass(frozen=True, slots=True)
class Publish:
    event: Event


@dataclass(frozen=True, slots=True)
class Answer:
    """To whoever asked: a value, or the error that is to be raised there."""

    value: Any = None
    error: KoedError | None = None


Effect = Arrange | Speak | Play | End | Keep | Gain | Mute | Pause | Publish | Answer
