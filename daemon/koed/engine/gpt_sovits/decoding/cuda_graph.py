"""The decoding loop without the host: pick, stop test and step run on the device, several codes
between two looks. On CUDA the turn is captured as a graph, one for each bucket of cache length;
``graphs=False`` runs the same function eagerly, which is what tests without a GPU compare, and what
speaks on a GPU that cannot record (some cards of the GTX 16 series).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from koed.engine.gpt_sovits import failures
from koed.engine.gpt_sovits.decoding.decode import FEWEST_CODES, Ending, Prompt, Said, mark_seen
from koed.engine.gpt_sovits.model.sampling import Knobs, Noise, Sampling, pick
from koed.engine.gpt_sovits.model.t2s import T2S
from koed.errors import EngineError

log = logging.getLogger(__name__)

BUCKET = 128  # positions: a graph attends to a multiple of it,
COARSE = 512  # of this beyond: fewer graphs, and whoever is so far has been heard for long
CAPTURING = threading.Lock()
"""All captures record from one stream of torch's, and memory must not be given back meanwhile."""
SORTED = 64  # top-k up to this needs no full sort


@dataclass(frozen=True)
class Slots:
    """Static buffers of B rows that a turn reads and writes in place."""

    # float32 [B, V]: what the next code is picked from; join, turn
    logits: Tensor
    # bool [B, V]: codes said or prompted; join, turn
    seen: Tensor
    # float32 [B, E, V]: Exp(1) noise of the E turns until the host looks; the host
    noise: Tensor
    # int64 [B, E]: the codes of these turns, the end mark where there is none; turn
    codes: Tensor
    # int64 [1]: which of the E turns comes next; turn, set back by the host
    turn: Tensor
    # int64 [B]: codes said so far, and how many a row may say; turn, join
    count: Tensor
    most: Tensor
    # int64 [B]: 1 while the row speaks, else 0: it computes along and changes nothing; join, turn
    alive: Tensor


