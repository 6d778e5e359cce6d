"""`koed bench engine`: every part of it runs on small models; what it compares with is right."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from koed.bench import main
from koed.bench.engine import main as bench
from koed.bench.engine import parts
from koed.bench.engine import targets as bench_targets
from koed.bench.engine.naive import NaiveT2S
from koed.bench.engine.parts import Plan, Weights
from koed.engine.base import THREADS_VARIABLE
from koed.engine.gpt_sovits.decoding.decode import Prompt, Utterance
from koed.engine.gpt_sovits.model.sampling import Sampling, seeded
from koed.testing import tiny
from tools import memory

CPU = torch.device("cpu")
SMALL = Plan(
    tiny.T2S, tiny.HEADS, tiny.SOUND, tiny.EARS, tiny.SPEAKERS, 3.5, 30, 20, (1, 2), 1.0, 1.5, 1
)  # fmt: skip
"""Says nothing about speed, but that all of it runs."""


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def positive(value: Any) -> bool:
    if isinstance(value, dict):
        return bool(value) and all(map(positive, value.values()))
    return isinstance(value, str) or value > 0


@pytest.mark.slow
def test_everything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = tmp_path / "trace.json"
    monkeypatch.setenv(THREADS_VARIABLE, "1")  # two would wait for each other on busy cores
    results = bench.run(trace, dataclasses.replace(SMALL, firsts=2))["engine"]
    targets = results.pop("targets")
    for found in results["threads"].values():
        for setting in (*found["text"].values(), *found["decoder"].values()):
            setting.pop("memory_mb", None)  # too small to be seen
    for setting in results["speech"].values():
        setting.pop("memory_mb")
    assert positive(results), results
    assert set(results["threads"]) == {"1"}
    one = results["threads"]["1"]
    assert {"fp32", "naive"} < set(one["text"])
    assert set(one["text"]["fp32"]["tokens_s"]) == {"1", "2"}
    assert {"fp32", "bf16", "naive"} == set(one["decoder"])
    assert "fp32" in results["speech"]
    assert "first_chunk_p99_ms" in results["speech"]["fp32"]
    assert results["together"]["lines"] == 2
    assert json.loads(trace.read_text())["traceEvents"]
    told = capsys.readouterr().out
    assert "x naive" in told
    assert not [row for row in targets if row["name"].startswith("streaming")], "of two threads"
    assert "streaming" in told


def test_targets_are_judged_by_what_was_measured_beside_them() -> None:
    found = {
        "text": {
            "naive": {"tokens_s": {"1": 20.0, "8": 40.0}},
            "fp32": {"tokens_s": {"1": 25.0, "8": 60.0}},
            "int8": {"tokens_s": {"1": 60.0, "8": 50.0}},
        },
        "decoder": {"naive": {"s_per_s": 0.9}, "fp32": {"s_per_s": 0.9}, "bf16": {"s_per_s": 0.5}},
        "streaming": {"precision": "int8", "s_per_s": 0.61},
    }
    rows = list(bench_targets.rows({"1": found, "2": found}))
    assert [row.threads for row in rows] == ["1"] * 6 + ["2"] * 7
    rows = rows[6:]
    assert [row.measured for row in rows] == [1.25, 3.0, 1.5, 1.25, 1.0, 1.8, 0.61]
    assert [row.reached for row in rows] == [False, True, True, False, False, True, False]
    assert [row.told().endswith("missed") for row in rows] == [not row.reached for row in rows]


def test_a_gpu_is_held_to_rates_and_times() -> None:
    plan = Plan().on(torch.device("cuda"))
    assert (plan.together, plan.firsts) == (32, 100)
    assert Plan().on(CPU) == Plan()
    results = {
        "threads": {
            "16": {
                "text": {
                    "fp32": {"tokens_s": {"1": 900.0}},
                    "fp16": {"tokens_s": {"1": 1500.0}},
                    "naive": {"tokens_s": {"1": 9000.0}},
                }
            }
        },
        "speech": {"fp32": {"first_chunk_p99_ms": 50.0}, "fp16": {"first_chunk_p99_ms": 30.1}},
        "together": {"lines": 32, "s_per_s": 0.9},
    }
    rows = list(bench_targets.rows_of_a_gpu(results))
    assert [row.measured for row in rows] == [1500.0, 30.1, 0.9]
    assert [row.reached for row in rows] == [True, False, True]


def test_the_naive_generator_makes_the_same_sound() -> None:
    made = Weights(SMALL, CPU)
    ours, naive = made.sound_model(torch.float32), parts._naive_sound(made)
    style = ours.style([torch.rand(1, 1025, 40, generator=torch.Generator().manual_seed(1))])
    wave = ours.synthesize(torch.arange(20), torch.arange(30), style)
    slow = naive.synthesize(torch.arange(20), torch.arange(30), style)
    assert float(wave.abs().max()) > 0
    assert torch.allclose(wave, slow, atol=1e-5)


def test_the_naive_model_says_the_same() -> None:
    made = Weights(SMALL, CPU)
    phones, codes = torch.arange(1, 20), torch.arange(100, 130)
    naive = NaiveT2S(made.text, SMALL.text, SMALL.heads)
    said = naive.codes(phones, codes, 15, Sampling(), seeded(3, 1025, CPU))
    ours = Utterance(made.t2s("fp32"), Prompt(phones, codes), seeded(3, 1025, CPU))
    assert said == list(islice(ours, 15))
    both = naive.rows(
        torch.stack([phones, phones + 1]), torch.stack([codes, codes + 1]), 15, Sampling(),
        seeded(3, 1025, CPU),
    )  # fmt: skip
    assert said == both[0].tolist() != both[1].tolist()
    assert len(set(said)) > 5


def test_it_runs_only_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def fake(*_: Any) -> Any:
        return {name: lambda name=name: ran.append(name) or {} for name in ("onset", "engine")}

    monkeypatch.setattr(main, "_measures", fake)
    assert main.run([], 1.0) == 0
    assert ran == ["onset"]
    assert main.run(["engine"], 1.0) == 0
    assert ran == ["onset", "engine"]


def test_the_command_loads_no_torch_before_it_measures() -> None:
    code = "import koed.bench.main as m, sys; m._measures(1.0, None); print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "False"


def test_growth_is_told_from_what_the_worker_holds_after_warm_up() -> None:
    def found(held: float, left: float) -> dict[str, Any]:
        """``held`` grows by so many MB a part, what lines leave in the heap by ``left``."""
        readings = memory.Readings(300.0)
        for n in range(100):
            warm = 400.0 if n < 10 else 500.0
            readings.held_mb.append(warm + n * held)
            readings.spoken_mb.append([warm + n * (held + left) + line for line in range(7)])
        return memory.summary(readings)

    flat = found(0.0, 0.0)
    assert (flat["utterances"], flat["start_mb"]) == (700, 300.0)
    assert (flat["warm_mb"], flat["end_mb"], flat["peak_mb"]) == (500.0, 500.0, 506.0)
    assert (flat["growth_percent"], flat["mean_growth_percent"]) == (0.0, 0.0)
    leaking = found(0.1, 0.0)
    assert leaking["growth_percent"] == pytest.approx(1.6, abs=0.1)
    holes = found(0.0, 0.1)
    assert holes["growth_percent"] == 0.0
    assert holes["mean_growth_percent"] == pytest.approx(1.6, abs=0.1)


def test_all_that_is_said_of_memory_is_varied_and_the_same_each_time() -> None:
    said = list(memory.turns(500))
    assert said == list(memory.turns(500))
    assert {turn.lang for turn in said} == {"en", "ja", "zh", "ko", "yue"}
    assert {turn.kind for turn in said} == {"plain", "cut", "restyled"}
    assert {turn.voice for turn in said} == set(memory.VOICES)


@pytest.mark.slow
def test_the_worker_is_followed_through_cuts_restyles_and_reloads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    english = memory.WORDS["en"]  # other languages take seconds to load
    monkeypatch.setattr(memory, "WORDS", {"en": english, "ja": english, "zh": english})
    two = {name: memory.VOICES[name] for name in ("anna", "bela")}
    monkeypatch.setattr(memory, "VOICES", two)
    monkeypatch.setattr(memory, "TAKES_OVER", {"anna": "bela", "bela": "anna"})
    monkeypatch.setattr(memory, "RELOADS", 5)
    monkeypatch.setattr(memory, "PARTS", 3)
    result = memory.run(24)["memory"]
    assert sum(result["outcomes"].values()) == 24
    assert {"finished", "cut", "restyled"} <= set(result["outcomes"])
    assert result["restarts"] == 0
    assert result["utterances"] == 24
    assert result["end_mb"] > 100
