"""Several utterances decoded together, each read by its own stream, on a device that is fast at it.

Whoever needs a code takes a step for all: what the others say meanwhile waits for them.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Generator, Hashable

from koed.engine.gpt_sovits.decoding.cuda_graph import DeviceBatch
from koed.engine.gpt_sovits.decoding.decode import Prompt, Said
from koed.engine.gpt_sovits.model.sampling import Noise


class ContinuousBatch:
    """Not for several threads: streams of one worker take turns."""

    def __init__(self, batch: DeviceBatch, rows: int) -> None:
        self._batch, self._rows = batch, rows
        self._waiting: dict[Hashable, deque[Said]] = {}
        self._keys = itertools.count()

    def has_room(self, prompt: Prompt) -> bool:
        """Whether `say` can begin now."""
        return len(self._waiting) < self._rows and prompt.positions < self._batch.positions

    def say(self, prompt: Prompt, noise: Noise) -> Generator[int, None, None]:
        """The codes of one utterance; closing it frees its row at once."""
        key = next(self._keys)
        self._batch.join(key, prompt, noise)
        mine = self._waiting[key] = deque()
        try:
            while True:
                while not mine:
                    for said in self._batch.step():
                        if said.key in self._waiting:
                            self._waiting[said.key].append(said)
                said = mine.popleft()
                if said.code is not None:
                    yield said.code
                if said.ending:
                    return
        finally:
            del self._waiting[key]
            self._batch.leave(key)
