"""The stage: takes lines from the speaker, has their segments spoken, and follows the ear.

Per output there are two lanes of sound: one where lines follow each other without a gap, and one
above it for urgent lines where configuration lets them sound over the others. On a lane at most
two lines are on stage: the one that sounds, and the next, whose sound is made ahead. Everything
here runs on the main thread and returns at once; engines and devices report back later.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping

from koe.protocol import (
    UtteranceDropped,
    UtteranceFailed,
    UtteranceFinished,
    UtteranceQueued,
    UtteranceSkipped,
)
from koed.audio.mixer import Mixer
from koed.casting import Casting
from koed.channel import Channel
from koed.config import Config
from koed.ear import Ear
from koed.errors import KoedError
from koed.events import Bus
from koed.jobs import Host, Jobs
from koed.performance import Performance, Planned, Script
from koed.phrases.takes import Take
from koed.speaker import PRIORITIES, Admission, Drop, Line, Speaker
from koed.voices import ReadyVoice, VoiceBook

log = logging.getLogger(__name__)

JOBS_AHEAD = 2
"""Segments of a line given to its engine at once; more would only make a cut waste more."""

Takes = Callable[[Line, ReadyVoice], Take | None]
"""The sound of a whole line in a voice, if it was rendered ahead."""


class Stage:
    """See the module's docstring."""

    def __init__(
        self,
        config: Config,
        speaker: Speaker,
        book: VoiceBook,
        hosts: Mapping[str, Host],
        bus: Bus,
        clock: Callable[[], float],
    ) -> None:
        self.config = config
        self.speaker = speaker
        self.book = book
        self.channels: dict[str, Channel] = {}
        self.casting = Casting(config.engine, book, hosts, bus)
        self.jobs = Jobs(config, hosts, self.channels, bus, self.fail)
        self._bus = bus
        self._clock = clock
        self._ear = Ear(bus, speaker, config.queue, self.jobs.parts)
        self.takes: Takes = lambda _line, _voice: None
        self._scripts: dict[int, Script] = {}
        """Of waiting lines whose text is still coming."""

    def add_channel(self, name: str, mixer: Mixer, heard_t: Callable[[int], float]) -> None:
        self.channels[name] = Channel(name, mixer, lane=2 * len(self.channels) + 1, heard_t=heard_t)

    # --- lines in ----------------------------------------------------------------------------

    def submit(self, line: Line, is_open: bool = False) -> Admission:
        """Queue a line (its text normalised) and begin to make its sound if it is next."""
        if line.priority == "chatter" and self.channels[line.output].chat_muted:
            admission = Admission(refused="chat_muted")
        else:
            admission = self.speaker.submit(line)
        for drop in admission.dropped:
            self._dropped(drop)
        if admission.refused:
            self._dropped(Drop(line, admission.refused))
            return admission
        self._bus.publish(
            UtteranceQueued(
                utterance=line.utterance,
                text=line.text,
                voice=line.voice,
                output=line.output,
                priority=line.priority,
                author=line.author,
                key=line.key,
            )
        )
        if is_open:
            self._scripts[line.utterance] = self._script(line, is_open=True)
        if line.priority == "urgent" and self.config.queue.urgent == "interrupt":
            self._interrupt(self.channels[line.output])
        self.fill(self.channels[line.output])
        return admission

    def _script(self, line: Line, is_open: bool) -> Script:
        profile = self.book.profile(line.voice)
        return Script(line, self.config.text, profile.lang if profile else "en", is_open)

    def amend(self, utterance: int, text: str, author: str | None, key: str | None) -> bool:
        """Change a line that waits; what was made ahead of its sound is made anew. False if it
        sounds already, or is over."""
        if not self.speaker.amend(utterance, text, author, key):
            return False
        performance = self.performance_of(utterance)
        if performance is not None:
            self.kill(self.channels[performance.line.output], performance)
        return True

    def script_of(self, utterance: int) -> Script | None:
        """The script of an open line, waiting or on stage."""
        if utterance in self._scripts:
            return self._scripts[utterance]
        performance = self.performance_of(utterance)
        return performance.script if performance and performance.script.open else None

    def performance_of(self, utterance: int) -> Performance | None:
        return next((p for p in self.performances() if p.line.utterance == utterance), None)

    def performances(self) -> Iterator[Performance]:
        for channel in self.channels.values():
            yield from channel.performances()

    def hush(self, channel: Channel) -> None:
        """Silence, or sound again, as the latches of ``channel`` say."""
        if channel.silent == self.speaker.held(channel.name):
            return
        channel.mixer.mute(channel.silent)
        channel.shut(channel.silent)
        self.speaker.hold(channel.name, channel.silent)
        if channel.silent:
            self.silence_output(channel.name, "mute")

    def _interrupt(self, channel: Channel) -> None:
        for performance in list(channel.lanes[channel.lane]):
            if performance.begun and performance.line.priority != "urgent":
                self.cut(performance, "urgent")

    # --- the turn of the loop ----------------------------------------------------------------

    def advance(self) -> None:
        """What the mixers report, what has expired, what can be made next, what is heard."""
        now = self._clock()
        for channel in self.channels.values():
            for report in channel.mixer.reports():
                self._ear.report(channel, report)
        for drop in self.speaker.expire(now):
            self._dropped(drop)
        for channel in self.channels.values():
            self.fill(channel)
            self._ear.follow(channel)

    def fill(self, channel: Channel) -> None:
        """Keep the lanes supplied: jobs of the lines on stage, then the next line."""
        over = self.config.queue.urgent != "interrupt"
        for lane, performances in channel.lanes.items():
            if lane == channel.lane:
                among = PRIORITIES[1:] if over else PRIORITIES
            else:
                among = PRIORITIES[:1] if over else ()
            while True:
                for performance in list(performances):
                    self._supply(channel, performance)
                following = self.speaker.peek(channel.name, among)
                self._withdraw(channel, performances, following)
                last = performances[-1] if performances else None
                ready = last is None or (last.generated and len(performances) < 2 and last.begun)
                if following is None or not ready:
                    break
                if last is not None and last.line.utterance == following.utterance:
                    break
                self._enter(lane, performances, following)

    def _withdraw(
        self, channel: Channel, performances: list[Performance], following: Line | None
    ) -> None:
        """Take back what was prepared but must not be next any more; its line goes on waiting."""
        for performance in list(performances):
            wanted = following is not None and following.utterance == performance.line.utterance
            revoiced = (
                wanted and following is not None and following.voice != performance.line.voice
            )
            if not performance.begun and (not wanted or revoiced):
                self.kill(channel, performance)

    def _enter(self, lane: int, performances: list[Performance], line: Line) -> None:
        script = self._scripts.get(line.utterance) or self._script(line, is_open=False)
        voice = self.book.ready(line.voice)
        performances.append(
            Performance(
                line,
                script,
                lane,
                voice=line.voice,
                touched_at=self._clock(),
                take=self.takes(line, voice) if voice and not script.open else None,
            )
        )

    def kill(self, channel: Channel, performance: Performance) -> None:
        """Forget a performance and its sound, without a word to anybody."""
        for part in reversed(performance.parts):  # an open line keeps its script
            performance.script.give_back(Planned(part.segment))
        self.jobs.drop(channel, performance.lane, performance.parts)
        channel.lanes[performance.lane].remove(performance)

    # --- sound out ---------------------------------------------------------------------------

    def _supply(self, channel: Channel, performance: Performance) -> None:
        """Give the engine the next segments of a line, and every engine its credit."""
        while performance.generating < JOBS_AHEAD and not performance.script.exhausted:
            try:
                voice = self.casting.voice_for(performance, self._clock())
            except KoedError as error:
                self.fail(performance, error.code, error.message)
                break
            planned = performance.script.take() if voice else None
            if voice is None or planned is None:
                break
            self.jobs.issue(channel, performance, planned, voice)
        if performance.generating:
            self.jobs.grant(channel, performance)
        elif performance.script.exhausted and not performance.parts:
            self._finish(channel, performance)

    def done(self, serial: int) -> None:
        """All sound of a job is here."""
        found = self.jobs.parts.get(serial)
        if found is None:
            return
        performance, part = found
        channel = self.channels[performance.line.output]
        self.jobs.end(channel, performance, part)
        self.fill(channel)

    # --- ends --------------------------------------------------------------------------------

    def _leave(self, channel: Channel, performance: Performance) -> None:
        """Off the stage, whatever the reason."""
        for part in performance.parts:
            self.jobs.parts.pop(part.serial, None)
        channel.lanes[performance.lane].remove(performance)
        self._scripts.pop(performance.line.utterance, None)
        self.speaker.end(performance.line.utterance)
        if performance.lane != channel.lane and not channel.lanes[performance.lane]:
            channel.mixer.duck(channel.lane, 0.0)

    def _finish(self, channel: Channel, performance: Performance) -> None:
        line = performance.line
        self._leave(channel, performance)
        self.jobs.let_go(channel, performance.lane)
        if not performance.begun:  # the engine found nothing in it that can be pronounced
            self.speaker.cancel(utterance=line.utterance)
            self._dropped(Drop(line, "nothing_to_say"))
            return
        self._bus.publish(
            UtteranceFinished(
                utterance=line.utterance,
                output=channel.name,
                spoken_s=performance.spoken_s,
                starved_s=performance.starved_s,
            )
        )

    def cut(self, performance: Performance, reason: str) -> None:
        """End a line that sounds, now; the sound made ahead for the next line is kept."""
        channel = self.channels[performance.line.output]
        self._silence(channel, performance)
        self._bus.publish(
            UtteranceSkipped(
                utterance=performance.line.utterance,
                output=channel.name,
                reason=reason,
                heard=performance.heard,
            )
        )

    def fail(self, performance: Performance, code: str, message: str) -> None:
        """End a line that cannot be spoken (further)."""
        channel = self.channels[performance.line.output]
        self._silence(channel, performance)
        self.speaker.cancel(utterance=performance.line.utterance)
        self._bus.publish(
            UtteranceFailed(
                utterance=performance.line.utterance,
                output=channel.name,
                code=code,
                message=message,
                heard=performance.heard,
            )
        )

    def _silence(self, channel: Channel, performance: Performance) -> None:
        """Raise the floor above all jobs of a line."""
        self._leave(channel, performance)
        self.jobs.raise_floor(channel, performance.lane)

    def _dropped(self, drop: Drop) -> None:
        line = drop.line
        self._scripts.pop(line.utterance, None)
        performance = self.performance_of(line.utterance)
        if performance is not None:
            self.kill(self.channels[line.output], performance)
        self._bus.publish(
            UtteranceDropped(
                utterance=line.utterance,
                output=line.output,
                reason=drop.reason,
                author=line.author,
                key=line.key,
            )
        )

    # --- commands ----------------------------------------------------------------------------

    def drop_all(self, drops: list[Drop]) -> None:
        for drop in drops:
            self._dropped(drop)

    def silence_output(self, name: str, reason: str) -> list[int]:
        """Cut whatever sounds on an output; its waiting lines are not touched."""
        channel = self.channels[name]
        gone = [p for p in channel.performances() if p.begun]
        for performance in gone:
            self.cut(performance, reason)
        return [p.line.utterance for p in gone]

    def close_idle_lines(self, now: float) -> None:
        """Close open lines whose writer has gone silent: they would hold the stage for ever."""
        limit_s = self.config.queue.open_idle_s
        for performance in self.performances():
            if performance.script.open and now - performance.touched_at > limit_s:
                log.warning(
                    "line %d: no text for %.0f s, closed", performance.line.utterance, limit_s
                )
                performance.script.close()

    def channels_of(self, output: str | None) -> list[Channel]:
        """The output of that name, or all. Raises `KoedError` ``unknown_output``."""
        return list(self.channels.values()) if output is None else [self.require_channel(output)]

    def require_channel(self, name: str) -> Channel:
        """Raises `KoedError` ``unknown_output``."""
        if name not in self.channels:
            raise KoedError(
                "unknown_output",
                f"there is no output {name[:40]!r}",
                f"outputs: {', '.join(self.channels)}",
            )
        return self.channels[name]
