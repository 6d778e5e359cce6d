"""How good it sounds: DNSMOS (Reddy et al. 2021 and 2022, Microsoft; MIT), two networks that were
taught by the votes of listeners: P.808 (quality as a whole) and P.835 (of it the overall score).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from koed.bench.judges.mel import HOP, mel_spectrogram
from koed.bench.judges.packages import file_of, missing

PACKAGE = "speechmos"
P808 = (
    "speechmos/dnsmos_models/model_v8.onnx",
    "9246480c58567bc6affd4200938e77eef49468c8bc7ed3776d109c07456f6e91",
)
P835 = (
    "speechmos/dnsmos_models/sig_bak_ovr.onnx",
    "269fbebdb513aa23cddfbb593542ecc540284a91849ac50516870e1ac78f6edd",
)
SPAN = 144_160
"""Samples that both hear at once, 9.01 s; a shorter line is repeated."""
STEP = 16_000
WINDOW, BANDS = 321, 120
OVERALL = (-0.06766283, 1.11546468, 0.04602535)
"""From what the second network says to votes, highest power first; published with it."""


class Mos(NamedTuple):
    """1 to 5."""

    p808: float
    ovrl: float


class Dnsmos:
    """Both networks, loaded."""

    def __init__(self, threads: int = 1) -> None:
        """Raises `EngineError`, as `file_of`."""
        paths = [file_of(PACKAGE, name, sha256) for name, sha256 in (P808, P835)]
        try:
            import onnxruntime
        except ImportError as error:
            raise missing("onnxruntime", str(error)) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._p808, self._p835 = (
            onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            for path in paths
        )

    def score(self, pcm: NDArray[np.float32]) -> Mos:
        """``pcm`` [S] at 16 kHz, S > 0; the mean of spans a second apart."""
        clipped = np.clip(pcm, -1.0, 1.0).astype(np.float32)
        scores = np.array([self._of_span(span) for span in spans(clipped)])
        p808, ovrl = scores.mean(axis=0)
        return Mos(float(p808), float(ovrl))

    def _of_span(self, span: NDArray[np.float32]) -> tuple[float, float]:
        p808 = _asked(self._p808, levels(span))[0]
        return p808, float(np.polyval(OVERALL, _asked(self._p835, span)[2]))


def _asked(session: Any, given: NDArray[np.float32]) -> list[float]:
    (answer,) = session.run(None, {"input_1": given[None]})
    return [float(value) for value in answer[0]]


def spans(pcm: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """[S] -> [9.01 s], a second apart; what is shorter is doubled until it is long enough. As many
    as the authors' program takes, one for 10 s and one more for each further second."""
    while len(pcm) < SPAN:
        pcm = np.concatenate([pcm, pcm])
    count = max(1, len(pcm) // STEP - SPAN // STEP)
    return [pcm[at * STEP : at * STEP + SPAN] for at in range(count)]


def levels(span: NDArray[np.float32]) -> NDArray[np.float32]:
    """[9.01 s] -> [900, 120]: dB below the loudest, at most 80, 0 dB is 1 and -40 dB is 0."""
    power = mel_spectrogram(span[:-HOP], WINDOW, BANDS, "constant")
    decibels = 10.0 * np.log10(np.maximum(power, 1e-10) / max(float(power.max()), 1e-10))
    scaled: NDArray[np.float32] = np.maximum(decibels / 40.0, decibels.max() / 40.0 - 2.0) + 1.0
    return scaled.astype(np.float32)
