"""What is heard in a recording in which each line has a pitch of its own, and which of the lines
that were said are not in it, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tools.evidence import RATE_HZ, Sound

PITCHES_HZ = [
    48000 / samples
    for samples in (80, 75, 70, 66, 62, 58, 54, 51, 48, 45, 42, 40, 38, 36, 34, 32, 30, 28, 26, 24)
]
"""600 to 2000 Hz; the tone engine's cycles are whole samples."""
LOUD = 0.02
CHAR_S = 0.04
"""The length of a letter."""
HOP_S = 0.01
FRAME_S = 0.05
FOREIGN_FRAME_S = 0.02
LOOSE_S = 4.0
"""OBS's own time and koed's are told apart no better."""
OPENS_S = 1.0
"""OBS answers that it has opened a capture before it has; a busy machine takes its time for it."""
ENOUGH = 0.8
LOST = "silently lost"
TORN = "torn: it took longer than it is"
TORN_S = 0.3
"""A machine that stands still tears a line for everybody; its events then tell a longer time than
its sound has. What OBS has of it is to be a half at least."""
ENDS = {f"utterance.{end}": end for end in ("finished", "skipped", "dropped", "failed")}


@dataclass(frozen=True, slots=True)
class Said:
    """A line that koed accepted at the monotonic time ``t``; no other has its text."""

    text: str
    pitch_hz: float
    t: float

    @property
    def lasts_s(self) -> float:
        return len(self.text) * CHAR_S


def levels(sound: Sound, pitches_hz: Sequence[float], frame_s: float) -> NDArray[np.float32]:
    """[frames, pitches]: amplitude of each pitch, every `HOP_S`; ``sound`` at `RATE_HZ`."""
    size, hop = round(frame_s * RATE_HZ), round(HOP_S * RATE_HZ)
    t = np.arange(size) / RATE_HZ
    waves = np.exp(-2j * np.pi * np.outer(t, pitches_hz)) * np.hanning(size)[:, None] * 4 / size
    found = [np.zeros((0, len(pitches_hz)), np.float32)]
    if len(sound) >= size:
        frames = np.lib.stride_tricks.sliding_window_view(sound, size)[::hop]
        starts = range(0, len(frames), 2000)  # a long evening does not fit into memory
        found.extend(np.abs(frames[at : at + 2000] @ waves.astype(np.complex64)) for at in starts)
    return np.concatenate(found).astype(np.float32)


def foreign_s(sound: Sound, *pitches_hz: float) -> float:
    """Seconds in which one of these is heard, which are none of koed's."""
    return float(np.count_nonzero(levels(sound, pitches_hz, FOREIGN_FRAME_S).max(1) > LOUD)) * HOP_S


class Ear:
    """Of one recording, which began at the monotonic time ``began_t``."""

    def __init__(self, sound: Sound, began_t: float) -> None:
        self.began_t = began_t
        self.ended_t = began_t + len(sound) / RATE_HZ
        heard = levels(sound, PITCHES_HZ, FRAME_S)
        self._best = np.where(heard.max(1) > LOUD, heard.argmax(1), -1)

    def heard_s(self, pitch_hz: float, from_t: float, to_t: float) -> float:
        """Seconds of a pitch in about that time."""
        begin, end = (
            max(0, round((t - self.began_t) / HOP_S)) for t in (from_t - LOOSE_S, to_t + LOOSE_S)
        )
        part = self._best[begin:end]
        return float(np.count_nonzero(part == PITCHES_HZ.index(pitch_hz))) * HOP_S


# --- what events tell ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Span:
    """A time in which OBS could not hear koed, and what told it."""

    from_t: float
    to_t: float
    why: str

    def meets(self, from_t: float, to_t: float) -> bool:
        return from_t <= self.to_t + OPENS_S and to_t >= self.from_t


