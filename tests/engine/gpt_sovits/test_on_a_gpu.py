"""What only a GPU can show; the same decisions are tested on a processor elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from koed.engine.base import Job, ProfileSpec
from koed.engine.gpt_sovits import cards
from koed.engine.gpt_sovits.decoding.cuda_graph import DeviceBatch
from koed.engine.gpt_sovits.engine import GptSovitsEngine
from koed.engine.gpt_sovits.models import Name, translated
from koed.errors import EngineError
from koed.testing import tiny
from tests.engine.gpt_sovits.small import TRANSCRIPT, clip, wav

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
V2 = "gsv-v2final-pretrained"
TEXT = "This is a longer sentence that should take some time to be said in full."


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GptSovitsEngine]:
    made = GptSovitsEngine(tiny.make(tmp_path_factory.mktemp("models")), device="cuda")
    yield made
    made.close()


def said(engine: GptSovitsEngine, precision: str, seed: int = 2) -> np.ndarray:
    settings = {"model": V2, "guards": "none", "precision": precision}
    reference = {"audio": wav(clip()), "transcript": TRANSCRIPT, "lang": "en"}
    voice = engine.prepare(ProfileSpec("v", "en", settings, reference))
    engine.load(voice)
    job = Job(1, 1, voice.key, TEXT, "en", seed=seed)
    return np.concatenate([chunk.pcm for chunk in engine.stream(voice, job)])


@pytest.mark.parametrize("precision", ["auto", "fp32", "fp16", "bf16"])
def test_it_speaks_in_every_format(engine: GptSovitsEngine, precision: str) -> None:
    sound = said(engine, precision)
    assert len(sound) > 1000
    assert np.isfinite(sound).all()


def test_a_capture_beside_speech_changes_no_line(engine: GptSovitsEngine) -> None:
    before = said(engine, "fp32")
    t2s = engine.models.get(Name(V2, "fp32")).t2s

    def record() -> None:
        torch.cuda.set_device(t2s.device)
        DeviceBatch(t2s, 2, 700).warm_up()

    beside = threading.Thread(target=record)
    beside.start()
    during = [said(engine, "fp32") for _ in range(3)]
    beside.join()
    assert all(np.array_equal(before, sound) for sound in during)


def test_memory_that_ran_out_is_told_and_the_next_line_is_said(engine: GptSovitsEngine) -> None:
    with pytest.raises(EngineError) as caught, translated(engine.models):
        torch.empty(1 << 50, dtype=torch.uint8, device="cuda")
    assert caught.value.code == "oom"
    assert np.isfinite(said(engine, "auto")).all()


def test_the_card_is_known(engine: GptSovitsEngine) -> None:
    card = engine.models.card
    assert card is not None
    assert 0 < cards.free_bytes(card) <= card.total_bytes
    assert engine.models.cache.budget_bytes < card.total_bytes
