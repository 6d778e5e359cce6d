"""A real X server for the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from koed.bench.counterparts.xserver import XServer
from tests.rigs import pulse as pulse


@pytest.fixture(scope="module")
def screen() -> Iterator[XServer]:
    with XServer() as server:
        yield server
