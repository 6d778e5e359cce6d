"""Models take the memory that they are counted, as the process shows it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import cast

import pytest
import torch

from koed.bench.engine.parts import used_mb
from koed.engine.gpt_sovits.checkpoints.s1_s2_keys import S1, S2
from koed.engine.gpt_sovits.memory import held_bytes
from koed.engine.gpt_sovits.model.linear import Precision
from koed.engine.gpt_sovits.model.sovits import SoundModel
from koed.engine.gpt_sovits.model.t2s import T2S

CPU = torch.device("cpu")


def ratio(make: Callable[[], object]) -> float:
    """Counted by taken."""
    before = used_mb(CPU)
    model = make()
    return held_bytes(model) / 2**20 / (used_mb(CPU) - before)


def text_model(table: S1, precision: str) -> T2S:
    weights = {key: torch.rand(shape) for key, shape in table.shapes().items()}
    return T2S(weights, 16, precision=cast(Precision, precision))


def sound_model() -> SoundModel:
    return SoundModel.from_state({key: torch.rand(shape) for key, shape in S2().shapes().items()})


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_text_model_takes_what_it_is_counted(precision: str) -> None:
    table = dataclasses.replace(S1(), layers=3)
    assert ratio(lambda: text_model(table, precision)) == pytest.approx(1.0, abs=0.15)


@pytest.mark.slow
def test_models_of_full_size_take_what_they_are_counted() -> None:
    for precision in ("fp32", "fp16", "int8"):
        made = ratio(lambda precision=precision: text_model(S1(), precision))
        assert made == pytest.approx(1.0, abs=0.15), precision
    sound_model()  # the first time is for what libraries make once
    assert ratio(sound_model) == pytest.approx(1.0, abs=0.15)
