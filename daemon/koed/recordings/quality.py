"""Whether a reference clip is fit to be imitated: level, clipping, noise, silence, noise-likeness.

What cannot work is an error with all its reasons; what will sound worse is a remark. Without
torch: `koed enroll` asks here, and so does the engine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from koed.errors import EngineError
from koed.recordings.recording import Recording

FRAME_S = 0.02
QUIET_DBFS, FAINT_DBFS = -40.0, -55.0
CLIPPED_REMARK, CLIPPED_ERROR = 0.0005, 0.02
NOISY_DB, NOISE_DB = 20.0, 6.0
PAUSING, SILENT = 0.4, 0.8
ENTROPY = 0.88
"""Of the spectrum of the louder frames. White noise has 0.92 in frames of this length, because a
periodogram is not flat; speech has 0.4 to 0.75."""
SILENCE_BELOW_DB = 35.0
_FULL = 0.999

Grade = Literal["good", "poor", "unfit"]


@dataclass(frozen=True, slots=True)
class Measures:
    """What was measured."""

    level_dbfs: float
    """RMS of the frames that are not silence."""
    clipped: float
    """Share of the samples at full scale."""
    noise_db: float
    """How far the quietest frames lie below the loudest; speech without pauses has closures."""
    silence: float
    """Share of the frames that are far below the loudest."""
    entropy: float
    """Of the spectrum, 0 (one tone) to 1 (all bins alike)."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    measured: str
    limit: str
    """What would be good."""
    grade: Grade
    advice: str
    """What is wrong and what to do; meant where the grade is not "good"."""


def check_clip(clip: Recording) -> list[str]:
    """Remarks on what could be better. Raises `EngineError` ``reference_unfit``: all reasons."""
    found = examine(clip)
    if errors := [finding.advice for finding in found if finding.grade == "unfit"]:
        raise EngineError(
            "reference_unfit",
            f"the reference audio cannot be used: {'; '.join(errors)}",
            "give 3 to 10 s of one voice that speaks without music or noise",
        )
    remarks = (finding.advice for finding in found if finding.grade == "poor")
    return [f"the reference could be better: {remark}" for remark in remarks]


def examine(clip: Recording) -> list[Finding]:
    """Everything that can be said of the sound of a clip, good and bad."""
    found = measure(clip)
    return [
        Finding(
            "level", f"{found.level_dbfs:.0f} dBFS", f">= {QUIET_DBFS:.0f} dBFS",
            _grade(-found.level_dbfs, -QUIET_DBFS, -FAINT_DBFS),
            f"it is faint ({found.level_dbfs:.0f} dBFS): record nearer to the microphone",
        ),
        Finding(
            "clipping", f"{found.clipped:.2%}", f"<= {CLIPPED_REMARK:.2%}",
            _grade(found.clipped, CLIPPED_REMARK, CLIPPED_ERROR),
            f"{found.clipped:.1%} of it is clipped: record at a lower level",
        ),
        Finding(
            "noise", f"{found.noise_db:.0f} dB below speech", f">= {NOISY_DB:.0f} dB",
            _grade(-found.noise_db, -NOISY_DB, -NOISE_DB),
            f"its pauses lie only {found.noise_db:.0f} dB below the speech: record where it is "
            "quieter",
        ),
        Finding(
            "silence", f"{found.silence:.0%}", f"<= {PAUSING:.0%}",
            _grade(found.silence, PAUSING, SILENT),
            f"{found.silence:.0%} of it is silence: cut the pauses out",
        ),
        Finding(
            "entropy", f"{found.entropy:.2f}", f"<= {ENTROPY}",
            _grade(found.entropy, ENTROPY, ENTROPY),
            "it is noise and not speech",
        ),
    ]  # fmt: skip


def _grade(value: float, poor: float, unfit: float) -> Grade:
    """Above ``poor`` and above ``unfit``; more is worse."""
    return "unfit" if value > unfit else "poor" if value > poor else "good"


def measure(clip: Recording) -> Measures:
    """The figures of a clip."""
    frames = framed(clip)
    levels = levels_db(frames)
    top = float(np.percentile(levels, 95))
    loud = levels > top - SILENCE_BELOW_DB
    voiced = frames[levels > top - 20.0]
    return Measures(
        level_dbfs=10.0 * math.log10(float(np.mean(frames[loud] ** 2)) + 1e-12),
        clipped=_clipped(clip),
        noise_db=top - float(np.percentile(levels, 3)),
        silence=float(1.0 - np.mean(loud)),
        entropy=_entropy(voiced, clip.rate_hz),
    )


def _clipped(clip: Recording) -> float:
    """Files of floats may go beyond -1..1 unharmed: then their own peak is where a cut would be."""
    sizes = np.abs(clip.samples)
    return float(np.mean(sizes >= _FULL * max(1.0, float(sizes.max(initial=0.0)))))


def framed(clip: Recording) -> NDArray[np.float64]:
    """[S] -> [F, `FRAME_S`]; what does not fill a frame is left out."""
    size = max(64, round(FRAME_S * clip.rate_hz))
    return clip.samples[: len(clip.samples) // size * size].reshape(-1, size).astype(np.float64)


def levels_db(frames: NDArray[np.float64]) -> NDArray[np.float64]:
    """[F, S] -> [F], dBFS"""
    levels: NDArray[np.float64] = 10.0 * np.log10(np.mean(frames**2, axis=1) + 1e-12)
    return levels


def _entropy(frames: NDArray[np.float64], rate_hz: int) -> float:
    """Of the mean power spectrum of each frame up to 8 kHz, 0 to 1."""
    power = np.abs(np.fft.rfft(frames * np.hanning(frames.shape[1]), axis=1)) ** 2
    power = power[:, 1 : max(3, round(8000.0 / rate_hz * frames.shape[1]))] + 1e-18
    share = power / power.sum(axis=1, keepdims=True)
    entropy = -(share * np.log(share)).sum(axis=1) / math.log(share.shape[1])
    return float(np.median(entropy)) if len(entropy) else 0.0
