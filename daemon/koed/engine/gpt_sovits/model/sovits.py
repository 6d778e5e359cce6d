"""The sound model of v1, v2, v2Pro and v2ProPlus: semantic codes, phones and a style become sound.

    codes, phones ─▶ TextEncoder ─▶ Encoded ─▶ + noise ─▶ Flow (reversed) ─▶ Generator ─▶ 32 kHz
    spectrogram (+ speaker) ─▶ StyleEncoder ─▶ Style ──┴──────┴────────────────┘

`SoundModel.decode` renders a whole utterance. `decode_window` renders any part of it to the same
samples, because it takes exactly the context that flow and generator can see, and because noise
belongs to a frame of the utterance and not to a call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from koed.engine.gpt_sovits.checkpoints.s1_s2_keys import S2
from koed.engine.gpt_sovits.model.fastconv import multiplies_bfloat16
from koed.engine.gpt_sovits.model.flow import Flow
from koed.engine.gpt_sovits.model.generator import Generator, Span
from koed.engine.gpt_sovits.model.quantizer import Quantizer
from koed.engine.gpt_sovits.model.sovits_dims import Dims, inference_state
from koed.engine.gpt_sovits.model.style_encoder import Style, StyleEncoder, blend
from koed.engine.gpt_sovits.model.text_encoder import Encoded, TextEncoder

SAMPLE_RATE_HZ = 32000
NOISE_SCALE = 0.5
NOISE_BLOCK_FRAMES = 64
LAST_STEP_FRAMES = 8
"""oneDNN compiles its convolutions anew for every length that it meets, which takes longer than to
render some frames. Other chunks are of few lengths, the last of any: it is rounded up to this."""
UPSAMPLE_RATES = (10, 8, 2, 2, 2)


class SoundModel(nn.Module):
    """Attributes carry the names of the official checkpoints' keys. float32 but for ``dec``."""

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.dims = dims
        self.quantizer = Quantizer(dims.codes, dims.encoder.ssl)
        self.enc_p = TextEncoder(dims.encoder)
        self.flow = Flow(dims.flow)
        self.dec = Generator(dims.generator)
        self.ref_enc = StyleEncoder(dims.bins, dims.style_width, dims.style_kernel, dims.style)
        if dims.speaker:
            self.sv_emb = nn.Linear(dims.speaker, dims.style)
            self.prelu = nn.PReLU(dims.style)
            self.ge_to512 = nn.Linear(dims.style, dims.encoder.style)

    @classmethod
    def from_state(
        cls,
        state: Mapping[str, Tensor],
        upsample_rates: Sequence[int] = UPSAMPLE_RATES,
        device: torch.device | str = "cpu",
        generator_dtype: torch.dtype = torch.float32,
        fast: bool = True,
    ) -> SoundModel:
        """The model of an official checkpoint's weights, of any float type and of the shapes of
        `s1_s2_keys.S2`.

        ``upsample_rates`` is the one thing that shapes do not tell. ``bfloat16`` as
        ``generator_dtype`` halves the time and costs some accuracy (see LOG.md). ``fast`` spends
        memory on `Generator.quicken` where that applies.
        Raises EngineError naming the tensors that are missing or have another shape.
        """
        shapes = {key: tuple(value.shape) for key, value in state.items()}
        table = S2.checked(shapes, "the sound model")
        with torch.device("meta"):
            model = cls(Dims.of(table, tuple(upsample_rates)))
        model.load_state_dict(inference_state(state, table), assign=True)
        model.requires_grad_(False).eval().to(device)
        if fast and model.device.type == "cpu":
            lower = generator_dtype == torch.float32 or multiplies_bfloat16()
            model.dec.quicken(generator_dtype if lower else torch.float32)
        elif generator_dtype != torch.float32:
            model.dec.lower(generator_dtype)
        return model

    @property
    def device(self) -> torch.device:
        return self.enc_p.proj.weight.device

    @property
    def samples_per_frame(self) -> int:
        return self.dec.samples_per_frame

    @property
    def needs_speaker(self) -> bool:
        """True for the Pro family: `style` wants speaker embeddings."""
        return bool(self.dims.speaker)

    @torch.inference_mode()
    def semantic_codes(self, ssl: Tensor) -> Tensor:
        """ssl [1, 768, F] at 50 Hz -> codes [F // 2] int64: what a reference clip says"""
        return self.quantizer.encode(ssl.to(self.device))

    @torch.inference_mode()
    def style(
        self,
        specs: Sequence[Tensor],
        speaker_embeddings: Sequence[Tensor] = (),
        weights: Sequence[float] | None = None,
    ) -> Style:
        """specs, each [1, 1025, F], linear; speaker_embeddings, each [1, 20480] -> `Style`

        Several references give their mean, weighted if ``weights`` are given. Embeddings are needed
        by the Pro family, one per spectrogram, and ignored by the others. Raises ValueError.
        """
        if self.needs_speaker and len(speaker_embeddings) != len(specs):
            raise ValueError(
                f"{len(specs)} references, {len(speaker_embeddings)} speaker embeddings"
            )
        vectors = [self.ref_enc(spec.to(self.device)) for spec in specs]
        if self.needs_speaker:
            pairs = zip(vectors, speaker_embeddings, strict=True)
            vectors = [self.prelu(ge + self.sv_emb(sv.to(self.device))) for ge, sv in pairs]
        ge = blend(vectors, weights)
        ge512 = self.ge_to512(ge) if self.needs_speaker else ge
        return Style(ge.unsqueeze(-1), ge512.unsqueeze(-1))

    @torch.inference_mode()
    def read(self, phones: Tensor) -> Tensor:
        """phones [N] int64 of what is to be said -> [1, C, N]: what `encode` makes of them first"""
        text: Tensor = self.enc_p.read(phones.to(self.device))
        return text

    @torch.inference_mode()
    def encode(
        self,
        codes: Tensor,
        phones: Tensor,
        style: Style,
        speed: float = 1.0,
        text: Tensor | None = None,
    ) -> Encoded:
        """codes [T], phones [N], both int64, of what is to be said (no prompt) -> `Encoded`

        ``text``: the phones as `read` gives them, if they are encoded more than once.
        """
        features = self.quantizer.decode(codes.to(self.device))
        text = self.read(phones) if text is None else text
        encoded: Encoded = self.enc_p(features, text, style.ge512, speed)
        return encoded

    @torch.inference_mode()
    def decode(
        self, encoded: Encoded, noise: Tensor, style: Style, noise_scale: float = NOISE_SCALE
    ) -> Tensor:
        """encoded of F frames, noise [C, F] -> sound [S] float32 in -1..1, S = 640 F"""
        z = self._latent(encoded.m, encoded.logs, noise, style, noise_scale)
        wave: Tensor = self.dec(z, style.ge)[0]
        return wave

    @torch.inference_mode()
    def decode_window(
        self,
        encoded: Encoded,
        first_frame: int,
        frames: int,
        style: Style,
        seed: int,
        noise_scale: float = NOISE_SCALE,
    ) -> Tensor:
        """The samples [640 * frames] of a part of ``encoded``, equal to those of the whole.

        Frames beyond the end are left out. The noise is `frame_noise` of ``seed``.
        """
        window = Span(first_frame, min(first_frame + frames, encoded.frames))
        rendered = window
        if self.device.type == "cpu" and window.hi == encoded.frames:
            size = -(-(window.hi - window.lo) // LAST_STEP_FRAMES) * LAST_STEP_FRAMES
            rendered = Span(max(0, window.hi - size), window.hi)
        plan = self.dec.plan(rendered, encoded.frames)
        z = self.latent_window(encoded, plan.frames, style, seed, noise_scale)
        wave = self.dec.render(z, style.ge, plan)[0]
        return wave[(window.lo - rendered.lo) * self.samples_per_frame :]

    def latent_window(
        self,
        encoded: Encoded,
        span: Span,
        style: Style,
        seed: int,
        noise_scale: float = NOISE_SCALE,
    ) -> Tensor:
        """encoded of F frames -> z [1, C, F'] of the frames ``span``"""
        seen = span.widen(self.flow.reach, encoded.frames)
        noise = self.noise(seed, seen)
        m, logs = seen.cut_from(encoded.m), seen.cut_from(encoded.logs)
        return seen.cut(self._latent(m, logs, noise, style, noise_scale), span)

    def synthesize(
        self,
        codes: Tensor,
        phones: Tensor,
        style: Style,
        seed: int = 0,
        speed: float = 1.0,
        noise_scale: float = NOISE_SCALE,
    ) -> Tensor:
        """codes [T], phones [N] -> sound [S] float32: all of it in one go."""
        encoded = self.encode(codes, phones, style, speed)
        noise = self.noise(seed, Span(0, encoded.frames))
        return self.decode(encoded, noise, style, noise_scale)

    def noise(self, seed: int, span: Span) -> Tensor:
        """The utterance's noise [C, F] at the frames ``span``, on the model's device."""
        noise = frame_noise(seed, span.lo, span.hi - span.lo, self.dims.encoder.width)
        return noise.to(self.device, non_blocking=True)

    def _latent(
        self, m: Tensor, logs: Tensor, noise: Tensor, style: Style, noise_scale: float
    ) -> Tensor:
        """m, logs [1, C, F], noise [C, F] -> z [1, C, F]"""
        z: Tensor = self.flow(m + noise * logs.exp() * noise_scale, style.ge)
        return z


def frame_noise(seed: int, first_frame: int, frames: int, channels: int = 192) -> Tensor:
    """Standard normal [C, F] float32 for the frames of an utterance: the same in any window.

    Counter-based (Philox): the seed is the key, blocks of 64 frames are the counter, so that a
    frame's noise depends on nothing else, whatever was drawn before. ``seed`` is taken modulo 2^64.
    """
    blocks = range(
        first_frame // NOISE_BLOCK_FRAMES, -(-(first_frame + frames) // NOISE_BLOCK_FRAMES)
    )
    shape = (NOISE_BLOCK_FRAMES, channels)
    drawn = [np.empty((0, channels), np.float32)]
    for block in blocks:
        # The lower half of the counter is free for the draws within the block.
        philox = np.random.Philox(key=seed % 2**64, counter=[0, 0, block, 0])
        drawn.append(np.random.Generator(philox).standard_normal(shape, np.float32))
    start = first_frame - blocks.start * NOISE_BLOCK_FRAMES
    rows = np.concatenate(drawn)[start : start + frames]
    return torch.from_numpy(np.ascontiguousarray(rows.T))
