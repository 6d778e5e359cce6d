"""The generator (HiFi-GAN, Kong et al. 2020): latent frames of 20 ms become samples at 32 kHz.

A stage upsamples, then averages residual blocks of three kernel sizes. `Generator.plan` works out
which part of every stage a window of the sound needs, so that a window rendered alone equals the
same samples of the whole. Everything runs channels-last (one position's channels lie together):
that is what CPU and tensor cores multiply fastest, and what costs no reordering between layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from koed.engine.gpt_sovits import threads
from koed.engine.gpt_sovits.model.fastconv import (
    Convolution,
    PackedConv,
    PackedUpsample,
    TileConv,
    packs,
)

TILES = {7: 24, 11: 32}
"""Kernel to tile of `TileConv`, measured; below seven taps it does not pay ..."""
TILE_CHANNELS = 64
"""... nor below so many channels."""
BLOCK = 1 << 20
"""Numbers in a signal that is worked on at once, on a CPU. More would have to be got from the
system anew, page by page, for every layer; less repeats more of the context."""
LEAST_FRAMES = 6
"""That a core renders for itself, on a CPU. 22 frames of context come with them, and yet it is
faster than sharing every layer."""
SLOPE = 0.1
LAST_SLOPE = 0.01


@dataclass(frozen=True, slots=True)
class Span:
    """Positions ``lo`` to ``hi`` (not included) of a signal, counted from the utterance's start."""

    lo: int
    hi: int

    def widen(self, reach: int, length: int) -> Span:
        """With ``reach`` more on both sides, as far as the signal of ``length`` goes."""
        return Span(max(0, self.lo - reach), min(length, self.hi + reach))

    def pieces(self, most: int) -> list[Span]:
        """This span in pieces of ``most`` positions or less; 0: in one."""
        count = max(1, -(-(self.hi - self.lo) // most)) if most else 1
        ends = [self.lo + (self.hi - self.lo) * n // count for n in range(count + 1)]
        return [Span(a, b) for a, b in pairwise(ends)]

    def cut_from(self, x: Tensor) -> Tensor:
        """x [..., T], a whole signal -> [..., T'], this span of it"""
        return x[..., self.lo : self.hi]

    def cut(self, x: Tensor, inner: Span) -> Tensor:
        """x [..., T] covering this span -> [..., T'] covering ``inner``"""
        return x[..., inner.lo - self.lo : inner.hi - self.lo]


@dataclass(frozen=True, slots=True)
class GeneratorDims:
    """Sizes: channels and kernels from a checkpoint's shapes, rates from its configuration."""

    width: int
    style: int
    channels: tuple[int, ...]
    """Before the first stage, then after each."""
    rates: tuple[int, ...]
    up_kernels: tuple[int, ...]
    block_kernels: tuple[int, ...]
    dilations: tuple[int, ...]
    edge_kernels: tuple[int, int]
    """Of the first and the last convolution."""


@dataclass(frozen=True, slots=True)
class StagePlan:
    """Where a window needs one stage's signal, at the rate that the stage puts out."""

    worked: Span
    """Goes into the residual blocks. Near its inner edges they lack neighbours, and so ..."""
    kept: Span
    """... only this comes out."""
    length: int
    """Of the whole utterance."""

    def around(self, reach: int) -> Span:
        """What is kept and ``reach`` more."""
        return self.kept.widen(reach, self.length)


@dataclass(frozen=True, slots=True)
class Plan:
    """Where a window needs the signal, from latent to sound."""

    frames: Span
    stages: tuple[StagePlan, ...]
    samples: Span


class RowConv(Convolution):
    """As torch does it."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, dilation: int = 1, bias: bool = True
    ) -> None:
        super().__init__()
        self.dilation, self.reach = dilation, (kernel - 1) // 2 * dilation
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 1, kernel))
        self.bias = nn.Parameter(torch.empty(outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C, 1, T] -> [B, C', 1, T]"""
        return functional.conv2d(
            x, self.weight, self.bias, padding=(0, self.reach), dilation=(1, self.dilation)
        )

    def quick(self, dtype: torch.dtype) -> Convolution:
        """The same in ``dtype``, faster on a CPU."""
        outputs, inputs, _, kernel = self.weight.shape
        if kernel in TILES and outputs == inputs >= TILE_CHANNELS and self.bias is not None:
            return TileConv(self.weight, self.bias, self.dilation, TILES[kernel], dtype)
        if not packs():
            return self.to(dtype)
        bias = None if self.bias is None else self.bias.to(dtype)
        length = BLOCK // max(outputs, inputs)
        return PackedConv(self.weight.to(dtype), bias, self.dilation, length)


class Upsample(nn.Module):
    """Transposed convolution that makes ``rate`` positions of one."""

    def __init__(self, inputs: int, outputs: int, kernel: int, rate: int) -> None:
        super().__init__()
        self.rate, self.kernel, self.pad = rate, kernel, (kernel - rate) // 2
        self.weight = nn.Parameter(torch.empty(inputs, outputs, 1, kernel))
        self.bias = nn.Parameter(torch.empty(outputs))
        self.packed: PackedUpsample | None = None

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C, 1, T] -> [B, C', 1, T * rate]"""
        if self.packed is not None:
            y: Tensor = self.packed(x)
            return y
        return functional.conv_transpose2d(
            x, self.weight, self.bias, stride=(1, self.rate), padding=(0, self.pad)
        )

    def quicken(self) -> None:
        """The same, faster on a CPU."""
        if packs():
            length = BLOCK // self.rate // self.weight.shape[1]
            self.packed = PackedUpsample(self.weight, self.bias, self.rate, self.pad, length)
            del self.weight

    def sources(self, span: Span, length: int) -> Span:
        """Input positions (of ``length``) that the output ``span`` is made of."""
        lo = -((self.kernel - 1 - self.pad - span.lo) // self.rate)
        hi = (span.hi - 1 + self.pad) // self.rate + 1
        return Span(max(0, lo), min(length, hi))


class ResidualBlock(nn.Module):
    """Three times: a dilated convolution and a plain one, added to what came in.

    The sum stays float32 when the convolutions are of less: that costs nothing and saves 2.5 dB.
    """

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        dilated = [RowConv(channels, channels, kernel, d) for d in dilations]
        plain = [RowConv(channels, channels, kernel) for _ in dilations]
        self.convs1, self.convs2 = nn.ModuleList(dilated), nn.ModuleList(plain)
        self.reach = sum(conv.reach for conv in dilated + plain)

    def forward(self, x: Tensor, hot: Tensor, plan: StagePlan) -> Tensor:
        """x and hot [B, C, 1, T] at ``plan.worked`` -> [B, C, 1, T'] at ``plan.kept``

        ``hot`` is the activation of x, in the type of the convolutions.
        """
        held, reach = plan.worked, self.reach
        for number, layers in enumerate(zip(self.convs1, self.convs2, strict=True)):
            dilated, plain = cast(tuple[Convolution, Convolution], layers)
            near = plan.around(reach)
            x, held, before = held.cut(x, near), near, held
            hot = before.cut(hot, near) if not number else heat(x, dilated.dtype)
            x = plain.onto(x, dilated.activated(hot, SLOPE))
            reach -= dilated.reach + plain.reach
        return held.cut(x, plan.kept)


class Generator(nn.Module):
    """``forward`` renders a whole latent, ``render`` only what a plan asks for."""

    def __init__(self, dims: GeneratorDims) -> None:
        super().__init__()
        self.dims = dims
        self.samples_per_frame = torch.Size(dims.rates).numel()
        first, last = dims.edge_kernels
        self.block = 0
        self.conv_pre: Convolution = RowConv(dims.width, dims.channels[0], first)
        self.cond = nn.Conv1d(dims.style, dims.channels[0], 1)
        widths = zip(pairwise(dims.channels), dims.up_kernels, dims.rates, strict=True)
        self.ups = nn.ModuleList(Upsample(a, b, kernel, rate) for (a, b), kernel, rate in widths)
        self.resblocks = nn.ModuleList(
            ResidualBlock(channels, kernel, dims.dilations)
            for channels in dims.channels[1:]
            for kernel in dims.block_kernels
        )
        self.conv_post: Convolution = RowConv(dims.channels[-1], 1, last, bias=False)

    def lower(self, dtype: torch.dtype) -> None:
        """Multiply in ``dtype`` where nearly all of the work is, in the residual blocks.

        In bfloat16 that halves the time at 42 dB below the sound; the upsampling layers, a
        twentieth of the work, would make it 37 dB.
        """
        self.resblocks.to(dtype)

    def quicken(self, dtype: torch.dtype) -> None:
        """On a CPU: every convolution in the way that is fastest there, in blocks that fit a cache;
        the residual blocks in ``dtype``, as `lower` does it.

        About 130 MB larger. There is no way back: load anew.
        """
        for block in cast(list[ResidualBlock], list(self.resblocks)):
            for convs in (block.convs1, block.convs2):
                for i, conv in enumerate(cast(list[RowConv], list(convs))):
                    convs[i] = conv.quick(dtype)
        for up in cast(list[Upsample], list(self.ups)):
            up.quicken()
        for name in ("conv_pre", "conv_post"):
            setattr(self, name, cast(RowConv, getattr(self, name)).quick(torch.float32))
        self.block = BLOCK

    def forward(self, z: Tensor, ge: Tensor) -> Tensor:
        """z [B, C, F], ge [B, G, 1] -> sound [B, S] float32 in -1..1"""
        frames = z.shape[-1]
        return self.render(z, ge, self.plan(Span(0, frames), frames))

    def plan(self, window: Span, frames: int) -> Plan:
        """What the frames ``window`` of an utterance of ``frames`` need; computed backwards."""
        rate = self.samples_per_frame
        length, need = frames * rate, Span(window.lo * rate, window.hi * rate)
        samples = need
        need = need.widen(self.conv_post.reach, length)
        stages = []
        for up, blocks in reversed(self._stages()):
            worked = need.widen(max(block.reach for block in blocks), length)
            stages.append(StagePlan(worked, need, length))
            length //= up.rate
            need = up.sources(worked, length)
        return Plan(need.widen(self.conv_pre.reach, frames), tuple(reversed(stages)), samples)

    @property
    def reach(self) -> int:
        """Frames on either side that a frame's sound depends on: 11 in every official version."""
        far = 1 << 20
        return far - self.plan(Span(far, far + 1), 2 * far).frames.lo

    def render(self, z: Tensor, ge: Tensor, plan: Plan) -> Tensor:
        """z [B, C, F'] at ``plan.frames``, ge [B, G, 1] -> sound [B, S] of ``plan.samples``"""
        shares = self._shares(plan)
        if len(shares) < 2:
            return self._render(z, ge, plan)
        parts = threads.each(
            lambda share: self._render(plan.frames.cut(z, share.frames), ge, share), shares
        )
        return torch.cat(parts, -1)

    def _shares(self, plan: Plan) -> list[Plan]:
        """What each core of this thread renders; the plan itself if it is not shared."""
        rate = self.samples_per_frame
        window = Span(plan.samples.lo // rate, plan.samples.hi // rate)
        frames = window.hi - window.lo
        count = min(torch.get_num_threads(), frames // LEAST_FRAMES) if self.block else 1
        if count < 2:
            return [plan]
        total = plan.stages[-1].length // rate
        return [self.plan(span, total) for span in window.pieces(-(-frames // count))]

    def _render(self, z: Tensor, ge: Tensor, plan: Plan) -> Tensor:
        x = self.conv_pre(_channels_last(z)) + self.cond(ge).unsqueeze(-1)
        held = plan.frames
        for (up, blocks), stage in zip(self._stages(), plan.stages, strict=True):
            x = functional.leaky_relu_(x, SLOPE)
            x = self._stage(x, held, up, blocks, stage)
            held = stage.kept
        x = self.conv_post(functional.leaky_relu_(x, LAST_SLOPE))
        return held.cut(x[:, 0, 0], plan.samples).tanh_()

    def _stage(
        self, x: Tensor, held: Span, up: Upsample, blocks: list[ResidualBlock], stage: StagePlan
    ) -> Tensor:
        """x [B, C, 1, T] at ``held``, activated -> [B, C', 1, T'] at ``stage.kept``"""
        reach = max(block.reach for block in blocks)
        pieces = []
        for kept in stage.kept.pieces(self.block // up.bias.numel()):
            part = StagePlan(kept.widen(reach, stage.length), kept, stage.length)
            source = up.sources(part.worked, stage.length // up.rate)
            y = up(held.cut(x, source))
            y = Span(source.lo * up.rate, source.hi * up.rate).cut(y, part.worked)
            hot = heat(y, cast(Convolution, blocks[0].convs1[0]).dtype)
            outputs = [block(y, hot, part) for block in blocks]
            pieces.append(sum(outputs[1:], outputs[0]) / len(outputs))
        return torch.cat(pieces, -1) if len(pieces) > 1 else pieces[0]

    def _stages(self) -> list[tuple[Upsample, list[ResidualBlock]]]:
        """Each upsampling layer with the residual blocks that follow it."""
        blocks = cast(list[ResidualBlock], list(self.resblocks))
        count = len(self.dims.block_kernels)
        return [
            (cast(Upsample, up), blocks[i * count : (i + 1) * count])
            for i, up in enumerate(self.ups)
        ]


def heat(x: Tensor, dtype: torch.dtype) -> Tensor:
    """x [B, C, 1, T] -> its activation, in ``dtype``"""
    return functional.leaky_relu(x, SLOPE).to(dtype)


def _channels_last(z: Tensor) -> Tensor:
    """z [B, C, F] -> [B, C, 1, F], each frame's channels side by side in memory"""
    return z.unsqueeze(2).contiguous(memory_format=torch.channels_last)
