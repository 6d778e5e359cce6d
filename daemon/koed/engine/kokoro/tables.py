"""Voices as tables: a style vector for every length of text.

A table is float32 ``[510, 256]``; row n - 1 is the style of a text of n symbols. In a row, 128
numbers go to the decoder (timbre), then 128 to the predictor of durations, pitch and energy.
"""

from __future__ import annotations

import functools
import lzma
from collections.abc import Mapping
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from koed.engine.kokoro.shipped import SHIPPED
from koed.engine.kokoro.symbols import MOST
from koed.errors import EngineError, did_you_mean

STYLE = 256
Table = NDArray[np.float32]


def table(name: str) -> Table:
    """``[510, 256]`` of a voice that comes with koed, read-only, exact to a float16.

    Raises EngineError ``unknown_voice``.
    """
    if name not in SHIPPED:
        hint = did_you_mean(name, SHIPPED)
        raise EngineError("unknown_voice", f"kokoro has no voice {name[:40]!r}", hint)
    return _shipped(name)


@functools.lru_cache(maxsize=len(SHIPPED))
def _shipped(name: str) -> Table:
    path = resources.files(__package__) / "voices" / f"{name}.xz"
    return unpacked(path.read_bytes())


def unpacked(data: bytes) -> Table:
    """A shipped file, read-only: the bit patterns of half precision, as steps along each column,
    since rows change slowly. ``tools/pack_voices.py`` makes them."""
    steps = np.frombuffer(lzma.decompress(data), "<u2").reshape(STYLE, MOST)
    columns = np.cumsum(steps, axis=1, dtype="<u2").view("<f2")
    rows = np.ascontiguousarray(columns.T, dtype=np.float32)
    rows.flags.writeable = False
    return rows


def blend(weights: Mapping[str, float]) -> Table:
    """The mean of shipped voices by their ``weights`` (each > 0, of any sum). Raises as `table`."""
    total = sum(weights.values())
    rows = np.zeros((MOST, STYLE), np.float32)
    for name, weight in weights.items():
        rows += np.float32(weight / total) * table(name)
    return rows
