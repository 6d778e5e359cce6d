"""From what a synthesiser gives to what an engine gives: silence trimmed, shaped, in chunks."""

from __future__ import annotations

import cmath
import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from koed.engine import base
from koed.engine.base import Chunk, Mouth, Word
from koed.engine.embedded.warp import Warp

PRE_ROLL_S = 0.015
"""Kept before the first sample above the threshold: a soft consonant begins below it."""
WORD_LEAD_S = 0.030
"""Where a word is known to begin, its sound begins no earlier than so much before."""
TAIL_S = 0.020
CHUNK_S = (0.02, 0.04, 0.06, 0.1)
"""The first chunk is short so that it is early; the last length is that of all others."""
_TILT_REFERENCE_HZ = 1000.0
_HIGH_PASS_HZ = 35.0
_STEP = 4096
"""Samples a high-pass takes at once: its powers stay far inside a double's range."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A word of the job's text and its first sample in the synthesiser's own sound."""

    start: int
    end: int
    at: int


@dataclass(frozen=True, slots=True)
class Look:
    """A shape of the mouth and its first sample in the synthesiser's own sound."""

    shape: base.Shape
    at: int


@dataclass(frozen=True, slots=True)
class Piece:
    """Raw float32 sound ``[S]`` and the marks and looks that became known with it."""

    pcm: NDArray[np.float32]
    marks: tuple[Mark, ...] = ()
    looks: tuple[Look, ...] = ()


@dataclass(frozen=True, slots=True)
class Manner:
    """How a synthesiser is to speak. The same text, manner and seed give the same samples."""

    pitch: float = 0.0
    """Semitones from the voice's own."""
    rate: float = 1.0
    intonation: float = 1.0
    """Movement of the pitch: 0 = monotone, 1 = natural."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Shape:
    """What is done to the raw sound. ``rate_hz`` is the rate it is *said* to have: playing it
    faster or slower than it was made moves the formants, at no cost at all."""

    rate_hz: int
    gain: float
    brightness: float
    threshold: float
    """A sample louder than this (before the gain) is sound, not silence."""
    formants: float = 0.0
    """Semitones by which a `Warp` moves them."""


class HighPass:
    """Takes off what no ear hears and every click is made of: one pole, -3 dB at 35 Hz.

    It begins as if the first sample had always been there, so with silence.
    """

    def __init__(self, rate_hz: int) -> None:
        pole = math.exp(-2.0 * math.pi * _HIGH_PASS_HZ / rate_hz)
        self._powers = pole ** np.arange(1, _STEP + 1)
        self._gain = 1.0 - pole
        self._low: float | None = None
        """What is below, taken off the last sample."""

    def push(self, pcm: NDArray[np.float32]) -> NDArray[np.float32]:
        out = np.empty_like(pcm)
        for start in range(0, len(pcm), _STEP):
            piece = pcm[start : start + _STEP].astype(np.float64)
            if self._low is None:
                self._low = float(piece[0])
            powers = self._powers[: len(piece)]
            low = powers * (self._low + np.cumsum(self._gain * piece / powers))
            out[start : start + _STEP] = piece - low
            self._low = float(low[-1])
        return out


class Trim:
    """Takes leading and trailing silence off a stream of samples."""

    def __init__(self, threshold: float, pre_roll: int, tail: int) -> None:
        self._threshold = threshold
        self._pre_roll = pre_roll
        self._tail = tail
        self._held = np.zeros(0, dtype=np.float32)
        self.lead: int | None = None
        """Samples taken off the front; None = nothing heard yet."""
        self.deaf_until = 0
        """What is loud before this sample is not speech: a synthesiser's click or breath."""
        self._dropped = 0

    def push(self, pcm: NDArray[np.float32]) -> NDArray[np.float32]:
        """What is certain to be heard: everything up to the last loud sample so far."""
        loud = np.flatnonzero(np.abs(pcm) > self._threshold)
        if self.lead is None:
            loud = loud[loud + self._dropped + len(self._held) >= self.deaf_until]
        joined = np.concatenate((self._held, pcm))
        if len(loud) == 0:
            keep = len(joined) if self.lead is not None else min(self._pre_roll, len(joined))
            self._dropped += len(joined) - keep
            self._held = joined[len(joined) - keep :]
            return joined[:0]
        if self.lead is None:
            begin = max(0, len(self._held) + int(loud[0]) - self._pre_roll)
            self.lead = self._dropped + begin
            joined = joined[begin:]
        end = len(joined) - (len(pcm) - int(loud[-1]) - 1)
        self._held = joined[end:]
        return joined[:end]

    def finish(self) -> NDArray[np.float32]:
        """The beginning of the trailing silence, so that the last sound can ring out."""
        return self._held[: self._tail] if self.lead is not None else self._held[:0]


