"""One output as the player sees it: its latches, its voice, and what stands on its lanes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from koe.protocol import Held, ModeName
from koed.audio.arrangement import Entry
from koed.config.delivery import PLAIN, Delivery
from koed.playback.queue import PRIORITIES, Priority
from koed.playback.utterance import Utterance


@dataclass(slots=True)
class Lane:
    """At most two lines stand on a lane: the one that sounds, and the next, made ahead."""

    number: int
    among: tuple[Priority, ...]
    """Whose lines it takes."""
    utterances: list[Utterance] = field(default_factory=list)
    resting: Entry | None = None
    """The track that was heard last: its pause belongs to the list until another one sounds."""
    told: tuple[Entry, ...] = ()
    """The list that was declared last."""
    position: tuple[int, float] = (0, 0.0)
    """Serial of the part that sounds (0 = none), and seconds of it played."""

    def entries(self) -> tuple[Entry, ...]:
        """The list that is to be declared."""
        entries = [self.resting] if self.resting is not None else []
        if not self.utterances:
            return tuple(entries)
        shut = False
        for line in self.utterances:
            entries += [part.entry(shut) for part in line.parts]
            # what it has still to say, perhaps again, comes before the next line
            shut = shut or not line.exhausted
        return tuple(entries)


@dataclass(slots=True)
class Channel:
    """Two lanes: one where lines follow each other, one above it for urgent lines that sound over
    the others where the configuration wants that."""

    name: str
    lower: Lane
    upper: Lane
    muted: bool = False
    """The user's latch; the mode is another one."""
    panicked: bool = False
    """A third one, always of all outputs."""
    mode: ModeName = "speak"
    paused: bool = False
    voice: str | None = None
    """The current voice of this output, if one was set for it alone."""
    living: Delivery = PLAIN
    """How its current voice speaks until that is changed, where its profile says otherwise."""
    ducked_db: float = 0.0
    """Gain of the lower lane, as it was told last."""
    playing: bool = True
    """A device takes its sound."""
    unheard: str = ""
    """Why nobody hears it all the same."""
    heard_t: float = 0.0
    """Monotonic time when what is rendered now reaches the ear."""

    @property
    def lanes(self) -> tuple[Lane, Lane]:
        return self.lower, self.upper

    @property
    def silent(self) -> bool:
        return self.panicked or self.muted or self.mode == "all_muted"

    @property
    def held(self) -> Held:
        """Why nothing that is said now would sound; of several reasons the one to lift last."""
        if self.panicked:
            return "panic"
        if self.mode == "all_muted":
            return "all_muted"
        return "muted" if self.muted else "paused" if self.paused else ""

    @property
    def moving(self) -> bool:
        """Whether what stands on its lanes can be heard now."""
        return self.playing and not self.silent and not self.paused

    @property
    def chat_muted(self) -> bool:
        return self.mode != "speak"

    def utterances(self) -> Iterator[Utterance]:
        for lane in self.lanes:
            yield from lane.utterances


def channel(name: str, number: int, urgent: str) -> Channel:
    """The lanes ``number`` and ``number`` + 1; ``urgent`` as in `QueueConfig`."""
    if urgent == "interrupt":
        return Channel(name, Lane(number, PRIORITIES), Lane(number + 1, ()))
    return Channel(name, Lane(number, PRIORITIES[1:]), Lane(number + 1, PRIORITIES[:1]))
