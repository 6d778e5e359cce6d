"""The real model, where its packages are installed."""

from __future__ import annotations

import pytest

from koed.engine.kokoro import weights
from koed.errors import EngineError


@pytest.fixture(scope="session")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> weights.Graphs:
    """Cut once for all tests of a process."""
    folder = tmp_path_factory.mktemp("kokoro")
    try:
        return weights.graphs(folder, folder)
    except EngineError as error:
        pytest.skip(str(error))
