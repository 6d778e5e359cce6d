"""Kokoro-82M in two halves: text to a plan of the whole sentence, and any stretch of it to sound.

The sound half normalises each of its layers by mean and variance over time (instance normalisation,
Li & Mesgarani, "StyleTTS 2", 2023), so that a stretch decoded by itself sounds unlike the same one
within its sentence. Here these moments can be given: `Norms` foretells those of the whole sentence
from the share of silence in it. With them and a little context a stretch is what it would be in the
whole, and sound leaves before the rest is made.
"""

from __future__ import annotations

import copy
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from koed.engine.base import THREADS_VARIABLE
from koed.engine.kokoro import onnx_cut, source, symbols
from koed.engine.kokoro.passages import CONTEXT, FIRST
from koed.engine.kokoro.weights import Graphs
from koed.errors import EngineError

RATE_HZ = source.RATE_HZ
FRAME = 600
"""Samples of one frame of the plan: 40 frames a second."""
FRAME_S = FRAME / RATE_HZ
_SILENT = -4.0
"""Energy below which there is nothing to hear."""
_THREADS = 2
_INSTALL = "KOED_VOICE=natural make run installs it"
_MEAN, _VARIANCE = "/ReduceMean_output_0", "/ReduceMean_2_output_0"
_LOOKED_AT = 8
"""Stretches of sound from which the pace is taken."""
_LEAST, _MOST = 1 / 3, 100.0
"""A foretold variance, of the one that was measured. Too small a one makes a channel loud; some
really are 40 times as large (jf_alpha), and held at 3 times they made noise."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class SentencePlan:
    """How a text will sound, in ``T`` frames."""

    features: Floats
    """``[1, 512, T]``"""
    f0: Floats
    """``[2T]``, Hz; near zero where there is no voice."""
    energy: Floats
    """``[2T]``, about -10 (silence) to 10."""
    starts: NDArray[np.int64]
    """``[N + 1]``: the frame in which each symbol begins, both edges counted, and the end."""
    style: Floats
    """``[1, 256]``"""

    @property
    def frames(self) -> int:
        return int(self.features.shape[2])

    @property
    def silence(self) -> float:
        """Share of it in which there is nothing to hear."""
        return float((self.energy < _SILENT).mean())


_NOTHING = SentencePlan(
    np.zeros((1, 512, 2), np.float32), np.zeros(4, np.float32), np.zeros(4, np.float32),
    np.zeros(1, np.int64), np.zeros((1, 256), np.float32),
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Which of the packed numbers ``[M]`` are variances, and which are the means that belong to
    them: indices ``[M / 2]``."""

    variances: NDArray[np.int64]
    means: NDArray[np.int64]

    def second(self, values: Floats) -> Floats:
        """Variances replaced by means of squares."""
        out = values.copy()
        out[self.variances] += values[self.means] ** 2
        return out


@dataclass(frozen=True, slots=True, eq=False)
class Norms:
    """Mean and variance over time of every layer's channels, for a sentence with a given share of
    silence: moments are means over frames, so they are a line in that share.

    ``values``: float32 ``[M]``, means and variances of a sentence with that ``share``; ``slope``
    ``[M]``: of its first and second moments.
    """

    share: float
    other: float
    """Share of the second sentence."""
    values: Floats
    slope: Floats

    @staticmethod
    def through(one: tuple[float, Floats], other: tuple[float, Floats], of: Layout) -> Norms:
        """Of two sentences: the share of silence, means and variances."""
        (share, values), (more, others) = one, other
        slope = (of.second(others) - of.second(values)) / np.float32((more - share) or 1.0)
        return Norms(share, more, values, slope)

    @staticmethod
    def mean(sentences: Sequence[tuple[int, float, Floats]], of: Layout) -> tuple[float, Floats]:
        """Share, means and variances of several ``(frames, share, moments)`` as if they were one:
        no short sentence has all the sounds of a language."""
        frames = [float(size) for size, _, _ in sentences]
        share = np.average([each for _, each, _ in sentences], weights=frames)
        moments = np.average([of.second(each) for *_, each in sentences], axis=0, weights=frames)
        moments[of.variances] -= moments[of.means] ** 2
        return float(share), moments.astype(np.float32)

    def at(self, share: float, of: Layout) -> Floats:
        """Means and variances ``[M]``; beyond the two sentences nothing is foretold."""
        share = min(max(share, min(self.share, self.other)), max(self.share, self.other))
        moved = of.second(self.values) + self.slope * np.float32(share - self.share)
        known = self.values[of.variances]
        spread = moved[of.variances] - moved[of.means] ** 2
        moved[of.variances] = np.clip(spread, known * _LEAST, known * _MOST)
        return moved


class Abandoned(Exception):
    """Nobody wants what was being made."""


