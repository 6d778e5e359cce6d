"""The stream of one segment: planned part by part, decoded piece by piece."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from koed.engine import visemes
from koed.engine.base import Chunk, Mouth, Shape, Word
from koed.engine.kokoro.model import FRAME, FRAME_S, RATE_HZ, Floats, Model, Norms, SentencePlan
from koed.engine.kokoro.passages import Passage, pieces
from koed.engine.kokoro.prosody import Prosody, shaped

log = logging.getLogger(__name__)

Begun = TypeVar("Begun", Word, Mouth)

_BEFORE, _AFTER = 2, 4
"""Frames kept around what is heard."""
_HEARD = -6.0
"""Energy."""
_WHOLE = 64
"""Frames; of what is shorter the foretold moments are far from its own."""
_LOUDEST = 1.25
"""Some voices reach 1.1, which the mixer's limiter is there for."""
_FADE = FRAME // 5
"""Samples, 5 ms: how pieces flow into each other, and how sound begins and ends."""
_IN = np.linspace(0.0, 1.0, _FADE, dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Speaker:
    """A voice that is ready."""

    table: Floats
    norms: Norms
    lufs: float


@dataclass(frozen=True, slots=True, eq=False)
class Rendition:
    """A part as it is spoken: planned, and where its sound lies in the segment."""

    number: int
    """Of the part."""
    raw: SentencePlan
    """As the model made it."""
    plan: SentencePlan
    """As it is spoken."""
    start: int
    """Frame that it begins with."""
    end: int
    at_s: float
    """When that is heard."""

    @property
    def end_s(self) -> float:
        return self.at_s + (self.end - self.start) * FRAME_S

    def frame(self, at_s: float) -> int:
        """What is heard then, within it."""
        return min(self.end, max(self.start, self.start + round((at_s - self.at_s) / FRAME_S)))


@dataclass(frozen=True, slots=True)
class Onset:
    """Where a speech sets in: in part ``number`` at frame ``frame`` of ``take``'s plan, or, without
    one, at the symbol ``at``. Before that comes ``tail``, sound of whoever spoke before."""

    number: int = 0
    at: int = -1
    frame: int = 0
    take: Rendition | None = None
    tail: Floats | None = None


class Speech:
    """See `koed.engine.base.Stream`."""

    def __init__(
        self, model: Model, parts: Sequence[Passage], speaker: Speaker, prosody: Prosody,
        start_s: float = 0.0, onset: Onset | None = None,
    ) -> None:  # fmt: skip
        self._model = model
        self._parts = parts
        self._speaker = speaker
        self._prosody = prosody
        self._renditions: list[Rendition] = []
        """Of the parts from the first on that was spoken, in order."""
        self._onset = onset or Onset()
        self._continued = self._onset.take.raw if self._onset.take else None
        self._start_s = start_s
        self._chunks = self._speak()

    def __iter__(self) -> Iterator[Chunk]:
        return self

    def __next__(self) -> Chunk:
        return next(self._chunks)

    def close(self) -> None:
        self._chunks.close()  # type: ignore[attr-defined]

    def whole(self) -> Floats:
        """All of it, decoded by parts instead of pieces: what streaming is measured against."""
        sounds = [np.zeros(0, np.float32)]
        while len(self._renditions) + self._onset.number < len(self._parts):
            take = self._plan_next()
            sounds.append(self._model.whole(take.plan)[take.start * FRAME : take.end * FRAME])
        return np.concatenate(sounds)

    def restyled(self, speaker: Speaker, prosody: Prosody, start_s: float) -> Speech:
        """From ``start_s`` on in another ``prosody``, or from the next word on as another
        ``speaker``: until then the old one is heard, as loud as the new one is."""
        take = self._take_at(start_s)
        if take is None:  # it is over by then
            onset = Onset(len(self._parts))
        elif speaker is self._speaker and prosody.speed == self._prosody.speed:
            onset = Onset(take.number, frame=take.frame(start_s), take=take)
        else:
            frame = take.frame(start_s)
            at, end = self._next_word(take, frame)
            number = take.number if at >= 0 else take.number + 1
            gain = np.float32(10.0 ** ((speaker.lufs - self._speaker.lufs) / 20.0))
            tail = self._sound(take, frame, end)[: (end - frame) * FRAME] * gain
            onset = Onset(number, at, tail=_faded(tail))
        return Speech(self._model, self._parts, speaker, prosody, start_s, onset)

    # --- takes -------------------------------------------------------------------------------

    def _take_at(self, at_s: float) -> Rendition | None:
        """The take that sounds then, planned now if it was not yet."""
        for take in self._renditions:
            if at_s < take.end_s:
                return take
        while len(self._renditions) + self._onset.number < len(self._parts):
            take = self._plan_next()
            if at_s < take.end_s:
                return take
        return None

    def _plan_next(self) -> Rendition:
        onset = self._onset
        number = onset.number + len(self._renditions)
        at_s = self._renditions[-1].end_s if self._renditions else self._start_s
        if self._renditions or onset.take is None:
            raw = self._model.plan(
                self._parts[number].symbols, self._speaker.table, self._prosody.speed
            )
            plan, before = shaped(raw, self._prosody), None
        else:
            raw, before = onset.take.raw, onset.take.plan
            plan = shaped(raw, self._prosody, onset.frame, before)
        start, end = _heard(raw)
        if not self._renditions:
            if onset.take is not None:
                start = onset.frame
            elif onset.at >= 0:
                start = int(raw.starts[1 + onset.at])
            if onset.tail is not None:
                at_s += len(onset.tail) / RATE_HZ
        take = Rendition(number, raw, plan, start, max(start, end), at_s)
        self._renditions.append(take)
        return take

    def _next_word(self, take: Rendition, frame: int) -> tuple[int, int]:
        """The symbol that the next word begins with, and its frame; -1 and the end if none does."""
        for _, _, at in self._parts[take.number].words:
            begins = int(take.raw.starts[1 + at])
            if begins >= frame:
                return at, min(begins, take.end)
        return -1, take.end

    # --- sound -------------------------------------------------------------------------------

    def _speak(self) -> Iterator[Chunk]:
        if self._onset.tail is not None and len(self._onset.tail):
            yield Chunk(self._onset.tail, RATE_HZ)
        done = 0
        while done + self._onset.number < len(self._parts):
            take = self._renditions[done] if done < len(self._renditions) else self._plan_next()
            yield from self._take(take)
            done += 1

    def _take(self, take: Rendition) -> Iterator[Chunk]:
        words, shapes = self._words(take), self._mouths(take)
        joint = np.zeros(0, np.float32)
        for start, end in self._pieces(take):
            sound = self._sound(take, start, end)
            pcm = sound[: (end - start) * FRAME].copy()
            if len(joint):
                pcm[:_FADE] = joint * (1.0 - _IN) + pcm[:_FADE] * _IN
            elif take.raw is not self._continued:  # that goes on with what was heard before
                pcm[:_FADE] *= _IN
            joint = sound[(end - start) * FRAME :]
            if end == take.end:
                pcm = _faded(pcm)
            until = take.at_s + (end - take.start) * FRAME_S
            last = end == take.end
            yield Chunk(
                pcm, RATE_HZ,
                tuple(_until(words, until, last)), tuple(_until(shapes, until, last)),
            )  # fmt: skip

    def _pieces(self, take: Rendition) -> Iterator[tuple[int, int]]:
        if take.plan.frames <= _WHOLE:  # it is decoded at once
            return iter([(take.start, take.end)] if take.end > take.start else [])
        return pieces(take.start, take.end, self._model.pace)

    def _sound(self, take: Rendition, start: int, end: int) -> Floats:
        """Of frames ``start`` to ``end``, and of the fade behind them where there is any."""
        if take.plan.frames <= _WHOLE:
            return self._model.whole(take.plan)[start * FRAME : end * FRAME + _FADE]
        norms = self._speaker.norms.at(take.raw.silence, self._model.layout)
        sound = self._model.part(take.plan, start, end, norms, _FADE)
        if not np.abs(sound).max(initial=0.0) <= _LOUDEST:  # so NaN is caught as well
            log.warning("a piece came out wrong and is made with the moments of its own")
            sound = self._model.part(take.plan, start, end, None, _FADE)
        return sound

    def _words(self, take: Rendition) -> list[Word]:
        found = []
        for start, end, at in self._parts[take.number].words:
            begins = int(take.raw.starts[1 + at])
            if begins >= take.start:
                found.append(Word(start, end, take.at_s + max(0, begins - take.start) * FRAME_S))
        return found

    def _mouths(self, take: Rendition) -> list[Mouth]:
        """Those of the part from where it sets in, and first the one that holds there."""
        symbols, starts = self._parts[take.number].symbols, take.raw.starts[1:-1]
        timed: list[tuple[Shape, float]] = [("rest", 0.0)]  # until the first
        timed += [
            (shape, (at - take.start) * FRAME_S)
            for shape, at in visemes.timed(symbols, starts.tolist(), "ipa")
        ]
        held = [Mouth(shape, take.at_s) for shape, at in timed if at <= 0.0][-1:]
        return held + [Mouth(shape, take.at_s + at) for shape, at in timed if at > 0.0]


def _heard(plan: SentencePlan) -> tuple[int, int]:
    """First frame that is heard and one past the last, with a little around them."""
    loud = np.flatnonzero(plan.energy > _HEARD) // 2
    if not len(loud):
        return 0, plan.frames
    return max(0, int(loud[0]) - _BEFORE), min(plan.frames, int(loud[-1]) + 1 + _AFTER)


def _until(waiting: list[Begun], until_s: float, all_of_them: bool) -> Iterator[Begun]:
    """Takes out of ``waiting`` what begins before that time."""
    while waiting and (all_of_them or waiting[0].at_s < until_s):
        yield waiting.pop(0)


def _faded(pcm: Floats) -> Floats:
    """Its end."""
    size = min(_FADE, len(pcm))
    if size:
        pcm = pcm.copy()
        pcm[-size:] *= _IN[::-1][-size:]
    return pcm
