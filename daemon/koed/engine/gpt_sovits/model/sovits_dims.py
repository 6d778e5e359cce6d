"""What a sound model's checkpoint says about itself: weights made ready, sizes read from shapes.

File names, versions and sizes are never asked; only keys and shapes are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from koed.engine.gpt_sovits.model.flow import FlowDims
from koed.engine.gpt_sovits.model.generator import GeneratorDims
from koed.engine.gpt_sovits.model.text_encoder import EncoderDims
from koed.errors import EngineError

CODEBOOK = "quantizer.vq.layers.0._codebook."
UNUSED = re.compile(rf"enc_q\.|{re.escape(CODEBOOK)}(inited|cluster_size|embed_avg)$")
"""Training only: the posterior encoder and the codebook's statistics."""
RENAMED = {CODEBOOK + "embed": "quantizer.codebook"}
MOVED = {"ssl_proj.": "quantizer.ssl_proj."}
DILATIONS = (1, 3, 5)
MAX_NAMED = 8


@dataclass(frozen=True, slots=True)
class Dims:
    """Sizes of a sound model."""

    codes: int
    bins: int
    """Spectrogram bins that the style encoder looks at: v1 1025, later 704."""
    style_width: int
    style_kernel: int
    style: int
    """G: width of the style vector."""
    speaker: int
    """Width of a speaker embedding; 0 = the model takes none."""
    encoder: EncoderDims
    flow: FlowDims
    generator: GeneratorDims

    @classmethod
    def read(cls, state: Mapping[str, Tensor], upsample_rates: tuple[int, ...]) -> Dims:
        """From the shapes of `inference_state`. Raises EngineError if something is not there."""
        shapes = _Shapes(state)
        style = shapes("ref_enc.fc.fc.weight")[0]
        return cls(
            codes=shapes("quantizer.codebook")[0],
            bins=shapes("ref_enc.spectral.0.fc.weight")[1],
            style_width=shapes("ref_enc.spectral.0.fc.weight")[0],
            style_kernel=shapes("ref_enc.temporal.0.conv1.conv.weight")[2],
            style=style,
            speaker=shapes("sv_emb.weight")[1] if "sv_emb.weight" in state else 0,
            encoder=_encoder(shapes),
            flow=_flow(shapes, style),
            generator=_generator(shapes, style, upsample_rates),
        )

    @staticmethod
    def checked(wanted: Mapping[str, Tensor], got: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Those of ``got`` that are ``wanted``. Raises EngineError naming what does not fit."""
        wrong = [f"{key}: missing" for key in wanted if key not in got]
        wrong += [
            f"{key}: {list(got[key].shape)} instead of {list(tensor.shape)}"
            for key, tensor in wanted.items()
            if key in got and got[key].shape != tensor.shape
        ]
        if wrong:
            raise _unfit(wrong)
        return {key: got[key] for key in wanted}


def inference_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The float32 weights that inference needs, under the names of our modules.

    Weight norm is folded (``g * v / |v|``), and the generator's kernels get a second axis of one.
    """
    kept = {key: value.float() for key, value in state.items() if not UNUSED.match(key)}
    folded = {}
    for key, value in kept.items():
        if key.endswith(".weight_g"):
            continue
        if key.endswith(".weight_v"):
            key = key.removesuffix("_v")
            value = _fold(key, kept.get(key + "_g"), value)
        folded[_renamed(key)] = value
    for key, value in folded.items():
        if key.startswith("dec.") and key != "dec.cond.weight" and value.ndim == 3:
            flat = value.unsqueeze(2)
            folded[key] = flat.contiguous(memory_format=torch.channels_last)
    return folded


def _fold(key: str, scale: Tensor | None, direction: Tensor) -> Tensor:
    """scale [O, 1, 1], direction [O, I, K] -> the weight [O, I, K] that weight norm stands for"""
    if scale is None:
        raise _unfit([f"{key}_g: missing"])
    norm: Tensor = torch.linalg.vector_norm(direction, dim=(1, 2), keepdim=True)
    return direction * (scale / norm)


def _renamed(key: str) -> str:
    for old, new in MOVED.items():
        if key.startswith(old):
            return new + key.removeprefix(old)
    return RENAMED.get(key, key)


class _Shapes:
    """Shapes by key; a missing key is an error that names it."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self._state = state

    def __call__(self, key: str) -> torch.Size:
        if key not in self._state:
            raise _unfit([f"{key}: missing"])
        return self._state[key].shape

    def count(self, pattern: str) -> int:
        """Distinct values of the pattern's group among the keys; at least one."""
        found = {match[1] for key in self._state if (match := re.match(pattern, key))}
        if not found:
            raise _unfit([f"{pattern}: missing"])
        return len(found)


def _encoder(shapes: _Shapes) -> EncoderDims:
    relative = shapes("enc_p.encoder_text.attn_layers.0.emb_rel_k")
    hidden, width, kernel = shapes("enc_p.encoder_text.ffn_layers.0.conv_1.weight")
    names = ("encoder_ssl", "encoder_text", "encoder2")
    counts = [shapes.count(rf"enc_p\.{name}\.attn_layers\.(\d+)\.") for name in names]
    return EncoderDims(
        phones=shapes("enc_p.text_embedding.weight")[0],
        ssl=shapes("enc_p.ssl_proj.weight")[1],
        width=width,
        filter=hidden,
        head=relative[2],
        window=(relative[1] - 1) // 2,
        kernel=kernel,
        style=shapes("enc_p.mrte.c_pre.weight")[0],
        layers=(counts[0], counts[1], counts[2]),
    )


def _flow(shapes: _Shapes, style: int) -> FlowDims:
    half = shapes("flow.flows.0.post.weight")[0]
    _, hidden, kernel = shapes("flow.flows.0.enc.in_layers.0.weight")
    return FlowDims(
        width=2 * half,
        hidden=hidden,
        kernel=kernel,
        layers=shapes.count(r"flow\.flows\.0\.enc\.in_layers\.(\d+)\."),
        couplings=shapes.count(r"flow\.flows\.(\d+)\."),
        style=style,
    )


def _generator(shapes: _Shapes, style: int, rates: tuple[int, ...]) -> GeneratorDims:
    stages = shapes.count(r"dec\.ups\.(\d+)\.")
    blocks, odd = divmod(shapes.count(r"dec\.resblocks\.(\d+)\."), stages)
    if odd or len(rates) != stages:
        raise _unfit([f"dec: {stages} stages do not go with the upsampling rates {list(rates)}"])
    ups = [shapes(f"dec.ups.{i}.weight") for i in range(stages)]
    for i, (up, rate) in enumerate(zip(ups, rates, strict=True)):
        if up[3] < rate or (up[3] - rate) % 2:
            raise _unfit(
                [f"dec.ups.{i}: kernel {up[3]} does not go with the upsampling rate {rate}"]
            )
    convs = [shapes(f"dec.resblocks.{i}.convs1.0.weight") for i in range(blocks)]
    edges = shapes("dec.conv_pre.weight")[3], shapes("dec.conv_post.weight")[3]
    return GeneratorDims(
        width=shapes("dec.conv_pre.weight")[1],
        style=style,
        channels=(ups[0][0], *(up[1] for up in ups)),
        rates=rates,
        up_kernels=tuple(up[3] for up in ups),
        block_kernels=tuple(conv[3] for conv in convs),
        dilations=DILATIONS,
        edge_kernels=edges,
    )


def _unfit(wrong: list[str]) -> EngineError:
    more = f" and {len(wrong) - MAX_NAMED} more" if len(wrong) > MAX_NAMED else ""
    return EngineError(
        "bad_checkpoint",
        f"not a sound model that can speak: {'; '.join(wrong[:MAX_NAMED])}{more}",
        "give the SoVITS file (.pth) of a v1, v2, v2Pro or v2ProPlus voice",
    )
