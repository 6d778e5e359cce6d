"""Phones to codes, against ``ar/*.npz``: logits, hidden states, codes, counts."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from koed.engine.gpt_sovits.decoding.decode import Prompt, Utterance
from koed.engine.gpt_sovits.model.linear import Precision, make_linear
from koed.engine.gpt_sovits.model.sampling import Noise, Sampling
from koed.engine.gpt_sovits.model.t2s import T2S, State
from tests.parity.case import Array, Case, Result, fixtures
from tests.parity.weights import array, manifest, state_dict
from tools.parity.official import codes_together, single_codes


def cases(folder: Path) -> Iterator[Case]:
    """One case a file; consecutive files of one model share it."""
    for path, arrays, meta in fixtures(folder, "ar"):
        judge = _batch if meta["kind"] == "batch" else _single
        yield Case(f"ar/{path.stem}", functools.partial(judge, folder, arrays, meta))


def model(folder: Path, name: str, end_gain: float, precision: Precision = "fp32") -> Recorder:
    """The full-size model with synthetic weights; ``end_gain`` makes the end mark likelier."""
    recorder = _model(folder, name, precision)
    recorder.forget()
    weight = state_dict(folder, name)["model.ar_predict_layer.weight"].clone()
    weight[recorder.dims.end] *= end_gain
    recorder.last = make_linear(weight, None, precision)
    return recorder


@functools.lru_cache(maxsize=1)  # half a gigabyte
def _model(folder: Path, name: str, precision: Precision) -> Recorder:
    heads = manifest(folder, name)["config"]["model"]["head"]
    return Recorder(state_dict(folder, name), heads, precision=precision)


class Recorder(T2S):
    """The model, remembering what entered and left its last linear."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.hidden: list[Tensor] = []
        self.logits: list[Tensor] = []
        self.last = self.predict
        self.predict = self._remember

    def _remember(self, x: Tensor) -> Tensor:
        self.hidden.append(x.clone())
        self.logits.append(self.last(x))
        return self.logits[-1].clone()  # sampling writes into it

    def forget(self) -> None:
        self.hidden.clear()
        self.logits.clear()

    def new_state(self, rows: int, positions: int, *, poison: bool = True) -> State:
        return super().new_state(rows, positions, poison=poison)


def prompts(arrays: dict[str, Array], meta: dict[str, Any]) -> list[Prompt]:
    """The utterances of a fixture file."""
    codes = torch.as_tensor(arrays.get("prompt", []), dtype=torch.int64)
    given = meta["params"]
    sampling = Sampling(
        given["top_k"], given["top_p"], given["temperature"], given["repetition_penalty"]
    )
    return [
        Prompt(
            torch.as_tensor(arrays[f"x{n}"], dtype=torch.int64),
            codes,
            torch.from_numpy(array(rule)),
            sampling,
            most=given["early_stop_num"] + 1,  # the official test comes one code late
        )
        for n, rule in enumerate(meta["bert"])
    ]


def noise(meta: dict[str, Any], codes: int) -> Noise:
    """Recorded rows, or for greedy cases none that matters."""
    if "noise" not in meta:
        return lambda step: torch.ones(codes)
    rows = torch.from_numpy(array(meta["noise"]))
    return lambda step: rows[step]


def _single(folder: Path, arrays: dict[str, Array], meta: dict[str, Any]) -> Result:
    ar = model(folder, meta["model"], meta["eos_gain"])
    (prompt,) = prompts(arrays, meta)
    utterance = Utterance(ar, prompt, noise(meta, ar.dims.codes))
    codes = list(utterance)
    result = Result()
    result.exact("steps", len(ar.logits), meta["steps"])
    for name, got in (("logits", ar.logits), ("hidden", ar.hidden)):
        result.close(name, torch.cat(got[: len(arrays[name])]), arrays[name])
    result.exact("y", prompt.codes.tolist() + codes, arrays["y"])
    official = len(single_codes(utterance)) if prompt.codes.numel() else 0
    result.exact("idx", [official], arrays["idx"])
    return result


def _batch(folder: Path, arrays: dict[str, Array], meta: dict[str, Any]) -> Result:
    ar = model(folder, meta["model"], meta["eos_gain"])
    rows = prompts(arrays, meta)
    official = codes_together(ar, rows, [noise(meta, ar.dims.codes)] * len(rows))
    result = Result()
    first = [torch.cat(ar.logits[: len(rows)]), *ar.logits[len(rows) : len(rows) + 2]]
    result.close("logits_first3", torch.stack(first), arrays["logits_first3"])
    for n, row in enumerate(rows):
        result.exact(f"y{n}", row.codes.tolist() + official[n], arrays[f"y{n}"])
    result.exact("idx", [len(codes) for codes in official], arrays["idx"])
    return result
