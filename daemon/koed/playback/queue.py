"""The queue: who speaks next, who waits, who is dropped and why.

Pure: no threads, no clock, no I/O. Time comes in as seconds of one monotonic clock, decisions go
out as values. What is spoken how (segments, jobs, sound) is the player's business.

    waiting --begin--> speaking --end--> gone
       |                  |
       +--- dropped       +--- cut

A line waits until its first sample sounds; until then it can expire, be replaced or be overtaken,
even if its sound is already being made ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from koed.config.delivery import PLAIN, Delivery

Priority = Literal["urgent", "normal", "chatter"]
PRIORITIES: tuple[Priority, ...] = ("urgent", "normal", "chatter")


@dataclass(frozen=True, slots=True)
class Line:
    """One utterance as it was asked for. Times are seconds on the caller's monotonic clock."""

    utterance: int
    text: str
    voice: str
    output: str
    priority: Priority = "normal"
    lang: str | None = None
    key: str | None = None
    author: str | None = None
    queued_at: float = 0.0
    expires_at: float | None = None
    explicit_voice: bool = False
    """The request named the voice: a general voice change does not touch it."""
    style: str = ""
    """What the request chose among the styles of its voice, as the end of a voice's name: another
    voice that is given to the line is to have it too, if it can."""
    delivery: Delivery = PLAIN
    living: Delivery = PLAIN
    """How the current voice was to speak when it was queued: what ``delivery`` says counts more."""
    tags: tuple[str, ...] = ()
    """Styles to which its text may change, if that comes in pieces."""
    marks: tuple[tuple[int, str], ...] = ()
    """Where its text changes to another style, see `koed.text.style_tags`."""


@dataclass(frozen=True, slots=True)
class Drop:
    line: Line
    reason: str


