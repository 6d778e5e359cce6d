"""Of what was found in a sound model's checkpoint: sizes for the networks, weights made ready."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from koed.engine.gpt_sovits.checkpoints.s1_s2_keys import (
    CODEBOOK,
    DILATIONS,
    EDGE_KERNEL,
    S2,
    is_needed,
)
from koed.engine.gpt_sovits.model.flow import FlowDims
from koed.engine.gpt_sovits.model.generator import GeneratorDims
from koed.engine.gpt_sovits.model.text_encoder import EncoderDims
from koed.errors import EngineError

RENAMED = {f"{CODEBOOK}.embed": "quantizer.codebook"}
MOVED = {"ssl_proj.": "quantizer.ssl_proj."}


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
    def of(cls, table: S2, upsample_rates: tuple[int, ...]) -> Dims:
        """Of what was found in a file. Raises EngineError if the rates are for another one."""
        return cls(
            codes=table.codes,
            bins=table.bins,
            style_width=table.style_width,
            style_kernel=table.style_kernel,
            style=table.style,
            speaker=table.speaker,
            encoder=EncoderDims(
                phones=table.phones,
                ssl=table.ssl,
                width=table.width,
                filter=table.filter,
                head=table.head,
                window=table.window,
                kernel=table.kernel,
                style=table.mix,
                layers=table.layers,
            ),
            flow=FlowDims(
                width=table.width,
                hidden=table.flow_width,
                kernel=table.flow_kernel,
                layers=table.flow_layers,
                couplings=table.couplings,
                style=table.style,
            ),
            generator=_generator(table, upsample_rates),
        )


def _generator(table: S2, rates: tuple[int, ...]) -> GeneratorDims:
    kernels = table.up_kernels
    if len(rates) != len(kernels):
        raise _unfit(f"{len(kernels)} stages do not go with the upsampling rates {list(rates)}")
    for i, (kernel, rate) in enumerate(zip(kernels, rates, strict=True)):
        if kernel < rate or (kernel - rate) % 2:
            raise _unfit(
                f"dec.ups.{i}: kernel {kernel} does not go with the upsampling rate {rate}"
            )
    return GeneratorDims(
        width=table.width,
        style=table.style,
        channels=tuple(table.dec >> stage for stage in range(len(kernels) + 1)),
        rates=rates,
        up_kernels=kernels,
        block_kernels=table.block_kernels,
        dilations=DILATIONS,
        edge_kernels=(EDGE_KERNEL, EDGE_KERNEL),
    )


def _unfit(what: str) -> EngineError:
    hint = "give the SoVITS file (.pth) of a v1, v2, v2Pro or v2ProPlus voice"
    return EngineError("bad_checkpoint", f"not a sound model that can speak: {what}", hint)


def inference_state(state: Mapping[str, Tensor], table: S2) -> dict[str, Tensor]:
    """The float32 weights that inference needs, under the names of our modules, of a ``state`` (any
    float type) in which all of ``table`` is.

    Weight norm is folded (``g * v / |v|``), and the generator's kernels [O, I, K] become
    [O, I, 1, K].
    """
    kept = {key: state[key].float() for key in table.shapes() if is_needed(key)}
    folded = {}
    for key, value in kept.items():
        if key.endswith(".weight_g"):
            continue
        if key.endswith(".weight_v"):
            key = key.removesuffix("_v")
            value = _fold(kept[key + "_g"], value)
        folded[_renamed(key)] = value
    for key, value in folded.items():
        if key.startswith("dec.") and key != "dec.cond.weight" and value.ndim == 3:
            flat = value.unsqueeze(2)
            folded[key] = flat.contiguous(memory_format=torch.channels_last)
    return folded


def _fold(scale: Tensor, direction: Tensor) -> Tensor:
    """scale [O, 1, 1], direction [O, I, K] -> the weight [O, I, K] that weight norm stands for"""
    norm: Tensor = torch.linalg.vector_norm(direction, dim=(1, 2), keepdim=True)
    return direction * (scale / norm)


def _renamed(key: str) -> str:
    for old, new in MOVED.items():
        if key.startswith(old):
            return new + key.removeprefix(old)
    return RENAMED.get(key, key)
