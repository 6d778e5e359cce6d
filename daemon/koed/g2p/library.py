"""The libraries of one language are imported when that language is first spoken, never before."""

from __future__ import annotations

import contextlib
import importlib
import io
import warnings
from typing import Any

from koed.errors import EngineError

HINT = "pip install 'koed[gpt-sovits]'"
NATURAL_HINT = "KOED_VOICE=natural make run installs it, or: pip install 'koed[natural]'"
_NATURAL = frozenset({"opencc", "pyopenjtalk", "pypinyin", "rjieba"})
"""What the natural voice reads with. The neural one needs most of it too, and where that is missing
it is told the smaller of the two extras that bring it."""


def load(module: str, language: str) -> Any:
    """Import ``module``. Raises `EngineError` ``library_missing``."""
    try:
        # Some print advice to install more, some warn of what their authors should change.
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(module)
    except ImportError as error:
        hint = NATURAL_HINT if module.partition(".")[0] in _NATURAL else HINT
        raise EngineError(
            "library_missing", f"{language} text needs {module}: {error}", hint
        ) from error
