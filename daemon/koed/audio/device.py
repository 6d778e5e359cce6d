"""A PortAudio stream into a PulseAudio or PipeWire sink, fed by callback. The only PyAudio.

PortAudio reaches the sound server through ALSA's ``pulse`` plugin. Which sink is decided
by environment variables that libpulse reads while a stream is opened, so opening is
serialised over the process. No call here can hang for longer than its deadline: what a stopped
server holds up is left behind in a daemon thread and cleans up after itself when it wakes.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from koed.errors import DeviceError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

OPEN_S = 3.0
"""A stream that is not open by then counts as hung; a live server needs milliseconds."""
CLOSE_S = 0.3
STALL_S = 1.0
"""No callback for so long = stalled. A starved machine can make one 0.3 s late."""
MARK = "koed.stream"
"""Property by which our stream is found among the server's; its value is `PulseDevice.mark`."""

# The stock ALSA configuration would make PortAudio probe every card, which takes up to a second
# and disturbs busy ones; users' own ones may lack "pulse" altogether. "default" must be there:
# PortAudio 19.6 aborts the process when no device is called default or dmix.
_ALSA_CONFIG = b"pcm.pulse { type pulse }\npcm.default { type pulse }\nctl.default { type pulse }\n"
# PipeWire: never carry the stream elsewhere. A name of our own, as servers remember by it what
# somebody did to a stream, and the plugin's is that of every Python program.
_PLUGIN_PROPERTIES = "node.dont-reconnect=true application.name=koed application.id=koed."

_UNDERFLOW = 4  # pyaudio.paOutputUnderflow
_CONTINUE = 0  # pyaudio.paContinue
# What libraries print while a stream is opened; anything else on stderr is not theirs to lose.
_NOISE = ("ALSA lib", "Expression ", "Cannot connect to server", "jack ", "Jack", "connect(2)")

_marks = itertools.count(1)


class Source(Protocol):
    """What a device plays: the mixer."""

    clock_frames: int
    """Frames rendered since the start."""

    def render(self, frames: int) -> NDArray[np.float32]:
        """The next ``frames`` samples, float32 mono ``[frames]``; never raises or waits."""


class _Call:
    """A library call that may hang, in a daemon thread of its own."""

    def __init__(self, work: Callable[[], None], name: str) -> None:
        self.error: Exception | None = None
        self._work = work
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work()
        except Exception as error:  # noqa: BLE001 - handed over to the caller
            self.error = error

    def finished(self, timeout_s: float) -> bool:
        self._thread.join(timeout_s)
        return not self._thread.is_alive()


class _PortAudio:
    """PortAudio is one per process: its device list is read once and shared by all streams."""

    def __init__(self) -> None:
        self.opening = threading.Lock()
        """Held while the environment is ours."""
        self._starting = threading.Lock()
        self._handle: Any = None
        self._device = 0

    def open_stream(self, **settings: Any) -> Any:
        with self._starting:
            if self._handle is None:
                self._start()
        return self._handle.open(output_device_index=self._device, output=True, **settings)

    def _start(self) -> None:
        """Raises `LookupError` without the device: PortAudio only lists what it could open."""
        import pyaudio

        handle = pyaudio.PyAudio()
        for index in range(handle.get_device_count()):
            if handle.get_device_info_by_index(index)["name"] == "pulse":
                self._handle, self._device = handle, index
                return
        handle.terminate()
        raise LookupError("PortAudio lists no device called pulse")


_PORTAUDIO = _PortAudio()


