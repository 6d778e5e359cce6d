"""Linear layers in the number formats that decoding can use. One token is a walk through all
weights, so its time is the bytes read: fewer bytes, faster speech.

``fp32``  weights as they are. On x86 they are held as a sum of two halves, ``w = hi + lo / 2048``
          (22 bits), because FBGEMM's packed half kernel, which multiplies and adds in float32,
          reads such a pair faster than any float32 kernel reads the weight. Files that store halves
          (all fine-tuned ones do) need no ``lo`` and lose nothing.
``fp16``  ``hi`` alone: weights rounded to 11 bits, everything else float32. On CUDA: half.
``int8``  weights per output channel, activations per call, sums in int32. CPU only.
``bf16``  CUDA only.
"""

from __future__ import annotations

import platform
import warnings
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from koed.errors import EngineError

Precision = Literal["fp32", "fp16", "bf16", "int8"]
Linear = Callable[[Tensor], Tensor]

LOW_SCALE = 2048.0  # what a half leaves over is below 2^-11 of the weight
FEW_ROWS = 24  # above this, arithmetic and not memory decides: float32 is faster than a pair
_HALF_MAX = 65504.0


def make_linear(weight: Tensor, bias: Tensor | None, precision: Precision) -> Linear:
    """weight [Co, Ci], bias [Co] on their device -> x [..., Ci] float -> y [..., Co].

    Raises EngineError where the device has no such format.
    """
    if weight.is_cuda:
        if precision == "int8":
            raise EngineError("precision", "int8 decoding runs on the CPU", "use fp16 on CUDA")
        dtype = activation_dtype(weight.device, precision)
        return Plain(weight.to(dtype), None if bias is None else bias.to(dtype))
    if precision == "bf16":
        raise EngineError("precision", "bf16 decoding runs on CUDA", "use fp16 or int8 here")
    weight, bias = weight.float().contiguous(), None if bias is None else bias.float()
    if not packs():
        if precision == "int8":
            raise EngineError("precision", "no int8 kernels on this processor", "use fp32")
        return Plain(weight, bias)
    if precision == "int8":
        return Int8(weight, bias)
    if float(weight.abs().max()) > _HALF_MAX:
        return Plain(weight, bias)
    return Half(weight, bias) if precision == "fp16" else Exact(weight, bias)


def activation_dtype(device: torch.device, precision: Precision) -> torch.dtype:
    """What flows between the layers, and what the cache holds."""
    if device.type == "cpu":
        return torch.float32
    return {"fp32": torch.float32, "fp16": torch.float16}.get(precision, torch.bfloat16)


def packs() -> bool:
    """Whether this build and processor have FBGEMM's packed kernels."""
    return (
        "fbgemm" in torch.backends.quantized.supported_engines
        and platform.machine().lower() in ("x86_64", "amd64")
        and hasattr(torch, "quantize_per_channel")
        and hasattr(torch.ops.quantized, "linear_prepack_fp16")
    )


class Plain:
    """torch's own linear, in the dtype of its weight."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        """weight [Co, Ci] and bias [Co] of any float type"""
        self.weight, self.bias = weight, bias

    def __call__(self, x: Tensor) -> Tensor:
        """x [..., Ci] -> [..., Co]"""
        return F.linear(x, self.weight, self.bias)


class Half:
    """Packed half weights, float32 sums."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        """weight [Co, Ci], bias [Co], both float32"""
        self.packed, self.packed_bytes = _pack_half(weight, bias), 2 * weight.numel()

    def __call__(self, x: Tensor) -> Tensor:
        """x [..., Ci] -> [..., Co]"""
        return _linear_half(x, self.packed)


class Exact:
    """Packed halves that add up to the float32 weight; float32 itself for many rows."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        """weight [Co, Ci], bias [Co], both float32"""
        high = weight.half().float()
        self.high, self.packed_bytes = _pack_half(high, bias), 2 * weight.numel()
        if torch.equal(high, weight):
            self.low = self.plain = None
        else:
            self.low = _pack_half((weight - high) * LOW_SCALE, None)
            self.packed_bytes *= 2
            self.plain = Plain(weight, bias)

    def __call__(self, x: Tensor) -> Tensor:
        """x [..., Ci] -> [..., Co]"""
        if self.low is None or self.plain is None:
            return _linear_half(x, self.high)
        if x.numel() > FEW_ROWS * x.shape[-1]:
            return self.plain(x)
        return _linear_half(x, self.high).add_(_linear_half(x, self.low), alpha=1 / LOW_SCALE)


class Int8:
    """Weights per channel in int8, activations quantised per call, sums in int32."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        """weight [Co, Ci], bias [Co], both float32"""
        scale = weight.abs().amax(1).clamp_min(1e-8).double() / 127
        zero = torch.zeros_like(scale, dtype=torch.int64)  # another dtype is silently misread
        with warnings.catch_warnings():  # torch plans to drop these tensors; ``packs`` will notice
            warnings.simplefilter("ignore", UserWarning)
            quantised = torch.quantize_per_channel(weight, scale, zero, 0, torch.qint8)
        self.packed = _with_fbgemm(torch.ops.quantized.linear_prepack, quantised, bias)
        self.packed_bytes = weight.numel()
        # Without VNNI the kernel sums pairs in 16 bits: seven-bit activations cannot overflow it.
        self.narrow = not torch.cpu._is_vnni_supported()

    def __call__(self, x: Tensor) -> Tensor:
        """x [..., Ci] -> [..., Co]"""
        y: Tensor = torch.ops.quantized.linear_dynamic(x, self.packed, self.narrow)
        return y


def _pack_half(weight: Tensor, bias: Tensor | None) -> Any:
    return _with_fbgemm(torch.ops.quantized.linear_prepack_fp16, weight, bias)


def _linear_half(x: Tensor, packed: Any) -> Tensor:
    y: Tensor = torch.ops.quantized.linear_dynamic_fp16(x, packed)
    return y


def _with_fbgemm(pack: Callable[..., Any], *arguments: Any) -> Any:
    """Packing follows a global switch; the packed weight remembers its engine, so put it back."""
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = "fbgemm"
    try:
        return pack(*arguments)
    finally:
        torch.backends.quantized.engine = before
