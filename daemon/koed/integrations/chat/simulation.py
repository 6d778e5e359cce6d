"""The queue without a player: the real `koed.playback.queue.Queue`, its clock only counted.

A line takes as long as `koed.integrations.chat.pace` estimates; who is next, who is dropped and who
interrupts is decided by the queue itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from koed.config.daemon import Config
from koed.integrations.chat.pace import speaking_s
from koed.playback.queue import PRIORITIES, Drop, Limits, Line, Priority, Queue


@dataclass(slots=True)
class Outcome:
    """What became of an utterance. Times are seconds of the rehearsal."""

    line: Line
    begins_s: float | None = None
    ends_s: float | None = None
    dropped: str = ""
    """Why it never sounded, or why it was cut."""

    @property
    def open(self) -> bool:
        return self.ends_s is None and not self.dropped


@dataclass(slots=True)
class _Lane:
    output: str
    among: tuple[Priority, ...]
    free_at: float = 0.0
    sounds: Outcome | None = None
    until: float = 0.0


@dataclass(slots=True)
class QueueSimulation:
    config: Config
    ended: Callable[[Outcome], None]
    """Told of every line that is over, as soon as that is known."""
    queue: Queue = field(init=False)
    _lanes: list[_Lane] = field(init=False)
    _outcomes: dict[int, Outcome] = field(default_factory=dict)
    _utterance: int = 0

    def __post_init__(self) -> None:
        queue = self.config.queue
        self.queue = Queue(
            self.config.outputs,
            Limits(queue.max_lines, queue.max_chatter, queue.max_per_author, queue.when_full),
        )
        self._lanes = []
        for name in self.config.outputs:
            if queue.urgent == "interrupt":
                self._lanes.append(_Lane(name, PRIORITIES))
            else:  # an urgent line sounds over the others
                self._lanes += [_Lane(name, PRIORITIES[1:]), _Lane(name, PRIORITIES[:1])]

    # --- lines in and out --------------------------------------------------------------------

    def submit(
        self, text: str, voice: str, output: str, priority: Priority, author: str,
        key: str | None, now: float,
    ) -> Outcome:  # fmt: skip
        """Queue a line. A refused one has its reason at once."""
        self._utterance += 1
        queue = self.config.queue
        expires_at = now + queue.chatter_ttl_s if priority == "chatter" else None
        line = Line(
            self._utterance, text, voice, output, priority, key=key, author=author,
            queued_at=now, expires_at=expires_at,
        )  # fmt: skip
        outcome = Outcome(line)
        admission = self.queue.submit(line)
        self._dropped(admission.dropped)
        if admission.refused:
            outcome.dropped = admission.refused
            return outcome
        self._outcomes[line.utterance] = outcome
        if priority == "urgent" and queue.urgent == "interrupt":
            for lane in self._lanes:
                sounds = lane.sounds if lane.output == output else None
                if sounds is not None and sounds.line.priority != "urgent":
                    self._cut(lane, "urgent", now)
        self.advance(now)
        return outcome

    def cancel(self, utterance: int, now: float) -> bool:
        """Take a line back, even in mid-word."""
        drops, sounding = self.queue.cancel(utterance)
        self._dropped(drops)
        for lane in self._lanes:
            if lane.sounds and lane.sounds.line in sounding:
                self._cut(lane, "cancel", now)
        return bool(drops or sounding)

    def _cut(self, lane: _Lane, reason: str, now: float) -> None:
        outcome = lane.sounds
        if outcome is not None:
            outcome.dropped = reason
            self._end(lane, outcome, now)
            lane.free_at = now  # the pause belongs to a line that came to its end

    def _dropped(self, drops: Iterable[Drop]) -> None:
        for drop in drops:
            outcome = self._outcomes.pop(drop.line.utterance, None)
            if outcome is not None:
                outcome.dropped = drop.reason
                self.ended(outcome)

    # --- the clock ---------------------------------------------------------------------------

    def advance(self, now: float) -> None:
        """Let everything happen that happens until ``now``."""
        while True:
            coming = [self._next(lane, now) for lane in self._lanes]
            at, lane = min(zip(coming, self._lanes, strict=True), key=lambda pair: pair[0])
            if at > now:
                break
            if lane.sounds is not None:
                self._end(lane, lane.sounds, at)
            else:
                self._begin(lane, at)
        self._dropped(self.queue.expire(now))

    def _next(self, lane: _Lane, now: float) -> float:
        """When something happens on a lane: the line that sounds ends, or the next one begins."""
        if lane.sounds is not None:
            return lane.until
        line = self.queue.peek(lane.output, lane.among)
        return float("inf") if line is None else max(lane.free_at, line.queued_at)

    def _begin(self, lane: _Lane, at: float) -> None:
        self._dropped(self.queue.expire(at))
        line = self.queue.peek(lane.output, lane.among)
        if line is None or line.queued_at > at:
            return
        self.queue.begin(line)
        outcome = self._outcomes[line.utterance]
        outcome.line = line  # its text may have been amended meanwhile
        outcome.begins_s = at
        lane.sounds = outcome
        lane.until = at + speaking_s(line.text, self.config.text)

    def _end(self, lane: _Lane, outcome: Outcome, at: float) -> None:
        self.queue.end(outcome.line.utterance)
        self._outcomes.pop(outcome.line.utterance, None)
        outcome.ends_s = at
        lane.sounds = None
        lane.free_at = at + self.config.queue.line_pause_s
        self.ended(outcome)

    def finish(self) -> float:
        """Let all that waits be spoken or expire; the time when the last line ends."""
        last = max(lane.free_at for lane in self._lanes)
        while self._outcomes:
            # the next end is at most a line away; what cannot begin expires
            last = min((lane.until for lane in self._lanes if lane.sounds), default=last + 1.0)
            self.advance(last)
        return last