class Tilt:
    """Brighter (above 0) or darker (below 0): two taps 1/16 ms apart, unity gain at 1 kHz."""

    def __init__(self, brightness: float, rate_hz: int) -> None:
        self._delay = max(1, round(rate_hz / 16000))
        weight = -0.6 * brightness
        turn = cmath.exp(-2j * math.pi * _TILT_REFERENCE_HZ * self._delay / rate_hz)
        scale = 1.0 / abs(1.0 + weight * turn)
        self._taps = (scale, scale * weight)
        self._past = np.zeros(self._delay, dtype=np.float32)

    def push(self, pcm: NDArray[np.float32]) -> NDArray[np.float32]:
        joined = np.concatenate((self._past, pcm))
        self._past = joined[len(joined) - self._delay :]
        tilted = self._taps[0] * pcm + self._taps[1] * joined[: len(pcm)]
        return tilted.astype(np.float32, copy=False)


def chunks(pieces: Iterator[Piece], shape: Shape) -> Generator[Chunk, None, None]:
    """``pieces`` as an engine's chunks; closing this closes ``pieces``."""
    rate = shape.rate_hz
    clean = HighPass(rate)
    trim = Trim(shape.threshold, round(PRE_ROLL_S * rate), round(TAIL_S * rate))
    warp = Warp(shape.formants, rate) if shape.formants else None
    tilt = Tilt(shape.brightness, rate) if shape.brightness else None
    marks: list[Mark] = []
    looks: list[Look] = []
    ready = np.zeros(0, dtype=np.float32)
    sent, number = 0, 0
    try:
        for piece in pieces:
            if piece.marks and not marks and trim.lead is None:
                trim.deaf_until = piece.marks[0].at - round(WORD_LEAD_S * rate)
            marks += piece.marks
            looks += piece.looks
            heard = trim.push(clean.push(piece.pcm))
            ready = np.concatenate((ready, warp.push(heard) if warp else heard))
            while len(ready) >= round(CHUNK_S[min(number, len(CHUNK_S) - 1)] * rate):
                pcm, ready = np.split(ready, [round(CHUNK_S[-1] * rate)])
                sent, number = sent + len(pcm), number + 1
                begun = _due(marks, trim, sent, rate), _shown(looks, trim, sent, rate)
                yield _chunk(pcm, shape, tilt, *begun)
        heard = trim.finish()
        rest = (warp.push(heard), warp.finish()) if warp else (heard,)
        ready = np.concatenate((ready, *rest))
        for pcm in np.split(ready, range(round(CHUNK_S[-1] * rate), len(ready), rate // 10)):
            if len(pcm):
                sent += len(pcm)
                begun = _due(marks, trim, sent, rate), _shown(looks, trim, sent, rate)
                yield _chunk(pcm, shape, tilt, *begun)
    finally:
        close = getattr(pieces, "close", None)
        if close is not None:
            close()


def _chunk(
    pcm: NDArray[np.float32], shape: Shape, tilt: Tilt | None, words: tuple[Word, ...],
    mouths: tuple[Mouth, ...],
) -> Chunk:  # fmt: skip
    pcm = pcm * np.float32(shape.gain)
    pcm = tilt.push(pcm) if tilt else pcm
    return Chunk(pcm.clip(-1.0, 1.0), shape.rate_hz, words, mouths)


def _due(marks: list[Mark], trim: Trim, end: int, rate_hz: int) -> tuple[Word, ...]:
    """The marks before sample ``end`` of the trimmed sound, taken off the list, as words."""
    lead = trim.lead or 0
    due = [m for m in marks if m.at - lead < end]
    del marks[: len(due)]
    return tuple(Word(m.start, m.end, max(0, m.at - lead) / rate_hz) for m in due)


def _shown(looks: list[Look], trim: Trim, end: int, rate_hz: int) -> tuple[Mouth, ...]:
    """As `_due`. Of those that fell into the trimmed silence, the last begins with the sound."""
    lead = trim.lead or 0
    due = [look for look in looks if look.at - lead < end]
    del looks[: len(due)]
    early = [look for look in due if look.at <= lead][-1:]
    kept = early + [look for look in due if look.at > lead]
    return tuple(Mouth(look.shape, max(0, look.at - lead) / rate_hz) for look in kept)
