"""A lane as its rules have it, in plain lists of samples: what `koed.audio.lane` is held against.

It knows where fades are, not how they sound. Positions and times are frames.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from koed.audio.arrangement import Entry, Joint

Event = tuple[str, int, int, int, int]
"""(kind, serial, frame, position, frames of outage)"""


@dataclass
class Track:
    serial: int
    prompt: bool
    sound: list[float] = field(default_factory=list)
    position: int = 0
    late: int = 0
    pause: int = 0
    starved: int = 0
    fade_in: int = 0
    joint: Joint | None = None
    tied: bool = False  # the joint is with the track before it
    until: int | None = None
    ended: bool = False
    begun: bool = False
    sounding: bool = False
    starving: bool = False
    finished: bool = False

    @property
    def reach(self) -> int:
        return max(self.position, self.late)

    @property
    def able(self) -> bool:
        """It can take over from another."""
        return bool(self.sound) or self.ended

    @property
    def cut_here(self) -> bool:
        return not self.finished and self.until is not None and self.reach >= self.until


class LaneModel:
    """``rate_hz`` for the times in entries, ``fade`` the frames of a fade."""

    def __init__(self, rate_hz: int, fade: int) -> None:
        self.newest: Sequence[Entry] = ()  # as the control side said last
        self.orders: list[tuple[Any, ...]] = []  # as it added them: (name, arguments)
        self.counted = 0
        self.seen: set[int] = set()
        self.consumed = 0
        self.out: list[float] = []  # a value for each frame
        self.fading: set[int] = set()  # frames in which something fades
        self.events: list[Event] = []
        self.queue: list[Track] = []
        self._over: dict[int, int] = {}
        self._refused: set[int] = set()
        self._paused = False
        self._rate_hz = rate_hz
        self._fade = fade

    # --- a block is count, read, obey, play ---

    def count(self) -> None:
        self.counted = len(self.orders)

    def read(self) -> None:
        named = [entry.serial for entry in self.newest]
        self.seen |= set(named)
        assert not self._refused & self.seen, "it was fed before a list that names it was read"
        known, front = {t.serial: t for t in self.queue}, self.queue[:1]
        for track in [t for t in self.queue if t.serial not in named]:
            self._kill(track)
        self._over = {s: reach for s, reach in self._over.items() if s in named}
        self.queue = []
        for entry in self.newest:
            track = known.get(entry.serial)
            if track is None and entry.serial in self._over:
                continue
            if track is None:
                track = Track(entry.serial, all(t.finished for t in self.queue))
            until_s = entry.until_s
            track.until = None if until_s is None else round(until_s * self._rate_hz)
            self._tie(track, entry)
            self.queue.append(track)
        for track in front:
            if self.queue[:1] != front:
                self._hush(track)

    def _tie(self, track: Track, entry: Entry) -> None:
        said, track.joint, track.tied = track.joint, entry.joint, False
        if entry.joint is None or track.begun:
            return
        old = entry.joint.old
        track.tied = bool(self.queue) and self.queue[-1].serial == old
        if not track.tied and said != entry.joint and old in self._over:
            self._align(track, self._over[old])

    def obey(self) -> None:
        for name, *arguments in self.orders[: self.counted]:
            getattr(self, "_" + name)(*arguments)
        del self.orders[: self.counted]
        self.counted = 0

    def _wake(self) -> None:
        pass

    def _feed(self, serial: int, sound: list[float]) -> None:
        if serial not in self.seen:
            self._refused.add(serial)
        self._with(serial, len(sound), lambda track: track.sound.extend(sound))

    def _end(self, serial: int, pause: int) -> None:
        def end(track: Track) -> None:
            track.ended, track.pause = True, pause

        self._with(serial, pause, end)

    def _with(self, serial: int, frames: int, act: Callable[[Track], None]) -> None:
        found = [t for t in self.queue if t.serial == serial]
        self.consumed += 0 if found else frames
        for track in found:
            act(track)

    def _pause(self, on: bool) -> None:
        self._paused = on
        if on:
            for track in self.queue[:1]:
                self._hush(track)

    def play(self, frames: int) -> None:
        end = len(self.out) + frames
        while not self._paused and len(self.out) < end:
            count = min(self._settle(), end - len(self.out))
            if not count:
                for track in self.queue[:1]:
                    self._starve(track, end - len(self.out))
                break
            self.consumed += count
            track = self.queue[0]
            if track.finished:
                track.pause -= count
                self.out += [0.0] * count
                continue
            self._begin(track)
            for _ in range(count):
                if track.fade_in:
                    track.fade_in -= 1
                    self.fading.add(len(self.out))
                self.out.append(track.sound.pop(0))
                track.position += 1
        self.out += [0.0] * (end - len(self.out))

    # --- what happens between two samples ---

    def _settle(self) -> int:
        while self.queue:
            track = self.queue[0]
            self._leave_out(track)
            if track.ended and not track.sound and not track.finished:
                self._finish(track)
            have = track.pause if track.finished else len(track.sound)
            after = self.queue[1] if len(self.queue) > 1 and self.queue[1].tied else None
            if track.cut_here:
                if after:
                    self._align(after, track.reach)
                self._cross(track)
                continue
            if track.until is not None and not track.finished:
                have = min(have, track.until - track.reach)
            if after:
                more = self._until_joint(track, after)
                if more < 0:
                    self._cross(track)
                    continue
                have = min(have, more)
            if have or not track.finished:
                return have
            self.queue.remove(track)
        return 0

    def _until_joint(self, old: Track, new: Track) -> int:
        """Frames that ``old`` may still play, -1 = ``new`` takes over."""
        assert new.joint
        at = round(new.joint.at_s * self._rate_hz)
        reached, for_ever = old.reach >= at, 1 << 30
        self._align(new, old.reach)
        if old.finished:
            return -1 if reached and new.able else for_ever
        if reached and new.able:
            return -1
        if old.sound:
            return for_ever if reached else at - old.reach
        before = old  # it is dry: whoever of the chain is able ends the waiting
        for after in self.queue[1:]:
            if not after.tied:
                break
            self._align(after, before.reach)
            if after.able:
                return -1
            before = after
        return for_ever

    def _align(self, new: Track, reach: int) -> None:
        assert new.joint
        new.late = max(0, reach - round(new.joint.at_s * self._rate_hz))
        self._leave_out(new)

    def _leave_out(self, track: Track) -> None:
        count = min(len(track.sound), max(0, track.late - track.position))
        del track.sound[:count]
        track.position += count
        self.consumed += count

    def _cross(self, old: Track) -> None:
        if old.sounding or old.fade_in == self._fade:
            for new in self.queue[1:2]:
                new.fade_in = self._fade
        self._kill(old)

    def _begin(self, track: Track) -> None:
        if track.starving:
            track.starving = False
            self._tell("resumed", track)
        if not track.sounding and track.position:
            track.fade_in = self._fade
        if not track.begun:
            self._tell("started", track)
        track.begun = track.sounding = True

    def _starve(self, track: Track, frames: int) -> None:
        if not track.begun:
            track.fade_in = 0
            if track.prompt:
                return
        if not track.starving:
            self._tell("starved", track)
            self._hush(track)
        track.starving = True
        track.starved += frames

    def _finish(self, track: Track) -> None:
        track.finished, track.sounding = True, False
        self._bury(track, "ended")

    def _kill(self, track: Track) -> None:
        fade = self._hush(track)
        if not track.finished:
            whole = track.begun and track.ended and not track.sound
            self._bury(track, "ended" if whole else "cut", fade)
        self.consumed += len(track.sound) + track.pause
        self.queue.remove(track)

    def _bury(self, track: Track, kind: str, fade: int = 0) -> None:
        self._over[track.serial] = track.reach
        self._tell(kind, track, fade)

    def _hush(self, track: Track) -> int:
        sounded, track.sounding = track.sounding, False
        if not sounded or (track.ended and not track.sound):
            return 0
        self.fading.update(range(len(self.out), len(self.out) + self._fade))
        return self._fade

    def _tell(self, kind: str, track: Track, offset: int = 0) -> None:
        frame = len(self.out) + offset
        self.events.append((kind, track.serial, frame, track.position, track.starved))
