"""What limited look-ahead costs: the distance of streamed sound to that of one decode.

The first is at seams, the second elsewhere; `Pace.lookahead` was chosen from such a table.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from koed.engine.gpt_sovits.model.sovits import SAMPLE_RATE_HZ, SoundModel
from koed.engine.gpt_sovits.model.style_encoder import Style
from koed.engine.gpt_sovits.streaming import Codes, Pace, Speech, StreamPlan

FFT, HOP, BANDS = 1024, 160, 80
NEAR_S = 0.04
"""So far to both sides of a join counts as the seam."""
FLOOR = 1e-5


@dataclass(frozen=True, slots=True)
class Row:
    """Of the table."""

    lookahead: int
    first_s: float
    """Sound of the first chunk."""
    seam_db: float
    """Root mean square difference of log-mel energies around joins."""
    else_db: float
    """The same elsewhere."""
    jump: float
    """Largest step from one sample to the next at a join, as a multiple of the largest in one
    decode."""


def measure(
    model: SoundModel,
    codes: Sequence[int],
    style: Style,
    script: StreamPlan,
    lookaheads: Sequence[int],
) -> Iterator[Row]:
    """A row for each of ``lookaheads``; the utterance is ``codes``, and no model makes them."""
    whole, _ = streamed(model, codes, style, script, Pace(first=len(codes), lookahead=2))
    for lookahead in lookaheads:
        pace = dataclasses.replace(script.pace, lookahead=lookahead)
        sound, joins = streamed(model, codes, style, script, pace)
        yield _row(lookahead, whole, sound, joins)


def streamed(
    model: SoundModel, codes: Sequence[int], style: Style, script: StreamPlan, pace: Pace
) -> tuple[NDArray[np.float32], list[int]]:
    """The sound of given codes, and the samples at which its chunks are joined."""
    script = dataclasses.replace(script, pace=pace)
    given = Codes(lambda seed: iter(codes), lambda known, ended: None, script.seed)
    chunks = [c.pcm for c in Speech(model, model, style, script, given) if len(c.pcm)]
    joins = np.cumsum([len(pcm) for pcm in chunks])
    return np.concatenate(chunks), joins[:-1].tolist()


def _row(
    lookahead: int, whole: NDArray[np.float32], sound: NDArray[np.float32], joins: list[int]
) -> Row:
    length = min(len(whole), len(sound))
    a, b = (log_mel(torch.from_numpy(x[:length].copy())) for x in (whole, sound))
    off = (a - b).square().mean(0)
    at = torch.zeros(len(off), dtype=torch.bool)
    reach = round(NEAR_S * SAMPLE_RATE_HZ)
    for join in joins:
        at[max(0, (join - reach) // HOP) : (join + reach) // HOP + 1] = True
    steps = np.abs(np.diff(sound))
    seam_steps = [float(steps[max(0, j - 2) : j + 2].max()) for j in joins]
    return Row(
        lookahead,
        (joins[0] if joins else length) / SAMPLE_RATE_HZ,
        float(off[at].mean().sqrt()) if at.any() else 0.0,
        float(off[~at].mean().sqrt()),
        max(seam_steps, default=0.0) / float(np.abs(np.diff(whole)).max()),
    )


def log_mel(wave: Tensor) -> Tensor:
    """wave [S] -> [80, F] in dB, F every 5 ms"""
    window = torch.hann_window(FFT)
    power = torch.stft(wave, FFT, HOP, FFT, window, return_complex=True).abs().square()
    return 10.0 * torch.log10(_mel() @ power + FLOOR)


def _mel() -> Tensor:
    """[80, FFT / 2 + 1]: triangles, even on the mel scale up to half the rate"""
    top = 2595.0 * math.log10(1.0 + SAMPLE_RATE_HZ / 1400.0)
    corners = 700.0 * (10.0 ** (torch.linspace(0.0, top, BANDS + 2) / 2595.0) - 1.0)
    hz = torch.arange(FFT // 2 + 1) * (SAMPLE_RATE_HZ / FFT)
    left, centre, right = (corners[i : i + BANDS, None] for i in range(3))
    rising, falling = (hz - left) / (centre - left), (right - hz) / (right - centre)
    return torch.minimum(rising, falling).clamp_min(0.0)
