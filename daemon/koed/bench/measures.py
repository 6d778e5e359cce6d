"""The measurements of `koed bench`, one function each. Every figure is taken at the sink.

Each function returns plain values for the JSON line; `TARGETS` in `main` says what to reach.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from koe.client import Client
from koed.errors import KoedError
from koed.testing.rig import TONES, Rig, Sound, rig

WORDS = ("hello there", "good evening", "welcome to the stream", "nice one", "thank you so much")

CLOCK_JITTER_S = 0.05
"""A block may be rendered so much late on a busy machine, which bends the frame-to-time line."""


def percentiles(values: list[float]) -> dict[str, float]:
    """Milliseconds as ``{p50, p99, n}``."""
    ms = sorted(value * 1000 for value in values)
    return {
        "p50": round(statistics.median(ms), 2),
        "p99": round(float(np.percentile(ms, 99)), 2),
        "n": len(ms),
    }


WARM_UP = 5
"""Lines that are said before any counts."""


def _onsets(running: Rig, lines: int) -> list[float]:
    """Seconds from the moment before ``say`` is sent to the first sample that can be heard."""
    running.wait_ready()
    delays = []
    with_events = running.watch("utterance.")
    try:
        for number in range(WARM_UP + lines):
            # after the pause that follows a line, and never in step with the device's blocks
            time.sleep(0.3 + 0.003 * (number % 7))
            sent_t = time.monotonic()
            said = running.client.say(WORDS[number % len(WORDS)])
            with_events.wait("utterance.finished", said.utterance)
            onset_t = running.sound(sent_t).onset_t(sent_t)
            if onset_t is None:
                raise KoedError("bench_silent", "a line was not heard at the sink", running.log())
            delays.append(onset_t - sent_t)
    finally:
        with_events.close()
    return delays[WARM_UP:]


def onset(shipped: Path, lines: int = 60) -> dict[str, Any]:
    """Submit to audible onset, the embedded voice that speaks on a fresh machine."""
    with rig(shipped=shipped) as running:
        return {"onset_ms": percentiles(_onsets(running, lines))}


def overhead(lines: int = 60) -> dict[str, Any]:
    """What koed adds to the engine's first chunk: the tone voice makes its sound at once."""
    short = {n: p | {"settings": p["settings"] | {"char_ms": 5}} for n, p in TONES.items()}
    with rig({"voice": "tone-a"}, short) as running:
        return {"overhead_ms": percentiles(_onsets(running, lines))}


def stop(lines: int = 60) -> dict[str, Any]:
    """``stop`` sent to the last sample that is not silence, fade included."""
    delays = []
    with rig({"voice": "tone-a"}, TONES) as running:
        running.wait_ready()
        for number in range(lines):
            began_t = time.monotonic()
            running.client.say("a line that would go on for quite a while if nobody stopped it")
            time.sleep(0.15 + 0.003 * (number % 7))
            sent_t = time.monotonic()
            running.client.stop()
            time.sleep(0.15)
            last_t = running.sound(began_t).last_t(began_t, time.monotonic())
            if last_t is None or last_t < sent_t - CLOCK_JITTER_S:
                raise KoedError("bench_silent", "the line did not sound when it was stopped")
            delays.append(max(0.0, last_t - sent_t))
    return {"stop_ms": percentiles(delays)}


def _tone_share(sound: Sound, at: int, hz: float, frames: int) -> float:
    """Amplitude of a frequency in ``frames`` samples from index ``at``, by correlation."""
    part = sound.pcm[at : at + frames].astype(np.float64)
    phase = 2j * np.pi * hz * np.arange(len(part)) / sound.rate_hz
    return float(abs(np.dot(part, np.exp(-phase)))) / max(1, len(part))


def switch(lines: int = 30) -> dict[str, Any]:
    """``voice --when now`` to the first sound of the new voice, in chunks of the tone engine."""
    chunk_s, delays = 0.02, []
    with rig({"voice": "tone-a"}, TONES) as running:
        running.wait_ready()
        for number in range(lines):
            began_t = time.monotonic()
            said = running.client.say("this line is long enough to change its voice in the middle")
            time.sleep(0.2 + 0.003 * (number % 7))
            sent_t = time.monotonic()
            running.client.set_voice("tone-b", "now")
            time.sleep(0.2)
            sound = running.sound(began_t)
            running.client.cancel(said.utterance)
            running.client.set_voice("tone-a")
            delays.append(_switched_t(sound, sent_t) - sent_t)
    chunks = [delay / chunk_s for delay in delays]
    return {
        "switch_chunks": round(max(chunks), 2),
        "switch_ms": percentiles(delays),
    }


def _switched_t(sound: Sound, sent_t: float) -> float:
    """When the 1000 Hz voice is first louder than the 400 Hz one, to 2.5 ms."""
    window = int(0.0025 * sound.rate_hz)
    for at in range(sound.index(sent_t), len(sound.pcm) - window, window):
        low, high = (_tone_share(sound, at, hz, window) for hz in (400.0, 1000.0))
        if high > low and high > SWITCHED:
            return sound.t(at + window)
    raise KoedError("bench_switch", "the new voice was not heard")


SWITCHED = 500.0
"""int16 amplitude above which the new voice counts as heard."""