class DeviceBatch:
    """Several utterances in one step, looking at the device once for every ``every`` codes. Rows
    join and leave between steps, in any order; what a row says does not depend on its neighbours,
    but for rounding.
    """

    def __init__(
        self, model: T2S, rows: int, positions: int, *, every: int = 4, graphs: bool | None = None
    ) -> None:
        """Room for ``rows`` utterances of ``positions``. ``graphs``: None = where there is CUDA."""
        self.model, self.every = model, every
        self.positions = -(-(positions + 1) // BUCKET) * BUCKET
        self.state = model.new_state(rows, self.positions)
        self.state.cache.zero_()  # idle rows read position 0
        self.graphs = model.device.type == "cuda" if graphs is None else graphs
        self.slots = _slots(model, rows, every)
        self.keys: list[Hashable | None] = [None] * rows
        self.noises: list[Noise | None] = [None] * rows
        self.counts, self.most = [0] * rows, [0] * rows
        self.settings = [Sampling()] * rows
        static = _static_knobs(rows, model)
        sorted_usually = min(SORTED, model.dims.codes)
        self._usual = replace(static, top_p=None, most=sorted_usually)
        self._any = replace(static, most=model.dims.codes)
        self.knobs = self._usual
        self._tune()
        self.captured: dict[tuple[int, bool], torch.cuda.CUDAGraph] = {}
        self._pool: Any = None

    def __len__(self) -> int:
        return sum(key is not None for key in self.keys)

    @torch.inference_mode()
    def warm_up(self) -> None:
        """Capture every span, for the usual settings and for any, so that nothing is recorded while
        somebody speaks. Before the first join: it scribbles. A device that cannot record does
        without; memory that ran out is raised."""
        assert not len(self)
        usual = self.knobs
        try:
            for knobs in (usual, self._any) if self.graphs else ():
                self.knobs = knobs
                for span in spans(self.positions):
                    with CAPTURING:
                        self.capture(span)
        except RuntimeError as error:
            note_unrecordable(error, self.model.device)
            self.graphs = False
            self.captured.clear()  # what was recorded of other spans holds memory
        finally:
            self.knobs = usual

    @torch.inference_mode()
    def join(self, key: Hashable, prompt: Prompt, noise: Noise) -> None:
        """Prefill ``prompt`` into a free row. Raises EngineError if that cannot be."""
        if None not in self.keys or key in self.keys:
            raise EngineError("batch_full", "no row is free, or the key is speaking", "join later")
        if prompt.positions >= self.positions:
            raise EngineError("too_long", f"a row holds {self.positions - 1} positions only")
        n, slots = self.keys.index(None), self.slots
        logits = self.model.prefill(self.state, n, prompt.phones, prompt.bert, prompt.codes)
        slots.logits[n] = logits
        slots.seen[n] = mark_seen(self.model, prompt)[0]
        slots.count[n] = 0
        self.most[n] = prompt.positions - prompt.phones.numel() - prompt.codes.numel()
        slots.most[n] = self.most[n]
        slots.alive[n] = 1
        self.keys[n], self.noises[n], self.counts[n] = key, noise, 0
        self.settings[n] = prompt.sampling
        self._tune()

    @torch.inference_mode()
    def leave(self, key: Hashable) -> None:
        """Give the row of ``key`` back; one that left already is no mistake."""
        if key in self.keys:
            n = self.keys.index(key)
            self.slots.alive[n] = 0
            self.state.clear(n)
            self.keys[n] = self.noises[n] = None
            self.settings[n] = Sampling()
            self._tune()

    @torch.inference_mode()
    def step(self) -> list[Said]:
        """Up to ``every`` codes for every row, in order. Ended rows have left when this returns."""
        if not len(self):
            return []
        self._draw()
        lengths = [self.state.lengths[n] for n, key in enumerate(self.keys) if key is not None]
        needed = min(max(lengths) + self.every, self.positions)
        span = next(span for span in spans(self.positions) if span >= needed)
        for _ in range(self.every):
            if (graph := self.captured.get(self._variant(span))) is not None:
                graph.replay()
            else:
                self.turn(span)
        self.slots.turn.zero_()
        return self._read()

    def turn(self, span: int) -> None:
        """One code for every row that is alive; nothing here waits for the device."""
        slots, end = self.slots, self.model.dims.end
        young = (slots.count < FEWEST_CODES).unsqueeze(1)
        slots.logits[:, end:].masked_fill_(young, -torch.inf)
        q = slots.noise.index_select(1, slots.turn).squeeze(1)
        token, best = pick(slots.logits, slots.seen, self.knobs, q)
        going = slots.alive * ((token != end) & (best != end))
        slots.codes.index_copy_(1, slots.turn, torch.where(going > 0, token, end).unsqueeze(1))
        slots.turn.add_(1)
        slots.count.add_(going)
        slots.alive.copy_(going * (slots.count < slots.most))
        slots.seen.scatter_(1, token.unsqueeze(1), True)
        logits = self.model.forward(self.state, token * slots.alive, span, None)
        slots.logits.copy_(logits)
        self.state.filled += slots.alive - 1
        self.state.said += slots.alive - 1

    def capture(self, span: int) -> None:
        """Record ``turn`` for ``span`` and the settings of now. Rows come out unharmed."""
        kept = [t.clone() for t in self._changing()]
        try:
            self.captured[self._variant(span)] = self._record(span)
        finally:
            for target, source in zip(self._changing(), kept, strict=True):
                target.copy_(source)

    def _record(self, span: int) -> torch.cuda.CUDAGraph:
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):  # lazy handles and workspaces are made outside of the capture
                self.slots.turn.zero_()
                self.turn(span)
        torch.cuda.current_stream().wait_stream(stream)
        self.slots.turn.zero_()
        graph = torch.cuda.CUDAGraph()
        # Models load in a thread of their own while others speak in theirs.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            self.turn(span)
        self._pool = graph.pool()
        return graph

    def _variant(self, span: int) -> tuple[int, bool]:
        """Whether for the usual settings."""
        return span, self.knobs.top_p is None

    def _changing(self) -> list[Tensor]:
        """What a turn changes and a join wrote. Keys it writes lie where the next turn writes."""
        state, slots = self.state, self.slots
        counted = [slots.logits, slots.seen, slots.codes, slots.turn, slots.count, slots.alive]
        return [*counted, state.filled, state.said, state.bias]

    def _draw(self) -> None:
        """Fill ``noise`` for the turns to come, in one copy."""
        idle = torch.ones(self.model.dims.codes, device=self.model.device)
        rows = [
            idle if noise is None else noise(count + ahead)
            for noise, count in zip(self.noises, self.counts, strict=True)
            for ahead in range(self.every)
        ]
        self.slots.noise.copy_(torch.stack(rows).view_as(self.slots.noise))

    def _read(self) -> list[Said]:
        """The one look at the device."""
        slots = self.slots
        seen = torch.cat([slots.count[:, None], slots.alive[:, None], slots.codes], dim=1).tolist()
        said: list[Said] = []
        for n, (key, (count, alive, *codes)) in enumerate(zip(self.keys, seen, strict=True)):
            if key is None:
                continue
            fresh = codes[: count - self.counts[n]]
            ending: Ending | None = None if alive else "end" if count < self.most[n] else "limit"
            said += [Said(key, code, None) for code in fresh]
            if ending == "limit":
                said[-1] = replace(said[-1], ending=ending)
            elif ending == "end":
                said.append(Said(key, None, ending))
            self.counts[n] = count
            self.state.lengths[n] += len(fresh)
        for key in {one.key for one in said if one.ending}:
            self.leave(key)
        return said

    def _tune(self) -> None:
        """Write the settings of all rows into the static tensors."""
        vocabulary = self.model.dims.codes
        fresh = Knobs.of(self.settings, vocabulary, self.model.device)
        static = self._any
        static.penalty.copy_(fresh.penalty)
        static.temperature.copy_(fresh.temperature)
        assert static.kth is not None
        assert static.top_p is not None
        static.kth.copy_(fresh.kth if fresh.kth is not None else static.kth * 0 + vocabulary - 1)
        if fresh.top_p is None:
            static.top_p.fill_(torch.inf)
        else:
            static.top_p.copy_(fresh.top_p)
        usual = fresh.top_p is None and fresh.most <= SORTED
        self.knobs = self._usual if usual else self._any