class Model:
    """Both halves, loaded. Any number of threads."""

    def __init__(self, graphs: Graphs) -> None:
        """``graphs``: as `koed.engine.kokoro.weights` cut them."""
        self._text = _session(os.fspath(graphs.text))
        self._sound = _session(os.fspath(graphs.sound))
        self._options = _run_options()
        names = [tensor.name for tensor in self._sound.get_inputs()]
        results = [n.removeprefix(onnx_cut.given("")) for n in names if onnx_cut.given("") in n]
        self._fed = [name for name in names if onnx_cut.given("") not in name]
        self._given = [onnx_cut.given(name) for name in results]
        self._audio = self._sound.get_outputs()[0].name
        self._paces: deque[float] = deque(maxlen=_LOOKED_AT)
        self._own = [onnx_cut.own(name) for name in results]
        moments = self._decode(_NOTHING, 0, _NOTHING.frames, None, self._own)
        self._ends = np.cumsum([found.size for found in moments])
        self.layout = _layout(results, [0, *self._ends.tolist()])

    @property
    def pace(self) -> float:
        """Seconds that a second of sound took lately, at worst: other programs come and go."""
        return max(self._paces, default=1.0)

    @property
    def best_pace(self) -> float:
        """The same at best: what this machine can do."""
        return min(self._paces, default=1.0)

    def abandonable(self) -> tuple[Model, Callable[[], None]]:
        """This model again, and what makes its running call and all later ones raise `Abandoned`,
        from any thread: at the next node of the graph, some milliseconds later."""
        view = copy.copy(self)
        options = view._options = _run_options()
        return view, lambda: setattr(options, "terminate", True)

    def _run(self, session: Any, wanted: list[str] | None, feed: dict[str, Any]) -> list[Any]:
        try:
            found: list[Any] = session.run(wanted, feed, self._options)
        except Exception as error:
            if self._options.terminate:
                raise Abandoned from error
            raise
        return found

    def plan(self, text: str, table: Floats, speed: float) -> SentencePlan:
        """``text``: 1 to 510 symbols; ``table`` ``[510, 256]``."""
        ids = symbols.ids(text)
        style = table[len(ids) - 1][None]
        feed = {
            "tokens": np.array([[symbols.EDGE, *ids, symbols.EDGE]], np.int64),
            "style": style,
            "speed": np.array([speed], np.float32),
        }
        features, f0, energy, frames = self._run(self._text, None, feed)
        starts = np.concatenate(([0], np.cumsum(frames[0].astype(np.int64))))
        return SentencePlan(features, f0[0], energy[0], starts, style)

    def whole(self, plan: SentencePlan) -> Floats:
        """Sound ``[600 T]`` of all of it."""
        return self._decode(plan, 0, plan.frames, None, [self._audio])[0]

    def measured(self, plan: SentencePlan) -> tuple[Floats, Floats]:
        """`whole`, and the means and variances ``[M]`` that its layers had."""
        sound, *own = self._decode(plan, 0, plan.frames, None, [self._audio, *self._own])
        return sound, np.concatenate([found.reshape(-1) for found in own])

    def part(
        self, plan: SentencePlan, start: int, end: int, norms: Floats | None, more: int = 0,
        before: int = CONTEXT,
    ) -> Floats:  # fmt: skip
        """Sound ``[600 (end - start) + more]``: frames ``start`` to ``end``, and so many samples
        ``more`` as far as there are any; ``norms`` of `Norms.at`, None = of what is decoded.
        ``before``: frames of context; behind silence it needs none."""
        first, last = max(0, start - before), min(plan.frames, end + CONTEXT)
        sound = self._decode(plan, first, last, norms, [self._audio])[0]
        return sound[(start - first) * FRAME : (end - first) * FRAME + more]

    def _decode(
        self, plan: SentencePlan, start: int, end: int, norms: Floats | None, wanted: list[str]
    ) -> list[Floats]:
        f0, energy = plan.f0[2 * start : 2 * end], plan.energy[2 * start : 2 * end]
        excitation = source.spectra(plan.f0, source.phases(plan.f0), 2 * start, 2 * end)
        trust = np.array([0.0 if norms is None else 1.0], np.float32)
        features = plan.features[:, :, start:end]
        values = (features, f0[None], energy[None], excitation, plan.style, trust)
        feed = dict(zip(self._fed, values, strict=True))
        if norms is None:
            feed |= dict.fromkeys(self._given, np.zeros((1, 1, 1), np.float32))
        else:
            each = np.split(norms[None, :, None], self._ends[:-1], axis=1)
            feed |= dict(zip(self._given, each, strict=True))
        began = time.monotonic()
        found: list[Floats] = self._run(self._sound, wanted, feed)
        if end - start >= FIRST:  # what is shorter says little
            self._paces.append((time.monotonic() - began) / ((end - start) * FRAME_S))
        return found


def _layout(names: list[str], starts: list[int]) -> Layout:
    """A normalisation's variance has the name of its mean and a number."""
    variances, means = [], []
    for at, name in enumerate(names):
        if _VARIANCE in name:
            mean = names.index(name.replace(_VARIANCE, _MEAN))
            variances.append(np.arange(starts[at], starts[at + 1]))
            means.append(np.arange(starts[mean], starts[mean + 1]))
    return Layout(np.concatenate(variances), np.concatenate(means))


def _session(path: str) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise EngineError(
            "library_missing", f"the natural voice cannot run onnxruntime: {error}", _INSTALL
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Threads that wait busily would take the processor from the game beside.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _run_options() -> Any:
    import onnxruntime

    options = onnxruntime.RunOptions()
    # Else each session keeps what its longest run took: 60 MB, more with every longer line.
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return options


def _threads() -> int:
    """As the configuration says, else two where there are as many."""
    told = os.environ.get(THREADS_VARIABLE, "")
    return int(told) if told.isdigit() and int(told) > 0 else min(_THREADS, os.cpu_count() or 1)
