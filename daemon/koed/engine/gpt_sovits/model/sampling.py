"""From logits to a token, on the device, without asking the host.

The order is the official one, and it matters: penalty, top-p on the logits before temperature,
temperature, top-k, softmax, then ``argmax(p / q)`` with q ~ Exp(1), which draws from p.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from koed.errors import EngineError

Noise = Callable[[int], Tensor]
"""Step -> q [V] float32, i.i.d. Exp(1). The same step gives the same numbers."""

_COLDEST = 1e-5  # a temperature below this is this
_SMALLEST = 1e-10  # float32 draws can be zero


@dataclass(frozen=True)
class Sampling:
    """How freely a voice speaks. The defaults are those of the official API."""

    top_k: int | None = 15
    """Keep this many of the likeliest tokens (ties stay); None keeps all."""
    top_p: float = 1.0
    """Keep the likeliest tokens whose probabilities sum to at most this; the best always stays."""
    temperature: float = 1.0
    repetition_penalty: float = 1.35
    """Logits of tokens already said, prompt included, are divided (if negative, multiplied)."""

    def __post_init__(self) -> None:
        for name, value, low in (
            ("top_k", 1 if self.top_k is None else self.top_k, 1),
            ("top_p", self.top_p, 0),
            ("temperature", self.temperature, 0),
            ("repetition_penalty", self.repetition_penalty, 0.01),
        ):
            if not value >= low:
                raise EngineError("sampling", f"{name} is {value}", f"use {low} or more")


@dataclass(frozen=True)
class Knobs:
    """The settings of several rows as tensors, so that rows of different voices go together."""

    # float32 [B, 1] each
    penalty: Tensor
    temperature: Tensor
    # float32 [B, 1]: infinite where the row does without; None if all do (no sorting then)
    top_p: Tensor | None
    # int64 [B, 1]: which of the sorted logits is the smallest kept; None if all rows keep all
    kth: Tensor | None
    # how many logits have to be sorted for ``kth``
    most: int

    @staticmethod
    def of(rows: Sequence[Sampling], vocabulary: int, device: torch.device) -> Knobs:
        """Settings of B rows -> tensors on ``device``."""

        def column(values: Sequence[float]) -> Tensor:
            return torch.tensor(values, dtype=torch.float32, device=device).unsqueeze(1)

        kept = [min(r.top_k or vocabulary, vocabulary) for r in rows]
        limited = [r.top_p if r.top_p < 1 else float("inf") for r in rows]
        return Knobs(
            penalty=column([r.repetition_penalty for r in rows]),
            temperature=column([max(r.temperature, _COLDEST) for r in rows]),
            top_p=column(limited) if any(r.top_p < 1 for r in rows) else None,
            kth=torch.tensor(kept, device=device).unsqueeze(1) - 1
            if min(kept) < vocabulary
            else None,
            most=max(kept),
        )


def penalise_(logits: Tensor, seen: Tensor, penalty: Tensor) -> Tensor:
    """logits [B, V] (changed), seen [B, V] bool, penalty [B, 1] -> logits [B, V]"""
    lowered = torch.where(logits < 0, logits * penalty, logits / penalty)
    return logits.copy_(torch.where(seen, lowered, logits))


def probabilities(logits: Tensor, knobs: Knobs) -> Tensor:
    """logits [B, V] after the penalty -> probabilities [B, V], zero where a token is dropped."""
    if knobs.top_p is not None:
        ordered, order = logits.sort(descending=True)
        drop = ordered.softmax(-1).cumsum(-1) > knobs.top_p
        drop[:, 0] = False
        logits = logits.masked_fill(torch.zeros_like(drop).scatter_(1, order, drop), -torch.inf)
    logits = logits / knobs.temperature
    if knobs.kth is not None:
        smallest = logits.topk(knobs.most).values.gather(1, knobs.kth)
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    return logits.softmax(-1)


def pick(logits: Tensor, seen: Tensor, knobs: Knobs, q: Tensor) -> tuple[Tensor, Tensor]:
    """logits [B, V] (penalised in place), seen [B, V] bool, q [B, V] -> token [B], best [B]

    ``best`` is the largest logit after the penalty, before anything is dropped.
    """
    penalise_(logits, seen, knobs.penalty)
    return (probabilities(logits, knobs) / q).argmax(-1), logits.argmax(-1)


def seeded(seed: int, vocabulary: int, device: torch.device, block: int = 64) -> Noise:
    """Noise that follows from ``seed``: step n gets row n of one long draw, made in blocks."""
    generator = torch.Generator(device=device).manual_seed(seed)
    rows: list[Tensor] = []

    def draw(step: int) -> Tensor:
        while step >= len(rows):
            fresh = torch.empty(block, vocabulary, device=device)
            fresh.exponential_(generator=generator).clamp_min_(_SMALLEST)  # 0 / 0 would win
            rows.extend(fresh.unbind(0))
        return rows[step]

    return draw
