"""A line on its way through the engine: what it needs may still have to be loaded."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator
from concurrent.futures import Future, wait
from typing import NamedTuple, TypeVar

import numpy as np

from koed.engine.base import Chunk
from koed.engine.gpt_sovits import guards
from koed.engine.gpt_sovits.model.sovits import SAMPLE_RATE_HZ
from koed.engine.gpt_sovits.models import Base, Models, translated
from koed.engine.gpt_sovits.streaming import Speech

T = TypeVar("T")

PATIENCE_S = 0.002
"""So long a line waits for what is being loaded before it says so."""
LOADING = Chunk(np.zeros(0, np.float32), SAMPLE_RATE_HZ, loading=True)


class Opened(NamedTuple):
    speech: Speech
    base: Base
    refused: list[guards.Verdict]
    """What the guards refused and nobody was told yet."""


class LineStream:
    """A `koed.engine.base.Stream`: a speech that begins when all it needs is loaded. Its errors are
    translated, and it tells what the guards refused."""

    def __init__(self, models: Models, opening: Generator[None, None, Opened] | Opened) -> None:
        self.opened = opening if isinstance(opening, Opened) else None
        self._opening = None if isinstance(opening, Opened) else opening
        self._models = models

    def begin(self) -> Opened | None:
        """None as long as something is being loaded."""
        opening, self._opening = self._opening, None
        if opening is not None:
            try:
                with translated(self._models):
                    next(opening)
                self._opening = opening
            except StopIteration as done:
                self.opened = done.value
        return self.opened

    def __iter__(self) -> LineStream:
        return self

    def __next__(self) -> Chunk:
        opened = self.begin()
        if opened is None:
            if self._opening is None:  # closed, or failed before
                raise StopIteration
            return LOADING
        with translated(self._models):
            chunk = next(opened.speech)
        if not opened.refused:
            return chunk
        mended = tuple(f"speech_{verdict}" for verdict in opened.refused)
        opened.refused.clear()
        return dataclasses.replace(chunk, mended=mended)

    def close(self) -> None:
        if self._opening is not None:
            self._opening.close()
            self._opening = None
        if self.opened is not None:
            self.opened.speech.close()


def arrival(coming: Future[T]) -> Generator[None, None, T]:
    while wait((coming,), PATIENCE_S).not_done:
        yield
    return coming.result()
