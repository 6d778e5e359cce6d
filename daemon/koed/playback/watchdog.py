"""Looks whether a lane stands still although something could sound: a fault of ours if so.

It never fails a line that an engine still owns: that is the supervisor's verdict. It tells of the
fault, counts it, and asks again for jobs that nobody has.
"""

from __future__ import annotations

from koe.protocol import Trouble
from koed.playback.channel import Channel, Lane
from koed.playback.handover import Handover
from koed.playback.lineup import Lineup
from koed.playback.utterance import Part

STUCK_S = 5.0
"""So long a lane may stand still; never less than an engine has to give a sign of life."""


class Watchdog:
    """See the module's docstring."""

    def __init__(self, lineup: Lineup, handover: Handover) -> None:
        self._lineup = lineup
        self._handover = handover
        text, queue = lineup.config.text, lineup.config.queue
        pause_s = max(text.comma_pause_s, text.sentence_pause_s, queue.line_pause_s)
        self._limit_s = max(STUCK_S, lineup.config.engine.stall_s) + pause_s
        self._since: dict[int, tuple[tuple[int, float], float]] = {}
        """By lane: its position, and since when nothing has moved there."""
        self.stuck = 0
        """How often a lane was found to stand still."""

    def look(self) -> None:
        for channel, lane in self._lineup.lanes():
            self._look(channel, lane)

    def _look(self, channel: Channel, lane: Lane) -> None:
        now = self._lineup.now
        if self._held(channel, lane):
            self._since.pop(lane.number, None)
            return
        position, since = self._since.get(lane.number, (None, now))
        if position != lane.position:
            self._since[lane.number] = (lane.position, now)
        elif now - since > self._limit_s:
            self._since[lane.number] = (lane.position, now)
            self._bite(channel, lane)

    def _held(self, channel: Channel, lane: Lane) -> bool:
        """Whether there is a reason why nothing moves, or nothing to be moved."""
        if not channel.moving:
            return True
        if not lane.utterances:
            return self._lineup.queue.peek(channel.name, lane.among) is None
        first = lane.utterances[0]
        if first.waiting_since is not None:  # for its voice or engine, with a limit of its own
            return True
        voice = self._lineup.voices.available(first.voice)
        if voice is not None and self._lineup.on_trial(first, voice):
            return True
        if not first.parts:  # its writer has not gone on, with a limit of its own
            return first.open
        return any(self._in_work(part) for part in first.parts)

    def _in_work(self, part: Part) -> bool:
        """Whether its engine says that it has this job, or is busy with what goes before."""
        engine = self._lineup.voices.engines.get(part.voice.engine)
        if engine is None or not part.generating:
            return False
        busy = engine.doing in ("warming", "preparing", "loading")
        return engine.state != "up" or busy or part.serial in engine.jobs

    def _bite(self, channel: Channel, lane: Lane) -> None:
        self.stuck += 1
        state = [
            f"line {line.number} ({'sounding' if line.begun else 'prepared'}): "
            + ", ".join(_describe(part) for part in line.parts)
            for line in lane.utterances
        ]
        self._lineup.publish(
            Trouble(
                code="stuck",
                message=f"output {channel.name} stood still for {self._limit_s:g} s although "
                f"something could sound: {'; '.join(state) or 'a line waits, none is prepared'}",
                hint="koed asked for it again; please report it with the daemon's log",
            )
        )
        for line in list(lane.utterances):
            nobodys = [p for p in line.parts if p.generating and not self._in_work(p)]
            if nobodys:
                self._handover.ask_again(line, nobodys[0])


def _describe(part: Part) -> str:
    state = "complete" if part.complete else "replaced" if part.replaced else "asked for"
    return f"job {part.serial} {state}, {part.received_s:.2f} s"
