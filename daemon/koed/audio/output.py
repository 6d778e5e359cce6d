"""One output: the virtual microphone, the device that plays into it, and what keeps both alive.

A thread of its own does everything that can take time. It opens a session (server, microphone,
device), watches it, and opens a new one when it breaks. Meanwhile nobody renders the mixer, so
its lines hold where they are. The main thread reads attributes and drains `Output.signals`.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from koe.protocol import DeviceBack, DeviceLost
from koed.audio.device import MARK, PulseDevice
from koed.audio.sinks import NullDevice
from koed.audio.sound_server import SoundServer
from koed.audio.valve import Valve
from koed.audio.virtual import VirtualMicrophone
from koed.errors import DeviceError

if TYPE_CHECKING:
    from koed.audio.mixer import Mixer
    from koed.config import AudioConfig, OutputConfig

WATCH_S = 0.25
"""The stream is looked at so often, the server's devices whenever it reports a change."""
VERIFY_S = 5.0
"""And without any report so often."""
BACKOFF_S = (0.1, 0.2, 0.5, 1.0, 2.0)
PROBE_S = 2.0
"""On the null device a server is looked for so often."""
PLACE_S = 1.0
"""PipeWire links a stream to its sink some time after it was opened."""


@dataclass(frozen=True, slots=True)
class OutputSignal:
    """The device was lost or is back: for clients and in words."""

    event: DeviceLost | DeviceBack
    text: str

    @property
    def lost(self) -> bool:
        return isinstance(self.event, DeviceLost)


class _Session:
    """A server connection, the microphone made on it, and an open device that is still silent."""

    def __init__(self, output: Output, stopping: threading.Event, stop_fd: int) -> None:
        config, audio = output.config, output.audio
        self._stopping = stopping
        self.server = SoundServer(address=output.server, wake_fd=stop_fd)
        self.microphone = VirtualMicrophone(
            self.server, config.sink, config.microphone, config.listed_as, audio.rate_hz
        )
        self.device = PulseDevice(audio.rate_hz, audio.block_frames, config.sink, output.server)
        self.valve: Valve | None = None
        try:
            self.server.connect()
            self.microphone.ensure()
            self.device.open(output.mixer)
            self._place()
            self.valve = Valve(config.sink, output.server)
            self.valve.start()
        except BaseException:
            self.close()
            raise

    def _place(self) -> None:
        """Wait until the stream plays into our sink. It is silent until then."""
        deadline_s = time.monotonic() + PLACE_S
        sink = self.microphone.verify()
        while self.server.stream_sink(MARK, self.device.mark) != sink:
            if self._stopping.is_set():
                return
            if time.monotonic() > deadline_s:
                raise DeviceError(
                    "stream_moved", "the sound server plays our stream into another sink"
                )
            self.server.wait(0.05)

    def watch(self) -> None:
        """Return when stopping; raise `DeviceError` as soon as anything is not as it was."""
        verified_s = time.monotonic()
        while not self._stopping.is_set():
            changed = self.server.wait(WATCH_S)
            trouble = self.device.trouble()
            if trouble is not None and trouble.code == "device_stalled":
                raise trouble  # the server would not answer the questions of `verify` either
            if trouble is not None:
                self.verify()  # it may know why
                raise trouble
            if changed or time.monotonic() - verified_s > VERIFY_S:
                self.verify()
                verified_s = time.monotonic()

    def verify(self) -> None:
        place = self.server.stream_sink(MARK, self.device.mark)
        # None = no stream: after an underrun ALSA makes a new one. If it does not, it will stall.
        if place not in (self.microphone.verify(), None):
            raise DeviceError(
                "stream_moved", "our stream was not in our sink any more; opening it again"
            )
        self.microphone.keep_defaults()

    def close(self) -> None:
        if self.valve is not None:
            self.valve.close()
        self.device.close()
        self.server.close()


