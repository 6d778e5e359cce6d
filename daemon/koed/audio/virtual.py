"""The virtual microphone: a null sink to play into, and a source that hands its sound to others."""

from __future__ import annotations

import os
import re
import secrets
import time
from typing import Any

from koed.audio.sound_server import OWNER, SoundServer
from koed.errors import DeviceError

APPEAR_S = 1.5
"""PipeWire shows a module's node some time after it has confirmed the module."""
SETTLE_S = 3.0
"""PipeWire's session manager may pick a new default device some time after one appeared."""

_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
# The two servers read nested quotes differently (PipeWire keeps backslashes), so none is sent:
# typographic marks look the same to a human and mean nothing to a parser.
_PLAIN = str.maketrans({"'": "’", '"': "”", "\\": "/", "`": "’"})


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


def plain(text: str) -> str:
    """``text`` without anything that a module argument's parser could take for syntax."""
    printable = "".join(c if c.isprintable() else " " for c in text.translate(_PLAIN))
    return " ".join(printable.split())[:100]
