"""The flow, run backwards: a latent that text and style explain becomes one that can be heard.

Four coupling layers (Kim et al. 2021, VITS), each moving one half of the channels by what a small
WaveNet makes of the other half.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class FlowDims:
    """Sizes, all read from a checkpoint's shapes."""

    width: int
    hidden: int
    kernel: int
    layers: int
    couplings: int
    style: int

    @property
    def reach(self) -> int:
        """Frames on either side that a frame depends on: 32 in every official version."""
        return (self.kernel - 1) // 2 * self.layers * self.couplings


class WaveNet(nn.Module):
    def __init__(self, dims: FlowDims) -> None:
        super().__init__()
        hidden, layers = dims.hidden, dims.layers
        pad = (dims.kernel - 1) // 2
        self.width = hidden
        self.cond_layer = nn.Conv1d(dims.style, 2 * hidden * layers, 1)
        self.in_layers = nn.ModuleList(
            nn.Conv1d(hidden, 2 * hidden, dims.kernel, padding=pad) for _ in range(layers)
        )
        # The last layer has nothing left to feed, so it only adds to the output.
        self.res_skip_layers = nn.ModuleList(
            nn.Conv1d(hidden, hidden if i == layers - 1 else 2 * hidden, 1) for i in range(layers)
        )

    def forward(self, x: Tensor, ge: Tensor) -> Tensor:
        """x [B, C, F], ge [B, G, 1] -> [B, C, F]"""
        conditions = self.cond_layer(ge).chunk(len(self.in_layers), dim=1)
        output = torch.zeros_like(x)
        layers = zip(self.in_layers, self.res_skip_layers, conditions, strict=True)
        for into, out_of, condition in layers:
            wave, gate = (into(x) + condition).chunk(2, dim=1)
            step = out_of(wave.tanh() * gate.sigmoid())
            if step.shape[1] > self.width:
                x = x + step[:, : self.width]
            output += step[:, -self.width :]
        return output


class Coupling(nn.Module):
    """Backwards: subtracts from one half of the channels what was once added to it."""

    def __init__(self, dims: FlowDims) -> None:
        super().__init__()
        half = dims.width // 2
        self.pre = nn.Conv1d(half, dims.hidden, 1)
        self.enc = WaveNet(dims)
        self.post = nn.Conv1d(dims.hidden, half, 1)

    def forward(self, z: Tensor, ge: Tensor) -> Tensor:
        """z [B, C, F], ge [B, G, 1] -> [B, C, F]"""
        kept, moved = z.chunk(2, dim=1)
        return torch.cat([kept, moved - self.post(self.enc(self.pre(kept), ge))], dim=1)


class Flow(nn.Module):
    """Checkpoints number the couplings 0, 2, 4, 6: a flip of the channels stands between two."""

    def __init__(self, dims: FlowDims) -> None:
        super().__init__()
        self.flows = nn.ModuleDict({str(2 * i): Coupling(dims) for i in range(dims.couplings)})
        self.reach = dims.reach

    def forward(self, z: Tensor, ge: Tensor) -> Tensor:
        """z [B, C, F], ge [B, G, 1] -> [B, C, F]"""
        for coupling in reversed(list(self.flows.values())):
            z = coupling(z.flip(1), ge)
        return z
