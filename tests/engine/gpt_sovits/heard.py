"""What is heard of the engine, and what is to be heard: chunks as parts of official decodes."""

from __future__ import annotations

import functools
import hashlib
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from koed.engine import settings
from koed.engine.base import Job, Stream, Voice
from koed.engine.gpt_sovits import engine as engine_module
from koed.engine.gpt_sovits import voice as voices
from koed.engine.gpt_sovits.decoding.decode import MOST_CODES, Utterance
from koed.engine.gpt_sovits.engine import GptSovitsEngine
from koed.engine.gpt_sovits.line import LineStream
from koed.engine.gpt_sovits.model import features
from koed.engine.gpt_sovits.model.generator import Span
from koed.engine.gpt_sovits.model.sampling import Noise, Sampling
from koed.engine.gpt_sovits.models import Base
from koed.engine.gpt_sovits.streaming import Codes, Speech
from koed.engine.gpt_sovits.text_features import TextFeatures
from koed.errors import EngineError
from tests.parity import weights
from tests.parity.case import Array, Result
from tools.parity import official

SAMPLES, FADED = 1280, 640  # of a code; of a seam
LOOKAHEAD = 6
SIZES = (7, 12, 20, 34, *[50] * 30)
"""Of chunks, in codes: what `Pace` promises. A rest of fewer than seven goes with the last."""
PAUSE_SAMPLES = 4_800
"""Behind a reference, at 16 kHz. The official ones are more: docs/quirks.md."""

EXACT = 1.5e-5
"""Of the maximum; the worst measured is 5.0e-6."""
AHEAD = 0.6
"""Of chunks whose decode did not know all codes: how far they are from the decode of all, as root
mean square of the difference over that of the recording. The worst measured is 0.205."""


# --- what is to be heard ---------------------------------------------------------------------


def plan(count: int, hold: int = 0) -> Iterator[tuple[int, int, int]]:
    """Of each chunk: how many codes are known when it is rendered, its first and its end.

    A chunk is rendered when six codes behind it are known, or when there are no more;
    ``hold`` codes are awaited before the first.
    """
    end = known = 0
    for size in SIZES:
        first, end = end, end + size
        known = max(known, end + LOOKAHEAD, hold)
        ended = known > count
        if ended and end + SIZES[0] > count:
            end = count
        yield min(known, count), first, end
        if ended and end == count:
            return


def joined(whole: Callable[[int], Array], count: int, hold: int = 0) -> list[Array]:
    """The chunks of ``count`` codes; ``whole``: so many codes -> their official decode [S].

    Where two decodes meet, the old one fades into the new within a frame.
    """
    chunks, old = [], np.empty(0, np.float32)
    rise = np.linspace(0.0, 1.0, FADED, dtype=np.float32)
    for known, first, end in plan(count, hold):
        wave = whole(known)
        chunk = wave[first * SAMPLES : end * SAMPLES].copy()
        if len(old):
            chunk[:FADED] = old + (chunk[:FADED] - old) * rise
        old = wave[end * SAMPLES :][:FADED]
        chunks.append(chunk)
    return chunks


def hold(phones: int, who: official.Speaker) -> int:
    """Codes that are judged before any is heard: all that a short line may have, else none."""
    pace = min(max(len(who.codes) / len(who.phones), 1.0), 4.0) if len(who.phones) else 2.2
    usual = math.ceil(phones * pace)
    return 3 * usual + 30 if usual <= 25 else 0


def speaker(base: Base, clip: bytes | Path, transcript: str, lang: str) -> official.Speaker:
    """Who speaks, by the stages alone: the clip's codes and style, the transcript's phones."""
    recording = features.read(clip)
    heard = base.hubert(pad(features.for_prompt(recording), (0, PAUSE_SAMPLES)))
    wave = features.for_style(recording)
    identities = [base.speaker(wave)] if base.sound.needs_speaker else []
    style = base.sound.style([features.spectrogram(wave)], identities)
    reading = base.read(transcript, lang)
    codes = base.sound.semantic_codes(heard)
    return official.Speaker(style, codes, reading.phones, reading.bert)


def codes_of(base: Base, who: official.Speaker, reading: TextFeatures, noise: Noise) -> list[int]:
    """Of a text, to the end: the default settings written out."""
    settings = official.Request(Sampling(15, 1.0, 1.0, 1.35), early_stop_codes=MOST_CODES - 1)
    item = official.Item(reading.phones, reading.bert, 0)
    return list(Utterance(base.t2s, official.prompt(item, who, settings), noise))


# --- what is heard ---------------------------------------------------------------------------


@dataclass
class Heard:
    """What came out of the engine, and on the way."""

    codes: list[int]
    chunks: list[Array]
    seeds: list[int]
    """Of the attempts, the last being heard."""
    phones: Tensor
    """[N] int64, read from the text."""

    @property
    def pcm(self) -> Array:
        return np.concatenate(self.chunks)


