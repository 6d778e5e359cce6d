"""The official streaming pipeline as a stream of the live engine: ``official_quirks: all``.

Chunks, codes and samples are those of `official.Official` on the same segment, its defects
included. There are no word times, no guards and no change of voice within a segment, because the
official engine has none; pauses between segments are the stage's.
"""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
from numpy.typing import NDArray

from koed.engine.base import Chunk
from koed.engine.gpt_sovits.model.sampling import Sampling
from koed.engine.gpt_sovits.model.sovits import SAMPLE_RATE_HZ, SoundModel
from koed.engine.gpt_sovits.model.t2s import T2S
from koed.engine.gpt_sovits.official import Item, Official, Pcm, Request, Speaker
from koed.engine.gpt_sovits.text_features import TextFeatures
from koed.engine.gpt_sovits.voice import Prepared

FULL_SCALE = 32768


def request(sampling: Sampling, speed: float, seed: int, noise_scale: float) -> Request:
    """What the live engine asks of the official one; the stage adds the pause."""
    return Request(sampling, speed, pause_s=0.0, streaming=True, seed=seed, noise_scale=noise_scale)


def imitation(
    text: T2S, sound: SoundModel, prepared: Prepared, reading: TextFeatures, asked: Request
) -> Generator[Chunk, None, None]:
    """The official chunks of one segment."""
    item = Item(reading.phones, reading.bert, reading.phones.numel())
    speaker = Speaker(prepared.style, prepared.codes.cpu(), prepared.phones.cpu(), prepared.bert)
    for pcm in Official(text, sound).say([item], speaker, asked):
        yield Chunk(_sound(pcm), SAMPLE_RATE_HZ)


def _sound(pcm: Pcm) -> NDArray[np.float32]:
    """int16 [S] -> float32 [S], each step of 16 bit as it is"""
    return (pcm / np.float32(FULL_SCALE)).astype(np.float32)
