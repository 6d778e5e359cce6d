"""One output: its mixer, and what is on its lanes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from koe.protocol import Held, ModeName
from koed.audio.mixer import Mixer
from koed.performance import Part, Performance

PartBook = dict[int, tuple[Performance, Part]]
"""Every job that is alive, by serial number."""


@dataclass(slots=True)
class Channel:
    """Two lanes: one where lines follow each other, one above it for urgent lines that sound over
    the others. On a lane stand at most the line that sounds and the next one."""

    name: str
    mixer: Mixer
    lane: int
    heard_t: Callable[[int], float]
    """Monotonic time at which a frame of the mixer's clock reaches the ear."""
    shut: Callable[[bool], None] = lambda on: None
    """Cuts off what has left the mixer and is not heard yet, or lets it pass again."""
    lanes: dict[int, list[Performance]] = field(default_factory=dict)
    muted: bool = False
    """The user's latch; the mode is another one."""
    mode: ModeName = "speak"
    paused: bool = False

    def __post_init__(self) -> None:
        self.lanes = {self.lane: [], self.lane + 1: []}

    @property
    def silent(self) -> bool:
        return self.muted or self.mode == "all_muted"

    @property
    def held(self) -> Held:
        """Why nothing that is said now would sound; of several reasons the one to lift last."""
        if self.mode == "all_muted":
            return "all_muted"
        return "muted" if self.muted else "paused" if self.paused else ""

    @property
    def chat_muted(self) -> bool:
        return self.mode != "speak"

    def performances(self) -> Iterator[Performance]:
        for performances in self.lanes.values():
            yield from performances
