"""A real OBS for the tests of a process; each test finds it running, with its first password."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tools.counterparts.obs import ObsStudio


@pytest.fixture(scope="session")
def studio() -> Iterator[ObsStudio]:
    with ObsStudio() as obs:
        yield obs


@pytest.fixture
def obs(studio: ObsStudio) -> Iterator[ObsStudio]:
    password = studio.password
    yield studio
    studio.go_on()
    if studio.password != password or not studio.running:
        studio.kill()
        studio.start(password)
