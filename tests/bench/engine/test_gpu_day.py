"""What is run on the day when there is a GPU runs here too, on a processor and small models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from koed.bench.engine.parts import Plan
from koed.testing import tiny
from tools import gpu_day

SMALL = Plan(
    tiny.T2S, tiny.HEADS, tiny.SOUND, tiny.EARS, tiny.SPEAKERS, 3.5, 30, 12, (1,), 0.5, 0.5, 1
)  # fmt: skip
MODEL = {
    "counted_mb": 700, "taken_mb": 750, "first_chunk_ms": 20.0,
    "first_chunk_after_eviction_ms": 2000.0,
}  # fmt: skip
GRAPHS = {"same_codes": 1.0, "graphs_codes_s": 1500.0, "eager_codes_s": 300.0, "warm_up_s": 2.0}
FOUND: dict[str, Any] = {
    "card": "cuda:0 (NVIDIA H200)", "torch": "2.8.0", "capability": (9, 0), "automatic": "fp16",
    "models": {"auto": MODEL}, "graphs": {"fp16": GRAPHS},
    "throughput": {"rows": 4, "sentences_s": 12.0, "asked": 10.0}, "tests": "2 passed",
}  # fmt: skip


def test_what_is_not_as_it_should_be_is_named() -> None:
    assert gpu_day.missed(FOUND) == []
    bad = {
        **FOUND,
        "models": {"auto": {**MODEL, "taken_mb": 1100}},
        "graphs": {"fp16": {**GRAPHS, "same_codes": 0.2}},
        "throughput": {**FOUND["throughput"], "sentences_s": 9.9},
    }
    assert gpu_day.missed(bad) == ["throughput", "memory of auto", "graphs in fp16"]


def test_the_page_says_it_all() -> None:
    page = gpu_day.page(FOUND)
    words = ("NVIDIA H200", "700 MB", "750 MB", "2000.0 ms", "1500.0", "12.0 sentences", "2 passed")
    assert all(word in page for word in words), page


@pytest.mark.slow
def test_it_runs_on_a_processor(tmp_path: Path) -> None:
    (tmp_path / "tests.txt").write_text("2 skipped")
    gpu_day.main(tmp_path, SMALL, 5)
    found = json.loads((tmp_path / "gpu_day.json").read_text())
    assert set(found["models"]) == {"auto", "fp32"}
    assert found["graphs"]["fp32"]["same_codes"] == 1.0
    assert found["throughput"]["sentences_s"] > 0
    assert found["tests"] == "2 skipped"
    assert "2 skipped" in (tmp_path / "gpu_day.md").read_text()
