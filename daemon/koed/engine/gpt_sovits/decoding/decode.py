"""The loop around the AR model: pick, stop, feed; one utterance as an iterator.

`cuda_graph` has the same loop for many at once.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from koed.engine.gpt_sovits.model.sampling import Knobs, Noise, Sampling, pick
from koed.engine.gpt_sovits.model.t2s import T2S, State

MOST_CODES = 1500  # a minute; official limit
FEWEST_CODES = 11  # the end mark is not for sale before

Ending = Literal["end", "limit"]


@dataclass(frozen=True)
class Prompt:
    """What an utterance is made from."""

    phones: Tensor
    """[N] int64: of the reference's transcript, then of the text; the text's alone without one."""
    codes: Tensor
    """[T] int64: the reference's codes; empty without a reference."""
    bert: Tensor | None = None
    """[1024, N] float, zero where a phone is not Chinese; None: none is."""
    sampling: Sampling = field(default_factory=Sampling)
    most: int = MOST_CODES
    """Codes after which an utterance ends that did not end itself."""

    @property
    def positions(self) -> int:
        """What a cache must hold for it."""
        return self.phones.numel() + self.codes.numel() + min(self.most, MOST_CODES)


class Utterance:
    """Codes of one utterance, one by one: iterate, and stop whenever you like.

    ``ending`` is None while it runs, and stays None if nobody asks for more.
    """

    def __init__(
        self, model: T2S, prompt: Prompt, noise: Noise, state: State | None = None
    ) -> None:
        """``state``: a single row to be used again, roomy enough; made anew if None."""
        self.model, self.prompt, self.noise = model, prompt, noise
        self.state = state if state is not None else model.new_state(1, prompt.positions)
        self.codes: list[int] = []
        self.ending: Ending | None = None

    @torch.inference_mode()
    def __iter__(self) -> Iterator[int]:
        model, prompt = self.model, self.prompt
        knobs = Knobs.of([prompt.sampling], model.dims.codes, model.device)
        seen = mark_seen(model, prompt)
        limit = min(prompt.most, MOST_CODES)
        logits = model.prefill(self.state, 0, prompt.phones, prompt.bert, prompt.codes)[None]
        while True:
            number = len(self.codes)
            if number < FEWEST_CODES:
                logits[:, model.dims.end] = -torch.inf
            token, best = pick(logits, seen, knobs, self.noise(number)[None])
            code, loudest = torch.stack([token, best]).flatten().tolist()  # the one host sync
            if model.dims.end in (code, loudest):
                self.ending = "end"
                return
            self.codes.append(code)
            self.ending = "limit" if len(self.codes) >= limit else None
            yield code
            if self.ending:
                return
            seen.scatter_(1, token[:, None], True)
            logits = model.step(self.state, token)


@dataclass(frozen=True)
class Said:
    """What one row did in one step of a batch."""

    key: Hashable
    code: int | None
    """None: the row ended without another code."""
    ending: Ending | None


def mark_seen(model: T2S, prompt: Prompt) -> Tensor:
    """-> [1, V] bool: the codes that the repetition penalty finds in the reference"""
    seen = torch.zeros(1, model.dims.codes, dtype=torch.bool, device=model.device)
    seen[0, prompt.codes] = True
    return seen
