"""A connection to the server, the microphone made on it, and an open device: until one breaks."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from koed.audio import volumes
from koed.audio.defaults import DefaultDevices
from koed.audio.device import MARK, PulseDevice, Source
from koed.audio.foreign_streams import ForeignStreams
from koed.audio.recorders import Recorders, source_outputs
from koed.audio.server_mute import ServerMute
from koed.audio.sound_server import SoundServer, client_name
from koed.audio.virtual_mic import Devices, VirtualMicrophone
from koed.audio.volumes import Volumes
from koed.errors import DeviceError, KoedError

if TYPE_CHECKING:
    from koed.config.daemon import AudioConfig, OutputConfig

WATCH_S = 0.25
"""The stream is looked at so often, the server's devices whenever it reports a change."""
VERIFY_S = 5.0
"""And without any report so often, on a new connection."""
LATEST_S = 20.0
"""On a new connection at least so often, however many reports there are."""
ANSWER_S = 1.0
"""A server that has not answered by then counts as hung."""
PLACE_S = 1.0
"""PipeWire links a stream to its sink some time after it was opened."""
WAKE_S = 1.0
"""A sink that was suspended takes sound again within this time."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What an output wants of each session, and what it knows from those before."""

    config: OutputConfig
    audio: AudioConfig
    memory: Path | None
    recorders: Recorders
    foreign: ForeignStreams
    volumes: Volumes
    tell: Callable[[KoedError], None]


class Installation:
    """A connection to the server, and our devices there. Raises `DeviceError`."""

    def __init__(self, wishes: Wishes, timeout_s: float = 0.0, wake_fd: int = -1) -> None:
        """``timeout_s``: for each question; 0 = `ANSWER_S`."""
        config = wishes.config
        self.wishes = wishes
        self.server = SoundServer(timeout_s=timeout_s or ANSWER_S, wake_fd=wake_fd)
        self.microphone = VirtualMicrophone(
            self.server, config.sink, config.microphone, config.listed_as, wishes.audio.rate_hz
        )
        self.defaults = DefaultDevices(
            {"sink": config.sink, "source": config.microphone}, wishes.memory
        )
        self._vouchers: list[SoundServer] = []
        """Connections that show that who made our devices lives on in us."""

    def make(self) -> None:
        """Have the devices; who recorded those before them gets these."""
        recorders = self.wishes.recorders
        recorders.meet(self.server)
        self.wishes.foreign.meet(self.server)
        before = self.server.defaults()
        made = self.microphone.ensure(lambda *there: recorders.hush(self.server, *there))
        devices = self.microphone.verify()
        for process in self.microphone.adopted(devices):
            voucher = SoundServer(client_name(process))
            self._vouchers.append(voucher)
            voucher.connect()
        if made:
            volumes.open_devices(self.server, devices)
            self.defaults.made(self.server, before)
        self._take_back(devices, by_name=True)
        recorders.look(source_outputs(self.server), devices)
        self.wake(devices)

    def _take_back(self, devices: Devices, by_name: bool = False) -> None:
        for error in self.wishes.recorders.take_back(self.server, devices, by_name):
            self.wishes.tell(error)

    def wake(self, devices: Devices) -> bool:
        """Whether our sink was suspended, so that it took no sound. PipeWire does that to whatever
        nobody uses, and wakes it itself."""
        if "suspended" not in str(devices.sink.state) or self.server.is_pipewire:
            return False
        self.server.call(lambda p: p.sink_suspend(devices.sink.index, False))
        return True

    def remove(self) -> str:
        """Take the devices away, unless somebody would get others in their place. Why they stay,
        empty = they are gone."""
        devices = self.microphone.there()
        needed = self._who_needs(devices) if devices is not None else ""
        if devices is None or not needed:
            self.wishes.foreign.release(self.server)
            self.microphone.remove()
        else:  # silent, whatever the desktop plays there while we are away
            self.server.call(lambda p: p.sink_mute(devices.sink.index, True))
            self.wishes.foreign.release(self.server)
            self.wishes.recorders.open_ears(self.server, devices)
        return needed

    def _who_needs(self, devices: Devices) -> str:
        self.wishes.recorders.look(source_outputs(self.server), devices)
        self.server.renew()
        self.defaults.look(self.server)
        names = self.wishes.recorders.names
        if names:
            return f"{', '.join(names)} records it"
        return "it is your default microphone" if self.defaults.chosen else ""

    def close(self) -> None:
        for connection in (*self._vouchers, self.server):
            connection.close()


