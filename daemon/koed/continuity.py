"""How a line goes on in mid-sentence: when its engine is lost, or when the voice is switched.

Both come down to the same: take back the parts that are not wanted, and plan the rest of the text
again with a joint that says where the new sound takes over from the old.
"""

from __future__ import annotations

import logging

from koed.channel import Channel
from koed.performance import Joint, Part, Performance, Planned, tail
from koed.stage import Stage
from koed.voices import ReadyVoice

log = logging.getLogger(__name__)

RESTYLE_MARGIN_S = 0.005
"""A restyled stream takes over so far after what sounds; the mixer leaves out what comes late."""
REJOIN_MARGIN_S = 0.03
"""The next word that another engine takes over begins at least so far after what sounds."""
CRASHES_ALLOWED = 1
"""A line that ends its engine more often is not tried again."""
RETRIES_ALLOWED = 1
"""So often a line goes on in its own voice after a fault; then its fallback speaks."""
UNSPEAKABLE = ("nothing_to_speak", "unknown_language", "unsupported_language")
"""In a segment the engine found no word that it can say. It costs this segment, not the line."""
JUDGED = "speech_"
"""Begins the codes of an engine that looked at its own work: what it sent before is whole."""
PASSING = ("oom",)
"""Faults that need not come again, so that a line without a fallback is begun anew."""


