"""Windows of the sound model as CUDA graphs: a few fixed lengths, hundreds of kernels in one call.

A graph cannot change its shape, so a window is moved until it lies within the utterance, computed
with more context than it needs, and cut. On a CPU the same windows run without graphs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from koed.engine.gpt_sovits.decoding.cuda_graph import CAPTURING, note_unrecordable
from koed.engine.gpt_sovits.model.generator import Span
from koed.engine.gpt_sovits.model.sovits import NOISE_SCALE, SoundModel
from koed.engine.gpt_sovits.model.style_encoder import Style
from koed.engine.gpt_sovits.model.text_encoder import Encoded

LENGTHS = (26, 50, 90, 96, 112, 128, 152, 160, 192, 256)
"""Frames of a window with its context of 43 on both sides: chunks of 10, 26, 42 ... frames. 26, 50,
90 and 152 are what an utterance is long when its first chunks are due (`Pace`), so that nearly all
of it, or all, is computed for them."""
WARM_UP_RUNS = 3


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a graph reads; written in place before each replay."""

    m: Tensor
    """[1, C, W] float32"""
    logs: Tensor
    """[1, C, W] float32"""
    noise: Tensor
    """[C, W] float32, already scaled"""
    ge: Tensor
    """[1, G, 1] float32"""

    def write(self, m: Tensor, logs: Tensor, noise: Tensor, ge: Tensor) -> None:
        """m, logs [1, C, W], noise [C, W], ge [1, G, 1]"""
        self.m.copy_(m)
        self.logs.copy_(logs)
        self.noise.copy_(noise, non_blocking=True)
        self.ge.copy_(ge)


class WindowGraphs:
    """`SoundModel.decode_window` at fixed shapes. One caller at a time: inputs are shared."""

    def __init__(
        self, model: SoundModel, lengths: tuple[int, ...] = LENGTHS, *, graphs: bool | None = None
    ) -> None:
        """``graphs``: None = where there is CUDA; else windows run as they are."""
        self.model, self.lengths = model, tuple(sorted(lengths))
        self.graphs = model.device.type == "cuda" if graphs is None else graphs
        self.reach = model.flow.reach + model.dec.reach
        self._windows: dict[int, tuple[Inputs, Callable[[], Tensor]]] = {}
        self._pool: Any = None

    def warm_up(self) -> None:
        """Capture every length, the largest first for its memory; without graphs make its buffers.
        A device that cannot record does without."""
        try:
            for length in reversed(self.lengths):
                with CAPTURING:
                    self._windows[length] = self._capture(length)
        except RuntimeError as error:
            note_unrecordable(error, self.model.device)
            self._windows.clear()

    @torch.inference_mode()
    def decode_window(
        self,
        encoded: Encoded,
        first_frame: int,
        frames: int,
        style: Style,
        seed: int,
        noise_scale: float = NOISE_SCALE,
    ) -> Tensor:
        """-> the samples [640 * frames] float32, as of `SoundModel.decode_window`, which also does
        what fits no captured length."""
        window = Span(first_frame, min(first_frame + frames, encoded.frames))
        length = self._length(window, encoded.frames)
        if not length:
            model = self.model
            return model.decode_window(encoded, first_frame, frames, style, seed, noise_scale)
        inputs, run = self._windows[length]
        lo = max(0, min(window.lo - self.reach, encoded.frames - length))
        seen = Span(lo, lo + length)
        noise = self.model.noise(seed, seen) * noise_scale
        inputs.write(seen.cut_from(encoded.m), seen.cut_from(encoded.logs), noise, style.ge)
        rate = self.model.samples_per_frame
        # The graph's output is written over by the next replay.
        return run()[0, (window.lo - lo) * rate : (window.hi - lo) * rate].clone()

    def _length(self, window: Span, frames: int) -> int:
        """The shortest captured length that holds ``window`` and what it sees; 0 = none."""
        seen = window.widen(self.reach, frames)
        fitting = (n for n in self.lengths if seen.hi - seen.lo <= n <= frames)
        return next((n for n in fitting if n in self._windows), 0)

    def _inputs(self, length: int) -> Inputs:
        width, style, device = self.model.dims.flow.width, self.model.dims.style, self.model.device
        m = torch.zeros(1, width, length, device=device)
        noise = torch.zeros(width, length, device=device)
        return Inputs(m, m.clone(), noise, torch.zeros(1, style, 1, device=device))

    @torch.inference_mode()
    def _capture(self, length: int) -> tuple[Inputs, Callable[[], Tensor]]:
        inputs = self._inputs(length)

        def run() -> Tensor:
            z: Tensor = self.model.flow(inputs.m + inputs.noise * inputs.logs.exp(), inputs.ge)
            wave: Tensor = self.model.dec(z, inputs.ge)
            return wave

        if not self.graphs:
            return inputs, run
        # Libraries choose their kernels and take their workspaces before the capture, beside it.
        stream: torch.cuda.Stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP_RUNS):
                run()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # One pool for all: a graph's output is copied before another is replayed. Models load in a
        # thread of their own, and what is said meanwhile must not spoil the capture, nor it that.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            output = run()
        self._pool = graph.pool()

        def replay() -> Tensor:
            graph.replay()
            return output

        return inputs, replay
