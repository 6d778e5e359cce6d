"""The last minutes that an output played, for ``koe save``; and float to 16-bit samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

AHEAD = 24_000
"""Frames of silence that are written at once: while nothing sounds, most blocks write nothing."""


def to_int16(block: NDArray[np.float32]) -> NDArray[np.int16]:
    """[S] float32 in -1..1 as int16, rounded; what lies outside is clipped."""
    scaled = np.rint(block * np.float32(32767.0))
    pcm: NDArray[np.int16] = np.clip(scaled, -32768.0, 32767.0).astype(np.int16)
    return pcm


class History:
    """A ring of mono int16 samples, addressed by the frame number of the playback clock.

    One thread writes, another reads, and nobody waits: a reader checks afterwards what the
    writer may have reached meanwhile.
    """

    def __init__(self, frames: int, ahead: int = AHEAD) -> None:
        self._frames, self._ahead = max(frames, 0), ahead
        self._ring = np.empty(self._frames + ahead if frames > 0 else 0, dtype=np.int16)
        self._ring.fill(0)  # touch every page now, so that memory does not grow while it fills
        self._claimed = 0  # up to here the writer may have written, or be writing at this moment
        self._blank = len(self._ring)  # up to here all that comes after the newest frame is zero
        self.end_frame = 0
        """One past the newest frame."""

    @property
    def first_frame(self) -> int:
        """The oldest frame that can still be read."""
        return max(0, self.end_frame - self._frames)

    def write(self, block: NDArray[np.float32] | None, frames: int) -> None:
        """Append ``block`` [frames] (None = silence)."""
        end = self.end_frame + frames
        if block is not None:
            self._put(end, to_int16(block[-len(self._ring) :] if len(self._ring) else block[:0]))
        elif end > self._blank:
            self._blank = max(end, self.end_frame + self._ahead)
            length = min(self._blank - self.end_frame, len(self._ring))
            self._put(self._blank, np.zeros(length, dtype=np.int16))
        self.end_frame = end

    def _put(self, end: int, pcm: NDArray[np.int16]) -> None:
        """Write ``pcm`` [S] so that it ends before frame ``end``; S is at most the ring's size."""
        self._claimed = max(self._claimed, end)
        if len(pcm):
            begin = (end - len(pcm)) % len(self._ring)
            head = min(len(pcm), len(self._ring) - begin)
            self._ring[begin : begin + head] = pcm[:head]
            self._ring[: len(pcm) - head] = pcm[head:]

    def page(self, from_frame: int, max_frames: int) -> tuple[int, NDArray[np.int16]]:
        """A copy ``[S]``, S <= ``max_frames``, and the number of its first frame.

        That number is higher than ``from_frame`` where the ring no longer holds it; nothing is
        returned beyond ``end_frame``.
        """
        size = len(self._ring)
        first = max(from_frame, self.first_frame)
        count = max(0, min(max_frames, self.end_frame - first))
        if not count:
            return first, np.empty(0, dtype=np.int16)
        begin = first % size
        head = min(count, size - begin)
        pcm = np.concatenate((self._ring[begin : begin + head], self._ring[: count - head]))
        late = min(max(0, self._claimed - size - first), count)  # written over meanwhile
        return first + late, pcm[late:]
