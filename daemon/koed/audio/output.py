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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from koe.protocol import DeviceBack, DeviceLost, Trouble
from koed.audio.device import PulseDevice
from koed.audio.foreign_streams import ForeignStreams
from koed.audio.recorders import Recorders
from koed.audio.server_mute import ServerMute
from koed.audio.session import Installation, Session, Wishes
from koed.audio.sinks import NullDevice
from koed.audio.volumes import Volumes
from koed.errors import DeviceError, KoedError

if TYPE_CHECKING:
    from koed.audio.mixer import Mixer
    from koed.config.daemon import AudioConfig, OutputConfig

BACKOFF_S = (0.1, 0.2, 0.5, 1.0, 2.0)
TELL_AGAIN_S = 60.0
"""What happens over and over is told so often."""
PROBE_S = 2.0
"""On the null device a server is looked for so often."""
STEADY_S = 10.0
"""A session that lasted so long begins the back-off anew."""


@dataclass(frozen=True, slots=True)
class OutputSignal:
    """The device was lost or is back, or the server did something: for clients and in words."""

    event: DeviceLost | DeviceBack | Trouble
    text: str

    @property
    def lost(self) -> bool:
        return isinstance(self.event, DeviceLost)

    @property
    def well(self) -> bool:
        return isinstance(self.event, DeviceBack)


class Output:
    """Plays ``mixer`` into ``config.sink``. `start`, then `stop`; never raises after `start`.

    ``wake`` is called from the output's thread after a signal was added. ``memory``: a folder for
    what the next start is to know; None = nothing.
    """

    def __init__(
        self,
        name: str,
        config: OutputConfig,
        audio: AudioConfig,
        mixer: Mixer,
        wake: Callable[[], None] = lambda: None,
        memory: Path | None = None,
    ) -> None:
        self.name = name
        self.config = config
        self.audio = audio
        self.mixer = mixer
        self.state = "starting"
        """starting, playing, lost or stopped."""
        self.error: DeviceError | None = None
        """Why it does not play, or why it plays into the null device."""
        self.left = ""
        """Why the microphone stays after `stop`; empty = it does not."""
        kept = {
            what: memory and memory / f"{what}-{config.microphone}"
            for what in ("default", "recorders", "strangers")
        }
        self._recorders = Recorders(kept["recorders"])
        self._volumes = Volumes()
        self._wishes = Wishes(
            config, audio, kept["default"], self._recorders, ForeignStreams(kept["strangers"]),
            self._volumes, self._tell,
        )  # fmt: skip
        self._told: dict[str, float] = {}
        self._settled = threading.Event()
        self._wake = wake
        self._signals: deque[OutputSignal] = deque(maxlen=1000)
        self._device: PulseDevice | NullDevice | None = None
        self._server_mute: ServerMute | None = None
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
        """Play what is rendered, close, and remove the microphone, unless somebody records it
        (`left`). False = the server hangs and may keep it; the next start adopts it then."""
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

    @property
    def playing(self) -> bool:
        """A device is open and takes sound, the null device included."""
        return self.state == "playing"

    def shut(self, on: bool) -> None:
        """Cut off what has left the mixer and is not heard yet, or let it pass again. The mixer
        itself is to be silent by then; returns at once."""
        server_mute = self._server_mute
        if server_mute is not None:
            server_mute.shut() if on else server_mute.release()

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
            "recorders": list(self.recorders),
            "volumes": {part: asdict(it) for part, it in self._volumes.by_part.items()},
            "code": self.error.code if self.error is not None else None,
            "message": str(self.error) if self.error is not None else "",
        }

    @property
    def recorders(self) -> tuple[str, ...]:
        """Names of the programs that record its microphone, or what is played into its sink."""
        return self._recorders.names

    @property
    def unheard(self) -> str:
        """Why nobody can hear what it plays; empty = somebody can."""
        return self._volumes.unheard if self.playing else ""

    def obstacles(self) -> list[KoedError]:
        """What keeps its sound from being heard, the first that it meets first."""
        if self.error is not None:
            return [self.error]
        if isinstance(self._device, NullDevice):
            return [KoedError("null_device", "the sound goes nowhere", "audio.device is null")]
        if self.state != "playing":
            return []
        found = self._volumes.obstacles()
        if not self.recorders:
            found.append(
                KoedError(
                    "not_recorded",
                    f"nobody records the microphone {self.config.listed_as!r}",
                    "choose it in OBS or wherever koed is to be heard",
                )
            )
        return found

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
        session = Session(self._wishes, self.mixer, self._stopping, self._stop_fd)
        began_s = time.monotonic()
        try:
            self._opened(session)
            session.watch()
            self._finish(session)
        finally:
            if time.monotonic() - began_s > STEADY_S:
                self._failures = 0
            # Before anything else: it may be on its way into another sink.
            session.device.hold()
            self._server_mute = None
            self._drop_device()
            session.close()

    def _opened(self, session: Session) -> None:
        was_lost = self.error is not None
        if self._device is not None:  # the null device; two may not render one mixer
            self._drop_device()
        self._device, self._software = session.device, session.server.software
        self._server_mute = session.server_mute
        self.error = None
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

    def _tell(self, error: KoedError) -> None:
        now, words = time.monotonic(), str(error)
        if now - self._told.get(words, -TELL_AGAIN_S) < TELL_AGAIN_S:
            return
        recent = {text: at for text, at in self._told.items() if now - at < TELL_AGAIN_S}
        self._told = recent | {words: now}
        trouble = Trouble(code=error.code, message=error.message, hint=error.hint)
        self._signal(trouble, f"output {self.name}: {error}")

    def _signal(self, event: DeviceLost | DeviceBack | Trouble, text: str) -> None:
        self._signals.append(OutputSignal(event, text))
        self._wake()

    def _sleep(self, timeout_s: float | None) -> None:
        """Until `stop` or the timeout."""
        select.select([self._stop_fd], [], [], timeout_s)

    def _finish(self, session: Session) -> None:
        """Stopping: let the last block out, then take everything away while connected."""
        session.device.hold()
        time.sleep(min(session.device.latency_s, 0.1))
        session.device.close(0.2)
        self._remove(session)

    def _retire(self) -> None:
        """Stopped: without a session there may still be a microphone of ours to take away."""
        self._drop_device()
        if not self._cleaned and self.audio.device != "null":
            with contextlib.suppress(DeviceError):  # no server, no microphone
                left = Installation(self._wishes, self._left_s())
                left.server.connect()
                self._remove(left)
                left.close()
        self.state = "stopped"
        self._settled.set()

    def _remove(self, there: Installation) -> None:
        self._cleaned = True
        there.server.timeout_s = self._left_s()
        try:
            self.left = there.remove()
        except DeviceError as error:
            self.error = error

    def _left_s(self) -> float:
        return max(0.05, min(1.0, self._stop_by_s - time.monotonic() - 0.1))
