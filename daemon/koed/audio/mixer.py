"""The mixer of one output: tracks in, blocks out.

Two sides meet here. The main thread says which tracks a lane has and feeds them; the device's
callback calls `Mixer.render`. The callback waits for nobody: the list of a lane is one reference
that main swaps whole and every block reads, what else main wants goes through one deque that
`render` empties first, and what main should know comes back through another.

A block counts the commands that wait, reads the lists, then runs that many: a list is never older
than a command that speaks of it, so no sound is refused because its track is not known yet.

    feed: clean, gain, resample ─▶ lanes ─▶ sum ─▶ limiter ─▶ mute ─▶ history, levels, device
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from koed.audio.arrangement import Entry, Kind, Report
from koed.audio.commands import Commands
from koed.audio.fade import Ramp, Samples, rise_curve
from koed.audio.history import History
from koed.audio.input import Input
from koed.audio.lane import Lane
from koed.audio.limiter import Limiter
from koed.audio.meter import MOUTH_S, Level, Meter
from koed.audio.track import Track
from koed.errors import KoedError

MAX_AHEAD_S = 60.0
"""A lane takes no more sound than this ahead of the ear."""
MAX_LEVEL = 8.0
"""Samples beyond this (18 dB over full scale) are a fault of the engine and clipped to it."""
GONE = 4096
"""Of so many serials that lists left out last it is checked that they are not named again."""


class Mixer:
    """See the module. ``wake`` is called by `render`, at most once per block, when a report was
    made or something sounds; it must not wait."""

    def __init__(
        self,
        rate_hz: int,
        *,
        fade_ms: float,
        true_peak_db: float,
        history_s: float,
        wake: Callable[[], None] | None = None,
    ) -> None:
        self.rate_hz = rate_hz
        self.history = History(int(history_s * rate_hz))
        self.clock_frames = 0
        """Frames rendered since the start."""
        self.non_finite_samples = 0
        """NaN and infinite samples that engines sent."""
        self.faults = 0
        """Blocks that were left silent because of an error of ours; `fault` is the last one."""
        self.fault = ""
        self._wake = wake
        self._rise = rise_curve(max(1, round(fade_ms / 1000.0 * rate_hz)))
        # control side
        self._lanes: dict[int, Lane] = {}
        self._sources: dict[int, Input] = {}  # of what may still be fed
        self._named: dict[int, Lane] = {}  # every serial of the newest lists
        self._gone: deque[int] = deque(maxlen=GONE)
        self._paused = False
        # between the two
        self._playing: tuple[Lane, ...] = ()  # swapped whole
        self._commands = Commands()
        self._reports: deque[Report] = deque()
        # device side
        self._limiter = Limiter(rate_hz, true_peak_db)
        self._volume = Ramp(self._rise)
        self._meter = Meter(rate_hz)
        self._lips = Meter(rate_hz, MOUTH_S)
        self._silent_frames = self._limiter.span
        self._resting = False
        self._news = False
        self._out = np.zeros(4096, dtype=np.float32)
        self._scratch = np.zeros(4096, dtype=np.float32)

    # --- control side: the main thread ---

    def arrange(self, lane: int, entries: Sequence[Entry]) -> None:
        """Say which tracks ``lane`` has, in the order in which they are to be heard. From the next
        block on it is so: what is new is waited for, what is not named any more is faded out if it
        sounds and forgotten. The empty list is stop. The same list again changes nothing.

        One that has ended may be named on. See `Joint` for a track that takes over in mid-sound.
        """
        place, newest = self._lane(lane), tuple(entries)
        serials = {entry.serial for entry in newest}
        new = [entry for entry in newest if entry.serial not in self._named]
        assert len(serials) == len(newest), "a track is named twice"
        assert all(serial > 0 for serial in serials), "0 means no track"
        assert all(self._named.get(s, place) is place for s in serials), "it is of another lane"
        assert not any(e.serial in self._gone for e in new), "what was left out is named again"
        for entry in new:
            self._named[entry.serial] = place
            self._sources[entry.serial] = Input(entry.serial, place, _amplitude(entry.gain_db))
        for serial in [e.serial for e in place.newest if e.serial not in serials]:
            del self._named[serial]
            self._sources.pop(serial, None)
            self._gone.append(serial)
        place.newest = newest
        self._commands.add(_nothing)  # whatever sleeps wakes

    def feed(self, serial: int, pcm: NDArray[np.float32], rate_hz: int) -> None:
        """Append ``pcm`` [S] float32 mono at ``rate_hz``; it is copied. A track that is over or
        not listed is no error: late chunks after a cut are normal.

        Raises `KoedError` ``lane_full`` and takes nothing if the lane would then be more than
        `MAX_AHEAD_S` ahead.
        """
        source = self._sources.get(serial)
        if source is None:
            return
        if self.ahead_s(source.lane.number) + len(pcm) / rate_hz > MAX_AHEAD_S:
            raise KoedError(
                "lane_full",
                f"lane {source.lane.number} is {MAX_AHEAD_S:.0f} s ahead of the ear",
                "wait until ahead_s() is lower, or send shorter chunks",
            )
        self._push(source, source.convert(self._clean(pcm, source.gain), rate_hz, self.rate_hz))

    def end(self, serial: int, pause_s: float = 0.0) -> None:
        """Nothing more comes for ``serial``; ``pause_s`` of silence follow it."""
        source = self._sources.pop(serial, None)
        if source is None:
            return
        self._push(source, source.flush())
        pause = round(pause_s * self.rate_hz)
        source.lane.fed += pause
        self._commands.add(source.lane.end, serial, pause)

    def pause(self, on: bool) -> None:
        """Hold all lanes where they are, or go on from that very sample."""
        self._paused = on
        for lane in self._lanes.values():
            self._commands.add(lane.pause, on)

    def mute(self, on: bool) -> None:
        """Silence the output; the lanes go on underneath."""
        self._commands.add(self._volume.set, 0.0 if on else 1.0)

    def duck(self, lane: int, gain_db: float) -> None:
        """Set the gain of a lane; 0 = as it is."""
        self._commands.add(self._lane(lane).duck, _amplitude(gain_db))

    def ahead_s(self, lane: int) -> float:
        """Seconds that were fed to ``lane``, pauses included, and not yet played."""
        place = self._lanes.get(lane)
        return 0.0 if place is None else max(0, place.fed - place.consumed) / self.rate_hz

    def position(self, lane: int) -> tuple[int, float]:
        """(serial of the track that sounds, else 0; seconds of it rendered)."""
        place = self._lanes.get(lane)
        serial, frames = (0, 0) if place is None else place.now
        return serial, frames / self.rate_hz

    def reports(self) -> list[Report]:
        """What happened since the last call."""
        reports = _drain(self._reports)
        for report in reports:
            if report.kind in ("ended", "cut"):
                self._sources.pop(report.serial, None)
        return reports

    def levels(self) -> list[Level]:
        """Windows of 50 ms that ended since the last call: (frame, rms_db, peak_db). None while
        it is silent, but for one that says so."""
        return _drain(self._meter.windows)

    def fine_levels(self) -> list[Level]:
        """The same in windows of 20 ms."""
        return _drain(self._lips.windows)

    @property
    def delay_frames(self) -> int:
        """How much later than `render` consumes them samples leave it: the limiter's look-ahead.
        Frames of reports have it added."""
        return self._limiter.delay

    @property
    def starved_frames(self) -> int:
        """Frames of silence because a track had no samples, over all lanes."""
        return sum(lane.starved for lane in self._lanes.values())

    @property
    def limited_blocks(self) -> int:
        """Blocks in which the limiter turned the sound down."""
        return self._limiter.limited_blocks

    def _lane(self, number: int) -> Lane:
        lane = self._lanes.get(number)
        if lane is None:
            lane = Lane(number, self.rate_hz, self._rise, self._log, paused=self._paused)
            self._lanes[number] = lane
            self._playing = (*self._playing, lane)
        return lane

    def _push(self, source: Input, pcm: Samples) -> None:
        if len(pcm):
            source.lane.fed += len(pcm)
            self._commands.add(source.lane.feed, source.serial, pcm)

    def _clean(self, pcm: Samples, gain: float) -> Samples:
        """[S] copied, with gain; what is not a number becomes silence, what is absurd is cut."""
        assert pcm.ndim == 1, f"a chunk is [S], not {pcm.shape}"
        with np.errstate(over="ignore", invalid="ignore"):
            out: Samples = np.multiply(pcm, gain, dtype=np.float32)
        finite = np.isfinite(out)
        if not finite.all():
            self.non_finite_samples += int(len(out) - np.count_nonzero(finite))
            out[~finite] = 0.0
        return np.clip(out, -MAX_LEVEL, MAX_LEVEL, out=out)

    # --- device side: the callback ---

    def render(self, frames: int) -> Samples:
        """[frames] float32 in -1..1, the next block; valid until the next call.

        Never raises, waits or logs. Called by one thread at a time.
        """
        try:
            return self._render(frames)
        except Exception as error:  # noqa: BLE001 - out of a callback nothing may come but sound
            self.faults += 1
            self.fault = repr(error)
            return np.zeros(frames, dtype=np.float32)

    def ready(self) -> int:
        """Frames that can be rendered before a lane starves. For a caller of `render` that has
        no clock to follow."""
        self._catch_up()
        lanes = [lane.playable() for lane in self._playing]
        limits = [frames for frames, whole in lanes if not whole]
        return min(limits) if limits else max((frames for frames, _ in lanes), default=0)

    @property
    def idle(self) -> bool:
        """Nothing sounds, and nothing will before something is asked for."""
        if not self._resting or self._commands or self._busy():
            return False
        return not any(lane.behind for lane in self._playing)

    def wait(self, timeout_s: float) -> None:
        """Until something is asked for, or the timeout."""
        self._commands.wait(timeout_s)

    def pass_over(self, frames: int) -> None:
        """Let time go by in which it was `idle`: what is asked for meanwhile begins after it."""
        assert self._resting, "something sounds"
        self._rest(frames)

    def _catch_up(self) -> None:
        """Make the newest lists so, and run what was asked for before they were read."""
        count = len(self._commands)
        for lane in self._playing:
            lane.read()
        if count:
            self._commands.run(count)

    def _render(self, frames: int) -> Samples:
        self._catch_up()
        if frames <= 0:
            return self._out[:0]
        out = self._out[:frames]
        if len(out) < frames:
            self._out = np.zeros(2 * frames, dtype=np.float32)
            self._scratch = np.zeros(2 * frames, dtype=np.float32)
            out = self._out[:frames]
        if self._resting and not self._busy():
            self._rest(frames)
            return out
        if self._mix(frames):
            self._silent_frames = 0
            self._resting = False
        elif self._silent_frames >= self._limiter.span:
            self._rest(frames)
            return out
        else:
            self._silent_frames += frames
        self._limiter.process(out)
        if not self._volume.neutral:
            self._volume.apply(out)
        self.history.write(out, frames)
        self._meter.add(out, self.clock_frames)
        self._lips.add(out, self.clock_frames)
        self.clock_frames += frames
        self._tell(True)
        return out

    def _rest(self, frames: int) -> None:
        """A block in which nothing sounds: as little work as can be."""
        if not self._resting:
            self._resting = True
            self._out.fill(0.0)
            self._limiter.reset()
            self._meter.silence(self.clock_frames)
            self._lips.silence(self.clock_frames)
            self._news |= bool(self._lips.windows)  # a mouth waits to be shut
        self._volume.settle()
        self.history.write(None, frames)
        self.clock_frames += frames
        self._tell(False)

    def _busy(self) -> bool:
        for lane in self._playing:  # noqa: SIM110 - at every block, and `any` takes twice as long
            if lane.busy:
                return True
        return False

    def _mix(self, frames: int) -> bool:
        """Sum the lanes into the limiter's room; returns whether anything sounds."""
        sounds = filled = False
        bus = self._limiter.room(frames)
        for lane in self._playing:
            if not lane.busy:
                continue
            if not filled:
                filled = True
                sounds = lane.render(bus)
            elif lane.render(self._scratch[:frames]):
                bus += self._scratch[:frames]
                sounds = True
        if not filled:
            bus[:] = 0.0
        return sounds

    def _tell(self, sounds: bool) -> None:
        news, self._news = self._news or sounds, False
        if news and self._wake is not None:
            self._wake()

    def _log(self, kind: Kind, track: Track, lane: int, offset: int) -> None:
        self._news = True
        self._reports.append(
            Report(
                kind, track.serial, lane, self.clock_frames + offset + self._limiter.delay,
                track.position / self.rate_hz, track.starved / self.rate_hz,
            )
        )  # fmt: skip


def _nothing() -> None:
    """The command that only wakes."""


def _amplitude(gain_db: float) -> float:
    return float(10.0 ** (gain_db / 20.0)) if gain_db > -math.inf else 0.0


def _drain(items: deque[Any]) -> list[Any]:
    """Take what is there; the other side may append meanwhile."""
    return [items.popleft() for _ in range(len(items))]
