"""A voice of pure tones, exact to the sample, with knobs for delay, speed and failure.

It ships: the whole daemon runs on it anywhere, and a test can tell from the sound which voice
speaks (by frequency) and which character (by position). A character lasts a whole number of
cycles and a cycle a whole number of samples, so segments join without a click, in any chunking.
"""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from koed.engine import settings
from koed.engine.base import (
    Capabilities,
    Chunk,
    EngineSpec,
    Job,
    Mouth,
    ProfileSpec,
    Shape,
    Stream,
    Voice,
    Word,
)
from koed.engine.loudness import voice_lufs
from koed.errors import EngineError

RATE_HZ = 48000

ENGINE = EngineSpec("koed.engine.tone:ToneEngine")

SCHEMA: settings.Schema = {
    "hz": settings.Number(0.0, 0.0, 8000.0),  # 0 = one of its own, from the profile's name
    "wave": settings.Choice("sine", ("sine", "triangle", "square")),
    "amplitude": settings.Number(0.25, 0.001, 1.0),
    "char_ms": settings.Number(60.0, 1.0, 1000.0),
    "mouths": settings.Choice("spelled", ("spelled", "none")),
    "chunk_ms": settings.Number(20.0, 1.0, 1000.0),
    "delay_ms": settings.Number(0.0, 0.0, 60000.0),
    "chunk_delay_ms": settings.Number(0.0, 0.0, 60000.0),
    "prepare_ms": settings.Number(0.0, 0.0, 60000.0),
    "fail_on": settings.Text(),
    "hang_on": settings.Text(),
    "crash_on": settings.Text(),
    "crash_how": settings.Choice("abort", ("abort", "exit")),
    "trouble_at_chunk": settings.Number(0, 0, 100000),
    "allocate_mb_per_chunk": settings.Number(0.0, 0.0, 1024.0),
    "churn_mb_per_s": settings.Number(0.0, 0.0, 10000.0),
}
"""``fail_on``, ``hang_on`` and ``crash_on`` are substrings of the text that call for trouble, which
comes before the chunk number ``trouble_at_chunk``. ``churn_mb_per_s`` is other work: so much is
allocated, written and freed for each second of sound. ``mouths``: shapes from the letters, or an
engine that knows none."""


