"""What torch and NVIDIA's libraries say when something fails, as codes of koed. Pure.

Each library has status words of its own, and torch raises most of them as a bare `RuntimeError`.
"""

from __future__ import annotations

import re
from typing import Any

import torch

from koed.errors import EngineError

OTHER_DEVICE = "in koed.yaml, engines: {gpt_sovits: {device: cpu}} speaks on the processor"
_LIBRARY = (
    r"\b(CUDA|CUBLAS|CUBLASLT|CUDNN|CUFFT|CUSOLVER|CUSPARSE|CURAND|NVRTC|HIPBLAS|ROCBLAS|MIOPEN)"
)
_FULL = re.compile(
    r"allocate memory|out of memory|enough memory|OUT_OF_MEMORY|ALLOC(ATION)?_FAILED"
    # What is left is too little even for a library's handle.
    rf"|{_LIBRARY}_(STATUS_)?NOT_INITIALIZED"
)
_UNSUPPORTED = re.compile(
    rf"{_LIBRARY}_\w*(NOT_SUPPORTED|MISMATCH|BAD_PARAM|INVALID_VALUE)"
    r"|no kernel image|nable to find an engine|no valid convolution algorithms"
)
_LOST = re.compile(rf"(CUDA|HIP|CUDA driver) error|device-side assert|{_LIBRARY}_[A-Z]+_[A-Z_]+")


def told(error: BaseException) -> EngineError | None:
    """``oom``: memory ran out; ``gpu_unsupported``: this card or this build cannot do it;
    ``device_lost``: the device fails all that comes after. None: it is none of these."""
    text = str(error)
    if is_full(error):
        hint = "fewer models at once, or a lower precision"
        return EngineError("oom", f"memory ran out: {text[:120]}", hint)
    if not isinstance(error, RuntimeError):
        return None
    if _UNSUPPORTED.search(text):
        return EngineError("gpu_unsupported", f"the GPU cannot do this: {text[:120]}", OTHER_DEVICE)
    if isinstance(error, _accelerator_error()) or _LOST.search(text):
        return EngineError("device_lost", f"the GPU failed: {text[:120]}")
    return None


def is_full(error: BaseException) -> bool:
    """Whether a device or a library of its has no memory left."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and bool(_FULL.search(str(error)))


def _accelerator_error() -> Any:
    return getattr(torch, "AcceleratorError", ())  # of torch 2.8 and later