class PulseDevice:
    """One stream into one sink, for one opening: after `close` make a new one.

    It starts silent: nothing is rendered until `release`, so that the caller can first check where
    the server has put the stream.
    """

    def __init__(self, rate_hz: int, block_frames: int, sink_name: str) -> None:
        self.name = f"pulse:{sink_name}"
        self.mark = f"{os.getpid()}-{next(_marks)}"
        self.underruns = 0
        self.blocks = 0
        self.anchor: tuple[int, float] | None = None
        """A frame of the source's clock and the monotonic time when it leaves the sink."""
        self.faults = 0
        """Blocks replaced by silence because the source raised or gave a wrong length: a bug."""
        self._rate_hz = rate_hz
        self._block_frames = block_frames
        self._sink_name = sink_name
        self._source: Source | None = None
        self._stream: Any = None
        self._lock = threading.Lock()
        self._held = True
        self._closed = False
        self._rendering = False
        self._called_s = 0.0
        self._dac_s = 0.0

    @property
    def latency_s(self) -> float:
        """From rendering to the sink, as the last callback measured it."""
        return self._dac_s or 3 * self._block_frames / self._rate_hz

    def open(self, source: Source) -> None:
        """Open and start the stream; raises `DeviceError`."""
        self._source = source
        if not _PORTAUDIO.opening.acquire(timeout=OPEN_S):
            raise DeviceError("device_busy", "another output is still being opened")
        try:
            with _environment(self._variables()), _quiet() as noise:
                call = _Call(self._open, f"open {self.name}")
                finished = call.finished(OPEN_S)
        finally:
            _PORTAUDIO.opening.release()
        if not finished:
            self.close()
            raise DeviceError(
                "server_hung", "the sound server does not answer", "restart PulseAudio or PipeWire"
            )
        if call.error is not None:
            raise _translated(call.error, noise) from call.error

    def _variables(self) -> dict[str, str]:
        return {
            "PULSE_SINK": self._sink_name,
            "PULSE_PROP": f"{MARK}={self.mark} {_PLUGIN_PROPERTIES}{self._sink_name}",
        }

    def _open(self) -> None:
        self._called_s = time.monotonic()
        stream = _PORTAUDIO.open_stream(
            rate=self._rate_hz,
            channels=1,
            format=1,  # pyaudio.paFloat32
            frames_per_buffer=self._block_frames,
            stream_callback=self._callback,
        )
        with self._lock:
            late = self._closed
            self._stream = None if late else stream
        if late:
            stream.close()

    def release(self) -> None:
        """From now on the source is rendered."""
        self._held = False

    def hold(self) -> None:
        """Render no more and play silence; on return the source is no longer being rendered."""
        self._held = True
        deadline_s = time.monotonic() + 0.1
        while self._rendering and time.monotonic() < deadline_s:
            time.sleep(0.0005)

    def trouble(self) -> DeviceError | None:
        """What is wrong with the stream; None = it plays."""
        with self._lock:
            stream = self._stream
            active = stream is not None and stream.is_active()
        if not active:
            return DeviceError("stream_lost", "the sound server has ended our stream")
        if time.monotonic() - self._called_s > STALL_S:
            return DeviceError(
                "device_stalled",
                f"the sound server has taken no sound for {STALL_S:.0f} s",
                "it hangs or the sink is suspended: restart PulseAudio or PipeWire",
            )
        return None

    def close(self, timeout_s: float = CLOSE_S) -> bool:
        """Drop what is not played yet and close. False = the server hangs; the stream stays
        silent and is closed when the server wakes or dies."""
        self._closed = True
        self.hold()
        with self._lock:
            stream, self._stream = self._stream, None
        return stream is None or _Call(stream.close, f"close {self.name}").finished(timeout_s)

    def _callback(
        self, _input: None, frames: int, times: Mapping[str, float], status: int
    ) -> tuple[bytes, int]:
        """PortAudio's thread. Never raises, logs or waits, and fills every block."""
        self._called_s = time.monotonic()
        self._dac_s = times["output_buffer_dac_time"] - times["current_time"]
        self.blocks += 1
        if status & _UNDERFLOW:
            self.underruns += 1
        self._rendering = True
        data = b""
        try:
            if not self._held and self._source is not None:
                self.anchor = self._source.clock_frames, self._called_s + self._dac_s
                data = self._source.render(frames).tobytes()
                self.faults += len(data) != 4 * frames
        except Exception:  # noqa: BLE001 - PortAudio would end the stream; `faults` is reported
            self.faults += 1
        finally:
            self._rendering = False
        return (data if len(data) == 4 * frames else bytes(4 * frames)), _CONTINUE


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """``variables`` and our ALSA configuration, in the process's environment for a while."""
    config = os.memfd_create("koed-alsa.conf")
    os.write(config, _ALSA_CONFIG)
    wanted = {**variables, "ALSA_CONFIG_PATH": f"/proc/self/fd/{config}"}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        os.close(config)


@contextlib.contextmanager
def _quiet() -> Iterator[list[str]]:
    """Catch what C libraries write to stderr; the list holds their lines afterwards."""
    lines: list[str] = []
    try:
        stderr = os.dup(2)
    except OSError:  # a process without stderr has no noise
        yield lines
        return
    catch = os.memfd_create("koed-stderr")
    os.dup2(catch, 2)
    try:
        yield lines
    finally:
        os.dup2(stderr, 2)
        text = os.pread(catch, 1 << 16, 0).decode("utf-8", "replace")
        lines.extend(line for line in text.splitlines() if line.startswith(_NOISE))
        # Other threads may have logged meanwhile.
        others = [line for line in text.splitlines() if line and not line.startswith(_NOISE)]
        if others:
            os.write(stderr, ("\n".join(others) + "\n").encode())
        os.close(catch)
        os.close(stderr)


def _translated(error: Exception, noise: list[str]) -> DeviceError:
    text = "\n".join(noise)
    if isinstance(error, ImportError):
        return DeviceError(
            "no_portaudio",
            f"PyAudio cannot be loaded: {error}",
            "install PortAudio (apt install portaudio19-dev) and koed with its daemon extra",
        )
    if "shared library" in text:
        return DeviceError(
            "no_pulse_plugin",
            "ALSA's PulseAudio plugin is missing",
            "apt install libasound2-plugins",
        )
    if "No such entity" in text:
        return DeviceError("sink_missing", "the sink is gone")
    if isinstance(error, LookupError) or "Unable to connect" in text:
        return DeviceError(
            "no_server", "no sound server answers", "start PulseAudio or PipeWire (pipewire-pulse)"
        )
    detail = noise[0] if noise else str(error)
    return DeviceError("portaudio", f"the stream cannot be opened: {detail}")
