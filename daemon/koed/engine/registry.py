"""Engines by name, loaded when asked for: a worker pays only for the one that it runs."""

from __future__ import annotations

import difflib
import importlib
import os

from koed.engine import quiet
from koed.engine.base import Engine
from koed.errors import EngineError

ENGINES = {
    "tone": ("koed.engine.tone", "ToneEngine"),
    "embedded": ("koed.engine.embedded.engine", "EmbeddedEngine"),
    "gpt_sovits": ("koed.engine.gpt_sovits.engine", "GptSovitsEngine"),
}

ENVIRONMENT = {"gpt_sovits": {"OMP_WAIT_POLICY": "PASSIVE"}}
"""What a library must find when it is loaded, unless the user has set it. torch's threads would
wait for each other busily, and take the processor from the one that they wait for: with other work
on the machine that made them three to ten times slower."""


def set_environment(name: str) -> None:
    """Before any of the libraries of this engine is loaded."""
    quiet.keep(os.environ)
    for variable, value in ENVIRONMENT.get(name, {}).items():
        os.environ.setdefault(variable, value)


def create(name: str) -> Engine:
    """A fresh engine, nothing loaded yet; raises `EngineError` ``unknown_engine`` or
    ``library_missing``."""
    if name not in ENGINES:
        close = difflib.get_close_matches(name, ENGINES, n=1)
        raise EngineError(
            "unknown_engine",
            f"there is no engine {name[:40]!r}",
            f"did you mean {close[0]!r}?" if close else f"engines: {', '.join(ENGINES)}",
        )
    module, cls = ENGINES[name]
    set_environment(name)
    try:
        engine: Engine = getattr(importlib.import_module(module), cls)()
    except ModuleNotFoundError as error:
        raise EngineError(
            "library_missing",
            f"engine {name} needs the library {error.name}, which is not installed",
            "pip install 'koed[gpt-sovits]'" if name == "gpt_sovits" else "make run installs it",
        ) from error
    return engine
