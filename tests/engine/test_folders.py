from __future__ import annotations

from pathlib import Path

from koed.engine import folders

HOME = {"HOME": "/home/hana"}


def test_they_follow_the_environment() -> None:
    assert folders.models(HOME) == Path("/home/hana/.local/share/koed/models")
    assert folders.models({**HOME, "XDG_DATA_HOME": "/data"}) == Path("/data/koed/models")
    assert folders.cache(HOME) == Path("/home/hana/.cache/koed")
    assert folders.cache({**HOME, "XDG_CACHE_HOME": "/c"}) == Path("/c/koed")


def test_a_relative_one_counts_as_not_set() -> None:
    assert folders.models({**HOME, "XDG_DATA_HOME": "data"}) == folders.models(HOME)
