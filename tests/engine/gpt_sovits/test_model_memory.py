"""What models are counted; what a device allows them. Against measured memory: tests/bench."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from koed.engine.gpt_sovits import cards, memory
from koed.engine.gpt_sovits.cards import Card
from koed.engine.gpt_sovits.decoding.cuda_graph import DeviceBatch
from koed.engine.gpt_sovits.memory import BESIDE_BYTES, CARD_SHARE, allowed_bytes, held_bytes
from koed.engine.gpt_sovits.model.t2s import T2S
from koed.testing import tiny

GB = 1 << 30


def test_each_storage_is_counted_once_wherever_it_is() -> None:
    numbers = torch.zeros(1000)
    assert held_bytes(numbers, [numbers[5:], {"a": numbers}], (torch.zeros(10),)) == 4040
    assert held_bytes(SimpleNamespace(other=numbers)) == 0, "only what is ours is looked into"
    assert held_bytes(torch.nn.Linear(10, 10), torch.zeros(0), None, "text") == 440


def test_rows_of_a_batch_count() -> None:
    weights = {k: torch.from_numpy(v) for k, v in tiny.weights(tiny.T2S.shapes()).items()}
    model = T2S(weights, tiny.HEADS)
    batch = DeviceBatch(model, 3, 500, graphs=False)
    assert held_bytes(batch) - held_bytes(model) == pytest.approx(batch.state.cache.nbytes, rel=0.2)
    assert held_bytes(model, batch) == held_bytes(batch)


def test_a_game_on_the_card_leaves_less_for_models(monkeypatch: pytest.MonkeyPatch) -> None:
    card, free = Card(0, "NVIDIA GeForce RTX 3060", (8, 6), 12 * GB), [11 * GB]
    monkeypatch.setattr(cards, "free_bytes", lambda card: free[0])
    alone = allowed_bytes(card, 0)
    assert alone == int(CARD_SHARE * (11 * GB - BESIDE_BYTES))
    free[0] -= 2 * GB  # what the models took themselves changes nothing
    assert allowed_bytes(card, 2 * GB) == alone
    free[0] -= 6 * GB
    assert allowed_bytes(card, 2 * GB) == pytest.approx(alone - CARD_SHARE * 6 * GB)
    free[0] = 0
    assert allowed_bytes(card, 0) == 0


def test_on_a_processor_models_take_half_of_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0 < memory._available_bytes() < 1 << 50
    for available, used, allowed in ((64, 0, 4), (3, 1, 2), (1, 0, 0.5)):
        monkeypatch.setattr(memory, "_available_bytes", lambda available=available: available * GB)
        assert allowed_bytes(None, used * GB) == allowed * GB
