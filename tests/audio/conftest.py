"""The fixtures of `tests.rigs` for the tests in this folder."""

from tests.rigs import pulse, sound  # noqa: F401
