"""The mouth as values: how far it opens, how it falls, and its shape at a time."""

from __future__ import annotations

import pytest

from koed.engine.base import Mouth
from koed.playback.lipsync import Lips, shape_at


def test_a_mouth_opens_with_the_sound_and_the_shape() -> None:
    assert Lips().window(-14.0, "a") == (1.0, 1.0)
    assert Lips().window(-14.0, "") == (1.0, 1.0)
    assert Lips().window(-14.0, "i")[1] == 0.5
    assert Lips().window(-14.0, "closed") == (1.0, 0.0)
    assert Lips().window(-120.0, "a") == (0.0, 0.0)
    levels = [Lips().window(db, "a")[1] for db in (-60.0, -40.0, -30.0, -20.0, 0.0)]
    assert levels == sorted(levels)
    assert levels[0] == 0.0
    assert levels[-1] == 1.0


def test_a_mouth_falls_within_some_windows_but_shuts_at_once() -> None:
    lips = Lips()
    lips.window(-14.0, "a")
    assert lips.window(-44.0, "a")[1] == pytest.approx(0.4)
    assert lips.window(-44.0, "a")[1] == pytest.approx(0.16)
    lips.window(-14.0, "a")
    assert lips.window(-20.0, "closed")[1] == 0.0
    lips.window(-14.0, "a")
    assert lips.window(-120.0, "")[1] == 0.0


def test_the_shape_at_a_time() -> None:
    mouths = (Mouth("rest", 0.0), Mouth("a", 0.1), Mouth("closed", 0.3))
    assert [shape_at(mouths, at) for at in (0.05, 0.1, 0.29, 0.3, 9.0)] == [
        "rest", "a", "a", "closed", "closed",
    ]  # fmt: skip
    assert shape_at((), 0.1) == ""
    assert shape_at(mouths, -0.1) == ""
