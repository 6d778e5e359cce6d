"""`koed bench air`: the figures of a stream, each with its real counterpart (OBS, X server, chat).

Each part is a module ``air_NAME`` with ``measure(n)``, which returns samples in milliseconds by the
name of the figure, and what else is to be told as plain numbers. ``n`` is a number of samples, or
of seconds of chat.
"""

from __future__ import annotations

import importlib
import statistics
import sys
from typing import Any

import numpy as np

from koed.bench.main import AIR_PARTS

SAMPLES = 60


def measure(n: int = SAMPLES, parts: tuple[str, ...] = AIR_PARTS) -> dict[str, Any]:
    """``{name: {p50, p99, n}}`` in milliseconds, and plain numbers as they are.

    Of a signed difference (a caption may come early) the percentiles are those of its size, and
    ``median`` has the sign.
    """
    results: dict[str, Any] = {}
    for part in parts:
        print(f"  {part} ...", file=sys.stderr, flush=True)
        module = importlib.import_module(f"tools.air_{part}")
        for name, found in module.measure(n).items():
            results[name] = summary(found) if isinstance(found, list) else found
    return results


def summary(samples_ms: list[float]) -> dict[str, float]:
    sizes = [abs(value) for value in samples_ms]
    result = {
        "p50": round(statistics.median(sizes), 2),
        "p99": round(float(np.percentile(sizes, 99)), 2),
        "n": len(sizes),
    }
    if min(samples_ms) < 0:
        result["median"] = round(statistics.median(samples_ms), 2)
    return result
