"""The official pipeline as it is, defects included.

koed speaks better than this (docs/quirks.md tells where the two part). This file exists
so that recorded runs of the official engine can be reproduced to the sample: phones and codes of a
reference go in, 16 bit sound in the official chunks comes out.

Shapes: N phones, T codes, F frames (two a code), S samples, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from koed.engine.gpt_sovits.decoding.cuda_graph import DeviceBatch
from koed.engine.gpt_sovits.decoding.decode import Prompt, Utterance
from koed.engine.gpt_sovits.model.generator import Span
from koed.engine.gpt_sovits.model.sampling import Noise, Sampling, seeded
from koed.engine.gpt_sovits.model.sovits import NOISE_SCALE, SAMPLE_RATE_HZ, SoundModel
from koed.engine.gpt_sovits.model.style_encoder import Style
from koed.engine.gpt_sovits.model.t2s import T2S
from koed.engine.gpt_sovits.model.text_encoder import Encoded
from tools.parity import sola

FRAMES_PER_CODE = 2
MUTE_CODE = 486
"""What the official engine takes for silence, in every version."""
LOOK_AHEAD_CODES = 2
PAUSE_SAMPLES = 9_600
"""Behind a reference, at 16 kHz. 0.3 s are meant, but they are counted at 32 kHz."""
SHORTEST_CHUNK_CODES = 10
"""A later chunk with fewer is rendered with more context, which is cut off again."""
BUCKET_EVENNESS = 0.75
"""Texts go in one batch if their middle length is at least this share of their mean length."""
EARLY_STOP_CODES = 2700

Pcm = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Item:
    """One segment of a text."""

    phones: Tensor
    """[N] int64"""
    bert: Tensor | None
    """[1024, N] float32; None = zeros."""
    characters: int
    """Of the normalised text: batches are made of items of like length."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who speaks: all that a reference leads to."""

    style: Style
    codes: Tensor
    """[T] int64: what the reference says, its pause included."""
    phones: Tensor
    """[N] int64 of its transcript; empty = none, and then ``codes`` are not used either."""
    bert: Tensor | None
    """[1024, N] float32; None = zeros."""


@dataclass(frozen=True, slots=True)
class Request:
    """The official settings under shorter names."""

    sampling: Sampling = field(default_factory=Sampling)
    speed: float = 1.0
    pause_s: float = 0.3
    """Of silence behind each segment."""
    batch_size: int = 1
    bucket: bool = True
    """Sort segments by length, so that those of a batch end together."""
    parallel: bool = True
    """Decode the codes of a batch together."""
    fragments: bool = False
    """Hand out a chunk for each batch instead of one in the end."""
    streaming: bool = False
    """Hand out chunks while codes are still decoded; the first item of each batch alone is said."""
    fixed: bool = False
    """Of streams: cut every ``chunk_codes`` instead of at silence."""
    chunk_codes: int = 16
    overlap_codes: int = 2
    early_stop_codes: int = EARLY_STOP_CODES
    seed: int = 0
    noise_scale: float = NOISE_SCALE


class Call(NamedTuple):
    """One use of the sound model."""

    codes: list[int]
    phones: int
    speed: float
    kept_codes: int | None
    """Of streams, later chunks: how many at the end were rendered."""
    blended_frames: int | None
    """Of streams, later chunks: how many frames at its beginning were mixed with those before."""
    samples: int