def spans(positions: int) -> list[int]:
    """What graphs attend to, of a cache of so many positions (a multiple of `BUCKET`)."""
    fine = range(BUCKET, min(COARSE, positions) + 1, BUCKET)
    return sorted({*fine, *range(COARSE, positions + 1, COARSE), positions})


def note_unrecordable(error: RuntimeError, device: torch.device) -> None:
    """Recording failed: log it. Raises ``error`` if memory ran out, which says nothing of the card,
    and what torch raises if the device is of no use any more."""
    if failures.is_full(error):
        raise error
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    log.warning("no CUDA graphs on this device, it speaks more slowly without: %.200s", error)


def _slots(model: T2S, rows: int, every: int) -> Slots:
    codes, device = model.dims.codes, model.device

    def zeros(*shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
        return torch.zeros(shape, dtype=dtype, device=device)

    return Slots(
        logits=zeros(rows, codes, dtype=torch.float32),
        seen=zeros(rows, codes, dtype=torch.bool),
        noise=zeros(rows, every, codes, dtype=torch.float32) + 1,
        codes=zeros(rows, every),
        turn=zeros(1),
        count=zeros(rows),
        most=zeros(rows),
        alive=zeros(rows),
    )


def _static_knobs(rows: int, model: T2S) -> Knobs:
    """Room for any settings: a graph reads these tensors wherever they were when it was made."""

    def column() -> Tensor:
        return torch.ones(rows, 1, device=model.device)

    return Knobs(column(), column(), column(), column().long(), most=SORTED)
