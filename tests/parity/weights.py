"""Synthetic weights by fill rule v1: each tensor follows from its key and shape alone.

The values come from numpy's PCG64, seeded with the CRC-32 of the key, scaled so that activations
stay of order one. `DIR/manifests/*.json` lists the keys of each official file.
"""

from __future__ import annotations

import functools
import json
import math
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.parity.case import Array, Case, Result

_GAINS = {
    r"ar_predict_layer\.weight$": 4.0,
    r"(in_proj_weight|\.[qk]_proj\.weight|query\.weight|key\.weight)$": 2.0,
    r"(out_proj\.weight|attention\.output\.dense\.weight)$": 0.2,
    r"(linear2\.weight|output_dense\.weight|\d\.output\.dense\.weight)$": 0.1,
    r"emb_rel_[kv]$": 8.0,
    r"_codebook\.embed$": 27.7128,
}


def randn(seed: int, shape: Sequence[int]) -> Array:
    """Standard normal float32 of ``shape``, C order."""
    rng = np.random.Generator(np.random.PCG64(seed))
    return rng.standard_normal(math.prod(shape), dtype=np.float32).reshape(shape)


def rexp(seed: int, shape: Sequence[int]) -> Array:
    """Standard exponential float32 of ``shape``, C order."""
    rng = np.random.Generator(np.random.PCG64(seed))
    return rng.standard_exponential(math.prod(shape), dtype=np.float32).reshape(shape)


def array(rule: dict[str, Any]) -> Array:
    """The array that ``{"rule": "randn", "seed": s, "shape": [...]}`` stands for, float32.

    ``then`` names steps ("abs", "times 4", "clip to [-1,1]"), ``times`` alone is one factor.
    """
    values = {"randn": randn, "rexp": rexp}[rule["rule"]](rule["seed"], rule["shape"])
    steps = [s.strip() for s in re.split(r",(?![^\[]*\])", rule.get("then", "times")) if s.strip()]
    for step in steps:
        numbers = [float(x) for x in re.findall(r"-?\d+(?:\.\d+)?", step)]
        if step == "abs":
            values = np.abs(values)
        elif step.startswith("times"):
            values = values * np.float32(numbers[0] if numbers else rule.get("times", 1.0))
        elif step.startswith("clip"):
            values = values.clip(*(np.float32(x) for x in numbers))
        else:
            raise ValueError(f"unknown step {step!r} in {rule}")
    return values


def fill(key: str, shape: Sequence[int], dtype: str = "float32") -> Array:
    """The synthetic tensor for ``key``; float32 unless ``dtype`` is an integer type."""
    last = key.rsplit(".", 1)[-1]
    if "int" in dtype:
        zeros = np.zeros(shape, np.int64)
        return zeros + np.arange(shape[-1]) if last == "position_ids" else zeros
    if last in ("inited", "cluster_size"):
        return np.ones(shape, np.float32)
    if last == "inv_freq":
        return (10000.0 ** (-np.arange(shape[0]) / shape[0])).astype(np.float32)
    n = randn(zlib.crc32(key.encode()), shape)
    if last == "running_var":
        return 1.0 + 0.1 * np.abs(n)
    if last in ("bias", "beta", "running_mean") or last.endswith("_bias"):
        return np.float32(0.02) * n
    if last == "weight_v":
        return n
    if key.endswith("prelu.weight"):
        return 0.25 + np.float32(0.02) * n
    if last == "weight_g" or (last in ("weight", "gamma", "alpha") and len(shape) == 1):
        return 1.0 + np.float32(0.02) * n
    if "embedding" in key and len(shape) == 2:
        return n
    gain = math.prod(g for pattern, g in _GAINS.items() if re.search(pattern, key))
    return n * np.float32(gain / math.sqrt(math.prod(shape[1:])))


@functools.lru_cache(maxsize=32)
def manifest(folder: Path, name: str) -> dict[str, Any]:
    """``DIR/manifests/NAME.json``: keys, config, fill_check."""
    text = (folder / "manifests" / f"{name}.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


@functools.lru_cache(maxsize=2)  # the largest fill more than a gigabyte
def state_dict(folder: Path, name: str) -> dict[str, torch.Tensor]:
    """A float32 state dict for the manifest ``name``. Shared: never write to it."""
    return {
        key: torch.from_numpy(np.ascontiguousarray(fill(key, entry["shape"], entry["dtype"])))
        for key, entry in manifest(folder, name)["keys"].items()
    }


def cases(folder: Path) -> Iterator[Case]:
    """The fill rule against the sums that each manifest recorded."""
    for path in sorted((folder / "manifests").glob("*.json")):
        yield Case(f"weights/{path.stem}", functools.partial(_check, folder, path.stem))


def _check(folder: Path, name: str) -> Result:
    result = Result()
    loaded = manifest(folder, name)
    for key, want in loaded.get("fill_check", {}).items():
        entry = loaded["keys"][key]
        values = fill(key, entry["shape"], entry["dtype"]).astype(np.float64).reshape(-1)
        result.close("first4", values[:4], want["first4"])
        result.close("sumsq", (values**2).sum(), want["sumsq"])
    return result