@dataclass(frozen=True, slots=True)
class Admission:
    """What happened to a new line: ``refused`` is the reason, or None if it waits now."""

    position: int = 0
    """Lines that are spoken before it, the sounding one included."""
    refused: str | None = None
    dropped: tuple[Drop, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    max_lines: int = 200
    max_chatter: int = 50
    max_per_author: int = 5
    """0 = no limit."""
    when_full: Literal["drop_oldest", "refuse"] = "drop_oldest"


@dataclass(slots=True)
class _Output:
    """One output's queue: a list per priority, and what sounds."""

    waiting: dict[Priority, list[Line]] = field(
        default_factory=lambda: {priority: [] for priority in PRIORITIES}
    )
    speaking: list[Line] = field(default_factory=list)
    held: bool = False

    def lines(self) -> Iterator[Line]:
        for priority in PRIORITIES:
            yield from self.waiting[priority]


class Queue:
    """The queues of all outputs under common bounds."""

    def __init__(self, outputs: Iterable[str], limits: Limits) -> None:
        self.limits = limits
        self._outputs = {name: _Output() for name in outputs}

    # --- in ----------------------------------------------------------------------------------

    def submit(self, line: Line) -> Admission:
        """Let a line in, or say why not. What had to make room is in ``dropped``.

        A line with the key of a waiting one of the same priority and output takes its place in the
        queue; otherwise it goes to the end of its priority.
        """
        queue = self._outputs[line.output].waiting[line.priority]
        twin = self._find(lambda other: line.key is not None and other.key == line.key)
        dropped = [Drop(twin, "replaced")] if twin else []
        place = queue.index(twin) if twin and twin in queue else len(queue)
        if twin:
            self._remove(twin)
        refused = self._make_room(line, dropped)
        if refused:
            if twin:  # a refusal changes nothing: the one that waited goes on waiting
                self._outputs[twin.output].waiting[twin.priority].insert(place, twin)
            return Admission(refused=refused)
        queue.insert(place, line)
        return Admission(position=self._position(line), dropped=tuple(dropped))

    def _make_room(self, line: Line, dropped: list[Drop]) -> str | None:
        """Drop what must give way to ``line``; the reason if it may not come in."""
        limits = self.limits
        if line.author and limits.max_per_author and line.priority != "urgent":
            mine = sum(1 for other in self.waiting() if other.author == line.author)
            if mine >= limits.max_per_author:
                return "author_limit"
        chatter = [other for other in self.waiting() if other.priority == "chatter"]
        full = self.count() >= limits.max_lines
        if line.priority == "chatter" and (full or len(chatter) >= limits.max_chatter):
            if limits.when_full == "refuse" or not chatter:
                return "queue_full"
            victim: Line | None = chatter[0]
        elif full:
            victim = chatter[0] if chatter else None
            if victim is None and line.priority == "urgent":
                victim = self._find(lambda other: other.priority == "normal")
        else:
            return None
        if victim is None:
            return "queue_full"
        self._remove(victim)
        dropped.append(Drop(victim, "queue_full"))
        return None

    # --- through -----------------------------------------------------------------------------

    def peek(self, output: str, among: Collection[Priority] = PRIORITIES) -> Line | None:
        """The line that is to be spoken next on ``output``; None if none or while it is held."""
        state = self._outputs[output]
        if state.held:
            return None
        return next((line for line in state.lines() if line.priority in among), None)

    def begin(self, line: Line) -> None:
        """The first sample of ``line`` sounds."""
        self._remove(line)
        self._outputs[line.output].speaking.append(line)

    def end(self, utterance: int) -> Line | None:
        """A line is over, however it ended. None if it did not sound."""
        for state in self._outputs.values():
            for line in state.speaking:
                if line.utterance == utterance:
                    state.speaking.remove(line)
                    return line
        return None

    def speaking(self, output: str | None = None) -> list[Line]:
        """What sounds now; two lines on one output only while an urgent one overlaps another."""
        names = self._outputs if output is None else [output]
        return [line for name in names for line in self._outputs[name].speaking]

    # --- out ---------------------------------------------------------------------------------

    def expire(self, now: float) -> list[Drop]:
        """Drop the lines whose time has passed."""
        return self._drop(
            lambda line: line.expires_at is not None and line.expires_at <= now, "expired"
        )

    def clear(
        self, output: str | None = None, priority: Priority | None = None, reason: str = "clear"
    ) -> list[Drop]:
        """Drop the waiting lines, of one output and one priority or of all."""
        return self._drop(
            lambda line: output in (None, line.output) and priority in (None, line.priority), reason
        )

    def cancel(
        self,
        utterance: int | None = None,
        key: str | None = None,
        author: str | None = None,
        reason: str = "cancel",
    ) -> tuple[list[Drop], list[Line]]:
        """Take lines back: the waiting ones are dropped, the sounding ones returned to be cut.

        All conditions given must hold; with none given nothing is taken back.
        """
        asked = [
            (name, value)
            for name, value in (("utterance", utterance), ("key", key), ("author", author))
            if value is not None
        ]

        def matches(line: Line) -> bool:
            return bool(asked) and all(getattr(line, name) == value for name, value in asked)

        return self._drop(matches, reason), [x for x in self.speaking() if matches(x)]

    # --- state -------------------------------------------------------------------------------

    def hold(self, output: str, held: bool) -> None:
        """While held, no line begins on ``output``; they wait (and expire) all the same."""
        self._outputs[output].held = held

    def held(self, output: str) -> bool:
        return self._outputs[output].held

    def revise(self, change: Callable[[Line], Line], output: str | None = None) -> None:
        """Change the waiting lines where they stand."""
        for name, state in self._outputs.items():
            if output in (None, name):
                for queue in state.waiting.values():
                    queue[:] = map(change, queue)

    def amend(self, utterance: int, text: str, author: str | None, key: str | None) -> bool:
        """Change a line that waits, where it stands; False if it does not wait any more."""
        for state in self._outputs.values():
            for queue in state.waiting.values():
                for place, line in enumerate(queue):
                    if line.utterance == utterance:
                        queue[place] = replace(line, text=text, author=author, key=key, marks=())
                        return True
        return False

    def waiting(self, output: str | None = None) -> Iterator[Line]:
        """The waiting lines in the order in which they will be spoken, output by output."""
        for name, state in self._outputs.items():
            if output in (None, name):
                yield from state.lines()

    def count(self) -> int:
        return sum(len(q) for state in self._outputs.values() for q in state.waiting.values())

    def find(self, utterance: int) -> Line | None:
        """The line with this number, waiting or sounding."""
        return next(
            (x for x in [*self.speaking(), *self.waiting()] if x.utterance == utterance), None
        )

    def _position(self, line: Line) -> int:
        state = self._outputs[line.output]
        return len(state.speaking) + list(state.lines()).index(line)

    def _find(self, matches: Callable[[Line], bool]) -> Line | None:
        return next((line for line in self.waiting() if matches(line)), None)

    def _remove(self, line: Line) -> None:
        """Take a waiting line out, by number: its voice may have changed meanwhile."""
        queue = self._outputs[line.output].waiting[line.priority]
        queue[:] = [other for other in queue if other.utterance != line.utterance]

    def _drop(self, matches: Callable[[Line], bool], reason: str) -> list[Drop]:
        gone = [line for line in self.waiting() if matches(line)]
        for line in gone:
            self._remove(line)
        return [Drop(line, reason) for line in gone]
