"""A PulseAudio of one's own, with the devices of a desktop, and an ear at any of its sources.

with PulseServer() as sound, Ear("koed_mic", sound.environ) as ear:
    ...  # koed and OBS run with sound.environ
    ear.first_loud_t(since_t)
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from koed.errors import KoedError

START_S = 40.0
RATE_HZ = 48000
LOUD = 0.01
"""-40 dB of full scale."""


class PulseServer:
    """Own folder, own socket; the user's sound server is not touched."""

    def __init__(self) -> None:
        if shutil.which("pulseaudio") is None:
            raise KoedError("no_pulseaudio", "pulseaudio is not installed", "apt: pulseaudio")
        self.folder = Path(tempfile.mkdtemp(prefix="koed-pulse-"))
        run = self.folder / "run"
        (run / "pulse").mkdir(parents=True, mode=0o700)
        run.chmod(0o700)
        self.environ = {
            "XDG_RUNTIME_DIR": str(run),
            "PULSE_RUNTIME_PATH": str(run / "pulse"),
            "PULSE_SERVER": f"unix:{run}/pulse/native",
            "PULSE_COOKIE": str(self.folder / "cookie"),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> PulseServer:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def start(self) -> None:
        socket = self.environ["PULSE_SERVER"].removeprefix("unix:")
        modules = (
            f"module-native-protocol-unix socket={socket} auth-anonymous=1",
            "module-null-sink sink_name=speakers norewinds=1",
            "module-null-source source_name=headset",
        )
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    "pulseaudio", "-n", "--daemonize=no", "--use-pid-file=no",
                    "--exit-idle-time=-1", "--disable-shm=yes", "--realtime=no",
                    "--high-priority=no", "--log-target=stderr",
                    *(word for module in modules for word in ("-L", module)),
                ],
                env=os.environ | self.environ | {"HOME": str(self.folder)},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + START_S
        while self._pactl("info"):
            if time.monotonic() > deadline or self._process.poll() is not None:
                said = (self.folder / "log").read_text(errors="replace")[-1000:]
                raise KoedError("no_pulseaudio", "PulseAudio did not come up", said)
            time.sleep(0.05)
        self._pactl("set-default-sink", "speakers")
        self._pactl("set-default-source", "headset")

    def unload(self, device: str) -> None:
        """Take a sink or source away, as another program might."""
        asked = subprocess.run(
            ["pactl", "list", "short", "modules"],
            env=os.environ | self.environ, capture_output=True, text=True, timeout=40,
        )  # fmt: skip
        for line in asked.stdout.splitlines():
            words = line.split()
            if {f"sink_name={device}", f"source_name={device}"} & set(words):
                self._pactl("unload-module", words[0])

    def _pactl(self, *words: str) -> int:
        asked = subprocess.run(
            ["pactl", *words], env=os.environ | self.environ, capture_output=True, timeout=40
        )
        return asked.returncode

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Ear:
    """Hears a source (a microphone, a sink's monitor) all the time, and knows when.

    Samples arrive in blocks and late by changing amounts. The sound itself runs evenly: the block
    that was least late says when all of them were heard, to a few milliseconds.
    """

    def __init__(self, source: str, environ: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [
                "parec", "-d", source, f"--rate={RATE_HZ}", "--channels=1", "--format=float32le",
                "--latency-msec=5", "--raw",
            ],
            env=os.environ | environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self._blocks: list[NDArray[np.float32]] = []
        self._count = 0
        self._zero_t = float("inf")
        """When sample 0 was heard."""
        self._lock = threading.Lock()
        assert self._process.stdout is not None
        self._thread = threading.Thread(target=self._read, args=(self._process.stdout,))
        self._thread.start()

    def __enter__(self) -> Ear:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _read(self, pipe: IO[bytes]) -> None:
        rest = b""
        while data := os.read(pipe.fileno(), 1 << 16):
            now = time.monotonic()
            data = rest + data
            whole = len(data) // 4 * 4
            rest = data[whole:]
            block = np.frombuffer(data[:whole], "<f4")
            with self._lock:
                self._blocks.append(block)
                self._count += len(block)
                self._zero_t = min(self._zero_t, now - self._count / RATE_HZ)

    def wait(self, timeout_s: float = 10.0) -> None:
        """Until it hears something, were it silence."""
        deadline = time.monotonic() + timeout_s
        while not self._count:
            if time.monotonic() > deadline:
                raise KoedError("deaf", "nothing came from the sound server", "is koed's sink up?")
            time.sleep(0.01)

    def since(self, t: float) -> tuple[NDArray[np.float32], float]:
        """Samples [S] from a moment on, and when exactly the first of them was heard."""
        with self._lock:
            heard = np.concatenate([np.zeros(0, np.float32), *self._blocks])
            zero_t = self._zero_t
        first = max(0, round((t - zero_t) * RATE_HZ))
        return heard[first:], zero_t + first / RATE_HZ

    def first_loud_t(self, since_t: float) -> float | None:
        """When the first sample above `LOUD` was heard."""
        heard, t = self.since(since_t)
        loud = np.flatnonzero(np.abs(heard) > LOUD)
        return t + int(loud[0]) / RATE_HZ if len(loud) else None

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._thread.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
