"""Formants moved, and nothing else: the spectral envelope is warped, frame by frame.

The envelope of a frame is its log spectrum smoothed over frequency, the low part of its cepstrum
(A. V. Oppenheim, R. W. Schafer, "Homomorphic analysis of speech", 1968). The frame is multiplied by
the envelope as it is elsewhere and divided by its own: pitch, pace, noise and phase stay.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_HOP_S = 0.010
_LIFTER_S = 0.0018
"""So much of the cepstrum is the envelope: less than a period of any voice."""
_MOVED_TO_HZ = 4500.0
"""Formants that make words lie below and move by the whole amount."""
_STILL_FROM_HZ = 8000.0
"""From here on nothing moves, and less and less on the way there: an s stays an s."""
_MOST_NEPERS = 2.0
"""Nothing is made louder or softer by more."""
_FLOOR = 1e-4


class Warp:
    """``semitones`` up = a smaller speaker.

    What comes out stands where it went in: `push` gives what is certain, all but the last 20 ms,
    and `finish` the rest. A frame is 20 ms, every second one begins in the middle of another.
    """

    def __init__(self, semitones: float, rate_hz: int) -> None:
        self._hop = hop = round(_HOP_S * rate_hz)
        self._size = 1 << (2 * hop - 1).bit_length()
        turn = math.pi * (np.arange(2 * hop) + 0.5) / (2 * hop)
        self._window = np.sin(turn).astype(np.float32)
        self._lifter = _lifter(self._size, rate_hz)
        self._from = _sources(semitones, self._size, rate_hz)
        self._past = np.zeros(hop, dtype=np.float32)
        """What went in and is not in two frames yet."""
        self._half = np.zeros(hop, dtype=np.float32)
        """The second half of the last frame."""
        self._owed = 0
        """Samples that went in and have not come out."""
        self._lead = hop
        """So much of what comes out next is the silence before the first sample."""

    def push(self, pcm: NDArray[np.float32]) -> NDArray[np.float32]:
        hop, lead = self._hop, self._lead
        joined = np.concatenate((self._past, pcm))
        count = max(0, len(joined) // hop - 1)
        self._past = joined[count * hop :]
        self._owed += len(pcm)
        if count == 0:
            return pcm[:0]
        frames = np.lib.stride_tricks.sliding_window_view(joined, 2 * hop)[: count * hop : hop]
        made = self._warped(frames * self._window) * self._window
        out = made[:, :hop].copy()
        out[0] += self._half
        out[1:] += made[:-1, hop:]
        self._half, self._lead = made[-1, hop:], 0
        self._owed -= count * hop - lead
        return out.ravel()[lead:]

    def finish(self) -> NDArray[np.float32]:
        owed = self._owed
        return self.push(np.zeros(2 * self._hop, dtype=np.float32))[:owed]

    def _warped(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """``[F, 2 * hop]`` to the same."""
        spectrum = np.fft.rfft(frames, self._size)
        cepstrum = np.fft.irfft(np.log(np.abs(spectrum) + np.float32(_FLOOR)), self._size)
        envelope = np.fft.rfft(cepstrum * self._lifter).real
        bins, share = self._from
        low, high = envelope[:, bins], envelope[:, bins + 1]
        change = low + share * (high - low) - envelope
        spectrum *= np.exp(change.clip(-_MOST_NEPERS, _MOST_NEPERS))
        return np.fft.irfft(spectrum, self._size)[:, : frames.shape[1]].astype(np.float32)


def _lifter(size: int, rate_hz: int) -> NDArray[np.float32]:
    """1 at the beginning of a cepstrum ``[size]`` and at its end, which mirrors it; 0 between."""
    at = np.arange(size)
    quefrency_s = np.minimum(at, size - at) / rate_hz
    fade = np.clip((_LIFTER_S - quefrency_s) / (0.4 * _LIFTER_S), 0.0, 1.0)
    return (0.5 - 0.5 * np.cos(math.pi * fade)).astype(np.float32)


def _sources(
    semitones: float, size: int, rate_hz: int
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Where each bin finds its envelope: the bin below, and the share of the one above it."""
    factor, still_hz = math.exp2(semitones / 12.0), min(_STILL_FROM_HZ, rate_hz / 2)
    moved_hz = _MOVED_TO_HZ * min(1.0, factor)
    hz = np.fft.rfftfreq(size, 1 / rate_hz)
    knots = (0.0, moved_hz, still_hz, float(rate_hz))
    found = np.interp(hz, knots, (0.0, moved_hz / factor, *knots[2:])) * size / rate_hz
    bins = np.minimum(found.astype(np.intp), size // 2 - 1)
    return bins, (found - bins).astype(np.float32)
