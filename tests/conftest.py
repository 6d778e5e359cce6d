"""What holds for all tests."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import settings

# A slow example on a busy machine is not a wrong one.
settings.register_profile("koed", deadline=None, print_blob=True)
settings.load_profile("koed")

_CURRENT = "PYTEST_CURRENT_TEST"  # pytest's own, another one in every phase of a test


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """No sound in the name of a test: a WAV file may hold its time of writing, and the processes
    of one run must agree on names."""
    return f"{argname}-{len(val)}" if isinstance(val, bytes) and len(val) > 40 else None


def pytest_configure(config: pytest.Config) -> None:
    # in the background of a script SIGINT is ignored, and children would inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # what a person decided and a test daemon keeps must not meet the tester's own
    folder = tempfile.mkdtemp(prefix="koed-state-")
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    os.environ["XDG_STATE_HOME"] = folder
    # what tests make of koed's own profiles has the embedded voices, which are ready at once
    os.environ["KOED_VOICE"] = "small"


@pytest.fixture(autouse=True)
def _environment_as_it_was() -> Iterator[None]:
    """What a test, or an engine that it makes, sets is not the next test's, nor its children's."""
    before = {name: value for name, value in os.environ.items() if name != _CURRENT}
    yield
    for name in os.environ.keys() - before.keys() - {_CURRENT}:
        del os.environ[name]
    os.environ.update(before)
