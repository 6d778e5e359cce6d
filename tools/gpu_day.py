"""What only a GPU can tell, beside its tests and `koed bench engine`: `tools/gpu_day.sh` runs it.

    python -m tools.gpu_day OUT

adds to what lies in OUT (``tests.txt``, ``bench.txt``) its own figures, as ``gpu_day.json`` and as
a page, ``gpu_day.md``. On a processor the same runs without graphs, which shows that it runs.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from koed.bench.engine import main as bench
from koed.bench.engine.parts import Plan, Weights, used_mb
from koed.engine.base import Job
from koed.engine.gpt_sovits import cards
from koed.engine.gpt_sovits.decoding.cuda_graph import DeviceBatch
from koed.engine.gpt_sovits.decoding.decode import Prompt
from koed.engine.gpt_sovits.model.sampling import seeded
from koed.engine.gpt_sovits.model.sovits import SAMPLE_RATE_HZ
from koed.engine.gpt_sovits.models import Name

ROWS, SENTENCES, LEAST_A_SECOND = 4, 32, 10.0
"""So many sentences, so many at once, and what is asked for."""
SENTENCE_S = 3.0


def measured(plan: Plan, sentences: int = SENTENCES) -> dict[str, Any]:
    """Everything of this page, on the device that the engine would choose."""
    card = cards.here("auto").card
    device = cards.Chosen(card).device
    made = Weights(plan, device)
    names = ("fp32", "fp16", "bf16") if card else ("fp32",)
    automatic = cards.told(cards.formats(card, "auto"))
    return {
        "card": str(card) if card else "the processor",
        "capability": card and card.capability,
        "torch": torch.__version__,
        "automatic": automatic,
        "models": {name: memory(plan, made, name) for name in ("auto", "fp32")},
        "graphs": {name: graphs(plan, made, cards.formats(card, name)) for name in names},
        "throughput": throughput(plan, made, sentences),
    }


def memory(plan: Plan, made: Weights, precision: str) -> dict[str, float]:
    """Of one model, counted and taken; and the first chunk after it had to leave."""
    before = used_mb(made.device)
    engine, spec = bench.loaded(plan, made, precision)
    voice = engine.prepare(spec)
    engine.load(voice)
    bench.streamed(engine, voice, plan.audio_s, 0)
    engine.models.parts.release()
    taken = used_mb(made.device) - before
    counted = engine.models.cache.used_bytes / 2**20
    warm_s = bench.streamed(engine, voice, 0.01, 1).first_s
    engine.models.cache.forget(Name(bench.MODEL, precision))
    cold_s = bench.streamed(engine, voice, 0.01, 1).first_s
    engine.close()
    return {
        "taken_mb": round(taken),
        "counted_mb": round(counted),
        "first_chunk_ms": round(1000 * warm_s, 1),
        "first_chunk_after_eviction_ms": round(1000 * cold_s, 1),
    }


@dataclass(frozen=True, slots=True)
class Decoded:
    """What all rows said, and how fast."""

    codes: dict[Any, list[int]]
    codes_s: float
    warm_up_s: float


def graphs(plan: Plan, made: Weights, formats: cards.Formats) -> dict[str, float]:
    """Graphs against eager steps: the same codes, and how much faster."""
    model = made.t2s(formats[0])

    def decoded(recorded: bool) -> Decoded:
        batch = DeviceBatch(model, ROWS, plan.phones + 2 * plan.codes, graphs=recorded)
        began = time.monotonic()
        batch.warm_up()
        warm_up_s = time.monotonic() - began
        for n in range(ROWS):
            rng = torch.Generator().manual_seed(n)
            phones = torch.randint(0, plan.text.phones, (plan.phones,), generator=rng)
            codes = torch.randint(0, plan.text.end, (plan.codes // 2,), generator=rng)
            prompt = Prompt(phones.to(made.device), codes.to(made.device), most=plan.codes)
            batch.join(n, prompt, seeded(n, plan.text.codes, made.device))
        said: dict[Any, list[int]] = {n: [] for n in range(ROWS)}
        began = time.monotonic()
        while len(batch):
            for one in batch.step():
                said[one.key] += [] if one.code is None else [one.code]
        return Decoded(said, sum(map(len, said.values())) / (time.monotonic() - began), warm_up_s)

    fast, eager = decoded(made.device.type == "cuda"), decoded(False)
    pairs = [pair for n in range(ROWS) for pair in zip(fast.codes[n], eager.codes[n], strict=False)]
    return {
        "same_codes": round(sum(a == b for a, b in pairs) / max(1, len(pairs)), 4),
        "graphs_codes_s": round(fast.codes_s, 1),
        "eager_codes_s": round(eager.codes_s, 1),
        "warm_up_s": round(fast.warm_up_s, 2),
    }


def throughput(plan: Plan, made: Weights, sentences: int) -> dict[str, float]:
    """Sentences of `SENTENCE_S` a second, `ROWS` at once, from text to sound."""
    engine, spec = bench.loaded(plan, made, "auto")
    voice = engine.prepare(spec)
    engine.load(voice)
    bench.streamed(engine, voice, SENTENCE_S, 0)
    began, waiting, done = time.monotonic(), list(range(1, 1 + sentences)), 0
    speaking: dict[int, Any] = {}
    heard: dict[int, int] = {}
    while done < sentences:
        while waiting and len(speaking) < ROWS:
            n = waiting.pop()
            speaking[n] = engine.stream(voice, Job(n, n, voice.key, bench.LINE, "en", seed=n))
        for n, stream in list(speaking.items()):
            chunk = next(stream, None)
            heard[n] = heard.get(n, 0) + (0 if chunk is None else len(chunk.pcm))
            if chunk is None or heard[n] >= SENTENCE_S * SAMPLE_RATE_HZ:
                stream.close()
                del speaking[n]
                done += 1
    rate = sentences / (time.monotonic() - began)
    engine.close()
    return {"rows": ROWS, "sentences_s": round(rate, 2), "asked": LEAST_A_SECOND}


def page(found: Mapping[str, Any]) -> str:
    """For people."""
    lines = [f"# {found['card']}, torch {found['torch']}", ""]
    lines += [f"Capability {found['capability']}, precision auto = {found['automatic']}.", ""]
    lines += ["| model | counted | taken | first chunk | after eviction |", "|---|---|---|---|---|"]
    for name, row in found["models"].items():
        lines.append(
            f"| {name} | {row['counted_mb']} MB | {row['taken_mb']} MB | {row['first_chunk_ms']} ms"
            f" | {row['first_chunk_after_eviction_ms']} ms |"
        )
    lines += ["", f"| {ROWS} rows | codes/s, graphs | eager | same codes | warm-up |"]
    lines += ["|---|---|---|---|---|"]
    for name, row in found["graphs"].items():
        lines.append(
            f"| {name} | {row['graphs_codes_s']} | {row['eager_codes_s']} | {row['same_codes']:.2%}"
            f" | {row['warm_up_s']} s |"
        )
    rate = found["throughput"]
    lines += ["", f"{rate['sentences_s']} sentences a second with {rate['rows']} at once; "]
    lines[-1] += f"at least {rate['asked']:g} are asked for."
    for name in ("tests", "bench"):
        lines += ["", f"## {name}", "", "```", str(found.get(name, "was not run")).strip(), "```"]
    return "\n".join(lines) + "\n"


def missed(found: Mapping[str, Any]) -> list[str]:
    """What is not as it should be."""
    out = [] if found["throughput"]["sentences_s"] >= LEAST_A_SECOND else ["throughput"]
    for name, row in found["models"].items():
        if abs(row["counted_mb"] - row["taken_mb"]) > 0.15 * row["taken_mb"]:
            out.append(f"memory of {name}")
    out += [f"graphs in {name}" for name, row in found["graphs"].items() if row["same_codes"] < 0.9]
    return out


def main(folder: Path, plan: Plan | None = None, sentences: int = SENTENCES) -> int:
    found = measured(plan or Plan(), sentences)
    for name in ("tests", "bench"):
        path = folder / f"{name}.txt"
        if path.exists():
            found[name] = path.read_text(encoding="utf-8", errors="replace")[-8000:]
    found["missed"] = missed(found)
    (folder / "gpu_day.md").write_text(page(found), encoding="utf-8")
    (folder / "gpu_day.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    print(json.dumps({"gpu_day": found["missed"], "page": str(folder / "gpu_day.md")}))
    return 1 if found["missed"] else 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main(Path(sys.argv[1])))
