"""The loop around the AR model: pick, stop, feed. One utterance as an iterator, or many in a batch
whose rows join and leave at any step.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from koed.engine.gpt_sovits.model.sampling import Knobs, Noise, Sampling, pick
from koed.engine.gpt_sovits.model.t2s import T2S, State
from koed.errors import EngineError

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

    def official_codes(self) -> list[int]:
        """As the official single decoding hands them on: after a limit the FIRST code is lost
        (its count is one short and the caller cuts from the end), unless there was no reference.
        """
        lost = self.ending == "limit" and self.prompt.codes.numel()
        return self.codes[1:] if lost else self.codes


@dataclass(frozen=True)
class Said:
    """What one row did in one step of a batch."""

    key: Hashable
    code: int | None
    """None: the row ended without another code."""
    ending: Ending | None


@dataclass
class _Row:
    key: Hashable
    prompt: Prompt
    noise: Noise
    count: int = 0


class Batch:
    """Several utterances in one step. Rows join and leave between steps, in any order; what a row
    says does not depend on its neighbours, but for rounding.
    """

    def __init__(self, model: T2S, rows: int, positions: int) -> None:
        """Room for ``rows`` utterances with ``Prompt.positions`` of at most ``positions``."""
        self.model, self.positions = model, positions
        self.state = model.new_state(rows, positions)
        self.state.active = 0
        self.rows: list[_Row] = []  # row n of every tensor belongs to rows[n]
        self.capacity = rows
        shape = (rows, model.dims.codes)
        self.logits = torch.zeros(shape, device=model.device)
        self.seen = torch.zeros(shape, dtype=torch.bool, device=model.device)
        self._knobs: Knobs | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @torch.inference_mode()
    def join(self, key: Hashable, prompt: Prompt, noise: Noise) -> None:
        """Prefill ``prompt`` into a free row. Raises EngineError if that cannot be."""
        if len(self.rows) == self.capacity:
            raise EngineError("batch_full", f"all {self.capacity} rows are taken", "join later")
        if prompt.positions > self.positions:
            raise EngineError("too_long", f"a row holds {self.positions} positions only")
        if any(row.key == key for row in self.rows):
            raise EngineError("batch_key", f"{key!r} is speaking already")
        n = len(self.rows)
        self.logits[n] = self.model.prefill(self.state, n, prompt.phones, prompt.bert, prompt.codes)
        self.seen[n] = mark_seen(self.model, prompt)[0]
        self.rows.append(_Row(key, prompt, noise))
        self._changed()

    @torch.inference_mode()
    def leave(self, key: Hashable) -> None:
        """Give the row of ``key`` back; one that left already is no mistake."""
        for n, row in enumerate(self.rows):
            if row.key == key:
                self._free(n)
                self._changed()
                return

    @torch.inference_mode()
    def step(self) -> list[Said]:
        """One code for every row. Rows that end have left when this returns."""
        if not self.rows:
            return []
        active, end = len(self.rows), self.model.dims.end
        logits, seen = self.logits[:active], self.seen[:active]
        young = [n for n, row in enumerate(self.rows) if row.count < FEWEST_CODES]
        logits[young, end] = -torch.inf
        q = torch.stack([row.noise(row.count) for row in self.rows])
        if self._knobs is None:
            settings = [row.prompt.sampling for row in self.rows]
            self._knobs = Knobs.of(settings, self.model.dims.codes, self.model.device)
        codes, best = pick(logits, seen, self._knobs, q)
        seen.scatter_(1, codes[:, None], True)
        said = self._read(codes, best)
        self._advance(codes, said)
        return said

    def _read(self, codes: Tensor, best: Tensor) -> list[Said]:
        """codes [B], best [B] -> what each row said; the one host sync of a step."""
        said = []
        for row, code, loudest in zip(self.rows, codes.tolist(), best.tolist(), strict=True):
            if self.model.dims.end in (code, loudest):
                said.append(Said(row.key, None, "end"))
                continue
            row.count += 1
            limit = row.count >= min(row.prompt.most, MOST_CODES)
            said.append(Said(row.key, code, "limit" if limit else None))
        return said

    def _advance(self, codes: Tensor, said: list[Said]) -> None:
        """codes [B]: let ended rows go, feed the others."""
        for n in reversed([n for n, one in enumerate(said) if one.ending]):
            self._free(n)
            codes[n] = codes[len(self.rows)]
            self._changed()
        if self.rows:
            active = len(self.rows)
            self.logits[:active] = self.model.step(self.state, codes[:active])

    def _free(self, n: int) -> None:
        """The last row takes the place of row ``n``."""
        last = len(self.rows) - 1
        if n != last:
            self.state.move(last, n)
            self.logits[n].copy_(self.logits[last])
            self.seen[n].copy_(self.seen[last])
            self.rows[n] = self.rows[last]
        self.rows.pop()
        self.state.clear(last)

    def _changed(self) -> None:
        self.state.active = len(self.rows)
        self._knobs = None


def mark_seen(model: T2S, prompt: Prompt) -> Tensor:
    """-> [1, V] bool: the codes that the repetition penalty finds in the reference"""
    seen = torch.zeros(1, model.dims.codes, dtype=torch.bool, device=model.device)
    seen[0, prompt.codes] = True
    return seen


def official_batch_codes(codes: list[int], ending: Ending | None) -> list[int]:
    """As the official batch decoding hands them on: after a limit the LAST code is lost."""
    return codes[:-1] if ending == "limit" else codes
