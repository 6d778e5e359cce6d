"""Sampling, against ``sampling/*.npz``: fixed logits and noise, every setting that has an order."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from koed.engine.gpt_sovits.model.sampling import Knobs, Sampling, penalise_, pick, probabilities
from tests.parity.case import Array, Case, Result, fixtures
from tests.parity.weights import array


def cases(folder: Path) -> Iterator[Case]:
    """One case for each parameter set of each file."""
    for path, arrays, meta in fixtures(folder, "sampling"):
        for n, given in enumerate(meta["cases"]):
            yield Case(f"sampling/{path.stem}_{n}", functools.partial(_judge, arrays, given, n))


def _judge(arrays: dict[str, Array], given: dict[str, Any], n: int) -> Result:
    logits = torch.from_numpy(array(given["logits"]))
    rows, codes = logits.shape
    sampling = Sampling(
        given["top_k"], given["top_p"], given["temperature"], given["repetition_penalty"]
    )
    knobs = Knobs.of([sampling] * rows, codes, torch.device("cpu"))
    said = torch.from_numpy(arrays[f"prev{n}"]).long()
    seen = torch.zeros(rows, codes, dtype=torch.bool).scatter_(1, said, True)

    probs = probabilities(penalise_(logits.clone(), seen, knobs.penalty), knobs)
    choice, best = pick(logits, seen, knobs, torch.from_numpy(array(given["exp_noise"])))
    result = Result()
    result.close("probs", probs, arrays[f"probs{n}"])
    result.exact("nkept", (probs > 0).sum(1), arrays[f"nkept{n}"])
    result.exact("choice", choice, arrays[f"choice{n}"])
    result.exact("argmax_after_penalty", best, arrays[f"argmax_after_penalty{n}"])
    return result
