"""What OBS tells, on its way from the session's threads to the main one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from koed.errors import KoedError


@dataclass(frozen=True, slots=True)
class Up:
    version: str
    scene: str
    live: bool
    retries: int


@dataclass(frozen=True, slots=True)
class Down:
    error: KoedError


@dataclass(frozen=True, slots=True)
class OnAir:
    """This scene is on air, or is about to be (``at: start``)."""

    scene: str


@dataclass(frozen=True, slots=True)
class Live:
    live: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """A CustomEvent with the key ``koed``; ``message`` is whatever stood there."""

    message: Any


@dataclass(frozen=True, slots=True)
class Scenery:
    """Sources or scenes came, went or changed their names. ``everything``: all of them did, since
    another scene collection is there."""

    everything: bool = False


@dataclass(frozen=True, slots=True)
class JobDone:
    """A job is over; ``then`` wants its result on the main thread."""

    then: Callable[[Any], None]
    result: Any
    """What the job returned, or the `KoedError` that it raised."""


Signal = Up | Down | OnAir | Live | Asked | Scenery | JobDone
