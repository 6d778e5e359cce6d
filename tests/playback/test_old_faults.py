"""Sequences that broke the core of an earlier day, as seeds of today's."""

from __future__ import annotations

import pytest

from tests.playback.sequences import OLD_FAULTS, sequences


@pytest.mark.parametrize("seed", OLD_FAULTS)
def test_it_does_not_break_again(seed: int) -> None:
    sequences([seed])