class Session(Installation):
    """With an open device; it is still silent then."""

    def __init__(
        self, wishes: Wishes, source: Source, stopping: threading.Event, stop_fd: int
    ) -> None:
        super().__init__(wishes, wake_fd=stop_fd)
        config, audio = wishes.config, wishes.audio
        self._stopping = stopping
        self.device = PulseDevice(audio.rate_hz, audio.block_frames, config.sink)
        self.server_mute = ServerMute(config.sink)
        self._sink = -1
        try:
            self.server.connect()
            self.make()
            self.device.open(source)
            self._place()
            self._show_out()  # they came while koed was away, and the sink was mute
            self.server_mute.start()
            wishes.recorders.open_ears(self.server, self.microphone.verify())
        except BaseException:
            with contextlib.suppress(DeviceError):  # it may be gone again, or the server is
                wishes.recorders.hush(self.server)
            self.close()
            raise

    def _place(self) -> None:
        """Wait until the stream plays into our sink. It is silent until then."""
        deadline_s = time.monotonic() + PLACE_S
        self._sink = int(self.microphone.verify().sink.index)
        while (stream := self._stream()) is None or stream.sink != self._sink:
            if self._stopping.is_set():
                return
            if time.monotonic() > deadline_s:
                raise DeviceError(
                    "stream_moved", "the sound server plays our stream into another sink"
                )
            self.server.wait(0.05)
            self.microphone.verify()  # it may have gone again: then nothing comes
        volumes.open_stream(self.server, stream)

    def _stream(self) -> Any:
        return self.server.stream(MARK, self.device.mark)

    def watch(self) -> None:
        """Return when stopping; raise `DeviceError` as soon as anything is not as it was."""
        renewed_s = -LATEST_S
        while not self._stopping.is_set():
            changed = self.server.wait(WATCH_S)
            trouble = self.device.trouble()
            if trouble is not None and trouble.code == "device_stalled":
                self._wake_or_give_up(trouble)
            elif trouble is not None:
                self.verify()  # it may know why
                raise trouble
            if time.monotonic() - renewed_s > (LATEST_S if changed else VERIFY_S):
                self.server.renew()
                renewed_s, changed = time.monotonic(), True
            if changed:
                self.verify()

    def _wake_or_give_up(self, trouble: DeviceError) -> None:
        """It takes no sound: it was suspended, or the server hangs and answers no question."""
        if not self.wake(self.microphone.verify()):
            raise trouble
        error = KoedError(
            "sink_suspended",
            f"somebody suspended the sink {self.microphone.sink}: koed woke it",
            "pactl suspend-sink is what does it; the sound went on from where it was",
        )
        self.wishes.tell(error)
        deadline_s = time.monotonic() + WAKE_S
        while (still := self.device.trouble()) is not None:
            if self._stopping.is_set() or time.monotonic() > deadline_s:
                raise still
            self.server.wait(0.02)

    def _show_out(self) -> None:
        for happened in self.wishes.foreign.show_out(self.server, self._sink):
            self.wishes.tell(happened)

    def verify(self) -> None:
        wishes = self.wishes
        self._show_out()  # first of all: it is on air
        recording = source_outputs(self.server)  # before the devices: see `Recorders.look`
        try:
            devices = self.microphone.verify()
        except DeviceError as error:
            if error.code in ("sink_unloaded", "microphone_unloaded"):
                wishes.recorders.hush(self.server)
            raise
        wishes.recorders.look(recording, devices)
        if wishes.recorders.has_muted:
            self._take_back(devices)
            wishes.recorders.open_ears(self.server, devices)
        stream = self._stream()
        # None = no stream: after an underrun ALSA makes a new one. If it does not, it will stall.
        if stream is not None and stream.sink != devices.sink.index:
            raise DeviceError(
                "stream_moved", "our stream was not in our sink any more; opening it again"
            )
        wishes.volumes.look(devices, stream, self.server_mute.is_shut)
        self.defaults.look(self.server)

    def close(self) -> None:
        self.server_mute.close()
        self.device.close()
        super().close()
