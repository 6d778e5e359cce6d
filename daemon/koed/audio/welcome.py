"""The first word of a koed that somebody starts in a terminal: on the speakers of the desktop, so
that she hears that it works, and never on air."""

from __future__ import annotations

import logging
import subprocess
import sys
import tempfile
import threading
import time
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from koed.audio.device import PulseDevice
from koed.audio.sound_server import SoundServer, others
from koed.config.daemon import Config
from koed.errors import DeviceError

log = logging.getLogger(__name__)

TEXT = "koed is here."
RENDER_S = 60.0
LONGEST_S = 20.0


def say(config: Config) -> None:
    """In the background: nothing waits for it, and nothing is lost if it cannot be said."""
    threading.Thread(target=_say, args=(config,), name="welcome", daemon=True).start()


def _say(config: Config) -> None:
    try:
        speakers = _speakers()
        if not speakers:
            return
        with tempfile.TemporaryDirectory(prefix="koed-") as folder:
            _play(_rendered(config, Path(folder) / "welcome.wav"), speakers, config)
    except (DeviceError, OSError, ValueError, subprocess.SubprocessError, wave.Error) as error:
        log.debug("no welcome: %s", error)


def _speakers() -> str:
    """Name of the default sink; empty if it is a koed's or leads nowhere."""
    server = SoundServer("koed welcome")
    try:
        server.connect()
        name = server.call(lambda p: p.server_info()).default_sink_name
        theirs = [sink.name for sink in others(server, "sink")]
    finally:
        server.close()
    return name if name in theirs and name != "auto_null" else ""


def _rendered(config: Config, file: Path) -> Clip:
    """By a process of its own: the daemon has other things to do."""
    command = [sys.executable, "-m", "koed.cli", "render", TEXT, "-o", str(file)]
    if config.source:
        command += ["--config", config.source]
    subprocess.run(command, check=True, capture_output=True, timeout=RENDER_S)
    with wave.open(str(file)) as sound:
        pcm = np.frombuffer(sound.readframes(sound.getnframes()), dtype="<i2")
        return Clip((pcm / 32768).astype(np.float32), sound.getframerate())


def _play(clip: Clip, speakers: str, config: Config) -> None:
    device = PulseDevice(clip.rate_hz, config.audio.block_frames, speakers)
    device.open(clip)
    try:
        device.release()
        deadline = time.monotonic() + LONGEST_S
        while not clip.over and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(device.latency_s + 0.2)
    finally:
        device.close()


class Clip:
    """A sound that a device can play. ``pcm``: float32 mono [S]."""

    def __init__(self, pcm: NDArray[np.float32], rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self.clock_frames = 0
        self._pcm = pcm

    @property
    def over(self) -> bool:
        return self.clock_frames >= len(self._pcm)

    def render(self, frames: int) -> NDArray[np.float32]:
        """[frames] float32 mono; silence behind the end."""
        block = np.zeros(frames, np.float32)
        piece = self._pcm[self.clock_frames : self.clock_frames + frames]
        block[: len(piece)] = piece
        self.clock_frames += frames
        return block
