"""`koed bench`: runs measurements, prints a table against what is to be reached, then JSON."""

from __future__ import annotations

import functools
import json
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from koed.bench import checkout, measures
from koed.config import daemon as config
from koed.engine import registry
from koed.errors import KoedError

Row = tuple[str, str, float]
"""(path in the result, what it is, at most)."""

TARGETS: tuple[Row, ...] = (
    ("onset_ms.p50", "submit to audible onset, embedded voice, median ms", 35),
    ("onset_ms.p99", "  99th percentile", 70),
    ("overhead_ms.p50", "what koed adds to the engine's first chunk, median ms", 12),
    ("overhead_ms.p99", "  99th percentile", 25),
    ("stop_ms.p99", "stop to the last sample, fade included, p99 ms", 35),
    ("switch_chunks", "voice --when now to the new voice, chunks (worst)", 2),
    ("gap_samples", "missing samples beyond the pauses asked for", 0),
    ("flood.reply_ms_p99", "10,000 chatter lines: reply, p99 ms", 20),
    ("flood.unaccounted", "  lines without an end that an event names", 0),
    ("flood.growth_mb", "  memory growth, MB", 5),
    ("flood.line_starved_s", "  disturbance of the line that sounds, s", 0),
    ("soak.underruns", "soak: underruns", 0),
    ("soak.starved_samples", "  samples of silence for want of sound", 0),
    ("soak.growth_mb", "  memory growth, MB", 5),
    ("memory.growth_percent", "neural worker: growth of what it holds after warm-up, %", 1),
    ("memory.mean_growth_percent", "  of its mean, with what lines leave in the heap, %", 1),
    ("idle.cpu_percent", "idle: % of one core", 2),
    ("idle.rss_mb", "  stage resident, MB", 90),
    ("idle.status_s", "  start to the first answer, s", 1),
    ("idle.ready_s", "  start to READY, s", 3),
    ("scene_ms.p99", "OBS scene event to voice of the queue, p99 ms", 50),
    ("caption_ms.p99", "word heard to caption in OBS, off by, p99 ms", 80),
    ("mouth_ms.p99", "mouth against the sound, off by, p99 ms", 40),
    ("hotkey_ms.p99", "hotkey to audible onset of a canned line, p99 ms", 60),
    ("panic_ms.p99", "panic key to silence, p99 ms", 35),
    ("policy_ms.p99", "500 chat lines a second: a verdict, p99 ms", 1),
    ("policy_unaccounted", "  lines without an event", 0),
    ("natural_words.mia.p50_ms", "word of mia told, off from her sound, median ms", 30),
    ("natural_words.yuki.p50_ms", "  of yuki", 30),
    ("bouyomi_ms.p99", "Bouyomi talk to audible onset, p99 ms", 80),
)


AIR_PARTS = ("scene", "caption", "mouth", "keys", "policy", "bouyomi")
AIR = {f"air_{part}": part for part in AIR_PARTS}
"""Single parts of ``air``."""
BY_NAME = ("engine", "memory", "air", "words", "voices", *AIR)
"""Not part of a run of everything: these need an extra or other programs, and minutes."""
UTTERANCES = 10_000


def _measures(
    soak_s: float,
    profile: Path | None,
    utterances: int = UTTERANCES,
    voice: Callable[[], dict[str, Any]] | None = None,
    voices: Callable[[], dict[str, Any]] | None = None,
) -> dict[str, Callable[[], dict[str, Any]]]:
    shipped = config.resolve(config.Config(), "profiles")
    return {
        "onset": lambda: measures.onset(shipped),
        "overhead": measures.overhead,
        "stop": measures.stop,
        "switch": measures.switch,
        "gap": measures.gap,
        "flood": measures.flood,
        "soak": lambda: measures.soak(soak_s),
        "idle": lambda: measures.idle(shipped),
        "engine": voice or (lambda: _neural(profile)),
        "memory": lambda: checkout.measure("memory", str(utterances)),
        "air": lambda: checkout.measure("air"),
        **{name: functools.partial(checkout.measure, "air", part) for name, part in AIR.items()},
        "words": lambda: checkout.measure("words"),
        "voices": voices or _voices,
    }


def _voices() -> dict[str, Any]:
    from koed.bench.voices import main as bench

    return bench.run(config.Config(), bench.Options())


def _neural(profile: Path | None) -> dict[str, Any]:
    registry.set_environment("gpt_sovits")
    try:
        from koed.bench.engine import main as bench
    except ImportError as error:
        raise KoedError(
            "library_missing",
            f"the neural engine is not installed: {error}",
            "install koed with the extra gpt-sovits",
        ) from error
    return bench.run(profile)


def run(names: list[str], soak_s: float) -> int:
    """All measurements or those named, as `measured` and `told`."""
    return told(measured(names, soak_s))


def measured(
    names: list[str],
    soak_s: float,
    profile: Path | None = None,
    utterances: int = UTTERANCES,
    voice: Callable[[], dict[str, Any]] | None = None,
    voices: Callable[[], dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Run all measurements or those named, and print a table of what is to be reached.

    ``profile``: where the measurement ``engine`` writes a trace; ``utterances`` are of ``memory``;
    ``voice`` and ``voices``: what ``engine`` and ``voices`` measure instead.
    """
    known = _measures(soak_s, profile, utterances, voice, voices)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise KoedError(
            "unknown_measure",
            f"there is no measurement {', '.join(unknown)}",
            f"known: {', '.join(known)}",
        )
    results: dict[str, Any] = {}
    for name in names or [name for name in known if name not in BY_NAME]:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        results |= known[name]()
    missed = [*_table(results), *results.get("missed", [])]
    results["machine"] = {"cores": os.cpu_count(), "python": platform.python_version()}
    results["missed"] = missed
    return results


def told(results: dict[str, Any]) -> int:
    """The JSON line. 0 = every target was reached."""
    print(json.dumps(results))
    return 1 if results["missed"] else 0


def _table(results: dict[str, Any]) -> list[str]:
    missed = []
    head = f"{'what':58} {'measured':>10} {'at most':>8}"
    for path, text, limit in TARGETS:
        value: Any = results
        for step in path.split("."):
            value = value.get(step) if isinstance(value, dict) else None
        if value is None:
            continue
        if head:
            print(head)
            head = ""
        good = value <= limit and value >= (0 if path == "gap_samples" else value)
        if not good:
            missed.append(path)
        print(f"{text:58} {value:>10} {limit:>8} {'' if good else '  <- missed'}")
    return missed
