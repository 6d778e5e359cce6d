"""A koed that is started in a terminal is heard on the speakers, and nobody else hears it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml

from tests.rigs.daemon import tone
from tests.rigs.sound import RATE_HZ, Recorder, sound_server
from tests.rigs.waiting import wait_for


def test_a_start_in_a_terminal_is_heard_by_her_alone(tmp_path: Path) -> None:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "low.yaml").write_text(yaml.safe_dump(tone(400, char_ms=40)))
    config = {"profiles": "profiles", "voice": "low", "audio": {"device": "pulse"}}
    (tmp_path / "koed.yaml").write_text(yaml.safe_dump(config))
    command = [
        sys.executable,
        "-m",
        "koed.cli",
        "run",
        "--config",
        str(tmp_path / "koed.yaml"),
    ]
    state = {name: str(tmp_path) for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME")}
    with sound_server() as server:
        speakers = server.record("speakers.monitor")
        environ = server.environment() | state | {"KOED_RUNTIME_DIR": str(tmp_path / "run")}
        ours, theirs = pty.openpty()
        process = subprocess.Popen(command, env=environ, stdout=theirs, stderr=theirs)
        os.close(theirs)
        try:
            wait_for(lambda: "koed_mic" in server.names("sources"), what="the microphone")
            microphone = server.record("koed_mic")
            speakers.wait_for_sound()
            wait_for(lambda: heard_s(speakers, 400.0) > 0.2, what="its voice")
            assert microphone.loud_s() == 0.0
        finally:
            process.terminate()
            while _read(ours):
                pass
            process.wait(40)
            os.close(ours)


def heard_s(recorder: Recorder, pitch_hz: float) -> float:
    """Seconds of a tone in all that was recorded: it is soon over, and looked for later."""
    samples, size = recorder.samples(), RATE_HZ // 50
    windows = samples[: len(samples) // size * size].reshape(-1, size)
    wave = np.exp(-2j * np.pi * pitch_hz * np.arange(size) / RATE_HZ)
    alone = np.abs(windows @ wave) ** 2 * 2 / size > 0.9 * (windows**2).sum(axis=1)
    loud = np.abs(windows).max(axis=1, initial=0.0) > 0.01
    return float(np.count_nonzero(alone & loud)) / 50


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # nobody holds the other end any more
        return b""
