"""Convolutions over time, made fast on a CPU; exact but for rounding.

`PackedConv`: oneDNN wants weights in an order of its own, and puts them in it at every call if
nobody has done so before, which takes a third of the time of a short chunk. What follows the
convolution (an activation, a sum) it does while the result is still in the cache.

`TileConv`: long ones in fewer multiplications. Overlap-save with a small Fourier transform
(Winograd 1980; Mathieu et al. 2014): a tile of ``n`` positions is transformed, multiplied bin by
bin over the channels, and transformed back, which gives ``n - kernel + 1`` outputs. For 11 taps and
``n = 32`` that is 47 or 64 products where the plain way takes 242.
"""

from __future__ import annotations

import functools
import math
import platform
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def packs() -> bool:
    """Whether this build and processor have oneDNN's packed convolutions."""
    return (
        torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and platform.machine().lower() in ("x86_64", "amd64")
        and all(hasattr(torch.ops.mkldnn, name) for name in _OPERATORS)
    )


def multiplies_bfloat16() -> bool:
    """Whether this processor does; others imitate it, and float32 is faster there."""
    tests = (
        getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("avx512_bf16", "amx_tile")
    )
    return any(test is not None and test() for test in tests)


_OPERATORS = (
    "_convolution_pointwise",
    "_convolution_transpose_pointwise",
    "_reorder_convolution_weight",
    "_reorder_convolution_transpose_weight",
)


class Convolution(nn.Module):
    """Same-length convolution over time of [B, C, 1, T], channels-last, and what follows it."""

    weight: Tensor
    reach: int
    """Positions on either side that one depends on."""

    @property
    def dtype(self) -> torch.dtype:
        """Of what goes in."""
        return self.weight.dtype

    def activated(self, x: Tensor, slope: float) -> Tensor:
        """x [B, C, 1, T] -> leaky ReLU of the convolution [B, C', 1, T]"""
        y: Tensor = functional.leaky_relu_(self(x), slope)
        return y

    def onto(self, total: Tensor, x: Tensor) -> Tensor:
        """total [B, C', 1, T], x [B, C, 1, T] -> their sum, x convolved first"""
        y: Tensor = total + self(x)
        return y


class PackedConv(Convolution):
    """Weights in oneDNN's order."""

    def __init__(self, weight: Tensor, bias: Tensor | None, dilation: int, length: int) -> None:
        """weight [C', C, 1, K], bias [C'] or None; ``length`` that is usual."""
        super().__init__()
        _, inputs, _, kernel = weight.shape
        self.bias, self.reach = bias, (kernel - 1) // 2 * dilation
        self._geometry: tuple[Any, ...] = ([0, self.reach], [1, 1], [1, dilation], 1)
        self.weight = torch.ops.mkldnn._reorder_convolution_weight(
            weight.detach(), *self._geometry, [1, inputs, 1, length]
        )

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C, 1, T] -> [B, C', 1, T]"""
        return self._run(x, "none", [])

    def activated(self, x: Tensor, slope: float) -> Tensor:
        """x [B, C, 1, T] -> [B, C', 1, T]"""
        return self._run(x, "leaky_relu", [slope])

    def onto(self, total: Tensor, x: Tensor) -> Tensor:
        """total [B, C', 1, T], x [B, C, 1, T] -> [B, C', 1, T] in the dtype of ``total``"""
        if total.dtype != x.dtype:  # a sum in float32 of bfloat16 parts
            return super().onto(total, x)
        y: Tensor = torch.ops.mkldnn._convolution_pointwise.binary(
            x, total, self.weight, self.bias, *self._geometry, "add", 1.0, None, [], None
        )
        return y

    def _run(self, x: Tensor, after: str, scalars: list[float]) -> Tensor:
        y: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, self.weight, self.bias, *self._geometry, after, scalars, ""
        )
        return y


