"""Where engines find models and keep what can be made again (XDG Base Directory Specification)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def models(environ: Mapping[str, str]) -> Path:
    """``$XDG_DATA_HOME/koed/models``."""
    return _below(environ, "XDG_DATA_HOME", ".local/share") / "models"


def cache(environ: Mapping[str, str]) -> Path:
    """``$XDG_CACHE_HOME/koed``."""
    return _below(environ, "XDG_CACHE_HOME", ".cache")


def _below(environ: Mapping[str, str], variable: str, otherwise: str) -> Path:
    base = environ.get(variable, "")
    if not os.path.isabs(base):  # the specification: a relative path counts as not set
        base = os.path.join(environ.get("HOME", "/"), otherwise)
    return Path(base) / "koed"
