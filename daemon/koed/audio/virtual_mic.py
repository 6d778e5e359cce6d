"""The virtual microphone: a null sink to play into, and a source that hands its sound to others."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from koed.audio.sound_server import OWNER, PROCESS, SoundServer
from koed.errors import DeviceError

APPEAR_S = 1.5
"""PipeWire shows a module's node some time after it has confirmed the module."""

_OURS = {PROCESS}
"""Makers of devices that this process made or adopted."""
_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
# The two servers read nested quotes differently (PipeWire keeps backslashes), so none is sent:
# typographic marks look the same to a human and mean nothing to a parser.
_PLAIN = str.maketrans({"'": "’", '"': "”", "\\": "/", "`": "’"})


@dataclass(frozen=True, slots=True)
class Devices:
    """Ours, as the server lists them."""

    sink: Any
    microphone: Any


class VirtualMicrophone:
    """Creates, adopts, watches and removes one sink and its microphone.

    Both carry the owner's mark and that of its process. What a koed left is adopted as it is, so
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

    def ensure(self, leaving: Callable[[Any, Any], None] = lambda *_devices: None) -> bool:
        """Have both, made or adopted. True = something had to be made; before anything is taken
        away for that, ``leaving(sink, microphone)`` is called with what is there."""
        sink, microphone = self._own("sink"), self._own("source")
        keeps = sink is not None and sink.description == self._sink_description
        if keeps:
            self._pair = sink.proplist.get("koed.pair", "")
        # PipeWire lets a microphone outlive its sink, and then links it to any other.
        whole = keeps and microphone is not None and self._belongs(microphone)
        stale = [None if keeps else sink, None if whole else microphone]
        if any(stale):
            leaving(sink, microphone)
        for item in filter(None, stale):
            unload(self._server, item)
        if not keeps:
            self._pair = secrets.token_hex(4)
            self._make_sink()
        if not whole:
            self._make_microphone()
        return not whole

    def verify(self) -> Devices:
        """Both; raises `DeviceError` ``sink_unloaded`` or ``microphone_unloaded``."""
        sink = self._find("sink")
        if sink is None or not self._belongs(sink):
            raise DeviceError("sink_unloaded", f"somebody unloaded the sink {self.sink}")
        microphone = self._find("source")
        if microphone is None or not self._belongs(microphone):
            raise DeviceError(
                "microphone_unloaded", f"somebody unloaded the microphone {self.microphone}"
            )
        return Devices(sink, microphone)

    def adopted(self, devices: Devices) -> list[str]:
        """Makers of our devices that are not this process; they count as ours from now on."""
        makers = {d.proplist.get("koed.process", "") for d in (devices.sink, devices.microphone)}
        _OURS.update(makers)
        return sorted(makers - {PROCESS})

    def there(self) -> Devices | None:
        """Both, whoever of us made them; None = one is not there, or somebody else's."""
        sink, microphone = self._find("sink"), self._find("source")
        if sink is None or microphone is None:
            return None
        mine = self._is_mine(sink) and self._is_mine(microphone)
        return Devices(sink, microphone) if mine else None

    def remove(self) -> None:
        """Unload both, as far as they are ours."""
        for kind in ("source", "sink"):
            found = self._find(kind)
            if found is not None and self._is_mine(found):
                unload(self._server, found)

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
        process = item.proplist.get("koed.process", "")
        return process in _OURS or not self._server.is_connected(process)

    def _belongs(self, item: Any) -> bool:
        return bool(item.proplist.get("koed.pair") == self._pair)

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
            # nothing is to go there by itself: PipeWire's session manager takes the highest
            "priority.session": 1,
            "koed.owner": OWNER,
            "koed.process": PROCESS,
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


def leftovers(server: SoundServer) -> list[Any]:
    """Microphones and sinks, in this order, of koeds that have ended."""
    listed = server.call(lambda p: [*p.source_list(), *p.sink_list()])
    return [
        item
        for item in listed
        if item.proplist.get("koed.owner") == OWNER
        and item.proplist.get("device.class") != "monitor"
        and not server.is_connected(item.proplist.get("koed.process", ""))
    ]


def unload(server: SoundServer, item: Any) -> None:
    """Take a device away; it may have gone meanwhile."""
    try:
        server.call(lambda p: p.module_unload(item.owner_module))
    except DeviceError as error:
        if error.code != "server_refused":
            raise


def plain(text: str) -> str:
    """``text`` without anything that a module argument's parser could take for syntax."""
    printable = "".join(c if c.isprintable() else " " for c in text.translate(_PLAIN))
    return " ".join(printable.split())[:100]
