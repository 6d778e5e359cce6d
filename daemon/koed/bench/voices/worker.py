"""How soon a voice is heard at the sink of a daemon of its own, and what its worker needs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from koed.bench.measures import percentiles
from koed.errors import KoedError
from koed.testing.rig import Rig

MOST_WARM_UPS = 20
"""Lines, until the voice itself speaks and not its fallback."""


def worker_figures(
    running: Rig, name: str, engine: str, texts: list[str], lang: str, step: Callable[[], None]
) -> dict[str, Any]:
    """``{onset_ms, rtf, memory_mb: {rest, peak}}`` of a voice of a daemon that is ready.

    ``rtf``: the worker's processor time for a second of sound, streamed as on the air.
    """
    _warm(running, name, lang)
    pid = worker_pid(running.process.pid, engine)
    rest_mb, busy_s, sound_s, delays = _memory_mb(pid, "VmRSS"), _cpu_s(pid), 0.0, []
    for number, text in enumerate(texts):
        # after the pause that follows a line, and never in step with the device's blocks
        time.sleep(0.3 + 0.003 * (number % 7))
        sent_t = time.monotonic()
        _said(running, text, name, lang)
        sound, now_t = running.sound(sent_t), time.monotonic()
        onset_t, last_t = sound.onset_t(sent_t), sound.last_t(sent_t, now_t)
        if onset_t is None or last_t is None:
            raise KoedError("bench_silent", "a line was not heard at the sink", running.log())
        delays.append(onset_t - sent_t)
        sound_s += last_t - onset_t
        step()
    return {
        "onset_ms": percentiles(delays),
        "rtf": round((_cpu_s(pid) - busy_s) / sound_s, 3),
        "memory_mb": {"rest": round(rest_mb), "peak": round(_memory_mb(pid, "VmHWM"))},
    }


def _said(running: Rig, text: str, name: str, lang: str) -> str:
    """Wait for the end of a line; the voice that spoke it."""
    watch = running.watch("utterance.")
    try:
        utterance = running.client.say(text, voice=name, lang=lang).utterance
        started: Any = watch.wait("utterance.started", utterance)
        watch.wait("utterance.finished", utterance)
    finally:
        watch.close()
    return str(started.voice)


def _warm(running: Rig, name: str, lang: str) -> None:
    word = "はい。" if lang == "ja" else "好。" if lang == "zh" else "Yes."
    for _ in range(MOST_WARM_UPS):
        if _said(running, word, name, lang) == name:
            return
        time.sleep(1.0)
    raise KoedError(
        "bench_fallback",
        f"{name} does not speak itself, its fallback does",
        f"koed voices show {name} tells what it lacks",
    )


def worker_pid(daemon: int, engine: str) -> int:
    """The daemon's child that runs ``engine``. Raises `KoedError` ``bench_worker``."""
    for task in Path(f"/proc/{daemon}/task").iterdir():
        for child in (task / "children").read_text().split():
            words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
            if b"--engine" in words and words[words.index(b"--engine") + 1] == engine.encode():
                return int(child)
    raise KoedError("bench_worker", f"the daemon has no worker for {engine}")


def _cpu_s(pid: int) -> float:
    """Processor time of all threads so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory_mb(pid: int, field: str) -> float:
    """``VmRSS`` (now) or ``VmHWM`` (most so far)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (found,) = (line for line in lines if line.startswith(field))
    return int(found.split()[1]) * 1024 / 1e6
