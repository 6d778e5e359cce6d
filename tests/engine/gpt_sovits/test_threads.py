"""Which cores speech may use, and parts that are worked on at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from koed.engine.base import THREADS_VARIABLE
from koed.engine.gpt_sovits import threads


@pytest.fixture(autouse=True)
def _count() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("told", "expected"), [("1", 1), ("3", 3), ("2,4", 2), ("7", 7)])
def test_the_variable_says_how_many(told: str, expected: int) -> None:
    assert threads.allowed({THREADS_VARIABLE: told}) == expected


@pytest.mark.parametrize("told", ["", "all", "0", "-1"])
def test_nothing_said_is_some_of_the_cores(told: str) -> None:
    assert 1 <= threads.allowed({THREADS_VARIABLE: told}) <= threads.MOST


def test_parts_are_worked_on_at_once_each_on_one_core() -> None:
    together = threading.Barrier(3, timeout=60.0)  # broken if one waits for another

    def work(part: int) -> tuple[int, int, bool]:
        together.wait()
        return part, torch.get_num_threads(), torch.is_grad_enabled()

    assert threads.each(work, [5, 6, 7]) == [(5, 1, True), (6, 1, True), (7, 1, True)]
    with torch.no_grad():
        assert threads.each(work, [1, 2, 3]) == [(1, 1, False), (2, 1, False), (3, 1, False)]
    assert torch.get_num_threads() == 3


def test_a_single_part_keeps_all_cores() -> None:
    assert threads.each(lambda part: (part, torch.get_num_threads()), ["a"]) == [("a", 3)]


@pytest.mark.parametrize("bad", [0, 2])
def test_what_goes_wrong_in_a_part_is_told(bad: int) -> None:
    def work(part: int) -> None:
        if part == bad:
            raise ValueError(str(part))

    with pytest.raises(ValueError, match=str(bad)):
        threads.each(work, [0, 1, 2])
    assert torch.get_num_threads() == 3


def test_the_thread_beside_has_the_cores_that_are_left() -> None:
    assert threads.beside(1) is None
    for count in (2, 4):
        beside = threads.beside(count)
        assert beside is not None
        with beside:
            torch.set_num_threads(3)  # of this thread, and before the other one has done anything
            assert beside.submit(torch.get_num_threads).result() == count - 1