class Official:
    """Says texts as the official engine does. ``calls`` and ``offsets`` tell how it went."""

    def __init__(self, text: T2S, sound: SoundModel) -> None:
        self.text, self.sound = text, sound
        self.calls: list[Call] = []
        self.offsets: list[int] = []
        """Of streams: by how much each joined chunk was shifted."""

    @torch.inference_mode()
    def say(self, items: Sequence[Item], speaker: Speaker, request: Request) -> Iterator[Pcm]:
        """The chunks ``[S]`` at 32 kHz. No items: a second of silence at half that rate."""
        self.calls.clear()
        self.offsets.clear()
        if not items:
            yield np.zeros(SAMPLE_RATE_HZ // 2, np.int16)
            return
        pause = torch.zeros(int(SAMPLE_RATE_HZ * request.pause_s))
        spoken: dict[int, Tensor] = {}
        for numbers in batches([item.characters for item in items], request):
            chosen = [items[n] for n in numbers]
            if request.streaming:
                yield from self._stream(chosen[0], speaker, request)
                yield to_pcm(pause)
                continue
            waves = [torch.cat([level(w), pause]) for w in self._batch(chosen, speaker, request)]
            if request.fragments:
                yield to_pcm(torch.cat(waves))
            spoken |= dict(zip(numbers, waves, strict=True))
        if not request.streaming and not request.fragments:
            yield to_pcm(torch.cat([spoken[n] for n in range(len(items))]))

    # --- whole segments ----------------------------------------------------------------------

    def _batch(self, items: Sequence[Item], speaker: Speaker, request: Request) -> list[Tensor]:
        """The sound [S] of each item."""
        prompts = [prompt(item, speaker, request) for item in items]
        together = request.parallel and speaker.phones.numel()
        if together:
            codes = codes_together(self.text, prompts, [self._draws(request) for _ in prompts])
        else:
            codes = [self._codes_alone(one, request) for one in prompts]
        if not (request.parallel and request.speed == 1):
            pairs = zip(codes, items, strict=True)
            return [self._render(said, item.phones, speaker, request) for said, item in pairs]
        # One utterance for the sound model, whose attention then crosses the segments.
        joined = [code for said in codes for code in said]
        phones = torch.cat([item.phones for item in items])
        wave = self._render(joined, phones, speaker, request)
        rate = FRAMES_PER_CODE * self.sound.samples_per_frame
        return list(torch.split(wave, [rate * len(said) for said in codes]))

    def _codes_alone(self, one: Prompt, request: Request) -> list[int]:
        utterance = Utterance(self.text, one, self._draws(request))
        for _code in utterance:
            pass
        return single_codes(utterance)

    def _render(
        self, codes: list[int], phones: Tensor, speaker: Speaker, request: Request
    ) -> Tensor:
        """codes [T], phones [N] -> sound [S]"""
        encoded = self.sound.encode(torch.tensor(codes), phones, speaker.style, request.speed)
        wave = self._decode(encoded, speaker.style, request)
        self.calls.append(Call(codes, phones.numel(), request.speed, None, None, len(wave)))
        return wave

    # --- streams -----------------------------------------------------------------------------

    def _stream(self, item: Item, speaker: Speaker, request: Request) -> Iterator[Pcm]:
        """The chunks of one segment, without its pause."""
        utterance = Utterance(self.text, prompt(item, speaker, request), self._draws(request))
        mute = None if request.fixed else mute_likeness(self.text.code_table)
        rate = FRAMES_PER_CODE * self.sound.samples_per_frame / request.speed
        overlap = math.ceil(request.overlap_codes * rate)
        codes: list[int] = []
        wave: Tensor | None = None
        latent: Tensor | None = None
        for fresh, final in cut(utterance, request.chunk_codes, mute):
            if not fresh:
                if wave is not None:  # what was held back to be joined with what did not come
                    yield to_pcm(level(wave[-overlap:]))
                return
            codes = codes + fresh
            before, (wave, latent) = (
                wave,
                self._chunk(codes, len(fresh), latent, item, speaker, request),
            )
            yield to_pcm(level(self._sent(before, wave, overlap, final)))

    def _sent(self, before: Tensor | None, wave: Tensor, overlap: int, final: bool) -> Tensor:
        """What leaves of a chunk ``wave`` [S]. The last one of several is neither aligned with
        the one ``before`` nor relieved of the part that both have.
        """
        if final:
            return wave
        if before is None:
            return wave[:-overlap]
        joined, offsets = sola.join([before, wave], overlap)
        self.offsets += offsets
        return joined[len(before) - overlap : -overlap]

    def _chunk(
        self,
        codes: list[int],
        fresh: int,
        latent: Tensor | None,
        item: Item,
        speaker: Speaker,
        request: Request,
    ) -> tuple[Tensor, Tensor]:
        """codes [T] so far, of which ``fresh`` are new; latent [1, C, F] of the chunk before ->
        sound [S] and latent [1, C, F] of the new codes and of the overlap.
        """
        missing = max(0, SHORTEST_CHUNK_CODES - fresh) if latent is not None else 0
        overlap = request.overlap_codes + missing
        kept = None if latent is None else fresh + overlap
        tail = None if latent is None else latent[..., -FRAMES_PER_CODE * overlap :]
        y = self._latent(torch.tensor(codes), item.phones, speaker.style)
        if kept is not None and tail is not None:
            y = blend(tail, y[..., -FRAMES_PER_CODE * kept :])
        enc_p = self.sound.enc_p
        m, logs = enc_p.proj(enc_p.at_speed(y, request.speed)).chunk(2, dim=1)
        wave = self._decode(Encoded(m, logs, torch.empty(0)), speaker.style, request)
        blended = None if tail is None else tail.shape[-1]
        self.calls.append(Call(codes, item.phones.numel(), request.speed, kept, blended, len(wave)))
        if missing:
            rate = FRAMES_PER_CODE * self.sound.samples_per_frame / request.speed
            wave = wave[-int((request.overlap_codes + fresh) * rate) :]
        return wave, y

    def _latent(self, codes: Tensor, phones: Tensor, style: Style) -> Tensor:
        """codes [T], phones [N] -> [1, C, F]: what the text encoder has before its projection"""
        enc_p, device = self.sound.enc_p, self.sound.device
        features = self.sound.quantizer.decode(codes.to(device))
        sound = enc_p.encoder_ssl(enc_p.ssl_proj(features))
        text = enc_p.encoder_text(enc_p.text_embedding(phones.to(device)).T.unsqueeze(0))
        y: Tensor = enc_p.encoder2(enc_p.mrte(sound, text, style.ge512)[0])
        return y

    # --- both --------------------------------------------------------------------------------

    def _decode(self, encoded: Encoded, style: Style, request: Request) -> Tensor:
        """encoded of F frames -> sound [S] float32 on the host"""
        noise = self.sound.noise(request.seed, Span(0, encoded.frames))
        return self.sound.decode(encoded, noise, style, request.noise_scale).float().cpu()

    def _draws(self, request: Request) -> Noise:
        return seeded(request.seed, self.text.dims.codes, self.text.device)


def single_codes(utterance: Utterance) -> list[int]:
    """As the official single decoding hands them on when ``utterance`` is over: after a limit the
    FIRST code is lost (its count is one short and the caller cuts from the end), unless there was
    no reference.
    """
    lost = utterance.ending == "limit" and utterance.prompt.codes.numel()
    return utterance.codes[1:] if lost else utterance.codes


def codes_together(
    model: T2S, prompts: Sequence[Prompt], draws: Sequence[Noise]
) -> list[list[int]]:
    """As the official batch decoding hands them on: after a limit the LAST code is lost."""
    positions = max(one.positions for one in prompts)
    batch = DeviceBatch(model, len(prompts), positions, every=1, graphs=False)
    said: dict[Hashable, list[int]] = {n: [] for n in range(len(prompts))}
    for n, (one, noise) in enumerate(zip(prompts, draws, strict=True)):
        batch.join(n, one, noise)
    while len(batch):
        for row in batch.step():
            if row.code is not None and row.ending != "limit":
                said[row.key].append(row.code)
    return list(said.values())


def prompt(item: Item, speaker: Speaker, request: Request) -> Prompt:
    """What the text model is given for ``item``; without a transcript the text's phones alone."""
    codes, phones, bert = speaker.codes, item.phones, item.bert
    if not speaker.phones.numel():
        codes = codes[:0]
    else:
        phones = torch.cat([speaker.phones, phones])
        parts = (speaker.bert, speaker.phones), (item.bert, item.phones)
        bert = torch.cat([_features(*part) for part in parts], dim=1)
    # The official test for the early end comes one code late.
    return Prompt(phones, codes, bert, request.sampling, request.early_stop_codes + 1)


def _features(bert: Tensor | None, phones: Tensor) -> Tensor:
    return torch.zeros(1024, phones.numel()) if bert is None else bert


def batches(lengths: Sequence[int], request: Request) -> list[list[int]]:
    """Numbers of the items that go together, for items of ``lengths`` characters.

    Sorted by length only at speed 1 and if nothing is to be handed out before the end.
    """
    numbers, size = list(range(len(lengths))), max(1, request.batch_size)
    if not request.bucket or request.speed != 1 or request.fragments or request.streaming:
        return [numbers[n : n + size] for n in range(0, len(numbers), size)]
    waiting = sorted(numbers, key=lambda n: lengths[n])
    made = []
    while waiting:
        group = waiting[:size]
        while len(group) > 1 and not _even([lengths[n] for n in group]):
            group.pop()
        made.append(group)
        waiting = waiting[len(group) :]
    return made


def _even(lengths: list[int]) -> bool:
    mean = sum(lengths) / len(lengths)
    return lengths[len(lengths) // 2] >= BUCKET_EVENNESS * mean


def mute_likeness(table: Tensor) -> Tensor:
    """table [V, C], the text model's embeddings of codes -> [V] on the host: each one's cosine with
    that of silence
    """
    return functional.cosine_similarity(table[MUTE_CODE][None], table, dim=-1).cpu()


def cut(codes: Utterance, least: int, mute: Tensor | None) -> Iterator[tuple[list[int], bool]]:
    """Codes and whether they are the last ones; with ``mute`` [K] cut at silence, else evenly.

    At silence the official code hands out ALL that waits but strikes off only what lies before the
    cut, so that the codes behind it are handed out twice. The last ones may be none.
    """
    waiting: list[int] = []
    for code in codes:
        waiting.append(code)
        if codes.ending:
            break
        if mute is None and len(waiting) >= least:
            yield waiting, False
            waiting = []
        if mute is None or len(waiting) < least + LOOK_AHEAD_CODES:
            continue
        if said := _before_silence(mute[waiting], least):
            yield waiting, False
            waiting = waiting[said:]
    yield waiting, True


def _before_silence(likeness: Tensor, least: int) -> int:
    """likeness [T] of the waiting codes -> how many end in the most silent place; 0 = wait"""
    score = likeness.masked_fill(likeness < 0, -1.0)
    score = score + functional.pad(score[1:], (0, 1))
    best = int(score.argmax())
    return best + 1 if float(score[best]) >= 0 and best + 1 >= least else 0


def blend(tail: Tensor, y: Tensor) -> Tensor:
    """tail [1, C, F'], y [1, C, F] -> [1, C, F]: the first F' frames fade from ``tail`` to ``y``"""
    frames = tail.shape[-1]
    angle = torch.arange(frames, device=y.device) * (math.pi / (2 * frames))
    head = y[..., :frames] * angle.sin() + tail * angle.cos()
    return torch.cat([head, y[..., frames:]], dim=-1)


def level(wave: Tensor) -> Tensor:
    """[S] -> [S]: brought down if it exceeds full scale, each chunk for itself"""
    peak = float(wave.abs().max()) if wave.numel() else 0.0
    return wave / peak if peak > 1 else wave


def to_pcm(wave: Tensor) -> Pcm:
    """[S] in -1..1 -> [S]: truncated; +1 itself becomes the lowest value"""
    return (wave.numpy() * np.float32(32768)).astype(np.int32).astype(np.int16)
