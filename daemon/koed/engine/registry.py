"""Engines by name: koed's own, and those that a package brings as entry points ``koed.engines``.

Each is a `koed.engine.base.EngineSpec`, which costs nothing to import; the engine itself is
imported where it runs, in its worker. How to add one: docs/engines.md.
"""

from __future__ import annotations

import importlib
import os

from koed.config import engines
from koed.engine import quiet
from koed.engine.base import Engine, EngineSpec
from koed.errors import EngineError


def find(name: str) -> EngineSpec:
    """Raises `EngineError` ``unknown_engine`` or ``engine_broken``."""
    if name not in engines.installed():
        raise EngineError("unknown_engine", *engines.unknown(name))
    try:
        spec = engines.installed()[name].load()
    except (Exception, SystemExit) as error:  # it is not our code
        raise _broken(name, f"it cannot be imported: {error!r:.200}") from error
    if not isinstance(spec, EngineSpec):
        raise _broken(name, f"its entry point names a {type(spec).__name__}, not an EngineSpec")
    return spec


def is_neural(name: str) -> bool:
    """False also for one that cannot be had: its worker will say why."""
    try:
        return find(name).neural
    except EngineError:
        return False


def set_environment(name: str) -> None:
    """Before any of the libraries of this engine is loaded."""
    quiet.keep(os.environ)
    for variable, value in find(name).environment.items():
        os.environ.setdefault(variable, value)


def create(name: str) -> Engine:
    """A fresh engine, nothing loaded yet; raises `EngineError` as `find` does, or
    ``library_missing``."""
    quiet.keep(os.environ)
    spec = find(name)
    set_environment(name)
    module, _, cls = spec.engine.partition(":")
    try:
        engine: Engine = getattr(importlib.import_module(module), cls)()
    except ModuleNotFoundError as error:
        raise EngineError(
            "library_missing",
            f"engine {name} needs the library {error.name}, which is not installed",
            spec.install,
        ) from error
    return engine


def _broken(name: str, why: str) -> EngineError:
    return EngineError(
        "engine_broken", f"engine {name}: {why}", "mend or remove the package that it comes from"
    )
