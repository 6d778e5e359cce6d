"""Where blocks go besides a sound card: a clocked nothing, and a WAV file."""

from __future__ import annotations

import threading
import time
import wave
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from koed.audio.history import to_int16
from koed.audio.mixer import Mixer
from koed.errors import DeviceError

REANCHOR_S = 1.0
"""A clock that is later than this (a suspended machine) starts anew instead of catching up."""
BUFFER_BLOCKS = 3
"""A sound card has about so many blocks in hand: a block that is later than this is an underrun."""

NAP_S = 0.05
"""So long is slept at once while nothing sounds; whatever is asked for wakes it."""


class NullDevice:
    """Renders a block every ``block_frames / rate_hz`` seconds and throws it away.

    Block k is due at ``start + k * block``, whatever the thread's delays were, so that the clock
    does not drift; a late thread catches up block by block. While the mixer is idle, some blocks
    are passed over without waking for each; what is asked for then sounds no later.
    ``tap(block [S] float32, t)`` sees each block with the monotonic time when it was ready; it must
    copy what it keeps.
    """

    def __init__(
        self,
        rate_hz: int,
        block_frames: int,
        *,
        tap: Callable[[NDArray[np.float32], float], None] | None = None,
    ) -> None:
        self.name = "null"
        self.latency_s = block_frames / rate_hz
        """From `Mixer.render` to the ear."""
        self.underruns = 0
        self.blocks = 0
        self.anchor: tuple[int, float] | None = None
        """A frame of the mixer's clock and the monotonic time when it was taken."""
        self.reanchored = 0
        """How often the clock started anew."""
        self._block_frames = block_frames
        self._block_s = block_frames / rate_hz
        self._tap = tap
        self._thread: threading.Thread | None = None
        self._closing = False

    def open(self, mixer: Mixer) -> None:
        assert self._thread is None, "the device is open"
        self._closing = False
        self._thread = threading.Thread(
            target=self._run, args=(mixer,), name="null-device", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop; `Mixer.render` is not called any more when this returns."""
        self._closing = True
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self, mixer: Mixer) -> None:
        start, count = time.monotonic(), 0
        while not self._closing:
            late_s = time.monotonic() - (start + count * self._block_s)
            if late_s < 0:
                if mixer.idle and self._tap is None:
                    count += self._nap(mixer, start + count * self._block_s)
                else:
                    time.sleep(-late_s)
                continue
            if late_s > BUFFER_BLOCKS * self._block_s:
                self.underruns += 1
            if late_s > REANCHOR_S:
                self.reanchored += 1
                start, count = time.monotonic(), 0
            self.anchor = mixer.clock_frames, time.monotonic()
            block = mixer.render(self._block_frames)
            count += 1
            self.blocks += 1
            if self._tap is not None:
                self._tap(block, time.monotonic())

    def _nap(self, mixer: Mixer, due_s: float) -> int:
        """Sleep over blocks, the next of which is due at ``due_s``; how many have passed."""
        most = max(1, round(NAP_S / self._block_s))
        mixer.wait(due_s + (most - 1) * self._block_s - time.monotonic())
        late_s = time.monotonic() - due_s
        passed = min(int(late_s / self._block_s) + 1, most) if late_s >= 0 else 0
        mixer.pass_over(passed * self._block_frames)
        self.blocks += passed
        return passed


def write_wav(path: str, pcm: NDArray[np.int16], rate_hz: int) -> None:
    """Write ``pcm`` [S] mono as a 16-bit WAV file; raises `DeviceError` ``cannot_write``."""
    with WavSink(path, rate_hz) as sink:
        sink.write(pcm)


class WavSink:
    """A mono 16-bit WAV file that takes sound from a mixer as fast as there is some.

    Waiting for an engine is not part of the file: `pull` renders only what can be played now.
    The limiter's delay is taken off its beginning. Errors of the file are `DeviceError`
    ``cannot_write``.
    """

    def __init__(self, path: str, rate_hz: int, block_frames: int = 480) -> None:
        self.rate_hz = rate_hz
        self.frames = 0
        """Written so far."""
        self._path = path
        self._block_frames = block_frames
        self._delayed = 0  # frames rendered that have yet to come out of the limiter
        try:
            self._file = open(path, "wb")  # noqa: SIM115 - closed by `close`
        except OSError as error:
            raise self._failure(error) from error
        self._wav = wave.Wave_write(self._file)
        self._wav.setnchannels(1)
        self._wav.setsampwidth(2)
        self._wav.setframerate(rate_hz)

    def __enter__(self) -> WavSink:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def pull(self, mixer: Mixer, seconds: float = float("inf")) -> float:
        """Render and write what is ready, at most ``seconds``; returns the seconds rendered."""
        limit = seconds * self.rate_hz
        pulled = 0
        while pulled < limit:
            frames = int(min(self._block_frames, mixer.ready(), limit - pulled))
            if frames <= 0:
                break
            self._render(mixer, frames)
            pulled += frames
        return pulled / self.rate_hz

    def finish(self, mixer: Mixer) -> None:
        """Write what is still on its way: for when the last track has ended."""
        self.pull(mixer)
        self._render(mixer, self._delayed)
        self.close()

    def write(self, pcm: NDArray[np.int16]) -> None:
        """Append ``pcm`` [S]."""
        self._guarded(self._wav.writeframesraw, pcm.astype("<i2", copy=False).tobytes())
        self.frames += len(pcm)

    def close(self) -> None:
        """Complete the file's header. Closing twice is harmless."""
        if self._file.closed:
            return
        try:
            self._guarded(self._wav.close)
        finally:
            self._guarded(self._file.close)

    def _render(self, mixer: Mixer, frames: int) -> None:
        block = mixer.render(frames)
        early = min(mixer.delay_frames - self._delayed, frames)
        self._delayed += early
        self.write(to_int16(block[early:]))

    def _guarded(self, action: Callable[..., Any], *arguments: Any) -> None:
        try:
            action(*arguments)
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> DeviceError:
        return DeviceError(
            "cannot_write",
            f"cannot write {self._path}: {error.strerror}",
            "choose another file or make room on the disk",
        )