def gap() -> dict[str, Any]:
    """Missing samples between segments and between queued lines, beyond the pauses asked for."""
    pause_s = 0.1
    text = {"comma_pause_s": pause_s, "sentence_pause_s": pause_s, "first_segment_chars": 12}
    config = {"voice": "tone-a", "text": text, "queue": {"line_pause_s": pause_s}}
    with rig(config, TONES) as running:
        running.wait_ready()
        watch, began_t = running.watch("utterance."), time.monotonic()
        last = 0
        for number in range(8):
            last = running.client.say(
                f"line number {number}, with two parts. And a third"
            ).utterance
        watch.wait("utterance.finished", last, 120.0)
        watch.close()
        sound = running.sound(began_t)
    silent = np.abs(sound.pcm.astype(np.int32)) <= 1
    edges = np.flatnonzero(np.diff(np.concatenate(([0], silent.view(np.int8), [0]))))
    runs = [int(b - a) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    inside = [run for run in runs[1:-1] if run > 8]
    asked = round(pause_s * sound.rate_hz)
    return {
        "gap_samples": max((abs(run - asked) for run in inside), default=-1),
        "gap": {"pauses": len(inside), "asked": asked},
    }


def flood(lines: int = 10_000) -> dict[str, Any]:
    """Chatter as fast as a client can push it, while a line is being spoken."""
    quick = {"tone-b": TONES["tone-b"] | {"settings": {"hz": 1000, "char_ms": 5}}}
    with rig({"voice": "tone-a", "queue": {"line_pause_s": 0.0}}, TONES | quick) as running:
        running.wait_ready()
        watch = running.watch("utterance.")
        spoken = running.client.say("this is the line that nobody may disturb " * 14)
        watch.wait("utterance.started", spoken.utterance)
        before_mb, replies = running.rss_mb(), []
        with Client(str(running.folder / "run")) as client:
            for number in range(lines):
                sent_t = time.monotonic()
                client.say(
                    f"chat line {number}",
                    voice="tone-b",
                    priority="chatter",
                    author=f"viewer {number}",
                )
                replies.append(time.monotonic() - sent_t)
        growth_mb = running.rss_mb() - before_mb
        finished: Any = watch.wait("utterance.finished", spoken.utterance, 60.0)
        _drain(running)
        ends = {
            name: {e.utterance for e in watch.events if e.event == f"utterance.{name}"}  # type: ignore[attr-defined]
            for name in ("finished", "dropped")
        }
        watch.close()
    chat = set(range(spoken.utterance + 1, spoken.utterance + 1 + lines))
    dropped, heard = len(ends["dropped"] & chat), len(ends["finished"] & chat)
    return {
        "flood": {
            "reply_ms_p99": percentiles(replies)["p99"],
            "reply_ms_max": round(max(replies) * 1000, 2),
            "sent": lines,
            "spoken": heard,
            "dropped": dropped,
            "unaccounted": lines - heard - dropped,
            "growth_mb": round(growth_mb, 2),
            "line_starved_s": finished.starved_s,
        }
    }


def _drain(running: Rig, timeout_s: float = 60.0) -> None:
    """Wait until nothing is spoken and nothing waits."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        queue = running.client.status()["queue"]
        if not queue["speaking"] and not queue["waiting"]:
            time.sleep(0.3)  # the last events are on their way
            return
        time.sleep(0.1)
    raise KoedError("bench_timeout", f"the queue did not drain in {timeout_s:g} s")


def soak(seconds: float) -> dict[str, Any]:
    """Speech without end while the worker does 10 MB/s of other work."""
    busy = {
        name: profile | {"settings": profile["settings"] | {"churn_mb_per_s": 10}}
        for name, profile in TONES.items()
    }
    warm_up_s = min(60.0, max(5.0, seconds * 0.1))
    with rig({"voice": "tone-a", "queue": {"line_pause_s": 0.0}}, busy) as running:
        running.wait_ready()
        began = time.monotonic()
        base_mb, before, number = 0.0, dict[str, Any](), 0
        while (passed := time.monotonic() - began) < warm_up_s + seconds:
            status = running.client.status()
            if status["queue"]["waiting"] < 5:
                running.client.say(f"line {number} of a stream that goes on and on, for hours")
                number += 1
            if not before and passed > warm_up_s:
                base_mb, before = running.rss_mb(), next(iter(status["outputs"].values()))
            time.sleep(0.2)
        growth_mb = running.rss_mb() - base_mb
        after = next(iter(running.client.status()["outputs"].values()))
    return {
        "soak": {
            "seconds": round(seconds, 1),
            "lines": number,
            "underruns": after["underruns"] - before["underruns"],
            "starved_samples": after["starved_frames"] - before["starved_frames"],
            "growth_mb": round(growth_mb, 2),
        }
    }


def idle(shipped: Path, seconds: float = 10.0) -> dict[str, Any]:
    """The stage when nothing happens, and how soon after its start it answers."""
    with rig(shipped=shipped) as running:
        ready_s = running.wait_ready()
        time.sleep(2.0)
        cpu_s, began = running.cpu_s(), time.monotonic()
        time.sleep(seconds)
        cpu_percent = 100 * (running.cpu_s() - cpu_s) / (time.monotonic() - began)
        return {
            "idle": {
                "cpu_percent": round(cpu_percent, 2),
                "rss_mb": round(running.rss_mb(), 1),
                "ready_s": round(ready_s, 2),
                "status_s": round(running.answered_s, 2),
            }
        }
