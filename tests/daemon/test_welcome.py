"""A koed that is started in a terminal is heard on the speakers, and nobody else hears it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import yaml

from tests.daemon.conftest import tone
from tests.rigs import sound_server, wait_for


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
            wait_for(lambda: abs(speakers.pitch_hz() - 400.0) < 5.0, what="its voice")
            assert microphone.loud_s() == 0.0
        finally:
            process.terminate()
            while _read(ours):
                pass
            process.wait(40)
            os.close(ours)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # nobody holds the other end any more
        return b""
