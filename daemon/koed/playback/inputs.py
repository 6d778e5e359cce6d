"""What the player is told, besides the requests of the wire that it takes as they are."""

from __future__ import annotations

from dataclasses import dataclass

from koe.protocol import ModeName
from koed.audio.arrangement import Report
from koed.engine.base import Mouth, Word
from koed.playback.queue import Line, Priority


@dataclass(frozen=True, slots=True)
class OutputPosition:
    """Where the lanes of an output are at this moment."""

    output: str
    heard_t: float
    """Monotonic time when what is rendered now reaches the ear."""
    positions: tuple[tuple[int, int, float], ...]
    """(lane, serial of the track that sounds or 0, seconds of it played)"""
    playing: bool = True
    """A device takes its sound."""
    unheard: str = ""
    """Why nobody hears it all the same."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Comes with every input. ``now``: monotonic seconds."""

    now: float
    outputs: tuple[OutputPosition, ...] = ()


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has gone by."""


# --- lines ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Submit:
    """A line, its text normalised or (``in_pieces``) still to come. Answer: `Admission`."""

    line: Line
    in_pieces: bool = False


@dataclass(frozen=True, slots=True)
class Amend:
    """Change a line that waits. Answer: whether it did."""

    utterance: int
    text: str
    author: str | None
    key: str | None


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Take a line back, waiting or sounding. Answer: whether there was one."""

    utterance: int
    reason: str


@dataclass(frozen=True, slots=True)
class Empty:
    """Drop the waiting lines of an output (None = of all), of one priority (None = of all)."""

    output: str | None
    priority: Priority | None
    reason: str


@dataclass(frozen=True, slots=True)
class Silence:
    """Cut what sounds on an output."""

    output: str
    reason: str


@dataclass(frozen=True, slots=True)
class SetMode:
    mode: ModeName
    output: str | None
    by: str


# --- the engines' word ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Received:
    """Sound of a job went to its track."""

    serial: int
    seconds: float
    words: tuple[Word, ...] = ()
    mouths: tuple[Mouth, ...] = ()


@dataclass(frozen=True, slots=True)
class Done:
    """All sound of a job is here."""

    serial: int


@dataclass(frozen=True, slots=True)
class Failed:
    serial: int
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Mended:
    """The engine found its own work on a job wrong and made it anew, unheard."""

    serial: int
    code: str


@dataclass(frozen=True, slots=True)
class Lost:
    """A worker is gone with these jobs."""

    serials: tuple[int, ...]
    code: str


# --- the devices' word ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Heard:
    """What happened to a track; ``heard_t`` of its frame."""

    output: str
    report: Report
    heard_t: float
