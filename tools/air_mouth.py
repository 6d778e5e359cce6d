"""`mouth_ms`: how much later (or earlier) a mouth in VTube Studio opens and shuts than its sound at
the monitor begins and ends.

The voice is of pure tones, which begin and end within a fade; the server speaks VTube Studio's API.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from koed.errors import KoedError
from koed.testing.rig import Rig, rig
from tools.counterparts.pulse import Ear, PulseServer
from tools.counterparts.vts import Studio

TONE = {"engine": "tone", "lang": "en",
        "settings": {"hz": 400, "char_ms": 60, "amplitude": 0.25, "mouths": "none"}}  # fmt: skip
CONFIG = {"voice": "tone", "audio": {"device": "pulse"}, "queue": {"line_pause_s": 0.02}}
QUIET = 0.02
"""Of full scale: a tenth of the tone."""
SHUT, OPEN = 0.1, 0.3
SETTLE_S = 0.3
TIMEOUT_S = 20.0


def measure(n: int) -> dict[str, list[float]]:
    """``{"mouth_ms": [...]}``: ``n`` lines, two signed differences each."""
    studio = Studio()
    studio.start()
    try:
        with PulseServer() as sound, rig(CONFIG, {"tone": TONE}, environ=sound.environ) as running:
            running.wait_ready()
            with Ear("koed.monitor", sound.environ) as ear, _bridge(running, studio):
                ear.wait()
                lines = [_one_line(running, ear, studio, number) for number in range(n + 1)][1:]
    finally:
        studio.close()
    return {"mouth_ms": [difference for line in lines for difference in line]}


@contextlib.contextmanager
def _bridge(running: Rig, studio: Studio) -> Iterator[None]:
    command = [sys.executable, "-m", "koe.cli", "bridge", "vts", "--address", studio.address]
    command += ["--runtime-dir", str(running.folder / "run")]
    command += ["--token-file", str(running.folder / "tokens.json")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            _wait(lambda: bool(studio.logins), "the bridge logs in")
            yield
        finally:
            process.terminate()


def _wait(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        if time.monotonic() > deadline:
            raise KoedError("bench_timeout", f"not within {TIMEOUT_S:g} s: {what}")
        time.sleep(0.005)


def _one_line(running: Rig, ear: Ear, studio: Studio, number: int) -> tuple[float, float]:
    """(opens, shuts): milliseconds after the sound began, and after it ended."""
    time.sleep(SETTLE_S + 0.003 * (number % 7))  # never in step with the device's blocks
    begun_t = time.monotonic()
    first = len(studio.heard)
    running.client.say("hello", wait=True)
    _wait(lambda: len(studio.heard) > first and studio.value() == 0.0, "the mouth shuts")
    time.sleep(SETTLE_S)
    heard, first_t = ear.since(begun_t)
    loud = np.flatnonzero(np.abs(heard) > QUIET)
    if not len(loud):
        raise KoedError("bench_silent", "the line was not heard at the monitor")
    begins_t, ends_t = (first_t + float(loud[at]) / 48000 for at in (0, -1))
    said = studio.heard[first:]
    opens_t = next(one.at_s for one in said if one.values["MouthOpen"] >= OPEN)
    shuts_t = next(
        one.at_s for one in said if one.at_s > opens_t and one.values["MouthOpen"] <= SHUT
    )
    return 1000 * (opens_t - begins_t), 1000 * (shuts_t - ends_t)
