"""A real sound server of its own for a test: no sound card, no screen, no system service.

    with PulseServer() as server:          # or PipeWireServer()
        server.record("koed_mic")          # -> Recorder
        server.kill(); server.start()      # as often as wanted

Each has the devices of a desktop: a default sink ``speakers`` and a default source ``headset``.
``server.env`` is what a client needs in its environment.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.rigs.waiting import wait_for

RATE_HZ = 48000
START_S = 60.0
NO_DEVICE = 0xFFFFFFFF  # PA_INVALID_INDEX


class SoundServer:
    """What both servers have in common."""

    kind: str
    """As it calls itself."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="koed-sound-"))
        run = self.folder / "run"
        (run / "pulse").mkdir(parents=True, mode=0o700)
        run.chmod(0o700)
        self.address = f"unix:{run}/pulse/native"
        self.env = {
            "HOME": str(self.folder),
            "XDG_RUNTIME_DIR": str(run),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "PULSE_RUNTIME_PATH": str(run / "pulse"),
            "PULSE_SERVER": self.address,
            "PULSE_COOKIE": str(self.folder / "cookie"),
        }
        self._processes: list[subprocess.Popen[bytes]] = []
        self._recorders: list[Recorder] = []
        self._players: list[Player] = []

    def __enter__(self) -> SoundServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start it and return when it answers and has its devices."""
        raise NotImplementedError

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
        self._processes.clear()

    def stop_signal(self) -> None:
        """SIGSTOP: it is there and answers nobody."""
        for process in self._processes:
            process.send_signal(signal.SIGSTOP)

    def cont(self) -> None:
        for process in self._processes:
            process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        for client in (*self._recorders, *self._players):
            client.close()
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def environment(self) -> dict[str, str]:
        """The whole environment of a client process."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PULSE_", "ALSA_"))}
        return inherited | self.env

    def pactl(self, *arguments: str) -> str:
        """Output of ``pactl arguments``; raises `subprocess.CalledProcessError`."""
        return subprocess.run(
            ["pactl", *arguments],
            env=self.environment() | {"LC_ALL": "C.UTF-8"},
            check=True, capture_output=True, text=True, timeout=START_S,
        ).stdout  # fmt: skip

    def names(self, kind: str) -> list[str]:
        """Names of the ``sinks`` or ``sources``."""
        return [line.split("\t")[1] for line in self.pactl("list", "short", kind).splitlines()]

    def unload(self, device: str) -> None:
        """Unload the module that made a sink or source, as another program might."""
        self.pactl("unload-module", self.module_of(device))

    def module_of(self, device: str) -> str:
        """Number of the module that made a sink or source."""
        for line in self.pactl("list", "short", "modules").splitlines():
            index, _, arguments, *_ = [*line.split("\t"), "", ""]
            if {f"sink_name={device}", f"source_name={device}"} & set(arguments.split()):
                return index
        raise AssertionError(f"no module made {device}")

    def record(self, source: str) -> Recorder:
        recorder = Recorder(source, self.environment())
        self._recorders.append(recorder)
        return recorder

    def play(self, pitch_hz: float, sink: str = "") -> Player:
        """A program that plays a tone into a sink, or wherever the server puts it."""
        player = Player(self.folder, pitch_hz, sink, self.environment())
        self._players.append(player)
        return player

    def real_microphone(self, pitch_hz: float) -> None:
        """A default source that is never silent."""
        self.pactl("load-module", "module-null-sink", "sink_name=street")
        wait_for(lambda: "street" in self.names("sinks"), what="street")
        self.pactl(
            "load-module", "module-remap-source", "source_name=live", "master=street.monitor"
        )
        wait_for(lambda: "live" in self.names("sources"), what="live")
        self.play(pitch_hz, "street")
        self.choose("source", "live")

    def stream(self, kind: str, name: str) -> str:
        """Number of the one stream of a program, once there is one."""
        (number,) = wait_for(lambda: self.streams(kind, name), what=f"{name}'s stream")
        return str(number)

    def streams(self, kind: str, name: str) -> dict[str, bool]:
        """Numbers of the ``sink-inputs`` or ``source-outputs`` of a program that have a device, and
        who is mute. PipeWire knows a stream before it is linked, and forgets whither it is moved
        then."""
        found = {}
        for block in self.pactl("list", kind).split("\n\n"):
            number = block.partition("#")[2].partition("\n")[0]
            linked = not any(f"\t{device}: {NO_DEVICE}\n" in block for device in ("Sink", "Source"))
            if linked and f'application.name = "{name}"' in block:
                found[number] = "\tMute: yes" in block
        return found

    def choose(self, kind: str, name: str) -> None:
        """As the user does: make a ``sink`` or ``source`` the default."""
        self.pactl(f"set-default-{kind}", name)
        wait_for(lambda: self.default(kind) == name, what=f"{name} is the default {kind}")

    def default(self, kind: str) -> str:
        return self.pactl(f"get-default-{kind}").strip()

    def _run(self, *command: str) -> None:
        with open(self.folder / f"{command[0]}.log", "ab") as log:
            process = subprocess.Popen(
                command, env=self.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._processes.append(process)

    def _answers(self) -> bool:
        probe = subprocess.run(
            ["pactl", "info"], env=self.environment(), capture_output=True, timeout=START_S
        )
        return probe.returncode == 0


class PulseServer(SoundServer):
    kind = "pulseaudio"

    def start(self) -> None:
        path = self.address.removeprefix("unix:")
        modules = [
            f"module-native-protocol-unix socket={path} auth-anonymous=1",
            "module-null-sink sink_name=speakers norewinds=1",
            "module-null-source source_name=headset",
        ]
        self._run(
            "pulseaudio", "-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1",
            "--disable-shm=yes", "--realtime=no", "--high-priority=no", "--log-target=stderr",
            *(word for module in modules for word in ("-L", module)),
        )  # fmt: skip
        wait_for(self._answers, START_S, "pulseaudio answers")
        self.pactl("set-default-sink", "speakers")
        self.pactl("set-default-source", "headset")


class PipeWireServer(SoundServer):
    kind = "PipeWire"

    def __init__(self) -> None:
        super().__init__()
        run = self.env["XDG_RUNTIME_DIR"]
        self.env |= {
            "PIPEWIRE_RUNTIME_DIR": run,
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path={run}/bus",
        }

    def start(self) -> None:
        run = Path(self.env["XDG_RUNTIME_DIR"])
        for name in ("bus", "pipewire-0"):
            (run / name).unlink(missing_ok=True)
        self._run(
            "dbus-daemon", "--session", "--nofork", "--nopidfile",
            f"--address=unix:path={run}/bus",
        )  # fmt: skip
        wait_for((run / "bus").exists, START_S, "the bus is there")
        self._run("pipewire")
        wait_for((run / "pipewire-0").exists, START_S, "pipewire is there")
        self._run("wireplumber")
        self._run("pipewire-pulse")
        wait_for(self._answers, START_S, "pipewire-pulse answers")
        # Without real-time priority small blocks drop out on a busy machine.
        subprocess.run(
            ["pw-metadata", "-n", "settings", "0", "clock.force-quantum", "1024"],
            env=self.environment(), check=True, capture_output=True, timeout=START_S,
        )  # fmt: skip
        for name, extra in (("speakers", ()), ("headset", ("media.class=Audio/Source/Virtual",))):
            self.pactl("load-module", "module-null-sink", f"sink_name={name}", *extra)
        wait_for(lambda: "speakers" in self.names("sinks"), what="speakers")
        wait_for(lambda: "headset" in self.names("sources"), what="headset")
        # The session manager takes no wishes before it has started up.
        wait_for(lambda: self._made_default("sink", "speakers"), what="the default sink")
        wait_for(lambda: self._made_default("source", "headset"), what="the default source")

    def _made_default(self, kind: str, name: str) -> bool:
        with contextlib.suppress(subprocess.CalledProcessError):
            self.pactl(f"set-default-{kind}", name)
        return self.pactl(f"get-default-{kind}").strip() == name


class Recorder:
    """Records a source with parec. ``chunks`` holds (arrival, samples [S] float32)."""

    def __init__(self, source: str, environment: dict[str, str]) -> None:
        self.chunks: list[tuple[float, NDArray[np.float32]]] = []
        self._process = subprocess.Popen(
            [
                "parec", "-d", source, f"--rate={RATE_HZ}", "--channels=1", "--format=float32le",
                "--latency-msec=10", "--raw",
            ],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert self._process.stdout is not None
        self._thread = threading.Thread(target=self._read, args=(self._process.stdout,))
        self._thread.start()
        wait_for(lambda: self.chunks, what=f"sound from {source}")

    def _read(self, pipe: IO[bytes]) -> None:
        rest = b""
        while data := os.read(pipe.fileno(), 1 << 16):
            data = rest + data
            whole = len(data) // 4 * 4
            rest = data[whole:]
            self.chunks.append((time.monotonic(), np.frombuffer(data[:whole], "<f4")))

    def samples(self, since_s: float = 0.0) -> NDArray[np.float32]:
        """What arrived since the monotonic time ``since_s``, [S] float32."""
        return np.concatenate(
            [np.zeros(0, np.float32), *(x for t, x in list(self.chunks) if t >= since_s)]
        )

    def loud_s(self, since_s: float = 0.0, level: float = 0.01) -> float:
        """Seconds of samples above ``level``."""
        return float(np.count_nonzero(np.abs(self.samples(since_s)) > level)) / RATE_HZ

    def wait_for_sound(self, timeout_s: float = 40.0, since_s: float = 0.0) -> None:
        wait_for(lambda: self.loud_s(since_s) > 0.2, timeout_s, "sound arrives")

    def wait_for_silence(self, seconds: float = 0.3) -> None:
        """Until what was recorded last is silent, or nothing comes any more."""

        def over() -> bool:
            last = self.samples()[-int(seconds * RATE_HZ) :]
            return not self._thread.is_alive() or not np.any(np.abs(last) > 1e-4)

        wait_for(over, what="the recording ends in silence")

    def pitch_hz(self, since_s: float = 0.0) -> float:
        """Frequency of the strongest tone in the last half second; 0 = silence."""
        last = self.samples(since_s)[-RATE_HZ // 2 :]
        if not len(last) or np.abs(last).max() < 1e-4:
            return 0.0
        spectrum = np.abs(np.fft.rfft(last * np.hanning(len(last)), 1 << 18))
        return float(spectrum.argmax()) * RATE_HZ / (1 << 18)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._thread.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


class Player:
    """Plays a tone of ten minutes with paplay."""

    def __init__(
        self, folder: Path, pitch_hz: float, sink: str, environment: dict[str, str]
    ) -> None:
        file = folder / f"{pitch_hz:g}.wav"
        second = np.sin(2 * np.pi * pitch_hz * np.arange(RATE_HZ) / RATE_HZ) * 8000
        with wave.open(str(file), "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(RATE_HZ)
            out.writeframes(second.astype("<i2").tobytes() * 600)
        where = [f"--device={sink}"] if sink else []
        self._process = subprocess.Popen(["paplay", *where, str(file)], env=environment)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


class ToneSource:
    """What a device can play instead of a mixer: a sine without a break."""

    idle = False
    faults = 0
    fault = ""
    non_finite_samples = 0

    def __init__(self, pitch_hz: float = 440.0) -> None:
        self.clock_frames = 0
        self._step = 2 * np.pi * pitch_hz / RATE_HZ

    def render(self, frames: int) -> NDArray[np.float32]:
        """[frames] float32 mono at `RATE_HZ`."""
        phase = (self.clock_frames + np.arange(frames)) * self._step
        self.clock_frames += frames
        return (0.25 * np.sin(phase)).astype(np.float32)


def sound_server() -> SoundServer:
    """A PulseAudio, or with ``KOED_TEST_AUDIO=pipewire`` a PipeWire; not started yet."""
    servers = {"pulse": PulseServer, "pipewire": PipeWireServer}
    return servers[os.environ.get("KOED_TEST_AUDIO", "pulse")]()


def _running(server: SoundServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[SoundServer]:
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    try:
        server.start()
        yield server
    finally:
        server.cont()
        server.close()


@pytest.fixture
def pulse(monkeypatch: pytest.MonkeyPatch) -> Iterator[SoundServer]:
    """A PulseAudio, with this process as its client."""
    yield from _running(PulseServer(), monkeypatch)


@pytest.fixture
def sound(monkeypatch: pytest.MonkeyPatch) -> Iterator[SoundServer]:
    """A PulseAudio, or with ``KOED_TEST_AUDIO=pipewire`` a PipeWire, as `pulse`."""
    yield from _running(sound_server(), monkeypatch)
