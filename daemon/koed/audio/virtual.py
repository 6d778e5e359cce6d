"""The virtual microphone: a null sink to play into, and a source that hands its sound to others.

The only pulsectl. It speaks to PulseAudio and to PipeWire (through pipewire-pulse) and asks every
question with a deadline, since a stopped server would otherwise hold the caller for half a minute.
A connection belongs to one thread.
"""

from __future__ import annotations

import os
import re
import secrets
import select
import time
from collections.abc import Callable
from typing import Any, TypeVar

from koed.errors import DeviceError

T = TypeVar("T")

OWNER = "koed"
APPEAR_S = 1.5
"""PipeWire shows a module's node some time after it has confirmed the module."""
SETTLE_S = 3.0
"""PipeWire's session manager may pick a new default device some time after one appeared."""

_NO_INDEX = 0xFFFFFFFF  # PA_INVALID_INDEX: PipeWire has yet to link the stream
_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
# The two servers read nested quotes differently (PipeWire keeps backslashes), so none is sent:
# typographic marks look the same to a human and mean nothing to a parser.
_PLAIN = str.maketrans({"'": "’", '"': "”", "\\": "/", "`": "’"})


class SoundServer:
    """One connection to PulseAudio or PipeWire; raises `DeviceError`, never hangs.

    ``address`` as in ``PULSE_SERVER``, None = the user's own. ``wake_fd`` is a descriptor that
    ends `wait` when it becomes readable. After an error connect anew with a new object.
    """

    def __init__(
        self,
        client_name: str = OWNER,
        address: str | None = None,
        timeout_s: float = 1.0,
        wake_fd: int = -1,
    ) -> None:
        self.client_name = client_name
        self.timeout_s = timeout_s
        self.software = ""
        """What answers, for instance ``PulseAudio (on PipeWire 1.0.5)``."""
        self._address = address
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
        self._pulse = pulsectl.Pulse(self.client_name, server=self._address, connect=False)
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
        self.call(lambda p: p.event_mask_set("sink", "source", "sink_input", "server"))
        self.software = self.call(lambda p: p.server_info()).server_name

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

    def stream_sink(self, mark_key: str, mark: str) -> int | None:
        """Index of the sink that the stream with this property plays into; None = nowhere."""
        for stream in self.call(lambda p: p.sink_input_list()):
            if stream.proplist.get(mark_key) == mark and stream.sink != _NO_INDEX:
                return int(stream.sink)
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