class PackedUpsample(nn.Module):
    """A transposed convolution, weights in oneDNN's order."""

    def __init__(self, weight: Tensor, bias: Tensor, rate: int, pad: int, length: int) -> None:
        """weight [C, C', 1, K], bias [C']; ``length`` of the input that is usual."""
        super().__init__()
        self.bias = bias
        self._geometry: tuple[Any, ...] = ([0, pad], [0, 0], [1, rate], [1, 1], 1)
        self.weight = torch.ops.mkldnn._reorder_convolution_transpose_weight(
            weight.detach(), *self._geometry, [1, weight.shape[0], 1, length]
        )

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C, 1, T] -> [B, C', 1, T * rate]"""
        y: Tensor = torch.ops.mkldnn._convolution_transpose_pointwise(
            x, self.weight, self.bias, *self._geometry, "none", [], ""
        )
        return y


PORTIONS = (8, 16, 24, 32, 48, 64, 96, 128)
"""Tiles that are multiplied at once in bfloat16."""


@dataclass(frozen=True, slots=True)
class Transforms:
    """``back @ (product of (tile @ x) with taps)`` is the correlation of x with taps; float64.

    The J rows of a transformed tile are G groups of g; each is multiplied by g x g numbers.
    """

    tile: Tensor
    """[J, n]"""
    taps: Tensor
    """[G, g, g, K]: what these numbers are made of, tap by tap."""
    back: Tensor
    """[n - K + 1, J]: where tile and taps overlap fully."""


@functools.cache
def exact_transforms(n: int, kernel: int) -> Transforms:
    """A complex product as three real ones (Gauss), of sums and differences; g = 1."""
    at = torch.arange(n, dtype=torch.float64) * (2 * math.pi / n)
    tile: list[Tensor] = []
    taps: list[Tensor] = []
    back: list[Tensor] = []
    for frequency in range(n // 2 + 1):
        cos, sin = (at * frequency).cos(), (at * frequency).sin()
        if frequency in (0, n / 2):
            tile, taps, back = [*tile, cos], [*taps, cos], [*back, cos / n]
            continue
        # Tile u + iv (cos, -sin) times taps p + iq (cos, sin: reversed time, as it correlates) from
        # p(u + v), u(q - p) and v(p + q): real part first - third, imaginary part first + second.
        tile += [cos - sin, cos, -sin]
        taps += [cos, sin - cos, cos + sin]
        back += [(cos - sin) * 2 / n, -sin * 2 / n, -cos * 2 / n]
    matrices = torch.stack(taps)[:, None, None, :kernel]
    return Transforms(torch.stack(tile), matrices, _overlap(back, kernel))


@functools.cache
def plain_transforms(n: int, kernel: int) -> Transforms:
    """A complex product as four real ones, which loses less of short numbers; g = 2."""
    at = torch.arange(n, dtype=torch.float64) * (2 * math.pi / n)
    nothing = torch.zeros(n, dtype=torch.float64)
    tile, back = (
        [at.cos() ** 0, (at * (n // 2)).cos()],
        [at.cos() ** 0 / n, (at * (n // 2)).cos() / n],
    )
    taps = [torch.stack([tile[0], nothing, nothing, tile[1]])]  # both are real and go together
    for frequency in range(1, n // 2):
        cos, sin = (at * frequency).cos(), (at * frequency).sin()
        tile, back = [*tile, cos, -sin], [*back, cos * 2 / n, -sin * 2 / n]
        taps.append(torch.stack([cos, sin, -sin, cos]))
    matrices = torch.stack(taps).view(n // 2, 2, 2, n)[..., :kernel]
    return Transforms(torch.stack(tile), matrices, _overlap(back, kernel))


def _overlap(back: list[Tensor], kernel: int) -> Tensor:
    return torch.stack(back)[:, : len(back[0]) - kernel + 1].T.contiguous()


class TileConv(Convolution):
    """Tile by tile."""

    def __init__(
        self, weight: Tensor, bias: Tensor, dilation: int, n: int, dtype: torch.dtype
    ) -> None:
        """weight [C', C, 1, K], bias [C'], both float32; ``n`` positions a tile, an even number."""
        super().__init__()
        self.kernel, self.dilation, self.n = weight.shape[-1], dilation, n
        self.reach = (self.kernel - 1) // 2 * dilation
        made = (exact_transforms if dtype == torch.float32 else plain_transforms)(n, self.kernel)
        products = torch.einsum("gabk,oik->gaibo", made.taps, weight[:, :, 0].double())
        self.weight = products.flatten(3, 4).flatten(1, 2).to(dtype)
        self.bias = bias.to(dtype)
        self.tile, self.back = made.tile.to(dtype), made.back.to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C, 1, T] -> [B, C', 1, T]"""
        batch, _, _, length = x.shape
        step, outputs = self.dilation, self.n - self.kernel + 1
        tiles = -(-length // (outputs * step))
        end = (tiles * outputs + self.kernel - 1) * step - self.reach - length
        rows: Tensor = functional.pad(x[:, :, 0].transpose(1, 2), (0, 0, self.reach, end))
        # Every `step`th position belongs to one signal: [B, tiles, step, C, n].
        signals = rows.view(batch, -1, step, rows.shape[-1])
        views = signals.unfold(1, self.n, outputs)
        y = self._correlate(views.transpose(3, 4).flatten(0, 2))
        y = y.view(batch, tiles, step, outputs, -1).transpose(2, 3).reshape(batch, -1, y.shape[-1])
        out: Tensor = y[:, :length].add_(self.bias).transpose(1, 2).unsqueeze(2)
        return out

    def _correlate(self, x: Tensor) -> Tensor:
        """x [tiles, n, C] -> [tiles, n - K + 1, C']"""
        if self.dtype == torch.float32:
            return self._portion(x)
        count, sizes = len(x), portions(len(x))
        x = functional.pad(x, (0, 0, 0, 0, 0, sum(sizes) - count))
        return torch.cat([self._portion(part) for part in torch.split(x, sizes)])[:count]

    def _portion(self, x: Tensor) -> Tensor:
        """x [tiles, n, C] -> [tiles, n - K + 1, C']"""
        v = self.tile @ x
        groups = v.view(len(v), len(self.weight), -1).transpose(0, 1)
        products = torch.bmm(groups, self.weight).transpose(0, 1)
        y: Tensor = self.back @ products.reshape(len(v), v.shape[1], -1)
        return y


def portions(tiles: int) -> list[int]:
    """Numbers that are together at least ``tiles``, of few kinds.

    For every number of rows oneDNN compiles a product of bfloat16 matrices anew, which takes a
    millisecond and half a megabyte; sound comes in chunks of any length.
    """
    full, rest = divmod(tiles, PORTIONS[-1])
    return [PORTIONS[-1]] * full + [size for size in PORTIONS if size >= rest > 0][:1]
