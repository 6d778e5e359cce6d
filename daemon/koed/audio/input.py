"""A track as it comes in: its gain, and its way to the rate of the output."""

from __future__ import annotations

import numpy as np
import soxr

from koed.audio.fade import Samples
from koed.audio.lane import Lane


class Input:
    """The control side of a track."""

    __slots__ = ("gain", "lane", "rate_hz", "resampler", "serial")

    def __init__(self, serial: int, lane: Lane, gain: float) -> None:
        self.serial = serial
        self.lane = lane
        self.gain = gain
        self.rate_hz = 0  # of what was fed last
        self.resampler: soxr.ResampleStream | None = None

    def convert(self, pcm: Samples, rate_hz: int, to_hz: int) -> Samples:
        """[S] at ``rate_hz`` as [S'] at ``to_hz``; the resampler holds some of it back."""
        before = np.empty(0, dtype=np.float32)
        if rate_hz != self.rate_hz:
            before = self.flush()
            self.rate_hz = rate_hz
            if rate_hz != to_hz:
                self.resampler = soxr.ResampleStream(rate_hz, to_hz, 1, dtype="float32")
        after: Samples = pcm if self.resampler is None else self.resampler.resample_chunk(pcm)
        return np.concatenate((before, after)) if len(before) else after

    def flush(self) -> Samples:
        """[S] what the resampler still holds."""
        resampler, self.resampler = self.resampler, None
        nothing = np.empty(0, dtype=np.float32)
        return nothing if resampler is None else resampler.resample_chunk(nothing, last=True)