class ToneEngine:
    """See the module. ``state`` of a `Voice` is the checked settings."""

    name = "tone"
    version = settings.fingerprint(SCHEMA)
    capabilities = Capabilities(languages=(), restyle=True, word_times=True, mouths=True)

    def __init__(self) -> None:
        self._hoard: list[NDArray[np.float32]] = []

    def warm_up(self) -> None:
        pass

    def prepare(self, profile: ProfileSpec) -> Voice:
        state = settings.read(SCHEMA, profile.settings, "tone")
        if state["hz"] == 0.0:
            state["hz"] = 200.0 + 50.0 * (zlib.crc32(profile.name.encode()) % 20)
        if state["hz"] < 20.0:
            raise EngineError("bad_setting", "hz is 0 (one of its own) or from 20 to 8000")
        time.sleep(state["prepare_ms"] / 1000.0)
        return Voice(
            name=profile.name,
            key=profile.key(self.name),
            lang=profile.lang,
            loudness_lufs=voice_lufs(_Wave(state).samples(0, RATE_HZ), RATE_HZ),
            state=state,
        )

    def load(self, voice: Voice) -> None:
        pass

    def stream(self, voice: Voice, job: Job) -> Stream:
        return _Speech(self._speak(voice.state, job, 0.0), job.speed)

    def restyle(self, stream: Stream, voice: Voice, job: Job) -> Stream:
        """From ``job.start_s`` on, at the pace of what went before."""
        stream.close()
        assert isinstance(stream, _Speech), "it is one of ours"
        job = replace(job, speed=stream.speed)
        return _Speech(self._speak(voice.state, job, job.start_s), job.speed)

    def close(self) -> None:
        self._hoard.clear()

    def _speak(self, state: Any, job: Job, start_s: float) -> Generator[Chunk, None, None]:
        wave = _Wave(state)
        char = wave.char_samples(job.speed)
        total = len(job.text) * char
        words = _words(job.text, char / RATE_HZ)
        mouths = _mouths(job.text, char / RATE_HZ) if state["mouths"] == "spelled" else []
        step = max(1, round(state["chunk_ms"] * RATE_HZ / 1000.0))
        delay_s = state["delay_ms"] / 1000.0
        at = max(0, round(start_s * RATE_HZ))
        mouths = _from(mouths, at / RATE_HZ)
        for number in range(max(0, -(-(total - at) // step))):
            time.sleep(delay_s)
            self._make_trouble(state, job.text, number)
            end = min(total, at + step)
            begun = [w for w in words if at <= round(w.at_s * RATE_HZ) < end]
            shaped = [m for m in mouths if at <= round(m.at_s * RATE_HZ) < end]
            _churn(state["churn_mb_per_s"] * (end - at) / RATE_HZ)
            yield Chunk(wave.samples(at, end), RATE_HZ, tuple(begun), tuple(shaped))
            at, delay_s = end, state["chunk_delay_ms"] / 1000.0

    def _make_trouble(self, state: Any, text: str, number: int) -> None:
        if state["allocate_mb_per_chunk"] > 0.0:
            # ones, not empty: pages that nobody touches are not resident
            self._hoard.append(
                np.ones(round(state["allocate_mb_per_chunk"] * 2**18), dtype=np.float32)
            )
        if number != state["trouble_at_chunk"]:
            return
        if state["fail_on"] and state["fail_on"] in text:
            raise EngineError("tone_failed", f"told to fail on {state['fail_on']!r}")
        if state["crash_on"] and state["crash_on"] in text:
            os.abort() if state["crash_how"] == "abort" else os._exit(70)
        while state["hang_on"] and state["hang_on"] in text:
            time.sleep(3600.0)


@dataclass(frozen=True, slots=True)
class _Speech:
    """A stream, and its pace."""

    chunks: Generator[Chunk, None, None]
    speed: float

    def __iter__(self) -> _Speech:
        return self

    def __next__(self) -> Chunk:
        return next(self.chunks)

    def close(self) -> None:
        self.chunks.close()


def _churn(megabytes: float) -> None:
    """Allocate, write and free, as the Python around a model does."""
    waste = [bytearray(b"\xff") * 65536 for _ in range(round(megabytes * 16))]
    waste.clear()


class _Wave:
    def __init__(self, state: Any) -> None:
        self.period: int = round(RATE_HZ / state["hz"])
        self._char_s: float = state["char_ms"] / 1000.0
        # Half a sample off the zero crossing: no sample is zero, so silence can be counted.
        phase = 2.0 * np.pi * (np.arange(self.period) + 0.5) / self.period
        shape = np.sin(phase)
        if state["wave"] == "triangle":
            shape = np.arcsin(shape) * 2.0 / np.pi
        elif state["wave"] == "square":
            shape = np.where(shape >= 0.0, 1.0, -1.0)
        self._cycle: NDArray[np.float32] = (state["amplitude"] * shape).astype(np.float32)

    def char_samples(self, speed: float) -> int:
        """Samples of one character: whole cycles, so that it ends where the next begins."""
        return self.period * max(1, round(self._char_s / speed * RATE_HZ / self.period))

    def samples(self, start: int, end: int) -> NDArray[np.float32]:
        """``[end - start]``; the phase follows from the absolute position alone."""
        return self._cycle[np.arange(start, end) % self.period]


def _words(text: str, char_s: float) -> list[Word]:
    words, start = [], 0
    for piece in text.split():
        start = text.index(piece, start)
        words.append(Word(start, start + len(piece), start * char_s))
        start += len(piece)
    return words


_SPELLED: dict[str, Shape] = {
    "a": "a", "i": "i", "u": "u", "e": "e", "o": "o", "y": "i", "w": "u",
    "m": "closed", "b": "closed", "p": "closed", " ": "rest",
}  # fmt: skip


def _mouths(text: str, char_s: float) -> list[Mouth]:
    """A shape for each letter that has one and differs from the last; the first is at 0."""
    mouths = [Mouth("rest", 0.0)]
    for number, letter in enumerate(text.lower()):
        shape = _SPELLED.get(letter, mouths[-1].shape)
        if shape != mouths[-1].shape:
            mouths.append(Mouth(shape, number * char_s))
    return mouths[1:] if len(mouths) > 1 and mouths[1].at_s == 0.0 else mouths


def _from(mouths: list[Mouth], start_s: float) -> list[Mouth]:
    """Those from ``start_s`` on, and before them the one that holds there."""
    held = [mouth for mouth in mouths if mouth.at_s <= start_s][-1:]
    return [Mouth(m.shape, start_s) for m in held] + [m for m in mouths if m.at_s > start_s]
