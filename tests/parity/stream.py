"""Cases of joining: overlapping fragments to the sound that the official engine makes of them."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from tests.parity.case import Array, Case, Result, fixtures
from tools.parity import sola


def cases(folder: Path) -> Iterator[Case]:
    """One case a file."""
    for path, arrays, meta in fixtures(folder, "stream"):
        yield Case(f"stream/{path.stem}", functools.partial(check, arrays, meta))


def check(arrays: dict[str, Array], meta: dict[str, Any]) -> Result:
    names = sorted((n for n in arrays if n[1:].isdigit()), key=lambda n: int(n[1:]))
    fragments = [torch.from_numpy(arrays[name]) for name in names]
    joined, offsets = sola.join(fragments, meta["overlap"], meta["search"])
    result = Result()
    result.exact("offsets", offsets, meta["offsets"])
    result.wave("joined", joined, arrays["joined"])
    return result