def spans(events: Sequence[Any], killed_t: Sequence[float]) -> list[Span]:
    """``events`` of all starts, in their order. A koed that is killed cannot tell: the next one
    does, with the lines that are lost and with its first word of OBS."""

    def next_t(since: float, name: str, **values: Any) -> float:
        """When such an event was told after that; never = for ever."""
        fits = (
            e.t
            for e in events
            if e.t > since
            and e.event == name
            and all(getattr(e, key) == value for key, value in values.items())
        )
        return min(fits, default=float("inf"))

    found = [Span(t, next_t(t, "obs.hears", hears=True), "koed was killed") for t in killed_t]
    lost_t = 0.0
    for event in events:
        match event.event:
            case "device.lost":
                lost_t = event.t
                back = next_t(event.t, "obs.hears", hears=True)
                found.append(Span(event.t, back, "device.lost"))
            case "obs.hears" if not event.hears:  # it has been so for a while
                back = next_t(event.t, "obs.hears", hears=True)
                found.append(Span(lost_t, back, "obs.hears: it does not"))
            case "state" if event.state == "stopping":
                found.append(Span(event.t, next_t(event.t, "obs.hears", hears=True), "stopping"))
            case "obs.down":
                found.append(Span(event.t, next_t(event.t, "obs.up"), "obs.down"))
    return found


@dataclass(slots=True)
class Story:
    """What was told of the line with one text, over all starts."""

    began_t: float | None = None
    ends: list[Any] = field(default_factory=list)


def stories(events: Iterable[Any]) -> dict[str, Story]:
    """By text."""
    told: dict[str, Story] = {}
    texts: dict[tuple[str, int], str] = {}
    for event in events:
        number = (event.boot, getattr(event, "utterance", 0))
        if event.event == "utterance.queued":
            texts[number] = event.text
            told.setdefault(event.text, Story())
        elif event.event == "utterance.started":
            texts[number] = event.text
            story = told.setdefault(event.text, Story())
            story.began_t = event.heard_t if story.began_t is None else story.began_t
        elif event.event in ENDS and number in texts:
            told[texts[number]].ends.append(event)
    return told


@dataclass(frozen=True, slots=True)
class Verdict:
    """``outcome``: ``heard``, or what told that it was not; `LOST` = nothing did."""

    line: Said
    heard_s: float
    outcome: str
    began_t: float
    ended_t: float


def judge(
    said: Iterable[Said], events: Sequence[Any], away: Sequence[Span], ears: Sequence[Ear]
) -> list[Verdict]:
    """Of each line, in their order."""
    told = stories(events)
    return [_judge(line, told.get(line.text, Story()), away, ears) for line in said]


def _judge(line: Said, story: Story, away: Sequence[Span], ears: Sequence[Ear]) -> Verdict:
    began_t = line.t if story.began_t is None else story.began_t
    ended_t = story.ends[-1].t if story.ends else began_t + line.lasts_s
    heard_s = sum(ear.heard_s(line.pitch_hz, began_t, ended_t) for ear in ears)
    outcome = _outcome(line, story, heard_s, [s for s in away if s.meets(began_t, ended_t)])
    torn = ended_t - began_t > line.lasts_s + TORN_S and heard_s >= line.lasts_s / 2
    if outcome == LOST and story.ends and torn:
        outcome = TORN
    return Verdict(line, heard_s, outcome, began_t, ended_t)


def _outcome(line: Said, story: Story, heard_s: float, met: Sequence[Span]) -> str:
    if heard_s >= ENOUGH * line.lasts_s:
        return "heard" if story.ends else "heard, and no event of its end"
    for end in story.ends:
        if end.event != "utterance.finished":
            return f"{ENDS[end.event]}: {getattr(end, 'reason', '') or getattr(end, 'code', '')}"
        if end.unheard:
            return f"unheard: {end.unheard}"
    return met[0].why if met and story.ends else LOST


def counts(verdicts: Iterable[Verdict]) -> Mapping[str, int]:
    return Counter(verdict.outcome for verdict in verdicts)
