"""`hotkey_ms` and `panic_ms`: from a key event of a real X server to the sound at the monitor.

The engine takes a second to its first chunk, so that what is heard sooner was rendered ahead.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from koed.errors import KoedError
from koed.testing.rig import Rig, rig
from tools.counterparts.pulse import Ear, PulseServer
from tools.counterparts.xserver import XServer

SLOW = {"engine": "tone", "lang": "en",
        "settings": {"hz": 400, "char_ms": 30, "amplitude": 0.25, "delay_ms": 1000}}  # fmt: skip
CONFIG: dict[str, Any] = {
    "voice": "slow",
    "audio": {"device": "pulse"},
    "queue": {"line_pause_s": 0.02},
    "phrases": {"hello": "hello", "long": "a line that goes on for quite a while if it may"},
    "phrase_cache": {"idle_s": 0.1, "disk_mb": 0},
    "hotkeys": {
        "keys": {"F9": "phrase hello", "F10": "phrase long", "F12": "panic", "F11": "release"}
    },
}
QUIET = 0.001
"""-60 dB of full scale."""
TIMEOUT_S = 20.0
SETTLE_S = 0.25


def measure(n: int) -> dict[str, list[float]]:
    """``{"hotkey_ms": [...], "panic_ms": [...]}``, ``n`` samples of each."""
    with (
        PulseServer() as sound,
        XServer() as screen,
        rig(CONFIG, {"slow": SLOW}, environ=sound.environ) as running,
    ):
        running.wait_ready()
        _wait(lambda: all(p.voices for p in running.client.phrases()), "the phrases are ready")
        with Ear("koed.monitor", sound.environ) as ear, _keys(running, screen):
            ear.wait()
            hotkey = [_hotkey(screen, ear, number) for number in range(n + 2)][2:]
            panic = [_panic(running, screen, ear, number) for number in range(n + 2)][2:]
    return {"hotkey_ms": hotkey, "panic_ms": panic}


@contextlib.contextmanager
def _keys(running: Rig, screen: XServer) -> Iterator[None]:
    """`koe hotkeys` beside the daemon."""
    command = [sys.executable, "-m", "koe.cli", "hotkeys", "--json"]
    command += ["--config", str(running.folder / "koed.yaml")]
    command += ["--runtime-dir", str(running.folder / "run")]
    with subprocess.Popen(
        command, env=os.environ | screen.env, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None, "it was opened with one"
            ready = process.stdout.readline()
            if '"bound": 4' not in ready:
                raise KoedError("bench_keys", f"the keys could not be taken: {ready}")
            time.sleep(2 * SETTLE_S)  # its connection comes to stand
            yield
        finally:
            process.terminate()


def _wait(condition: Any, what: str) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        if time.monotonic() > deadline:
            raise KoedError("bench_timeout", f"not within {TIMEOUT_S:g} s: {what}")
        time.sleep(0.01)


def _hotkey(screen: XServer, ear: Ear, number: int) -> float:
    """Milliseconds from the key to the first sound at the monitor."""
    time.sleep(SETTLE_S + 0.003 * (number % 7))  # never in step with the device's blocks
    pressed_t = screen.key("F9")
    deadline = pressed_t + TIMEOUT_S
    while (onset_t := ear.first_loud_t(pressed_t)) is None:
        if time.monotonic() > deadline:
            raise KoedError("bench_silent", "the canned line was not heard")
        time.sleep(0.02)
    time.sleep(SETTLE_S)
    return 1000 * (onset_t - pressed_t)


def _panic(running: Rig, screen: XServer, ear: Ear, number: int) -> float:
    """Milliseconds from the key to the last sound at the monitor, the fade included."""
    began_t = screen.key("F10")
    _wait(lambda: ear.first_loud_t(began_t) is not None, "the long line is heard")
    time.sleep(0.2 + 0.003 * (number % 7))
    pressed_t = screen.key("F12")
    time.sleep(SETTLE_S)
    heard, first_t = ear.since(pressed_t)
    loud = np.flatnonzero(np.abs(heard) > QUIET)
    screen.key("F11")
    _wait(lambda: not running.client.status()["outputs"]["main"]["held"], "it is released")
    time.sleep(0.05)
    return 1000 * (first_t + float(loud[-1]) / 48000 - pressed_t) if len(loud) else 0.0
