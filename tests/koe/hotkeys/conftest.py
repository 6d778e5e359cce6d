"""A real X server for the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.rigs.sound import pulse as pulse
from tools.counterparts.xserver import XServer


@pytest.fixture(scope="module")
def screen() -> Iterator[XServer]:
    with XServer() as server:
        yield server
