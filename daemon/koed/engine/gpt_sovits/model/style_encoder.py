"""Style: a spectrogram of a reference clip (and who speaks there) becomes one vector.

``ge`` conditions flow and generator, ``ge512`` the text encoder; the two are the same vector unless
the checkpoint is of the Pro family, which adds a speaker embedding and is wider.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

HEADS = 2


@dataclass(frozen=True, slots=True)
class Style:
    """The sound of a voice, ready for every sentence. Frozen: swap it to change the voice."""

    ge: Tensor
    """[1, G, 1] float32; G 512, Pro 1024: for flow and generator."""
    ge512: Tensor
    """[1, 512, 1] float32: for the text encoder."""


class _Linear(nn.Module):
    """A linear layer under the name that checkpoints give it."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.fc = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc(x)
        return out


class _GatedConv(nn.Module):
    """Residual convolution, one half of its channels opening and closing the other."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        conv = nn.Conv1d(channels, 2 * channels, kernel, padding=(kernel - 1) // 2)
        self.conv1 = nn.ModuleDict({"conv": conv})

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C, F] -> [B, C, F]"""
        gated: Tensor = self.conv1["conv"](x)
        return x + functional.glu(gated, dim=1)


class _SelfAttention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.w_qs = nn.Linear(width, width)
        self.w_ks = nn.Linear(width, width)
        self.w_vs = nn.Linear(width, width)
        self.fc = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, F, C] -> [B, F, C]"""
        q, k, v = (
            layer(x).unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for layer in (self.w_qs, self.w_ks, self.w_vs)
        )
        # The model was trained with the square root of the whole width here, not of a head's.
        heads = functional.scaled_dot_product_attention(q, k, v, scale=x.shape[-1] ** -0.5)
        out: Tensor = self.fc(heads.transpose(1, 2).flatten(2))
        return x + out


class StyleEncoder(nn.Module):
    """Linear spectrogram to style vector; ``bins`` lowest frequencies are looked at."""

    def __init__(self, bins: int, width: int, kernel: int, style: int) -> None:
        super().__init__()
        self.bins = bins
        layers = {"0": _Linear(bins, width), "3": _Linear(width, width)}
        self.spectral = nn.ModuleDict(layers)
        self.temporal = nn.Sequential(_GatedConv(width, kernel), _GatedConv(width, kernel))
        self.slf_attn = _SelfAttention(width)
        self.fc = _Linear(width, style)

    def forward(self, spectrogram: Tensor) -> Tensor:
        """spectrogram [1, bins or more, F] -> style [1, G]"""
        x = spectrogram[:, : self.bins].transpose(1, 2)
        for layer in self.spectral.values():
            x = functional.mish(layer(x))
        x = self.temporal(x.transpose(1, 2)).transpose(1, 2)
        style: Tensor = self.fc(self.slf_attn(x))
        return style.mean(1)


def blend(vectors: Sequence[Tensor], weights: Sequence[float] | None) -> Tensor:
    """vectors, each [1, G] -> [1, G]: their mean, or the mean by weight (weights need no sum of 1).

    Raises ValueError if there is nothing to blend or the weights do not fit.
    """
    if not vectors:
        raise ValueError("a style needs at least one reference")
    stack = torch.cat(list(vectors))
    if weights is None:
        return stack.mean(0, keepdim=True)
    if len(weights) != len(vectors) or not all(w >= 0 for w in weights) or not sum(weights) > 0:
        raise ValueError(f"{len(vectors)} references cannot have the weights {list(weights)}")
    share = torch.tensor(weights, dtype=stack.dtype, device=stack.device)
    return (share / share.sum())[None] @ stack
