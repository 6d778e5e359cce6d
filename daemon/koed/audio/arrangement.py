"""What the control side says of a lane, and what it hears back: values only.

A lane is declared: `koed.audio.mixer.Mixer.arrange` is told the whole list of its tracks in the
order in which they are to be heard, and the device side makes it so at its next block. What a list
does not name is over; no number or order says what dies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["started", "ended", "cut", "starved", "resumed"]


@dataclass(frozen=True, slots=True)
class Joint:
    """How a track takes over from an older one in mid-sound: both have one time line.

    It stands in the entry of the new track, directly behind its old one. The old one goes on beyond
    the point until the new one has sound, and what is late of that is left out. Once the old one is
    over it may be left out of the list. If ``old`` is neither the track before it nor one that is
    over and still named, the joint is void: the new track simply plays in its order.
    """

    old: int
    """Serial of the track that is replaced."""
    at_s: float
    """Position in the old track's own time that is the new one's 0."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A track in the list of a lane."""

    serial: int
    """Above 0, of one lane for ever. One that a list left out is never named again."""
    gain_db: float = 0.0
    """Of what is fed to it; what its first entry says holds."""
    joint: Joint | None = None
    """None: it begins when the track before it and its pause are over."""
    until_s: float | None = None
    """It is cut here, in its own time, or at once if it is beyond: what follows goes on in its
    place, however late that comes. None: it plays to its end."""
    shut: bool = False
    """It takes sound, and does not begin before a list opens it."""


@dataclass(frozen=True, slots=True)
class Report:
    """What happened to a track. Each track of a list that some block saw gets exactly one
    ``ended`` (every sample was played) or ``cut`` (it was not: a list left it out, or another
    took over at a joint), even if it never ``started``.

    ``starved`` and ``resumed`` enclose an outage: silence because no samples were there.
    """

    kind: Kind
    serial: int
    lane: int
    frame: int
    """On the playback clock (`Mixer.clock_frames`, `History`): the first sample of the track,
    one past its last one, or the first one after its fade."""
    played_s: float
    """Position in the track's own time, with what a joint left out of its beginning."""
    starved_s: float
    """Seconds of silence in the track so far because no samples were there."""
