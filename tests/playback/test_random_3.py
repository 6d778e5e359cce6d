"""The player under random operations, part 4 of 4: see `tests.playback.air`."""

from __future__ import annotations

import pytest

from tests.playback.sequences import parts, sequences


@pytest.mark.parametrize("seeds", parts(3))
def test_no_sequence_breaks_an_invariant(seeds: range) -> None:
    sequences(seeds)
