"""The sound of one segment on the device side.

Positions are in frames of the output.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from koed.audio.arrangement import Joint
from koed.audio.fade import Samples


class Track:
    """The sound of one segment as far as it is here and not yet played."""

    __slots__ = (
        "_chunks", "_offset", "_rise", "available", "begun", "ended", "faded", "finished", "joint",
        "last", "late", "pause", "position", "prompt", "seam", "serial", "shut", "sounding",
        "starved", "starving", "until",
    )  # fmt: skip

    def __init__(self, serial: int, rise: Samples) -> None:
        self.serial = serial
        self._chunks: deque[Samples] = deque()
        self._offset = 0  # into the first chunk
        self._rise = rise
        self.available = 0  # frames in the chunks
        self.position = 0  # frames of its timeline that are played or left out
        self.late = 0  # frames at its beginning that are to be left out
        self.pause = 0  # frames of silence behind it that are still to come
        self.starved = 0  # frames of silence in it because nothing was there
        self.last = 0.0  # the last sample played
        self.faded = len(rise)  # how far a fade-in has come
        self.ended = False  # nothing more will be fed
        self.begun = False  # a sample was played
        self.sounding = False  # its samples go out, and it was not faded out since
        self.finished = False  # every sample was played; its pause may go on
        self.starving = False
        self.prompt = False  # all before it was over when it was listed: waiting is no outage
        self.joint: Joint | None = None  # as it was said last
        self.seam: int | None = None  # where it takes over from the one before it in the queue
        self.until: int | None = None  # where it is cut
        self.shut = False  # it may not begin yet

    @property
    def reach(self) -> int:
        """Up to here its time line was heard, be it from the track before it."""
        return max(self.position, self.late)

    @property
    def heard(self) -> int:
        """Frames in the chunks that are not to be left out."""
        return max(0, self.available - max(0, self.late - self.position))

    @property
    def cut_here(self) -> bool:
        """It has come to where it is cut."""
        return self.until is not None and not self.finished and self.reach >= self.until

    def push(self, pcm: Samples) -> None:
        self._chunks.append(pcm)
        self.available += len(pcm)

    def take(self, out: Samples) -> int:
        """Play into ``out``; returns how many frames were there."""
        filled = 0
        while filled < len(out) and self._chunks:
            chunk = self._chunks[0]
            piece = chunk[self._offset : self._offset + len(out) - filled]
            out[filled : filled + len(piece)] = piece
            filled += len(piece)
            self._advance(len(piece), chunk)
        if self.faded < len(self._rise):
            curve = self._rise[self.faded : self.faded + filled]
            out[: len(curve)] *= curve
            self.faded += len(curve)
        self.last = float(out[filled - 1])
        return filled

    def leave_out(self) -> int:
        """Skip what is late, as far as it is here; returns how many frames that was."""
        before = self.position
        while self._chunks and self.position < self.late:
            chunk = self._chunks[0]
            self._advance(min(len(chunk) - self._offset, self.late - self.position), chunk)
        return self.position - before

    def _advance(self, frames: int, chunk: Samples) -> None:
        self.position += frames
        self.available -= frames
        self._offset += frames
        if self._offset == len(chunk):
            self._chunks.popleft()
            self._offset = 0

    def tail(self) -> Samples:
        """[F] how it fades out from here, without playing it: what comes next, held at its last
        value where nothing does."""
        frames = len(self._rise)
        out = np.empty(frames, dtype=np.float32)
        filled, offset = 0, self._offset
        for chunk in self._chunks:
            piece = chunk[offset : offset + frames - filled]
            out[filled : filled + len(piece)] = piece
            filled, offset = filled + len(piece), 0
            if filled == frames:
                break
        level = float(self._rise[self.faded]) if filled and self.faded < frames else 1.0
        out[filled:] = out[filled - 1] if filled else self.last
        out *= self._rise[::-1] * level
        return out

    def discard(self) -> int:
        """Forget the sound and the pause; returns how many frames they would have taken."""
        frames = self.available + self.pause
        self._chunks.clear()
        self.available = self.pause = self._offset = 0
        return frames