class VirtualMicrophone:
    """Creates, adopts, watches and removes one sink and its microphone.

    Both carry the owner's mark and process id. What a crashed koed left is adopted as it is, so
    that OBS keeps its source; what belongs to anybody else, a living koed included, is refused.
    """

    def __init__(
        self,
        server: SoundServer,
        sink: str,
        microphone: str,
        description: str,
        rate_hz: int = 48000,
    ) -> None:
        for name in (sink, microphone):
            if not _NAME.fullmatch(name):
                raise DeviceError(
                    "bad_name", f"{name!r} cannot name a sink", "use letters, digits, . _ and -"
                )
        self.sink = sink
        self.microphone = microphone
        self.description = plain(description) or sink
        self._server = server
        self._rate_hz = rate_hz
        # Stamped on both: which microphone belongs to which sink. Names and, on PipeWire, module
        # numbers come again.
        self._pair = ""
        self._defaults: tuple[str, str] | None = None
        self._settled_s = 0.0

    def ensure(self) -> bool:
        """Have both, made or adopted. True = something had to be made."""
        before = self._default_names()
        sink = self._own("sink")
        microphone = self._own("source")
        if sink is not None and sink.description != self._sink_description:
            self._unload(sink)  # adopted, but configured otherwise since
            sink = None
        made = sink is None
        if sink is None:
            self._pair = secrets.token_hex(4)
            self._make_sink()
        else:
            self._pair = sink.proplist.get("koed.pair", "")
        if microphone is not None and not self._belongs(microphone):
            # PipeWire lets a microphone outlive its sink, and then links it to any other.
            self._unload(microphone)
            microphone = None
        if microphone is None:
            self._make_microphone()
            made = True
        if made:
            self._defaults, self._settled_s = before, time.monotonic() + SETTLE_S
            self.keep_defaults()
        return made

    def verify(self) -> int:
        """The sink's index; raises `DeviceError` ``sink_unloaded`` or ``microphone_unloaded``."""
        sink = self._find("sink")
        if sink is None or not self._belongs(sink):
            raise DeviceError("sink_unloaded", f"somebody unloaded the sink {self.sink}")
        microphone = self._find("source")
        if microphone is None or not self._belongs(microphone):
            raise DeviceError(
                "microphone_unloaded", f"somebody unloaded the microphone {self.microphone}"
            )
        return int(sink.index)

    def keep_defaults(self) -> None:
        """If what was just made has become the user's default, put the old default back."""
        if self._defaults is None or time.monotonic() > self._settled_s:
            return
        sink, source = self._defaults
        now = self._default_names()
        if now[0] == self.sink != sink and self._exists("sink", sink):
            self._server.call(lambda p: p.sink_default_set(sink))
        # A monitor as default means that there is no real microphone: nothing to give back.
        if now[1] == self.microphone != source and self._exists("source", source):
            self._server.call(lambda p: p.source_default_set(source))

    def remove(self) -> None:
        """Unload both, as far as they are ours."""
        for kind in ("source", "sink"):
            found = self._find(kind)
            if found is not None and self._is_mine(found):
                self._unload(found)

    # --- what is there ---

    def _list(self, kind: str) -> list[Any]:
        found: list[Any] = self._server.call(lambda p: getattr(p, f"{kind}_list")())
        return found

    def _find(self, kind: str) -> Any:
        name = self.sink if kind == "sink" else self.microphone
        return next((item for item in self._list(kind) if item.name == name), None)

    def _own(self, kind: str) -> Any:
        """What carries our name, or None; raises if it is somebody else's."""
        found = self._find(kind)
        if found is None or self._is_mine(found):
            return found
        word = "sink" if kind == "sink" else "microphone"
        raise DeviceError(
            f"{word}_name_taken",
            f"a {kind} called {found.name} is there already and is not ours",
            f"unload module {found.owner_module} or give this output another {word}",
        )

    def _is_mine(self, item: Any) -> bool:
        if item.proplist.get("koed.owner") != OWNER:
            return False
        pid = item.proplist.get("koed.pid", "")
        return pid == str(os.getpid()) or not self._is_connected(pid)

    def _is_connected(self, pid: str) -> bool:
        """Is a koed with this process id alive? The server knows, whatever machine it is on."""
        return any(
            client.proplist.get("application.process.id") == pid
            and client.proplist.get("application.name") == self._server.client_name
            for client in self._server.call(lambda p: p.client_list())
        )

    def _belongs(self, item: Any) -> bool:
        return bool(item.proplist.get("koed.pair") == self._pair)

    def _exists(self, kind: str, name: str) -> bool:
        return any(
            item.name == name and item.proplist.get("device.class") != "monitor"
            for item in self._list(kind)
        )

    def _default_names(self) -> tuple[str, str]:
        info = self._server.call(lambda p: p.server_info())
        return info.default_sink_name or "", info.default_source_name or ""

    # --- making and unmaking ---

    @property
    def _sink_description(self) -> str:
        return f"{self.description} output"

    def _make_sink(self) -> None:
        arguments = [
            f"sink_name={self.sink}",
            f"rate={self._rate_hz}",
            "channels=2",
            f"sink_properties={self._properties(self._sink_description)}",
        ]
        try:
            # Without it PulseAudio delivers the first sound up to a second late, and cut.
            module = self._load("module-null-sink", [*arguments, "norewinds=1"])
        except DeviceError as error:
            if error.code != "server_refused":
                raise
            module = self._load("module-null-sink", arguments)  # PulseAudio before 15
        self._wait_for("sink", module)

    def _make_microphone(self) -> None:
        properties = self._properties(self.description, "audio-input-microphone")
        arguments = [
            f"source_name={self.microphone}",
            f"master={self.sink}.monitor",
            f"source_properties={properties}",
        ]
        self._wait_for("source", self._load("module-remap-source", arguments))

    def _properties(self, description: str, icon: str = "audio-card") -> str:
        values = {
            "device.description": description,
            "node.description": description,
            "device.icon_name": icon,
            "koed.owner": OWNER,
            "koed.pid": os.getpid(),
            "koed.pair": self._pair,
        }
        return '"' + " ".join(f"{key}='{value}'" for key, value in values.items()) + '"'

    def _load(self, module: str, arguments: list[str]) -> int:
        index: int = self._server.call(lambda p: p.module_load(module, arguments))
        return index

    def _wait_for(self, kind: str, module: int) -> None:
        """Until what ``module`` makes is there. PulseAudio renames a double ("koed.2")."""
        deadline_s = time.monotonic() + APPEAR_S
        while (found := self._find(kind)) is None or not self._belongs(found):
            if time.monotonic() > deadline_s:
                self._server.call(lambda p: p.module_unload(module))
                raise DeviceError(
                    "server_refused", f"the sound server made no {kind} with our name"
                )
            self._server.wait(0.05)

    def _unload(self, item: Any) -> None:
        try:
            self._server.call(lambda p: p.module_unload(item.owner_module))
        except DeviceError as error:
            if error.code != "server_refused":  # refused: it is gone already
                raise


def _absent() -> DeviceError:
    return DeviceError(
        "no_server", "no sound server answers", "start PulseAudio or PipeWire (pipewire-pulse)"
    )


def _hung() -> DeviceError:
    return DeviceError(
        "server_hung", "the sound server does not answer", "restart PulseAudio or PipeWire"
    )


def plain(text: str) -> str:
    """``text`` without anything that a module argument's parser could take for syntax."""
    printable = "".join(c if c.isprintable() else " " for c in text.translate(_PLAIN))
    return " ".join(printable.split())[:100]
