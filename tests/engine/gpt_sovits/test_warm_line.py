"""A card that makes no numbers in halves, or cannot do them, speaks in float32."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from koed.engine.gpt_sovits import warm_line
from koed.engine.gpt_sovits.cards import EXACT, Formats
from koed.engine.gpt_sovits.model.linear import Precision
from koed.engine.gpt_sovits.model.t2s import T2S
from koed.engine.gpt_sovits.warm_line import is_finite, working
from koed.errors import EngineError
from koed.testing import tiny
from tests.engine.gpt_sovits.small import sound_model

HALVES: Formats = ("fp16", torch.float16)
WHAT = "the model hana on cuda:0 (NVIDIA GeForce GTX 1660)"


def text_model(spoilt: str = "") -> T2S:
    weights = {k: torch.from_numpy(v) for k, v in tiny.weights(tiny.T2S.shapes()).items()}
    if spoilt:
        weights[spoilt] = weights[spoilt] * torch.nan
    return T2S(weights, tiny.HEADS)


def test_numbers_are_told_from_what_is_none() -> None:
    assert is_finite(text_model(), sound_model())
    assert not is_finite(text_model("model.h.layers.0.norm1.weight"), sound_model())
    sound = sound_model()
    weight = sound.dec.conv_post.weight
    kept = weight.clone()
    try:
        weight.copy_(weight * torch.nan)
        assert not is_finite(text_model(), sound)
    finally:
        weight.copy_(kept)


@pytest.mark.parametrize("fails", ["cuDNN error: CUDNN_STATUS_NOT_SUPPORTED", ""])
def test_float32_takes_over_and_the_log_says_why(
    fails: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    built: list[Formats] = []

    def build(text: Precision, sound: torch.dtype) -> SimpleNamespace:
        built.append((text, sound))
        if fails and len(built) == 1:
            raise RuntimeError(fails)
        return SimpleNamespace(t2s=text, sound=sound)

    monkeypatch.setattr(warm_line, "is_finite", lambda text, sound: (text, sound) == EXACT)
    assert working(build, HALVES, WHAT).t2s == "fp32"
    assert built == [HALVES, EXACT]
    (line,) = caplog.messages
    assert all(words in line for words in (WHAT, "fp16 and float16", "float32", fails)), line
    assert working(build, EXACT, WHAT).t2s == "fp32"
    assert len(caplog.messages) == 1


def test_who_speaks_in_no_format_says_so_with_card_and_precision(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(warm_line, "is_finite", lambda text, sound: False)
    with pytest.raises(EngineError) as caught:
        working(lambda text, sound: SimpleNamespace(t2s=0, sound=0), HALVES, WHAT)
    assert caught.value.code == "not_finite"
    assert WHAT in caught.value.message
    assert "float32" in caught.value.message
    assert "device: cpu" in caught.value.hint


def test_another_failure_is_not_its_matter() -> None:
    def build(text: Precision, sound: torch.dtype) -> SimpleNamespace:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        working(build, HALVES, WHAT)
