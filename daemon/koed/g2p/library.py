"""The libraries of one language are imported when that language is first spoken, never before."""

from __future__ import annotations

import contextlib
import importlib
import io
import warnings
from typing import Any

from koed.errors import EngineError

HINT = "pip install 'koed[gpt-sovits]'"


def load(module: str, language: str) -> Any:
    """Import ``module``. Raises `EngineError` ``library_missing``."""
    try:
        # Some print advice to install more, some warn of what their authors should change.
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(module)
    except ImportError as error:
        raise EngineError(
            "library_missing", f"{language} text needs {module}: {error}", HINT
        ) from error