class Output:
    """Plays ``mixer`` into ``config.sink``. `start`, then `stop`; never raises after `start`.

    ``wake`` is called from the output's thread after a signal was added. ``server`` is a
    PulseAudio address, None = the user's own.
    """

    def __init__(
        self,
        name: str,
        config: OutputConfig,
        audio: AudioConfig,
        mixer: Mixer,
        wake: Callable[[], None] = lambda: None,
        server: str | None = None,
    ) -> None:
        self.name = name
        self.config = config
        self.audio = audio
        self.mixer = mixer
        self.server = server
        self.state = "starting"
        """starting, playing, lost or stopped."""
        self.error: DeviceError | None = None
        """Why it does not play, or why it plays into the null device."""
        self._settled = threading.Event()
        self._wake = wake
        self._signals: deque[OutputSignal] = deque(maxlen=1000)
        self._device: PulseDevice | NullDevice | None = None
        self._valve: Valve | None = None
        self._software = ""
        self._underruns = 0  # of devices that are closed
        self._faults = 0
        self._failures = 0  # in a row
        self._had_server = False
        self._cleaned = False
        self._lost_since_s = 0.0
        self._stopping = threading.Event()
        self._stop_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._stop_by_s = float("inf")
        self._thread = threading.Thread(target=self._run, name=f"output {name}", daemon=True)

    # --- the main thread's side ---

    def start(self) -> None:
        """Begin to look for a device; does not wait for it (see `settled`)."""
        self._lost_since_s = time.monotonic()
        self._thread.start()

    def stop(self, deadline_s: float = 1.0) -> bool:
        """Play what is rendered, close, and remove the microphone. False = the server hangs and
        may keep it; the next start adopts it then."""
        if not self._stopping.is_set():
            self._stop_by_s = time.monotonic() + deadline_s
            self._stopping.set()
            os.eventfd_write(self._stop_fd, 1)
        if self._thread.ident is not None:
            self._thread.join(deadline_s)
        return not self._thread.is_alive()

    @property
    def settled(self) -> bool:
        """The first attempt to open is over, well or badly."""
        return self._settled.is_set()

    def wait_settled(self, timeout_s: float) -> bool:
        return self._settled.wait(timeout_s)

    @property
    def playing(self) -> bool:
        """A device is open and takes sound, the null device included."""
        return self.state == "playing"

    def shut(self, on: bool) -> None:
        """Cut off what has left the mixer and is not heard yet, or let it pass again. The mixer
        itself is to be silent by then; returns at once."""
        valve = self._valve
        if valve is not None:
            valve.shut() if on else valve.release()

    def signals(self) -> list[OutputSignal]:
        """What happened since the last call."""
        return [self._signals.popleft() for _ in range(len(self._signals))]

    def heard_t(self, frame: int) -> float:
        """Monotonic time when ``frame`` of the mixer's clock leaves the sink."""
        device = self._device
        at_frame, at_s = self.mixer.clock_frames, time.monotonic()
        if device is not None and device.anchor is not None:
            at_frame, at_s = device.anchor
        return at_s + (frame - at_frame) / self.audio.rate_hz

    @property
    def underruns(self) -> int:
        """Blocks that a device got too late, since the start."""
        device = self._device
        return self._underruns + (device.underruns if device is not None else 0)

    @property
    def faults(self) -> dict[str, int]:
        """Errors of ours that cost a moment of sound, and samples of an engine that are none."""
        device = self._device
        return {
            "mixer": self.mixer.faults,
            "device": self._faults + (device.faults if isinstance(device, PulseDevice) else 0),
            "samples": self.mixer.non_finite_samples,
        }

    def status(self) -> dict[str, Any]:
        device = self._device
        null = isinstance(device, NullDevice)
        return {
            "state": self.state,
            "device": device.name if device is not None else None,
            "server": self._software or None,
            "sink": None if null else self.config.sink,
            "microphone": None if null else self.config.microphone,
            "latency_ms": round(device.latency_s * 1000, 1) if device is not None else None,
            "underruns": self.underruns,
            "faults": self.faults,
            "code": self.error.code if self.error is not None else None,
            "message": str(self.error) if self.error is not None else "",
        }

    def describe(self) -> str:
        """One line for the log: where the sound goes."""
        device = self._device
        if isinstance(device, NullDevice):
            why = f"{self.error}: " if self.error is not None else ""
            return f"output {self.name}: {why}no microphone, the sound goes to the null device"
        if device is not None and self.state == "playing":
            return (
                f"output {self.name}: microphone {self.config.listed_as!r} "
                f"({self.config.microphone}) on {self._software}"
            )
        return f"output {self.name}: {self.error or self.state}"

    # --- the output's own thread ---

    def _run(self) -> None:
        try:
            if self.audio.device == "null":
                self._play_null()
                self._sleep(None)
            while not self._stopping.is_set():
                try:
                    self._play()
                except DeviceError as error:
                    self._failed(error)
                except Exception as error:  # noqa: BLE001 - a bug must not silence the stream
                    self._failed(DeviceError("internal", f"{type(error).__name__}: {error}"))
                self._sleep(self._pause_s())
        finally:
            self._retire()

    def _play(self) -> None:
        """One session from its opening to its end."""
        session = _Session(self, self._stopping, self._stop_fd)
        try:
            self._opened(session)
            session.watch()
            self._finish(session)
        finally:
            # Before anything else: it may be on its way into another sink.
            session.device.hold()
            self._valve = None
            self._drop_device()
            session.close()

    def _opened(self, session: _Session) -> None:
        was_lost = self.error is not None
        if self._device is not None:  # the null device; two may not render one mixer
            self._drop_device()
        self._device, self._software = session.device, session.server.software
        self._valve = session.valve
        self.error = None
        self._failures = 0
        self._had_server = True
        self.state = "playing"
        session.device.release()
        self._settled.set()
        if was_lost:
            lost_s = round(time.monotonic() - self._lost_since_s, 3)
            back = DeviceBack(output=self.name, device=session.device.name, lost_s=lost_s)
            self._signal(back, f"output {self.name}: back after {lost_s:.1f} s")

    def _failed(self, error: DeviceError) -> None:
        first = self.error is None
        self.error = error
        self._failures += 1
        if self.audio.device == "auto" and not self._had_server:
            if self._device is None:
                self._play_null()
            return
        self.state = "lost"
        if first:
            if self._had_server:
                self._lost_since_s = time.monotonic()
            lost = DeviceLost(output=self.name, code=error.code, message=error.message)
            self._signal(lost, f"output {self.name}: {error}")
        self._settled.set()

    def _pause_s(self) -> float:
        if self._failures == 0:
            return 0.0
        if self._device is not None:
            return PROBE_S
        return BACKOFF_S[min(self._failures, len(BACKOFF_S)) - 1]

    def _play_null(self) -> None:
        device = NullDevice(self.audio.rate_hz, self.audio.block_frames)
        device.open(self.mixer)
        self._device = device
        self.state = "playing"
        self._settled.set()

    def _drop_device(self) -> None:
        device, self._device = self._device, None
        if device is not None:
            device.close()
            self._underruns += device.underruns
            self._faults += device.faults if isinstance(device, PulseDevice) else 0

    def _signal(self, event: DeviceLost | DeviceBack, text: str) -> None:
        self._signals.append(OutputSignal(event, text))
        self._wake()

    def _sleep(self, timeout_s: float | None) -> None:
        """Until `stop` or the timeout."""
        select.select([self._stop_fd], [], [], timeout_s)

    def _finish(self, session: _Session) -> None:
        """Stopping: let the last block out, then take everything away while connected."""
        session.device.hold()
        time.sleep(min(session.device.latency_s, 0.1))
        session.device.close(0.2)
        self._remove(session.server, session.microphone)

    def _retire(self) -> None:
        """Stopped: without a session there may still be a microphone of ours to take away."""
        self._drop_device()
        if not self._cleaned and self.audio.device != "null":
            server = SoundServer(address=self.server)
            server.timeout_s = self._left_s()
            with contextlib.suppress(DeviceError):  # no server, no microphone
                server.connect()
                config = self.config
                microphone = VirtualMicrophone(
                    server, config.sink, config.microphone, config.listed_as
                )
                self._remove(server, microphone)
            server.close()
        self.state = "stopped"
        self._settled.set()

    def _remove(self, server: SoundServer, microphone: VirtualMicrophone) -> None:
        self._cleaned = True
        server.timeout_s = self._left_s()
        try:
            microphone.remove()
        except DeviceError as error:
            self.error = error

    def _left_s(self) -> float:
        return max(0.05, min(1.0, self._stop_by_s - time.monotonic() - 0.1))
