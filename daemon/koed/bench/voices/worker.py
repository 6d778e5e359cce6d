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
MOST_PREPARING_S = 300.0


def worker_figures(
    running: Rig, name: str, engine: str, texts: list[str], lang: str, step: Callable[[], None]
) -> dict[str, Any]:
    """``{onset_ms, rtf, memory_mb: {rest, peak}}`` of a voice of a daemon that is ready.

    ``rtf``: the worker's processor time for a second of sound, streamed as on the air.
    """
    speaker = _Speaker(running, name, lang)
    try:
        speaker.warm_up()
        pid = worker_pid(running.process.pid, engine)
        rest_mb, busy_s = _memory_mb(pid, "VmRSS"), _cpu_s(pid)
        sound_s, delays = 0.0, []
        for number, text in enumerate(texts):
            # after the pause that follows a line, and never in step with the device's blocks
            time.sleep(0.3 + 0.003 * (number % 7))
            delay_s, heard_s = speaker.timed(text)
            delays.append(delay_s)
            sound_s += heard_s
            step()
        busy_s = _cpu_s(pid) - busy_s
    finally:
        speaker.close()
    return {
        "onset_ms": percentiles(delays),
        "rtf": round(busy_s / sound_s, 3),
        "memory_mb": {"rest": round(rest_mb), "peak": round(_memory_mb(pid, "VmHWM"))},
    }


class _Speaker:
    """Says lines and waits for their ends."""

    def __init__(self, running: Rig, name: str, lang: str) -> None:
        self._running, self._name, self._lang = running, name, lang
        self._watch = running.watch("utterance.")

    def close(self) -> None:
        self._watch.close()

    def warm_up(self) -> None:
        """Until the voice itself speaks. Raises `KoedError` ``bench_fallback``."""
        self._wait_for_all()
        word = {"ja": "はい。", "zh": "好。"}.get(self._lang.split("-")[0], "Yes.")
        for _ in range(MOST_WARM_UPS):
            if self._said(word) == self._name:
                return
            time.sleep(1.0)
        raise self._fallback()

    def _wait_for_all(self) -> None:
        """A voice that is still being prepared takes the processor from the one that is timed."""
        last_t = time.monotonic() + MOST_PREPARING_S
        while time.monotonic() < last_t:
            if all(voice.ready or voice.error for voice in self._running.client.voices()):
                return
            time.sleep(0.2)

    def timed(self, text: str) -> tuple[float, float]:
        """Seconds from the moment before ``say`` is sent to the first sample that can be heard, and
        from there to the last."""
        sent_t = time.monotonic()
        if self._said(text) != self._name:
            raise self._fallback()
        sound = self._running.sound(sent_t)
        onset_t, last_t = sound.onset_t(sent_t), sound.last_t(sent_t, time.monotonic())
        if onset_t is None or last_t is None:
            raise KoedError("bench_silent", "a line was not heard at the sink", self._running.log())
        return onset_t - sent_t, last_t - onset_t

    def _said(self, text: str) -> str:
        """The voice that spoke it."""
        said = self._running.client.say(text, voice=self._name, lang=self._lang)
        started: Any = self._watch.wait("utterance.started", said.utterance)
        self._watch.wait("utterance.finished", said.utterance)
        return str(started.voice)

    def _fallback(self) -> KoedError:
        return KoedError(
            "bench_fallback",
            f"{self._name} does not speak itself, its fallback does",
            f"koed voices show {self._name} tells what it lacks",
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
