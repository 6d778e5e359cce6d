"""A connection to PulseAudio or PipeWire (through pipewire-pulse). The only pulsectl.

Every question has a deadline, since a stopped server would otherwise hold the caller for half a
minute. A connection belongs to one thread.
"""

from __future__ import annotations

import secrets
import select
import time
from collections.abc import Callable
from typing import Any, Literal, TypeVar

from koed.errors import DeviceError

T = TypeVar("T")
Kind = Literal["sink", "source"]

OWNER = "koed"
PROCESS = secrets.token_hex(6)
"""This process, among all koeds of the server: process ids come again in each container."""

RENEW_S = 0.3
"""For a new connection in place of one that works; it takes some milliseconds."""

NO_INDEX = 0xFFFFFFFF  # PA_INVALID_INDEX: PipeWire has yet to link the stream


class SoundServer:
    """One connection to PulseAudio or PipeWire; raises `DeviceError`, never hangs.

    It is the user's own, or what ``PULSE_SERVER`` names. ``wake_fd`` is a descriptor that ends
    `wait` when it becomes readable. After an error connect anew with a new object.
    """

    def __init__(self, name: str = "", timeout_s: float = 1.0, wake_fd: int = -1) -> None:
        self._name = name or client_name(PROCESS)
        self.timeout_s = timeout_s
        self.software = ""
        """What answers, for instance ``PulseAudio (on PipeWire 1.0.5)``."""
        self._wake_fd = wake_fd
        self._pulse: Any = None
        self._errors: tuple[type[Exception], ...] = ()
        self._deadline_s: float | None = None
        self._changed = False

    def connect(self) -> None:
        try:
            import pulsectl
            from pulsectl._pulsectl import LibPulse
        except (ImportError, OSError) as error:
            raise DeviceError(
                "no_libpulse", f"libpulse cannot be loaded: {error}", "apt install libpulse0"
            ) from error
        self._errors = (pulsectl.PulseError, pulsectl.PulseDisconnected, LibPulse.CallError)
        self._pulse = pulsectl.Pulse(self._name, connect=False)
        self._pulse.set_poll_func(self._poll)
        # pulsectl's own timeout for this always lasts to its end.
        self._deadline_s = time.monotonic() + self.timeout_s
        try:
            self._pulse.connect()
        except self._errors as error:
            late = time.monotonic() >= self._deadline_s
            self.close()
            raise (_hung() if late else _absent()) from error
        finally:
            self._deadline_s = None
        self._pulse.event_callback_set(self._note)
        self.call(
            lambda p: p.event_mask_set("sink", "source", "sink_input", "source_output", "server")
        )
        self.software = self.call(lambda p: p.server_info()).server_name

    @property
    def is_pipewire(self) -> bool:
        return "PipeWire" in self.software

    def close(self) -> None:
        pulse, self._pulse = self._pulse, None
        if pulse is not None:
            pulse.close()

    def call(self, operation: Callable[[Any], T]) -> T:
        """``operation(pulse)`` within `timeout_s`."""
        if self._pulse is None:
            raise DeviceError("server_lost", "the connection to the sound server is closed")
        self._deadline_s = time.monotonic() + self.timeout_s
        try:
            return operation(self._pulse)
        except self._errors as error:
            if time.monotonic() >= self._deadline_s:
                raise _hung() from error
            if not self._pulse.connected:
                raise DeviceError("server_lost", "the sound server has gone away") from error
            raise DeviceError("server_refused", f"the sound server refused: {error}") from error
        finally:
            self._deadline_s = None

    def defaults(self) -> dict[Kind, str]:
        """Names of the default devices; empty = there is none."""
        info = self.call(lambda p: p.server_info())
        return {"sink": info.default_sink_name or "", "source": info.default_source_name or ""}

    def renew(self) -> None:
        """Go on with a new connection to PipeWire, if it gives one. While a client connects, it
        tells a change of the default devices to nobody else (its module-metadata: ``pending``), so
        an old connection may answer with the old ones for ever. Others miss theirs while this one
        connects: better at a quiet moment."""
        if not self.is_pipewire:
            return
        old, timeout_s = self._pulse, self.timeout_s
        self._pulse, self.timeout_s = None, min(timeout_s, RENEW_S)
        try:
            self.connect()
        except DeviceError:  # as when it takes no more clients
            self.close()
            self._pulse = old
        else:
            old.close()
        finally:
            self.timeout_s = timeout_s

    def tried(self, operation: Callable[[Any], object]) -> bool:
        """`call`; False if the server refuses, as of a stream that has ended meanwhile."""
        try:
            self.call(operation)
        except DeviceError as error:
            if error.code != "server_refused":
                raise
            return False
        return True

    def wait(self, timeout_s: float) -> bool:
        """Sleep until something changes on the server (True), ``wake_fd``, or the timeout."""
        if self._pulse is None:
            raise DeviceError("server_lost", "the connection to the sound server is closed")
        if not self._changed:
            try:
                self._pulse.event_listen(timeout_s)
            except self._errors as error:
                raise DeviceError("server_lost", "the sound server has gone away") from error
        changed, self._changed = self._changed, False
        return changed

    def is_connected(self, process: str) -> bool:
        """Is a koed of this process alive? The server knows, whatever machine it is on."""
        clients = self.call(lambda p: p.client_list())
        return any(c.proplist.get("application.name") == client_name(process) for c in clients)

    def stream(self, mark_key: str, mark: str) -> Any:
        """The stream with this property that plays into a sink; None = there is none."""
        for stream in self.call(lambda p: p.sink_input_list()):
            if stream.proplist.get(mark_key) == mark and stream.sink != NO_INDEX:
                return stream
        return None

    def _note(self, _event: Any) -> None:
        self._changed = True
        self._pulse.event_listen_stop()

    def _poll(self, fds: list[Any], timeout_s: float) -> int:
        """libpulse's poll, with our deadline and our wake-up in it. Returns descriptors ready."""
        left_s = None if timeout_s < 0 else timeout_s
        poller = select.poll()
        for fd in fds:
            poller.register(fd.fd, fd.events)
        if self._deadline_s is not None:
            call_s = max(0.0, self._deadline_s - time.monotonic())
            left_s = call_s if left_s is None else min(left_s, call_s)
        elif self._wake_fd >= 0:
            poller.register(self._wake_fd, select.POLLIN)
        ready = dict(poller.poll(None if left_s is None else left_s * 1000))
        if self._wake_fd in ready:
            self._pulse.event_listen_stop()
        count = 0
        for fd in fds:
            fd.revents = ready.get(fd.fd, 0)
            count += bool(fd.revents)
        if not count and self._deadline_s is not None and time.monotonic() >= self._deadline_s:
            # pulsectl waits for an answer as long as it believes in the connection.
            self._pulse.connected = False
        return count


def others(server: SoundServer, kind: Kind) -> list[Any]:
    """The devices that are no koed's, monitors left out."""
    listed = server.call(lambda p: getattr(p, f"{kind}_list")())
    return [
        item
        for item in listed
        if item.proplist.get("koed.owner") != OWNER
        and item.proplist.get("device.class") != "monitor"
    ]


def client_name(process: str) -> str:
    """The name under which it is connected."""
    return f"{OWNER} {process}"


def _absent() -> DeviceError:
    return DeviceError(
        "no_server", "no sound server answers", "start PulseAudio or PipeWire (pipewire-pulse)"
    )


def _hung() -> DeviceError:
    return DeviceError(
        "server_hung", "the sound server does not answer", "restart PulseAudio or PipeWire"
    )
