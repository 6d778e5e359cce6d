"""What OBS tells, on its way from the session's threads to the main one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from koed.errors import KoedError


@dataclass(frozen=True, slots=True)
class Signal:
    """Something for the main thread. ``heard_t``: when OBS told it, monotonic seconds."""

    heard_t: float


@dataclass(frozen=True, slots=True)
class Up(Signal):
    version: str
    scene: str
    live: bool
    retries: int


@dataclass(frozen=True, slots=True)
class Down(Signal):
    error: KoedError


@dataclass(frozen=True, slots=True)
class OnAir(Signal):
    """This scene is on air, or is about to be (``at: start``)."""

    scene: str


@dataclass(frozen=True, slots=True)
class Live(Signal):
    live: bool


@dataclass(frozen=True, slots=True)
class Asked(Signal):
    """A CustomEvent with the key ``koed``; ``message`` is whatever stood there."""

    message: Any


@dataclass(frozen=True, slots=True)
class Scenery(Signal):
    """Sources or scenes came, went or changed their names. ``everything``: all of them did, since
    another scene collection is there."""

    everything: bool = False


@dataclass(frozen=True, slots=True)
class JobDone(Signal):
    """A job is over; ``then`` wants its result on the main thread."""

    then: Callable[[Any], None]
    result: Any
    """What the job returned, or the `KoedError` that it raised."""
