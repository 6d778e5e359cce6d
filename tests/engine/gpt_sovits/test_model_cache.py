"""Which models stay in memory, and what becomes of the budget when memory ran out."""

from __future__ import annotations

import random
import threading

import pytest

from koed.engine.gpt_sovits.model_cache import QUIET_S, SHRINK, ModelCache
from koed.errors import EngineError


def test_the_longest_unused_leaves_first_and_what_is_pinned_stays() -> None:
    loaded: list[str] = []

    def load(key: str) -> str:
        loaded.append(key)
        return key

    held = ModelCache(load, lambda value: 10, lambda used: 30)
    for key in "abc":
        held.get(key).result()
    held.get("a")
    held.pin("b")
    held.get("d").result()
    assert held.resident == ("b", "a", "d")
    held.get("c").result()
    assert held.resident == ("b", "d", "c")
    assert loaded == list("abcdc")
    held.close()


def test_loading_runs_beside_and_is_done_once() -> None:
    go, began = threading.Event(), threading.Event()

    def load(key: str) -> str:
        began.set()
        assert go.wait(40)
        return key

    held = ModelCache(load, len, lambda used: 100)
    held.get("a")
    held.get("a")
    assert began.wait(40)
    assert held.resident == ()
    go.set()
    assert held.get("a").result() == "a"
    held.close()


def test_a_failed_load_reaches_who_asked_and_is_tried_again() -> None:
    fails = [True]

    def load(key: str) -> str:
        if fails.pop() if fails else False:
            raise EngineError("model_damaged", "cut off")
        return key

    held = ModelCache(load, len, lambda used: 100)
    with pytest.raises(EngineError):
        held.get("a").result()
    assert held.get("a").result() == "a"
    held.close()


class Cache(ModelCache[str, str]):
    """A key is its value and as large as it is long, in a memory of 100; the clock is ours."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(str, len, lambda used: 100, clock=lambda: self.now)


def test_after_quiet_minutes_the_budget_grows_again() -> None:
    held = Cache()
    for key in ("a" * 40, "b" * 40):
        held.get(key).result()
    held.shrink()
    assert held.budget_bytes == 60
    assert held.resident == ("b" * 40,)
    held.now += QUIET_S - 1
    assert held.budget_bytes == 60
    held.now += 1
    assert held.budget_bytes == 80
    held.shrink()  # again: from what is used then
    assert held.budget_bytes == 30
    assert held.resident == ("b" * 40,), "the one that was used last stays, whatever it takes"
    held.now += 5 * QUIET_S
    assert held.budget_bytes == 100
    held.now += 1e9
    assert held.budget_bytes == 100
    held.close()


def test_whatever_happens_what_is_held_fits_and_the_budget_comes_back() -> None:
    draw = random.Random(4)
    held = Cache()
    keys = [letter * draw.randint(5, 45) for letter in "abcdefgh"]
    pinned: set[str] = set()
    for _ in range(1500):
        key = draw.choice(keys)
        match draw.randrange(12):
            case 0:
                held.shrink()
            case 1:
                keep = len(pinned) < 2 and draw.random() < 0.5
                (pinned.add if keep else pinned.discard)(key)
                held.pin(key, keep)
            case 2:
                held.now += draw.choice((1.0, QUIET_S, 9 * QUIET_S))
            case _:
                was_there = key in held.resident
                assert held.get(key).result() == key
                assert held.resident[-1] == key
                loose = [other for other in held.resident[:-1] if other not in pinned]
                assert was_there or not loose or held.used_bytes <= held.budget_bytes
        assert 0 < held.budget_bytes <= 100
    held.now += 64 * QUIET_S
    assert held.budget_bytes == 100 > 100 * SHRINK
    held.close()
