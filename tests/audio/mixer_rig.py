"""A mixer and an ear: what the mixer tests share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from koed.audio.arrangement import Entry, Joint, Report
from koed.audio.mixer import Mixer

RATE = 48000
BLOCK = 480
FADE = 384  # 8 ms

Sound = NDArray[np.float32]


def tone(seconds: float, hz: float = 300.0, level: float = 0.3, rate_hz: int = RATE) -> Sound:
    """[S] sine; quiet enough that the limiter leaves it alone."""
    n = np.arange(round(seconds * rate_hz))
    return (level * np.sin(2 * np.pi * hz * n / rate_hz)).astype(np.float32)


def ramp(frames: int, begin: int = 0) -> Sound:
    """[frames] a number of its own for every sample, and never 0."""
    return ((begin + np.arange(frames) + 1) % 9973 / 40000 + 1e-4).astype(np.float32)


class Rig:
    """Renders and keeps what came out, without the limiter's delay, and all reports."""

    def __init__(self, rate_hz: int = RATE) -> None:
        self.wakes = 0
        self.mixer = Mixer(rate_hz, fade_ms=8.0, true_peak_db=-1.0, history_s=2.0, wake=self._wake)
        self.reports: list[Report] = []
        self.lists: dict[int, list[Entry]] = {}
        self._blocks: list[Sound] = []

    def _wake(self) -> None:
        self.wakes += 1

    def run(self, frames: int, blocks: Iterable[int] = (BLOCK,)) -> Sound:
        """Render ``frames`` in blocks of the sizes given, over and over; returns them as the
        device got them (delayed)."""
        sizes, made, first = list(blocks), 0, len(self._blocks)
        while made < frames:
            size = min(sizes[(len(self._blocks) - first) % len(sizes)], frames - made)
            block = self.mixer.render(size)
            assert len(block) == size
            self._blocks.append(block.copy())
            made += size
        assert not self.mixer.fault
        self.reports += self.mixer.reports()
        return np.concatenate([np.empty(0, dtype=np.float32), *self._blocks[first:]])

    @property
    def out(self) -> Sound:
        """All that came out, aligned with what went in (frame 0 of the clock)."""
        return np.concatenate(self._blocks)[self.mixer.delay_frames :]

    def declare(
        self,
        serial: int,
        *,
        lane: int = 0,
        gain_db: float = 0.0,
        joint: Joint | None = None,
        until_s: float | None = None,
    ) -> None:
        """Name one more track, behind all that are named."""
        entries = self.lists.setdefault(lane, [])
        entries.append(Entry(serial, gain_db, joint, until_s))
        self.mixer.arrange(lane, entries)

    def until(self, serial: int, frames: int | None, *, lane: int = 0) -> None:
        """The same list, but for where a track is cut."""
        until_s = None if frames is None else frames / self.mixer.rate_hz
        self.lists[lane] = [
            replace(entry, until_s=until_s) if entry.serial == serial else entry
            for entry in self.lists[lane]
        ]
        self.mixer.arrange(lane, self.lists[lane])

    def leave(self, *serials: int, lane: int = 0) -> None:
        """Name the others on; without a serial: name nothing."""
        kept = [e for e in self.lists.get(lane, []) if serials and e.serial not in serials]
        self.lists[lane] = kept
        self.mixer.arrange(lane, kept)

    def add(self, serial: int, pcm: Sound, *, lane: int = 0, pause_s: float = 0.0) -> None:
        """A whole track at once."""
        self.declare(serial, lane=lane)
        self.mixer.feed(serial, pcm, self.mixer.rate_hz)
        self.mixer.end(serial, pause_s)

    def kinds(self, serial: int) -> list[str]:
        return [r.kind for r in self.reports if r.serial == serial]

    def report(self, serial: int, kind: str) -> Report:
        (found,) = [r for r in self.reports if r.serial == serial and r.kind == kind]
        return found

    def onset(self, report: Report) -> int:
        """The frame of a report as an index into `out`."""
        return report.frame - self.mixer.delay_frames


def last_sound(x: Sound) -> int:
    """Index after the last sample that is not silence; 0 = all silent."""
    heard = np.flatnonzero(np.abs(x) > 1e-6)
    return int(heard[-1]) + 1 if len(heard) else 0


def smooth(x: Sound, level: float = 0.3, hz: float = 300.0) -> bool:
    """No step that is much higher than those of the tone itself: no click."""
    steepest = level * 2 * np.pi * hz / RATE + level * np.pi / 2 / FADE
    return bool(np.abs(np.diff(x)).max() < 1.5 * steepest)
