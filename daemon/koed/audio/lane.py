"""One lane of an output: tracks of sound that play one after the other without a gap.

Everything here runs on the device side, inside `koed.audio.mixer.Mixer.render`, except for the
two attributes of `Lane` that the control side writes. Positions are in frames of the output.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from koed.audio.arrangement import Entry, Joint, Kind
from koed.audio.fade import Ramp, Samples
from koed.audio.track import Track

Log = Callable[[Kind, Track, int, int], None]
"""(kind, track, lane, frames from the beginning of the block)"""


class Lane:
    """A queue of tracks as the newest list has them, the tails of those that were faded out, and
    the lane's gain."""

    def __init__(
        self, number: int, rate_hz: int, rise: Samples, log: Log, *, paused: bool = False
    ) -> None:
        self.number = number
        # Written by the control side.
        self.newest: Sequence[Entry] = ()  # what is to be heard; never changed, only replaced
        self.fed = 0  # frames fed so far, pauses included
        # Written by the device side.
        self.consumed = 0  # of those: played, left out, dropped or refused
        self.starved = 0  # frames of outage
        self.now = (0, 0)  # (serial of the track that sounds or 0, its position)
        self._rate_hz = rate_hz
        self._rise = rise
        self._log = log
        self._paused = paused
        self._gain = Ramp(rise)
        self._read: Sequence[Entry] = ()  # the list that the queue is made from
        self._queue: list[Track] = []  # one that is over, but for its pause, stands in it as well
        self._tracks: dict[int, Track] = {}  # the queue by serial
        self._over: dict[int, int] = {}  # reach by serial, of tracks that are over and still named
        self._tails: list[tuple[Samples, int]] = []  # (sound, where in this block it begins)

    # --- the newest list ---

    def read(self) -> None:
        """Make the newest list so: called before a block, and before it is asked what can be
        played."""
        newest = self.newest
        if newest is self._read:
            return
        self._read = newest
        front = self._queue[0] if self._queue else None
        named = {entry.serial for entry in newest}
        for track in [t for t in self._queue if t.serial not in named]:
            self._kill(track)
        self._over = {serial: at for serial, at in self._over.items() if serial in named}
        self._queue = self._queue_of(newest)
        if front is not None and self._queue and self._queue[0] is not front:
            self._hush(front)

    def _queue_of(self, entries: Sequence[Entry]) -> list[Track]:
        queue: list[Track] = []
        quiet = True  # all before it are over
        for entry in entries:
            track = self._tracks.get(entry.serial)
            if track is None:
                if entry.serial in self._over:
                    continue
                track = self._tracks[entry.serial] = Track(entry.serial, self._rise)
                track.prompt = quiet
            track.shut = entry.shut and not track.begun
            until_s = entry.until_s
            track.until = None if until_s is None else round(until_s * self._rate_hz)
            self._tie(track, entry.joint, queue[-1].serial if queue else 0)
            quiet = quiet and track.finished
            queue.append(track)
        return queue

    def _tie(self, track: Track, joint: Joint | None, before: int) -> None:
        """Have ``track`` take over from the track ``before`` it, or from one that is over."""
        said, track.joint, track.seam = track.joint, joint, None
        if joint is None or track.begun:
            return
        at = round(joint.at_s * self._rate_hz)
        if joint.old == before:
            track.seam = at
        elif joint != said and joint.old in self._over:
            track.late = max(0, self._over[joint.old] - at)
        # Else it is void, or is known: what its old one left late of it stays so, also when that
        # one is named no more. Saying the same again may not change it.

    # --- commands, each run between two blocks ---

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

    def pause(self, on: bool) -> None:
        if on == self._paused:
            return
        self._paused = on
        if on and self._queue:
            self._hush(self._queue[0])

    def duck(self, gain: float) -> None:
        self._gain.set(gain)
        if not self.busy:
            self._gain.settle()

    # --- the device side ---

    @property
    def busy(self) -> bool:
        """False = `render` would only write silence."""
        return bool(self._queue or self._tails)

    @property
    def behind(self) -> bool:
        """A list waits to be read."""
        return self.newest is not self._read

    def playable(self) -> tuple[int, bool]:
        """Frames that can be played before something is missing, and whether that is all. Ends
        tracks that have nothing left, so that 0 means that nothing can go on.

        It counts no track that another may take over from: how far that one goes depends on what
        comes till then.
        """
        if self._paused:
            return 0, False
        frames = self._settle(0)
        if not frames:
            return 0, not self._queue
        front = self._queue[0]
        if self._seam(1) is not None or front.until is not None:
            return frames, False
        if not front.finished:
            frames += front.pause
        before = front
        for index, track in enumerate(self._queue[1:], 1):
            replaced = self._seam(index + 1) is not None or track.until is not None
            if not before.ended or replaced or track.shut:
                return frames, False
            frames += track.heard + track.pause
            before = track
        return frames, before.ended

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

    def _play(self, out: Samples) -> bool:
        filled, size, sounds = 0, len(out), False
        while filled < size:
            count = self._settle(filled)
            if not count:
                if self._queue:
                    self._starve(self._queue[0], size, filled)
                break
            if count > size - filled:
                count = size - filled
            track = self._queue[0]
            piece = out if count == size else out[filled : filled + count]
            if track.finished:
                piece[:] = 0.0
                track.pause -= count
            else:
                if not track.sounding:
                    self._begin(track, filled)
                count = track.take(piece)
                sounds = True
            self.consumed += count
            filled += count
        out[filled:] = 0.0
        return sounds

    def _settle(self, offset: int) -> int:
        """Do what takes no time: leave out what is late, say that a track is over, cut it where
        another goes on, let one take over at its joint. Returns for how many frames the first
        track of the queue can go on then, with its sound or its pause; 0 = it waits, or there is
        none."""
        while self._queue:
            track = self._queue[0]
            if track.shut:
                return 0
            if track.position < track.late:
                self.consumed += track.leave_out()
            if track.ended and not (track.available or track.finished):
                track.finished = True
                track.sounding = False
                self._over[track.serial] = track.reach
                self._log("ended", track, self.number, offset)
            if track.cut_here:
                self._there(1, deep=False)  # of its joint, if it has one: what was heard is late
                self._take_over(track, offset)
                continue
            frames = track.pause if track.finished else track.available
            if track.until is not None and not track.finished:
                frames = min(frames, track.until - track.reach)
            if (seam := self._seam(1)) is not None:
                limit = self._join(track, seam, frames)
                if limit is None:
                    self._take_over(track, offset)
                    continue
                frames = limit
            if frames or not track.finished:
                return frames
            self._forget(track)
        return 0

    def _seam(self, index: int) -> int | None:
        """Of a track of the queue with the one before it."""
        return self._queue[index].seam if index < len(self._queue) else None

    def _join(self, old: Track, seam: int, frames: int) -> int | None:
        """How many of ``frames`` the first track may go on; None = the second takes over now."""
        dry = not old.ended and not old.available
        there = self._there(1, deep=dry)
        left = seam - old.reach  # until the point
        if old.finished:
            return None if there and left <= 0 else frames
        if left > 0:
            return None if there and dry else min(frames, left)
        return None if there else frames

    def _there(self, index: int, *, deep: bool) -> bool:
        """Whether a track of the queue that has a joint can take over: it has sound that is not
        late, or has ended. ``deep``: or has nothing yet, and the next one can at once take over
        from it; for when the track before it has nothing either, and all would wait for ever."""
        seam = self._seam(index)
        if seam is None:
            return False
        new = self._queue[index]
        new.late = max(0, self._queue[index - 1].reach - seam)
        self.consumed += new.leave_out()
        return bool(new.available) or new.ended or (deep and self._there(index + 1, deep=True))

    def _take_over(self, old: Track, offset: int) -> None:
        """Cross-fade to what follows, also if ``old`` was to be faded in itself and came to
        nothing."""
        if (self._kill(old, offset) or old.faded == 0) and self._queue:
            self._queue[0].faded = 0

    def _begin(self, track: Track, offset: int) -> None:
        track.sounding = True
        if track.starving:
            track.starving = False
            self._log("resumed", track, self.number, offset)
        if track.position:  # in the middle of a sound
            track.faded = 0
        if not track.begun:
            track.begun = True
            self._log("started", track, self.number, offset)

    def _starve(self, track: Track, size: int, offset: int) -> None:
        if not track.begun:
            track.faded = len(self._rise)  # there is nothing to cross-fade with any more
            if track.prompt or track.shut:
                return
        if not track.starving:
            track.starving = True
            self._log("starved", track, self.number, offset)
            self._hush(track, offset)
        track.starved += size - offset
        self.starved += size - offset

    def _hush(self, track: Track, offset: int = 0) -> bool:
        """Fade a track out if it sounds; it goes on from here with a fade-in, if it does. Returns
        whether it sounded."""
        if not track.sounding:
            return False
        track.sounding = False
        if track.ended and not track.available:
            return False  # it was heard to its end: nothing is left to fade
        self._tails.append((track.tail(), offset))
        return True

    def _kill(self, track: Track, offset: int = 0) -> bool:
        """End a track here and now, with a fade if it sounds; returns whether it does."""
        fades = self._hush(track, offset)
        if not track.finished:
            whole = track.begun and track.ended and not track.available
            fade = len(self._rise) if fades else 0
            self._over[track.serial] = track.reach
            self._log("ended" if whole else "cut", track, self.number, offset + fade)
        self.consumed += track.discard()
        self._forget(track)
        return fades

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
