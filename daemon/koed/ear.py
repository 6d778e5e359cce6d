"""What is heard: mixer reports become events on the playback clock.

Captions and mouths follow the ear, not the model: every event here carries the monotonic time at
which its sound leaves the device.
"""

from __future__ import annotations

from koe.protocol import Levels, Mouth, Progress, UtteranceStarted
from koed.audio.mixer import Report
from koed.channel import Channel, PartBook
from koed.config import QueueConfig
from koed.events import Bus
from koed.mouth import Lips, shape_at
from koed.performance import Part, Performance
from koed.speaker import Speaker


class Ear:
    """Follows the lines of all channels; ends no line and starts none."""

    def __init__(self, bus: Bus, speaker: Speaker, config: QueueConfig, parts: PartBook) -> None:
        self._bus = bus
        self._speaker = speaker
        self._config = config
        self._parts = parts
        self._lips: dict[str, Lips] = {}

    def report(self, channel: Channel, report: Report) -> None:
        found = self._parts.get(report.serial)
        if found is None:
            return
        performance, part = found
        if report.kind == "started":
            part.started = True
            if not performance.begun:
                self._begin(channel, performance, channel.heard_t(report.frame))
            self._retire_replaced(performance, part)
            if not part.words:
                self._tell_segment(channel, performance, part, channel.heard_t(report.frame))
        elif report.kind in ("ended", "cut"):
            if part.started:  # words that began since the last look
                heard_t = channel.heard_t(report.frame)
                self._tell_words(channel, performance, part, report.played_s, heard_t)
            performance.spoken_s += report.played_s
            performance.starved_s += report.starved_s
            if report.kind == "ended":
                performance.heard_to = max(performance.heard_to, part.segment.end)
            if part in performance.parts:
                performance.parts.remove(part)
            self._parts.pop(part.serial, None)

    def _begin(self, channel: Channel, performance: Performance, heard_t: float) -> None:
        line = performance.line
        performance.begun = True
        self._speaker.begin(line)
        self._bus.publish(
            UtteranceStarted(
                utterance=line.utterance,
                text=performance.script.received,
                voice=performance.voice,
                output=channel.name,
                heard_t=heard_t,
                author=line.author,
            )
        )
        if performance.lane != channel.lane and self._config.urgent == "duck":
            channel.mixer.duck(channel.lane, self._config.duck_db)

    def _retire_replaced(self, performance: Performance, part: Part) -> None:
        """What a joint replaced is over when the new part sounds."""
        joint = part.planned.joint
        for other in [p for p in performance.parts if joint and p.serial == joint.old]:
            performance.parts.remove(other)
            self._parts.pop(other.serial, None)

    def follow(self, channel: Channel) -> None:
        """Tell the words as they are heard, the levels and the mouth."""
        for lane, performances in channel.lanes.items():
            if not performances:
                continue
            serial, played_s = channel.mixer.position(lane)
            found = self._parts.get(serial)
            if found is not None:
                heard_t = channel.heard_t(channel.mixer.clock_frames)
                self._tell_words(channel, *found, played_s, heard_t)
        for frame, rms_db, peak_db in channel.mixer.levels():
            self._bus.publish(
                Levels(
                    output=channel.name,
                    rms_db=rms_db,
                    peak_db=peak_db,
                    heard_t=channel.heard_t(frame),
                )
            )

        self._move_mouth(channel)

    def _move_mouth(self, channel: Channel) -> None:
        lips = self._lips.setdefault(channel.name, Lips())
        for frame, rms_db, _ in channel.mixer.fine_levels():
            voice, shape = self._speaker_at(channel, frame)
            level, opened = lips.window(rms_db, shape)
            self._bus.publish(
                Mouth(
                    output=channel.name,
                    voice=voice,
                    level=round(level, 3),
                    open=round(opened, 3),
                    shape=shape,
                    heard_t=channel.heard_t(frame),
                )
            )

    def _speaker_at(self, channel: Channel, frame: int) -> tuple[str, str]:
        """(voice, shape of its mouth) at a frame that was just rendered; the upper lane is the one
        that is listened to."""
        mixer = channel.mixer
        ago_s = (mixer.clock_frames + mixer.delay_frames - frame) / mixer.rate_hz
        for lane in sorted(channel.lanes, reverse=True):
            serial, played_s = mixer.position(lane)
            found = self._parts.get(serial)
            if found is not None:
                part = found[1]
                return found[0].voice, shape_at(
                    part.mouths, played_s - ago_s + part.planned.start_s
                )
        return "", ""

    def _tell_words(
        self,
        channel: Channel,
        performance: Performance,
        part: Part,
        played_s: float,
        heard_t: float,
    ) -> None:
        """The words that began until ``played_s`` of the part, which is heard at ``heard_t``."""
        while part.told_words < len(part.words):
            word = part.words[part.told_words]
            at_s = part.track_s(word)
            if at_s > played_s:
                break
            part.told_words += 1
            start, end = part.segment.start + word.start, part.segment.start + word.end
            if at_s < 0 or not performance.begun:
                continue
            performance.heard_to = max(performance.heard_to, end)
            self._bus.publish(
                Progress(
                    utterance=performance.line.utterance,
                    output=channel.name,
                    kind="word",
                    text=part.segment.text[word.start : word.end],
                    start=start,
                    end=end,
                    heard_t=heard_t - (played_s - at_s),
                )
            )

    def _tell_segment(
        self, channel: Channel, performance: Performance, part: Part, heard_t: float
    ) -> None:
        segment = part.segment
        self._bus.publish(
            Progress(
                utterance=performance.line.utterance,
                output=channel.name,
                kind="segment",
                text=segment.text,
                start=segment.start,
                end=segment.end,
                heard_t=heard_t,
            )
        )
