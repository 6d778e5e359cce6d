"""CUDA graphs on a CPU: what is captured is written down, operation by operation, and replayed.

As with a real graph, addresses and Python values are those of the capture, a replay writes the
same output tensors again, and asking for a number in mid-capture is an error.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

SYNCS = ("aten._local_scalar_dense", "aten.nonzero", "aten.is_nonzero", "aten.equal")


class Graph(TorchDispatchMode):
    """In place of `torch.cuda.CUDAGraph`."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []
        self.replays = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if str(func).startswith(SYNCS):
            raise RuntimeError(f"CUDA error: {func} waits for the device while it is captured")
        out = func(*args, **(kwargs or {}))
        self.operations.append((func, args, kwargs or {}, out))
        return out

    @torch.inference_mode()
    def replay(self) -> None:
        self.replays += 1
        for func, args, kwargs, out in self.operations:
            for old, new in zip(_tensors(out), _tensors(func(*args, **kwargs)), strict=True):
                if old.data_ptr() != new.data_ptr():
                    old.copy_(new)

    def pool(self) -> None:
        """There is none."""


def _tensors(value: Any) -> list[Tensor]:
    values = value if isinstance(value, (tuple, list)) else (value,)
    return [one for one in values if isinstance(one, Tensor)]


@contextlib.contextmanager
def recorded() -> Iterator[None]:
    """What asks torch for CUDA graphs gets tapes."""
    names = {
        "CUDAGraph": Graph,
        "graph": lambda graph, **_: graph,
        "Stream": mock.MagicMock,
        "current_stream": mock.MagicMock(),
        "stream": lambda _: contextlib.nullcontext(),
        "synchronize": lambda *_: None,
    }
    with contextlib.ExitStack() as stack:
        for name, value in names.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, value))
        yield