class Continuity:
    """Works on the stage's lines; see the module's docstring."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._jobs = stage.jobs
        self._casting = stage.casting
        self._crashes: dict[int, int] = {}
        """Engines lost over a line that is still there."""

    def job_failed(self, serial: int, code: str, message: str) -> None:
        """The engine could not speak a segment, or could not finish it.

        What has begun to be made goes on in its own voice, once: a change of voice in the middle
        is worse than a word that comes late. Else the fallback voice speaks, or the line fails.
        """
        found = self._jobs.parts.get(serial)
        if found is None:
            return
        performance, part = found
        if code == "restyle_lost":  # the worker was swapped meanwhile; any other can do it in words
            self._replay(performance, part)
            return
        torn = not code.startswith(JUDGED)
        fallback = self._casting.fallback(performance)
        if self._worth_a_retry(performance, part, code, fallback is not None):
            performance.retries += 1
            self._jobs.retried(serial, code, message)
            self._replay(performance, part, torn)
            return
        if fallback is None and code in UNSPEAKABLE and self._is_a_piece(performance):
            log.warning("line %d: a piece is left out: %s", performance.line.utterance, message)
            self._stage.done(serial)
            return
        if fallback is None:
            self._stage.fail(performance, code, message)
            return
        self._casting.fall_back(performance, fallback, message)
        self._replay(performance, part, torn)

    def _worth_a_retry(
        self, performance: Performance, part: Part, code: str, has_fallback: bool
    ) -> bool:
        if performance.retries >= RETRIES_ALLOWED:
            return False
        if self._casting.available(performance.voice) is None:
            return False
        sounding = part.received_s > 0 or part.planned.restyle_of > 0
        return sounding or (code in PASSING and not has_fallback)

    @staticmethod
    def _is_a_piece(performance: Performance) -> bool:
        """Whether the line has more than the segment that failed."""
        return performance.begun or len(performance.parts) > 1 or not performance.script.exhausted

    def engine_lost(self, serials: list[int], code: str) -> None:
        """A worker is gone with these jobs: each line goes on from what was received."""
        for performance in list(self._stage.performances()):
            lost = [p for p in performance.parts if p.serial in serials and not p.done]
            if not lost:
                continue
            utterance = performance.line.utterance
            self._crashes[utterance] = self._crashes.get(utterance, 0) + 1
            if self._crashes[utterance] > CRASHES_ALLOWED:
                self._stage.fail(performance, code, "this line ended its engine twice")
            elif performance.begun:
                self._replay(performance, lost[0])
            else:  # nothing was heard yet: it waits again, and is made anew
                self._stage.kill(self._stage.channels[performance.line.output], performance)
        alive = {p.line.utterance for p in self._stage.performances()}
        waiting = {line.utterance for line in self._stage.speaker.waiting()}
        self._crashes = {u: n for u, n in self._crashes.items() if u in alive | waiting}

    def _replay(self, performance: Performance, part: Part, torn: bool = True) -> None:
        """Plan again what ``part`` and those after it did not deliver, by the voice of now.

        ``torn``: its last word may not have come whole.
        """
        self._take_back_after(performance, part)
        if part.received_s:
            from_s = self._last_whole_word_s(part) if torn else part.received_s
            self._rejoin(performance, part, from_s)
            return
        self._forget(performance, part)
        if part.planned.restyle_of:
            self._respeak(performance, part)
        else:
            performance.script.give_back(Planned(part.segment, part.planned.joint))

    def _respeak(self, performance: Performance, restyled: Part) -> None:
        """A restyled stream never came: say in words what it should have gone on with."""
        joint = restyled.planned.joint
        old = next((p for p in performance.parts if joint and p.serial == joint.old), None)
        if old is not None and joint is not None:
            self._rejoin(performance, old, joint.at_s)
            return
        rest = tail(restyled.segment, max(0, performance.heard_to - restyled.segment.start))
        if rest.text:
            performance.script.give_back(Planned(rest))

    @staticmethod
    def _last_whole_word_s(part: Part) -> float:
        """Where the last word received begins: it may have been torn."""
        return part.track_s(part.words[-1]) if part.words else part.received_s

    def _rejoin(self, performance: Performance, part: Part, from_s: float) -> None:
        """Go on with the first word at or after ``from_s`` of what ``part`` has played."""
        rest = part.unheard(from_s)
        channel = self._stage.channels[performance.line.output]
        if rest is None or not rest[0].text:
            part.done = True
            channel.mixer.end(part.serial, part.segment.pause_s)
            return
        segment, at_s = rest
        part.done = True
        performance.script.give_back(Planned(segment, Joint(part.serial, at_s, aligned=False)))

    def _take_back_after(self, performance: Performance, part: Part) -> None:
        """Parts that follow ``part`` become plans again."""
        later = performance.parts[performance.parts.index(part) + 1 :]
        for other in reversed(later):
            self._forget(performance, other)
            performance.script.give_back(Planned(other.segment))

    def _forget(self, performance: Performance, part: Part) -> None:
        performance.parts.remove(part)
        self._jobs.drop(self._stage.channels[performance.line.output], part.lane, [part])

    def switch_now(self, voice: ReadyVoice, output: str | None) -> None:
        """The lines that sound go on in another voice, from the next chunk or word."""
        for channel in self._stage.channels.values():
            if output not in (None, channel.name):
                continue
            for performance in list(channel.performances()):
                if performance.begun and performance.voice != voice.name:
                    self._switch(channel, performance, voice)
            self._stage.fill(channel)

    def _switch(self, channel: Channel, performance: Performance, voice: ReadyVoice) -> None:
        performance.voice = voice.name
        serial, played_s = channel.mixer.position(performance.lane)
        part = next((p for p in performance.parts if p.serial == serial), None)
        if part is None:  # between two segments: those made ahead are made again
            for other in reversed([p for p in performance.parts if not p.started]):
                performance.script.give_back(Planned(other.segment))
                self._forget(performance, other)
            return
        self._take_back_after(performance, part)
        host = self._jobs.hosts[voice.engine]
        can_restyle = bool(host.capabilities and host.capabilities.restyle)
        alive = part.voice.engine == voice.engine and not part.canned
        if alive and can_restyle and host.state == "up":
            at_s = played_s + RESTYLE_MARGIN_S
            performance.script.give_back(
                Planned(
                    part.segment,
                    Joint(part.serial, at_s, aligned=True),
                    restyle_of=part.serial,
                    start_s=part.planned.start_s + at_s,
                )
            )
            part.done = True
        else:
            self._jobs.hosts[part.voice.engine].kill([part.serial])
            self._rejoin(performance, part, played_s + REJOIN_MARGIN_S)
