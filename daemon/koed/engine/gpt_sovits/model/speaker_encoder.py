"""ERes2NetV2 (w24 s4 ep4): who is speaking, as 20480 numbers for the Pro models.

Yafeng Chen et al., "ERes2NetV2: Boosting Short-Duration Speaker Verification Performance with
Computational Efficiency" (Interspeech 2024). Its pooling and embedding layers are not used: the
Pro models take the fused map itself, averaged over time. Batch norms are folded into the
convolutions before them.

Shapes: B batch, S samples, F frames of 10 ms, C channels, M mel bands, T = F / 8.
Modules bear the names of the checkpoint's keys.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import hardtanh_, relu_

from koed.engine.gpt_sovits.checkpoints.checkpoint import load_state
from koed.engine.gpt_sovits.model.features import fbank, for_speaker
from koed.engine.gpt_sovits.model.loading import State, build, fill

SCALE = 4
"""Groups of channels in a block, each seeing what the one before it has made."""


class Fusion(nn.Module):
    """Two maps of one size, added with weights between 0 and 2 that depend on both."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.local_att = nn.Sequential(
            nn.Conv2d(2 * channels, channels // 4, 1),
            nn.Identity(),  # where the checkpoint has a batch norm
            nn.SiLU(inplace=True),
            nn.Conv2d(channels // 4, channels, 1),
        )

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """``[B, C, M, F]`` twice -> ``[B, C, M, F]``: a (1 + w) + b (1 - w)."""
        lean = self.local_att(torch.cat([a, b], 1)).tanh_()
        return torch.addcmul(a + b, a - b, lean)


class Block(nn.Module):
    """A residual block of four chained 3x3 convolutions between two 1x1."""

    def __init__(self, before: int, planes: int, stride: int, fuses: bool) -> None:
        super().__init__()
        width, after = planes * 24 // 64, planes * 4
        self.conv1 = nn.Conv2d(before, width * SCALE, 1, stride)
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(SCALE))
        self.conv3 = nn.Conv2d(width * SCALE, after, 1)
        joins = (Fusion(width) for _ in range(SCALE - 1)) if fuses else ()
        self.fuse_models = nn.ModuleList(joins)
        keeps = stride == 1 and before == after
        self.shortcut = nn.Sequential(*([] if keeps else [nn.Conv2d(before, after, 1, stride)]))

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, M, F]`` -> ``[B, C', M / stride, F / stride]``."""
        groups = _clip(self.conv1(x)).chunk(SCALE, 1)
        made: list[Tensor] = []
        for i, (conv, group) in enumerate(zip(self.convs, groups, strict=True)):
            if i == 0:
                heard = group
            elif self.fuse_models:
                heard = self.fuse_models[i - 1](made[-1], group)
            else:
                heard = made[-1] + group
            made.append(_clip(conv(heard)))
        return _clip(self.conv3(torch.cat(made, 1)).add_(self.shortcut(x)))


class Network(nn.Module):
    """Up to the fused map of its last two scales. ``base`` channels lead to all other sizes."""

    def __init__(self, base: int = 64) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, base, 3, padding=1)
        self.layer1 = _layer(base, base, 3, 1, fuses=False)
        self.layer2 = _layer(base * 4, base * 2, 4, 2, fuses=False)
        self.layer3 = _layer(base * 8, base * 4, 6, 2, fuses=True)
        self.layer4 = _layer(base * 16, base * 8, 3, 2, fuses=True)
        self.layer3_ds = nn.Conv2d(base * 16, base * 32, 3, 2, padding=1, bias=False)
        self.fuse34 = Fusion(base * 32)

    def forward(self, energies: Tensor) -> Tensor:
        """``[B, F, 80]`` -> ``[B, 32 * base, 10, T]``."""
        x = relu_(self.conv1(energies.transpose(1, 2)[:, None]))  # the only one without ceiling
        third = self.layer3(self.layer2(self.layer1(x)))
        fused: Tensor = self.fuse34(self.layer4(third), self.layer3_ds(third))
        return fused


class Speaker:
    """The speaker network, ready to be asked."""

    def __init__(
        self,
        state: State,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Raises `EngineError` ``model_incomplete`` or ``model_mismatch``."""
        base = len(state.get("conv1.weight", torch.zeros(64)))
        network: Network = build(lambda: Network(base), "the speaker model")
        # Channels last: a tenth less time on a CPU.
        table = {
            k: v.contiguous(memory_format=torch.channels_last) if v.ndim == 4 else v
            for k, v in without_norms(network, state).items()
        }
        fill(network, table, "the speaker model", dtype)
        self.network = network.to(device)
        self.device, self.dtype = torch.device(device), dtype

    @classmethod
    def load(cls, path: Path, device: torch.device | str = "cpu", **options: Any) -> Speaker:
        """From the official file, a bare table of weights. Raises `EngineError`."""
        return cls(load_state(path), device, **options)

    @torch.inference_mode()
    def __call__(self, wave: Tensor) -> Tensor:
        """``[S]`` at 32 kHz, as the style hears it -> ``[1, 20480]``, float32."""
        return self.embed(fbank(for_speaker(wave.to(self.device))))

    @torch.inference_mode()
    def embed(self, energies: Tensor) -> Tensor:
        """Log energies ``[F, 80]`` -> ``[1, 20480]``: channels times bands, averaged over time."""
        fused: Tensor = self.network(energies[None].to(self.device, self.dtype))
        return fused.float().flatten(1, 2).mean(-1)


def without_norms(network: nn.Module, state: State) -> dict[str, Tensor]:
    """``state`` with each convolution's batch norm multiplied into it, float32: weight [O, I, H, W]
    and norm [O] become weight [O, I, H, W] and bias [O].

    A convolution without a norm behind it (or whose norm is missing: `fill` then finds no bias)
    stays as it is.
    """
    out = dict(state)
    for name, module in network.named_modules():
        norm = _norm_of(name)
        if not isinstance(module, nn.Conv2d) or f"{norm}.running_var" not in state:
            continue
        weight = state[f"{name}.weight"].float()
        bias = state.get(f"{name}.bias", torch.zeros(len(weight))).float()
        parts = ("weight", "bias", "running_mean", "running_var")
        gain, shift, mean, variance = (state[f"{norm}.{part}"].float() for part in parts)
        gain = gain / (variance + 1e-5).sqrt()
        out[f"{name}.weight"] = weight * gain[:, None, None, None]
        out[f"{name}.bias"] = (bias - mean) * gain + shift
    return out


def _norm_of(conv: str) -> str:
    """``layer1.0.convs.2`` -> ``layer1.0.bns.2``; in a sequence the norm comes next."""
    stem, last = conv.rpartition(".")[::2]
    if last.isdigit() and not stem.endswith("convs"):
        return f"{stem}.{int(last) + 1}"
    return re.sub(r"conv(s\.)?(\d)$", lambda m: f"bn{m[1] or ''}{m[2]}", conv)


def _layer(before: int, planes: int, count: int, stride: int, fuses: bool) -> nn.Sequential:
    rest = (Block(planes * 4, planes, 1, fuses) for _ in range(count - 1))
    return nn.Sequential(Block(before, planes, stride, fuses), *rest)


def _clip(x: Tensor) -> Tensor:
    return hardtanh_(x, 0.0, 20.0)
