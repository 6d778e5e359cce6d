"""The user's default sink and microphone: hers, whatever a server makes of ours.

A server may take a device that has just appeared for the default one, which would put the desktop
on air; that is put back. But she may choose our microphone as hers: then it is so after every
start. Our sink is nobody's choice: what is played there is on air.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from koed.audio.sound_server import Kind, SoundServer, others
from koed.errors import DeviceError

SETTLE_S = 0.1
"""A server that picks a new default device does so as one appears."""
PIPEWIRE_SETTLE_S = 3.0
"""Its session manager may take its time."""

KINDS: tuple[Kind, ...] = ("sink", "source")


class DefaultDevices:
    """``ours``: name of our device of each kind. ``memory``: a file that is there from one start to
    the next if she chose our microphone; None = that is not remembered."""

    def __init__(self, ours: dict[Kind, str], memory: Path | None = None) -> None:
        self._ours = ours
        self._memory = memory
        self._before: dict[Kind, str] = {}
        """The defaults from before ours was made; a kind that was put back is not among them: what
        changes then is her doing."""
        self._settled_s = 0.0
        # os.path: it is False, and raises nothing, where it may not look
        self.chosen = memory is not None and os.path.exists(memory)
        """Our microphone is the default one because she wanted it."""

    def made(self, server: SoundServer, before: dict[Kind, str]) -> None:
        """Ours were; ``before``: what the defaults were then."""
        self._before = dict(before)
        settle_s = PIPEWIRE_SETTLE_S if server.is_pipewire else SETTLE_S
        self._settled_s = time.monotonic() + settle_s
        if self.chosen:
            self._before.pop("source", None)
            self._set(server, "source", self._ours["source"])
        self.look(server)

    def look(self, server: SoundServer) -> None:
        """Put back what the server has changed, and note what she has."""
        now = server.defaults()
        settled = time.monotonic() > self._settled_s
        for kind in KINDS:
            before = self._before.get(kind)
            ours = self._ours[kind]
            if kind == "sink":
                if now[kind] == ours:
                    self._give_back_sink(server, before)
            elif settled or before is None:
                self._note(server, now[kind] == ours)
            # A monitor as default means that there is no real microphone: none to give back.
            elif now[kind] == ours != before and before in _others(server, kind):
                self._set(server, kind, before)
                del self._before[kind]

    def _give_back_sink(self, server: SoundServer, before: str | None) -> None:
        """It may be ours for as long as there is no other, as while the hardware comes."""
        others = _others(server, "sink")
        if others:
            self._set(server, "sink", before if before in others else others[0])

    def _note(self, server: SoundServer, is_ours: bool) -> None:
        if is_ours == self.chosen:
            return
        if is_ours and not (_others(server, "source") and self._is_still_ours(server)):
            return  # there is nothing else, or was not until now: nobody chose
        self.chosen = is_ours
        if self._memory is None:
            return
        with contextlib.suppress(OSError):  # it matters to the next start alone
            if is_ours:
                self._memory.parent.mkdir(parents=True, exist_ok=True)
                self._memory.touch(mode=0o600)
            else:
                self._memory.unlink(missing_ok=True)

    def _is_still_ours(self, server: SoundServer) -> bool:
        return server.defaults()["source"] == self._ours["source"]

    @staticmethod
    def _set(server: SoundServer, kind: Kind, name: str) -> None:
        with contextlib.suppress(DeviceError):  # refused: it has gone meanwhile
            server.call(lambda p: getattr(p, f"{kind}_default_set")(name))


def _others(server: SoundServer, kind: Kind) -> list[str]:
    return [item.name for item in others(server, kind)]