@functools.cache
def drawn(seed: int) -> Noise:
    """Noise of the text model that follows from ``seed`` on any machine."""
    rows = torch.from_numpy(weights.rexp(seed % 2**32, (400, 1025)))
    return lambda step: rows[step]


def hear(
    engine: GptSovitsEngine, voice: Voice, text: str, lang: str = "en", seed: int = 1,
    noise: Callable[[int], Noise] = drawn,
) -> Heard:  # fmt: skip
    """One line, loaded and streamed to its end, with ``noise`` in place of the engine's own draws.
    Raises what the stream raises.
    """
    seeds: list[int] = []

    def draws(seed: int, *_: Any) -> Noise:
        seeds.append(seed)
        return noise(seed)

    engine.load(voice)
    untimed = functools.partial(Codes, clock=lambda: 0.0)  # so that no machine is too slow to retry
    with (
        mock.patch.object(engine_module, "seeded", draws),
        mock.patch.object(engine_module, "Codes", untimed),
    ):
        stream = engine.stream(voice, Job(1, 1, voice.key, text, lang, seed=seed))
        chunks = [chunk.pcm for chunk in stream if len(chunk.pcm)]
    speech = _speech(stream)
    return Heard(list(speech.codes.known), chunks, seeds, speech.script.phones)


def _speech(stream: Stream) -> Speech:
    """Of a stream that has begun."""
    assert isinstance(stream, LineStream)
    assert stream.opened is not None
    return stream.opened.speech


def hear_together(
    engine: GptSovitsEngine, voice: Voice, text: str, seeds: Sequence[int]
) -> list[tuple[list[int], Array]]:
    """Codes and sound of lines whose streams take turns."""
    with mock.patch.object(engine_module, "seeded", lambda seed, *_: drawn(seed)):
        streams = [
            engine.stream(voice, Job(n, n, voice.key, text, "en", seed=seed))
            for n, seed in enumerate(seeds)
        ]
        rows = list(itertools.zip_longest(*streams))
    heard = []
    for stream, chunks in zip(streams, zip(*rows, strict=True), strict=True):
        pcm = np.concatenate([chunk.pcm for chunk in chunks if chunk is not None])
        heard.append((list(_speech(stream).codes.known), pcm))
    return heard


def verdict(engine: GptSovitsEngine, voice: Voice, text: str, lang: str, seed: int) -> str:
    """Why the line is not said; empty = it is."""
    try:
        hear(engine, voice, text, lang, seed)
    except EngineError as error:
        return error.code.removeprefix("speech_")
    return ""


def judge(
    result: Result, heard: Heard, base: Base, who: official.Speaker, held: int, noise: Tensor | int,
    scale: float = 0.5,
) -> Array:  # fmt: skip
    """The chunks of ``heard`` against official decodes of its codes. noise [C, F], or a seed of the
    model's own. -> the official decode of all codes [S]
    """
    count = len(heard.codes)
    given = base.sound.noise(noise, Span(0, 2 * count)) if isinstance(noise, int) else noise

    @functools.cache
    def whole(known: int) -> Array:
        """So many codes in one go, as area `sovits` judges it."""
        encoded = base.sound.encode(torch.tensor(heard.codes[:known]), heard.phones, who.style)
        return base.sound.decode(encoded, given[:, : encoded.frames], who.style, scale).numpy()

    want = joined(whole, count, held)
    result.exact("chunk_lengths", [len(c) for c in heard.chunks], [len(c) for c in want])
    result.close("chunks", heard.pcm, np.concatenate(want), EXACT)
    return whole(count)


def against(
    result: Result, heard: Heard, recorded: Array, held: int, step: int = 1, limit: float = 0.0
) -> None:
    """``recorded``: every ``step``-th sample of one decode. What was rendered when all codes were
    known is the same (within ``limit``, if given), what was before is as near as `AHEAD` says.
    """
    count, got = len(heard.codes), heard.pcm[::step]
    if got.shape != recorded.shape:
        result.failed.append(f"pcm: {got.shape} samples instead of {recorded.shape}")
        return
    early = max((end for known, _, end in plan(count, held) if known < count), default=0)
    exact = -(-(early * SAMPLES + (FADED if early else 0)) // step)
    if limit:
        result.within("pcm_known", got[exact:], recorded[exact:], limit)
    else:
        result.wave("pcm_known", got[exact:], recorded[exact:])
    if exact:
        off, loud = (float((x[:exact] ** 2).mean()) for x in (got - recorded, recorded))
        result.within("pcm_ahead", math.sqrt(off / loud), 0.0, AHEAD)


def packed(base: Base, who: official.Speaker, changed: dict[str, Any]) -> Voice:
    """A voice made of ``who``, its settings the default but for what is ``changed``."""
    given = {"model": base.name.model, **changed}
    values = settings.read(engine_module.SCHEMA, given, "live")
    prepared = voices.Prepared(base.digest, values, who.codes, who.phones, who.bert, who.style)
    state = voices.pack(prepared)
    return Voice("recorded", hashlib.sha256(state["tensors"]).hexdigest(), "en", -20.0, state)
