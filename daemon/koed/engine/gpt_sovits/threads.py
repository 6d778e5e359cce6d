"""Which cores speech may use.

Codes are made on one core: their steps are too short to be shared, and on a machine with other work
two cores that wait for each other 200 times a step are slower than one, up to ten times. So beside
the thread that makes codes another renders what they say, with the cores that are left; if these
are several, each renders a stretch of its own (`each`), for which they need not wait for each other
in every layer.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TypeVar

import torch

from koed.engine.base import THREADS_VARIABLE

Part = TypeVar("Part")
Result = TypeVar("Result")

MOST = 4
"""Without being told: a game and an encoder want the others."""


def allowed(environ: Mapping[str, str]) -> int:
    """As ``OMP_NUM_THREADS`` says, else half of the cores, between 2 and 4 (or all there are)."""
    cores = len(os.sched_getaffinity(0))
    told = environ.get(THREADS_VARIABLE, "").split(",")[0].strip()
    if told.isdecimal() and int(told):
        return int(told)
    return min(cores, max(2, min(MOST, cores // 2)))


def beside(threads: int) -> Executor | None:
    """The thread that renders; None where there is one core for everything."""
    if threads < 2:
        return None
    return ThreadPoolExecutor(1, "sound", use, (threads - 1,))


def use(cores: int) -> None:
    """This thread may use so many."""
    torch.get_num_threads()  # a new thread takes over what another has set when it first asks
    torch.set_num_threads(cores)


@contextlib.contextmanager
def all_of(threads: int) -> Iterator[None]:
    """For long calculations in this thread while nothing is said."""
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(1)


def each(work: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
    """``work`` on all ``parts`` at once, each on one core; the first one in this thread.

    As many parts as `torch.get_num_threads` says keep all cores of this thread busy.
    """
    if len(parts) < 2:
        return [work(part) for part in parts]
    bare, count = not torch.is_grad_enabled(), torch.get_num_threads()

    def one(part: Part) -> Result:
        with torch.inference_mode(bare):  # each thread has a mode of its own
            return work(part)

    others = [_team(len(parts) - 1).submit(one, part) for part in parts[1:]]
    torch.set_num_threads(1)
    try:
        first = work(parts[0])
    finally:
        torch.set_num_threads(count)
    return [first, *(other.result() for other in others)]


@functools.cache
def _team(size: int) -> Executor:
    return ThreadPoolExecutor(size, "team", use, (1,))
