"""One lane of an output: tracks of sound that play one after the other without a gap.

Everything here runs on the device side, inside `koed.audio.mixer.Mixer.render`, except for the
two attributes of `Lane` that the control side writes. Positions are in frames of the output.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from typing import Literal

from koed.audio.track import Joint, Ramp, Samples, Track

Kind = Literal["started", "ended", "cut", "starved", "resumed"]
Log = Callable[[Kind, Track, int, int], None]
"""(kind, track, lane, frames from the beginning of the block)"""


class Lane:
    """A queue of tracks, the tails of those that were cut, and the lane's gain."""

    def __init__(self, number: int, rise: Samples, log: Log, *, paused: bool = False) -> None:
        self.number = number
        # Written by the control side.
        self.floor = 0  # every track with a lower serial is dead
        self.fed = 0  # frames fed so far, pauses included
        # Written by the device side.
        self.consumed = 0  # of those: played, left out or dropped
        self.starved = 0  # frames of outage
        self.now = (0, 0)  # (serial of the track that sounds or 0, its position)
        self._sunk = 0  # the floor that was last seen
        self._rise = rise
        self._log = log
        self._paused = paused
        self._gain = Ramp(rise)
        self._queue: deque[Track] = deque()
        self._tracks: dict[int, Track] = {}  # the queue by serial
        self._tails: list[tuple[Samples, int]] = []  # (sound, where in this block it begins)
        self._over = (0, 0)  # (serial, position) of the last track that came to its end

    # --- commands, each called between two blocks ---

    def open(self, serial: int) -> None:
        track = Track(serial, self._rise)
        track.prompt = not self._queue or self._queue[-1].finished
        self._append(track)

    def feed(self, serial: int, pcm: Samples) -> None:
        track = self._tracks.get(serial)
        if track is None:
            self.consumed += len(pcm)
        else:
            track.push(pcm)

    def end(self, serial: int, pause: int) -> None:
        track = self._tracks.get(serial)
        if track is None:
            self.consumed += pause
        else:
            track.ended, track.pause = True, pause

    def drop(self, serials: Collection[int]) -> None:
        for track in [t for t in self._queue if t.serial in serials]:
            self._kill(track)

    def splice(self, old: int, new: int, at: int, aligned: bool) -> None:
        track = Track(new, self._rise)
        head = self._tracks.get(old)
        behind = list(self._queue)
        if head is not None:
            behind = behind[behind.index(head) + 1 :]
            head.joint = Joint(track, at, aligned)
        elif aligned and self._over[0] == old:
            track.late = max(0, self._over[1] - at)
        for other in behind:
            self._kill(other)
        track.prompt = not self._queue
        self._append(track)

    def pause(self, on: bool) -> None:
        if on == self._paused:
            return
        self._paused = on
        head = self._queue[0] if self._queue else None
        if head is None or not head.begun or head.finished or head.starving:
            return
        if on:
            self._tails.append((head.tail(), 0))
        else:
            head.faded = 0

    def duck(self, gain: float) -> None:
        self._gain.set(gain)
        if not self.busy:
            self._gain.settle()

    # --- the device side ---

    @property
    def busy(self) -> bool:
        """False = `render` would only write silence."""
        return bool(self._queue or self._tails)

    def sink(self) -> None:
        """Look at the floor and end what is below it."""
        if self._sunk != self.floor:
            self._sunk = self.floor
            for track in [t for t in self._queue if t.serial < self._sunk]:
                self._kill(track)

    def playable(self) -> tuple[int, bool]:
        """Frames that can be played before something is missing, and whether that is all."""
        frames = 0
        for track in self._queue if not self._paused else ():
            frames += track.available + track.pause
            if not track.ended:
                return frames, False
        return frames, not self._paused

    def render(self, out: Samples) -> bool:
        """Fill ``out`` [S]; returns whether anything sounds in it."""
        sounds = False
        if self._paused:
            out[:] = 0.0
        else:
            sounds = self._play(out)
            head = self._queue[0] if self._queue else None
            if head is not None and head.begun and not head.finished:
                self.now = (head.serial, head.position)
            else:
                self.now = (0, 0)
        if self._tails:
            self._mix_tails(out)
            sounds = True
        if not self._gain.neutral:
            self._gain.apply(out)
        return sounds

    def _append(self, track: Track) -> None:
        if track.serial < self._sunk:
            self._log("cut", track, self.number, 0)
            return
        self._queue.append(track)
        self._tracks[track.serial] = track

    def _play(self, out: Samples) -> bool:
        filled, size, sounds = 0, len(out), False
        while self._queue and filled < size:
            track = self._queue[0]
            limit = size - filled
            if track.joint is not None:
                limit = min(limit, self._join(track, track.joint, filled))
                if not limit:
                    continue
            if track.position < track.late:
                self.consumed += track.leave_out()
            if track.available:
                if track.starving or not track.begun:
                    self._begin(track, filled)
                count = track.take(out[filled : filled + limit])
                self.consumed += count
                filled += count
                sounds = True
            elif track.ended:
                filled += self._rest(track, out[filled:], filled)
            else:
                self._starve(track, size, filled)
                break
        out[filled:] = 0.0
        return sounds

    def _begin(self, track: Track, offset: int) -> None:
        if track.starving:
            track.starving = False
            self._log("resumed", track, self.number, offset)
            if track.begun:
                track.faded = 0
        if not track.begun:
            track.begun = True
            if track.position:  # it begins in the middle of a sound
                track.faded = 0
            self._log("started", track, self.number, offset)

    def _rest(self, track: Track, out: Samples, offset: int) -> int:
        """Say that ``track`` is over and be silent for its pause; returns the frames of that."""
        if not track.finished:
            track.finished = True
            self._over = (track.serial, track.position)
            self._log("ended", track, self.number, offset)
        count = min(track.pause, len(out))
        out[:count] = 0.0
        track.pause -= count
        self.consumed += count
        if not track.pause:
            self._forget(track)
        return count

    def _starve(self, track: Track, size: int, offset: int) -> None:
        if track.prompt and not track.begun:
            return
        if not track.starving:
            track.starving = True
            self._log("starved", track, self.number, offset)
            if track.begun and track.last:
                self._tails.append((track.tail(), offset))
        track.starved += size - offset
        self.starved += size - offset

    def _join(self, old: Track, joint: Joint, offset: int) -> int:
        """Replace ``old`` if it is time; returns how far it may still play, 0 = it is replaced."""
        new = joint.track
        if new.serial not in self._tracks:
            old.joint = None
            return old.available + 1
        if joint.aligned:
            new.late = max(0, old.position - joint.at)
            self.consumed += new.leave_out()
        if not (new.available or new.ended):
            return max(1, old.available)
        if old.available and old.position < joint.at:
            return joint.at - old.position
        if self._kill(old, offset):
            new.faded = 0
        return 0

    def _kill(self, track: Track, offset: int = 0) -> bool:
        """End a track here and now, with a fade if it sounds; returns whether it does."""
        fade = 0
        whole = track.begun and track.ended and not track.available  # nothing is left to fade
        if track.begun and not (whole or track.starving or self._paused):
            self._tails.append((track.tail(), offset))
            fade = len(self._rise)
        if not track.finished:
            self._log("ended" if whole else "cut", track, self.number, offset + fade)
        self.consumed += track.discard()
        self._forget(track)
        return fade > 0

    def _forget(self, track: Track) -> None:
        if self.now[0] == track.serial:
            self.now = (0, 0)
        self._queue.remove(track)
        del self._tracks[track.serial]

    def _mix_tails(self, out: Samples) -> None:
        size, left = len(out), []
        for sound, begin in self._tails:
            skip, at = max(0, -begin), max(0, begin)
            piece = sound[skip : skip + size - at]
            out[at : at + len(piece)] += piece
            if begin - size + len(sound) > 0:
                left.append((sound, begin - size))
        self._tails = left
