"""Filling a network with the weights of a file: liberal in spelling, strict in shapes.

Networks are built without memory (on torch's "meta" device) and take over the tensors of the file,
so that loading costs no second copy and no random initialisation.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from koed.engine.gpt_sovits.checkpoints.checkpoint import load_state
from koed.errors import EngineError

State = Mapping[str, Tensor]

_SPELLINGS = ((".gamma", ".weight"), (".beta", ".bias"))
"""Old names of a layer norm's parameters."""
_WEIGHT_NORMS = (
    (".weight_g", ".weight_v"),
    (".parametrizations.weight.original0", ".parametrizations.weight.original1"),
)


def read_folder(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """``config.json`` (empty if there is none) and the weights of a model folder of the Hub, of the
    shapes and dtypes that are in the file.

    Raises `EngineError` ``model_missing``, ``model_damaged`` or ``checkpoint_unsafe``.
    """
    config = folder / "config.json"
    return _read_json(config) if config.is_file() else {}, load_state(folder)


def _read_json(path: Path) -> dict[str, Any]:
    """A JSON object; `EngineError` ``model_damaged`` if it is none."""
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EngineError("model_damaged", f"{path}: {error}", "fetch the folder anew") from error
    if not isinstance(loaded, dict):
        raise EngineError("model_damaged", f"{path}: no JSON object", "fetch the folder anew")
    return loaded


def sizes(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """``defaults``, with what ``config`` (a config.json) says of them; the rest is not our matter.

    Raises `EngineError` ``model_damaged`` if a value is of another type.
    """
    out = {key: config.get(key, default) for key, default in defaults.items()}
    for key, value in out.items():
        if type(value) is not type(defaults[key]):
            raise EngineError(
                "model_damaged", f"config.json: {key} is {value!r}", "fetch the folder anew"
            )
    return out


def spelled(state: State, prefix: str) -> dict[str, Tensor]:
    """``state`` in the names of today's library, weight norm folded as `folded` does it.

    ``prefix`` ("bert.") is how a file with heads names the body; heads are dropped.
    """
    if any(key.startswith(prefix) for key in state):
        state = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    renamed = {}
    for key, value in state.items():
        for old, new in _SPELLINGS:
            key = key.removesuffix(old) + new if key.endswith(old) else key
        renamed[key] = value
    return folded(renamed)


def folded(state: State) -> dict[str, Tensor]:
    """``state`` with each pair of weight norm (g, v) as one weight, g * v / ||v||, float32: g
    [1, 1, K] or [O, 1, 1], v [O, I, K] -> [O, I, K]. What is in no pair stays as it is.

    The norm goes over the dimensions in which g is 1.
    """
    out = dict(state)
    for g_name, v_name in _WEIGHT_NORMS:
        for key in [k for k in state if k.endswith(g_name)]:
            name = key.removesuffix(g_name)
            if name + v_name not in out:
                continue  # reported as missing by whoever needs it
            g, v = out.pop(key).float(), out.pop(name + v_name).float()
            over = [i for i, size in enumerate(g.shape) if size == 1]
            out[f"{name}.weight"] = g * v / v.norm(dim=over, keepdim=True)
    return out


def build(make: Callable[[], nn.Module], what: str) -> Any:
    """The network without memory, for `fill`. `EngineError` if its sizes do not fit together."""
    try:
        with torch.device("meta"):
            return make()
    except (ValueError, TypeError, RuntimeError, ZeroDivisionError) as error:
        raise EngineError(
            "model_damaged", f"config.json of {what}: {error}", "fetch the folder anew"
        ) from error


def fill(network: nn.Module, state: State, what: str, dtype: torch.dtype) -> None:
    """Give ``network`` (on "meta") its parameters and buffers, cast to ``dtype``, eval mode.

    Tensors that it does not know are left out. Raises `EngineError` ``model_incomplete`` or
    ``model_mismatch``, naming ``what`` and the keys.
    """
    wanted = network.state_dict()
    missing = [k for k in wanted if k not in state]
    if missing:
        raise EngineError(
            "model_incomplete", f"{what} lacks {_listed(missing)}", "fetch the file anew"
        )
    wrong = [
        f"{k} {list(state[k].shape)} instead of {list(wanted[k].shape)}"
        for k in wanted
        if state[k].shape != wanted[k].shape
    ]
    if wrong:
        raise EngineError(
            "model_mismatch",
            f"{what} is of another size: {_listed(wrong)}",
            "its config.json and its weights must belong together",
        )
    network.load_state_dict({k: state[k].to(dtype) for k in wanted}, assign=True)
    network.requires_grad_(False).eval()


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(names[:4]) + more
