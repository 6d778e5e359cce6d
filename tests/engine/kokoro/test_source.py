"""The excitation: that of the model's own graph, and the same in pieces as in one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from koed.engine.kokoro import source, weights
from koed.engine.kokoro.onnx_cut import Graph
from tests.engine.kokoro.test_weights import session

RANDOM = np.random.default_rng(3)
F0 = np.where(np.arange(40) % 13 < 9, 180 + 60 * RANDOM.random(40), 5).astype(np.float32)


def test_it_is_that_of_the_model(graphs: weights.Graphs, tmp_path: Path) -> None:
    (_, pitch, _, excitation, _), _, _ = weights.CUTS["sound"]
    path = tmp_path / "excitation.onnx"
    path.write_bytes(b"".join(Graph(weights.read(tmp_path)).part([pitch], [excitation])))
    theirs = session(path).run(None, {pitch: F0[None]})[0]
    ours = source.spectra(F0, source.phases(F0), 0, len(F0))
    assert ours.shape == theirs.shape == (1, 22, 40 * 60 + 1)
    assert ours[:, :11] == pytest.approx(theirs[:, :11], abs=2e-3)
    # where there is next to nothing, its phase is that of rounding errors
    turned = np.exp(1j * ours[:, 11:]) - np.exp(1j * theirs[:, 11:])
    assert np.abs(turned * theirs[:, :11]).max() < 5e-3


def test_pieces_are_in_phase_with_the_whole() -> None:
    turns = source.phases(F0)
    whole = source.spectra(F0, turns, 0, 40)
    piece = source.spectra(F0, turns, 10, 30)
    assert np.allclose(piece, whole[:, :, 600:1801])
