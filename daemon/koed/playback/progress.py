"""What is heard: reports of the lanes become events on the playback clock.

Captions follow the ear, not the model: every event here carries the monotonic time at
which its sound leaves the device.
"""

from __future__ import annotations

from koe.protocol import Progress, UtteranceStarted
from koed.audio.arrangement import Report
from koed.playback import inputs
from koed.playback.channel import Channel, Lane
from koed.playback.lineup import Lineup
from koed.playback.utterance import Part, Utterance


class ProgressTracker:
    """Follows the lines of all channels; ends no line and starts none."""

    def __init__(self, lineup: Lineup) -> None:
        self._lineup = lineup

    def report(self, channel: Channel, report: Report, heard_t: float) -> None:
        """What a lane says of a track. A track that its list does not name any more is no news:
        whatever took it out has told what was heard."""
        found = self._lineup.part_of(report.serial)
        if found is None:
            return
        utterance, part = found
        if report.kind == "started":
            part.from_s = report.played_s
            self._started(channel, utterance, part, heard_t)
        elif report.kind in ("ended", "cut"):
            if part.started:  # words that began since the last look
                self._tell_words(channel, utterance, part, report.played_s, heard_t)
            utterance.spoken_s += report.played_s - part.from_s
            utterance.starved_s += report.starved_s
            if report.kind == "ended" and (part.complete or not part.replaced):
                utterance.heard_to = max(utterance.heard_to, part.segment.end)
            lane = self._lineup.lane_of(utterance)
            if lane is not None:
                lane.resting = part.entry()
            self._lineup.forget(utterance, part)

    def _started(self, channel: Channel, utterance: Utterance, part: Part, heard_t: float) -> None:
        part.started = True
        lane = self._lineup.lane_of(utterance)
        if lane is not None:
            lane.resting = None
        if not utterance.begun:
            self._begin(channel, utterance, heard_t)
        self._tell_if_wordless(channel, utterance, part, heard_t)

    def _begin(self, channel: Channel, utterance: Utterance, heard_t: float) -> None:
        utterance.begun = True
        self._lineup.queue.begin(utterance.line)
        self._lineup.publish(
            UtteranceStarted(
                utterance=utterance.number, text=utterance.text, voice=utterance.voice,
                output=channel.name, heard_t=heard_t, author=utterance.line.author,
            )
        )  # fmt: skip

    def follow(self) -> None:
        """Tell the words as they are heard."""
        for channel, lane in self._lineup.lanes():
            serial, played_s = lane.position
            found = self._lineup.part_of(serial)
            if found is not None and found[1].started:  # its report may be on its way still
                self._tell_words(channel, *found, played_s, channel.heard_t)
                self._tell_if_wordless(channel, *found, channel.heard_t - played_s)

    def _tell_words(
        self, channel: Channel, utterance: Utterance, part: Part, played_s: float, heard_t: float
    ) -> None:
        """The words that began until ``played_s`` of the part, which is heard at ``heard_t``."""
        while part.told_words < len(part.words):
            word = part.words[part.told_words]
            at_s = part.track_s(word)
            if at_s > played_s:
                break
            part.told_words += 1
            start, end = part.segment.start + word.start, part.segment.start + word.end
            # what a restyled stream repeats of the time before it was heard in the old voice
            if at_s < 0 or end <= utterance.heard_to:
                continue
            utterance.heard_to = end
            self._lineup.publish(
                Progress(
                    utterance=utterance.number, output=channel.name, kind="word",
                    text=part.segment.text[word.start : word.end], start=start, end=end,
                    heard_t=heard_t - (played_s - at_s),
                )
            )  # fmt: skip

    def _tell_if_wordless(
        self, channel: Channel, utterance: Utterance, part: Part, heard_t: float
    ) -> None:
        """The whole segment at once, heard from ``heard_t`` on, if no words of it will be told."""
        if part.words or part.told_segment or part.planned.restyle_of:
            return
        engine = self._lineup.voices.engines.get(part.voice.engine)
        if not part.complete and engine is not None and engine.word_times:
            return
        part.told_segment = True
        segment = part.segment
        self._lineup.publish(
            Progress(
                utterance=utterance.number, output=channel.name, kind="segment",
                text=segment.text, start=segment.start, end=segment.end, heard_t=heard_t,
            )
        )  # fmt: skip


def set_positions(lineup: Lineup, outputs: tuple[inputs.OutputPosition, ...]) -> None:
    """Where the lanes are now."""
    for at in outputs:
        channel = lineup.channels[at.output]
        channel.heard_t, channel.playing = at.heard_t, at.playing
        channel.unheard = at.unheard
        lanes: dict[int, Lane] = {lane.number: lane for lane in channel.lanes}
        for number, serial, played_s in at.positions:
            lanes[number].position = (serial, played_s)
