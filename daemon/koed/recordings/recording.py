"""Reference audio as it was recorded: read from a file, refused with a reason, written again.

Without torch, so that `koed enroll` can look at a clip as the engine will.

Shapes: S samples. Waves are float32 in -1..1.
"""

from __future__ import annotations

import io
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from koed.errors import EngineError
from koed.recordings import ffmpeg

LOWEST_HZ, HIGHEST_HZ = 16_000, 384_000
SHORTEST_S, LONGEST_S = 0.5, 30.0
PROMPT_S = (3.0, 10.0)
"""What the models were trained to continue."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A reference as it was recorded, all finite."""

    samples: NDArray[np.float32]
    """Mono ``[S]``; files may exceed -1..1."""
    rate_hz: int

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.rate_hz


def read(source: bytes | Path, longest_s: float = LONGEST_S) -> Recording:
    """A wav, flac, ogg or mp3 file (its bytes or its path) as one channel; with the program ffmpeg
    also m4a, mp4, webm and aac.

    Raises `EngineError` with a code ``reference_*`` or ``decoder_missing`` and what to do; a file
    that is too long is refused before it is decoded.
    """
    if isinstance(source, Path) and not source.is_file():
        what = "is a folder" if source.is_dir() else "does not exist"
        raise EngineError("reference_unreadable", f"{source} {what}", "name a recording")
    if form := ffmpeg.kind(_head(source)):
        with ffmpeg.as_wave(source, form, longest_s) as wave_file:
            return _decoded(wave_file, longest_s)
    return _decoded(source, longest_s)


def _head(source: bytes | Path) -> bytes:
    if isinstance(source, bytes):
        return source[: ffmpeg.HEAD_BYTES]
    try:
        with source.open("rb") as file:
            return file.read(ffmpeg.HEAD_BYTES)
    except OSError:
        return b""  # told by who reads it


def _decoded(source: bytes | Path, longest_s: float) -> Recording:
    soundfile = _soundfile()
    try:
        with soundfile.SoundFile(io.BytesIO(source) if isinstance(source, bytes) else source) as f:
            _check_format(f.channels, f.samplerate)
            _check_length(len(f) / f.samplerate, SHORTEST_S, longest_s)
            samples = f.read(dtype="float32", always_2d=True)
            rate_hz = int(f.samplerate)
    except (soundfile.SoundFileError, OSError) as error:
        raise EngineError(
            "reference_unreadable",
            f"the reference audio cannot be read: {error}",
            "give it as a wav, flac, ogg, mp3, m4a, mp4, webm or aac file",
        ) from error
    _check_length(len(samples) / rate_hz, SHORTEST_S, longest_s)  # a header may promise too much
    mono = np.ascontiguousarray(samples.mean(axis=1, dtype=np.float32))
    if not np.isfinite(mono).all():
        raise EngineError(
            "reference_damaged",
            "the reference audio holds samples that are not numbers",
            "export it anew, as 16 bit wav or flac",
        )
    return Recording(mono, rate_hz)


def check_prompt(recording: Recording) -> None:
    """Refuse what is no prompt for the text model: it continues 3 to 10 s of speech."""
    _check_length(recording.duration_s, *PROMPT_S)


def _check_format(channels: int, rate_hz: int) -> None:
    if channels > 2:
        raise EngineError(
            "reference_channels",
            f"the reference audio has {channels} channels",
            "mix it down to mono: which channel holds the voice cannot be guessed",
        )
    if not LOWEST_HZ <= rate_hz <= HIGHEST_HZ:
        raise EngineError(
            "reference_rate",
            f"the reference audio has {rate_hz} samples a second",
            f"record at {LOWEST_HZ} Hz or more, best at 44100 or 48000; converting what was"
            " recorded at less brings nothing back",
        )


def _check_length(duration_s: float, shortest_s: float, longest_s: float) -> None:
    if duration_s <= 0:
        raise EngineError(
            "reference_empty", "the reference audio holds no sample", "record 3 to 10 s of speech"
        )
    if not shortest_s <= duration_s <= longest_s:
        side = "short" if duration_s < shortest_s else "long"
        raise EngineError(
            f"reference_{side}",
            f"the reference audio lasts {duration_s:.2f} s, too {side}",
            f"cut it so that it lasts {shortest_s:g} to {longest_s:g} s",
        )


def _soundfile() -> Any:
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError: the package without its libsndfile
        raise EngineError(
            "library_missing",
            f"audio files cannot be read: {error}",
            "install the neural extra, or the package soundfile alone",
        ) from error
    return soundfile


def write(path: Path, recording: Recording) -> None:
    """As wav: mono, its own rate, 16 bit; a level above full scale is brought down, not cut."""
    peak = max(1.0, float(np.abs(recording.samples).max(initial=0.0)))
    whole = np.round(recording.samples * (32767.0 / peak)).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(recording.rate_hz)
        file.writeframes(whole.tobytes())
