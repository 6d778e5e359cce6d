"""Models take the memory that they are counted, as the process shows it."""

from __future__ import annotations

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


@pytest.mark.slow
def test_models_of_full_size_take_what_they_are_counted() -> None:
    text = {key: torch.rand(shape) for key, shape in S1().shapes().items()}
    for setting in ("fp32", "fp16", "int8"):
        made = ratio(lambda s=setting: T2S(text, 16, precision=cast(Precision, s)))
        assert made == pytest.approx(1.0, abs=0.15), setting
    shapes = S2().shapes()

    def sound() -> SoundModel:
        return SoundModel.from_state({key: torch.rand(shape) for key, shape in shapes.items()})

    sound()  # the first time is for what libraries make once
    assert ratio(sound) == pytest.approx(1.0, abs=0.15)
