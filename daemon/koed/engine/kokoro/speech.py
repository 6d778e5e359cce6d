"""The stream of one segment: planned part by part, decoded piece by piece."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from koed.engine import visemes
from koed.engine.base import Chunk, Mouth, Shape, Word
from koed.engine.kokoro import onsets
from koed.engine.kokoro.accents import accented
from koed.engine.kokoro.model import (
    FRAME,
    FRAME_S,
    RATE_HZ,
    Abandoned,
    Floats,
    Model,
    Norms,
    SentencePlan,
)
from koed.engine.kokoro.passages import CONTEXT, Passage, pieces
from koed.engine.kokoro.prosody import PLAN_DB_PER_DB, Prosody, gains, shaped

log = logging.getLogger(__name__)

Begun = TypeVar("Begun", Word, Mouth)

_BEFORE, _AFTER = 2, 4
"""Frames kept around what is heard."""
_QUIET, _LEAD = 0.001, RATE_HZ // 100
"""Level below which nothing is heard (-60 dB); samples of it that are kept before the first sound.
"""
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
    gains: Floats
    """``[T + 1]``, of its sound: see `koed.engine.kokoro.prosody.gains`."""
    begins: NDArray[np.float64]
    """The frame in which each symbol is heard."""
    start: int
    """Frame that it begins with."""
    end: int
    at_s: float
    """When that is heard."""
    cut_s: float = 0.0
    """What is left out of it at its beginning, because it is silence."""

    @property
    def end_s(self) -> float:
        return self.when_s(self.end)

    def when_s(self, frame: float) -> float:
        """When a frame is heard; what comes before its beginning, then."""
        return self.at_s + max(0.0, (frame - self.start) * FRAME_S - self.cut_s)

    def frame(self, at_s: float) -> int:
        """What is heard then, within it."""
        frame = self.start + round((at_s - self.at_s + self.cut_s) / FRAME_S)
        return min(self.end, max(self.start, frame))


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
        self._model, self._abandon = model.abandonable()
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
        try:
            return next(self._chunks)
        except Abandoned:
            raise StopIteration from None

    def abandon(self) -> None:
        """`koed.engine.base.Abandoning`."""
        self._abandon()

    def close(self) -> None:
        self._chunks.close()  # type: ignore[attr-defined]

    def whole(self) -> Floats:
        """All of it, decoded by parts instead of pieces: what streaming is measured against."""
        sounds = [np.zeros(0, np.float32)]
        while len(self._renditions) + self._onset.number < len(self._parts):
            take = self._plan_next()
            sound = _levelled(self._model.whole(take.plan), take, 0)
            sounds.append(sound[take.start * FRAME : take.end * FRAME])
        return np.concatenate(sounds)

    def restyled(self, speaker: Speaker, prosody: Prosody, start_s: float) -> Speech:
        """From ``start_s`` on in another ``prosody``, or from the next word on as another
        ``speaker``: until then the old one is heard, as loud as the new one is."""
        self._model, self._abandon = self._model.abandonable()  # it may have been abandoned
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
            part = self._parts[number]
            raw = self._model.plan(part.symbols, self._speaker.table, self._prosody.speed)
            raw = accented(raw, part.morae)
            plan, level = shaped(raw, self._prosody), gains(raw.frames, self._prosody)
        else:
            raw, before = onset.take.raw, onset.take
            plan = shaped(raw, self._prosody, onset.frame, before.plan)
            level = gains(raw.frames, self._prosody, onset.frame, before.gains)
        start, end = _heard(raw)
        begins = onsets.heard(self._parts[number].symbols, raw.starts, raw.energy)
        if not self._renditions:
            if onset.take is not None:
                start = onset.frame
            elif onset.at >= 0:
                start = int(begins[onset.at])
            if onset.tail is not None:
                at_s += len(onset.tail) / RATE_HZ
        take = Rendition(number, raw, plan, level, begins, start, max(start, end), at_s)
        self._renditions.append(take)
        return take

    def _next_word(self, take: Rendition, frame: int) -> tuple[int, int]:
        """The symbol that the next word begins with, and its frame; -1 and the end if none does."""
        for _, _, at in self._parts[take.number].words:
            begins = int(take.begins[at])
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
        words, shapes = list[Word](), list[Mouth]()
        joint = np.zeros(0, np.float32)
        for start, end in self._pieces(take):
            sound = self._sound(take, start, end)
            pcm = sound[: (end - start) * FRAME].copy()
            if len(joint):
                pcm[:_FADE] = joint * (1.0 - _IN) + pcm[:_FADE] * _IN
            elif take.raw is not self._continued:  # that goes on with what was heard before
                if take is self._renditions[0]:
                    pcm, take = self._set_in(pcm, take)
                pcm[:_FADE] *= _IN
            if start == take.start:
                words, shapes = self._words(take), self._mouths(take)
            joint = sound[(end - start) * FRAME :]
            last = end == take.end
            if last:
                pcm = _faded(pcm)
            until = take.when_s(end)
            yield Chunk(
                pcm, RATE_HZ,
                tuple(_until(words, until, last)), tuple(_until(shapes, until, last)),
            )  # fmt: skip

    def _set_in(self, pcm: Floats, take: Rendition) -> tuple[Floats, Rendition]:
        """The first piece without the silence before the first sound."""
        loud = np.flatnonzero(np.abs(pcm) > _QUIET)
        cut = max(0, int(loud[0]) - _LEAD) if len(loud) else 0
        self._renditions[0] = replace(take, cut_s=cut / RATE_HZ)
        return pcm[cut:], self._renditions[0]

    def _pieces(self, take: Rendition) -> Iterator[tuple[int, int]]:
        if take.plan.frames <= _WHOLE:  # it is decoded at once
            return iter([(take.start, take.end)] if take.end > take.start else [])
        return pieces(take.start, take.end, self._model.pace)

    def _sound(self, take: Rendition, start: int, end: int) -> Floats:
        """Of frames ``start`` to ``end``, and of the fade behind them where there is any."""
        if take.plan.frames <= _WHOLE:
            sound = self._model.whole(take.plan)[start * FRAME : end * FRAME + _FADE]
            return _levelled(sound, take, start)
        norms = self._speaker.norms.at(take.raw.silence, self._model.layout)
        before = 0 if start == _heard(take.raw)[0] else CONTEXT
        sound = self._model.part(take.plan, start, end, norms, _FADE, before)
        effort_db = PLAN_DB_PER_DB * max(0.0, self._prosody.energy)
        if not np.abs(sound).max(initial=0.0) <= _LOUDEST * 10.0 ** (effort_db / 20.0):  # or NaN
            log.warning("a piece came out wrong and is made with the moments of its own")
            sound = self._model.part(take.plan, start, end, None, _FADE)
        return _levelled(sound, take, start)

    def _words(self, take: Rendition) -> list[Word]:
        found = []
        for start, end, at in self._parts[take.number].words:
            begins = float(take.begins[at])
            if begins >= take.start:
                found.append(Word(start, end, take.when_s(begins)))
        return found

    def _mouths(self, take: Rendition) -> list[Mouth]:
        """Those of the part from where it sets in, and first the one that holds there."""
        symbols = self._parts[take.number].symbols
        timed: list[tuple[Shape, float]] = [("rest", take.start)]  # until the first
        timed += visemes.timed(symbols, take.begins.tolist(), "ipa")
        found = [Mouth(shape, take.when_s(frame)) for shape, frame in timed]
        held = [mouth for mouth in found if mouth.at_s <= take.at_s][-1:]
        return held + [mouth for mouth in found if mouth.at_s > take.at_s]


def _heard(plan: SentencePlan) -> tuple[int, int]:
    """First frame that is heard and one past the last, with a little around them."""
    loud = np.flatnonzero(plan.energy > onsets.HEARD) // 2
    if not len(loud):
        return 0, plan.frames
    return max(0, int(loud[0]) - _BEFORE), min(plan.frames, int(loud[-1]) + 1 + _AFTER)


def _levelled(sound: Floats, take: Rendition, start: int) -> Floats:
    """What begins at frame ``start``, as loud as it is to be."""
    frames = start + np.arange(len(sound)) / FRAME
    return sound * np.interp(frames, np.arange(len(take.gains)), take.gains).astype(np.float32)


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
