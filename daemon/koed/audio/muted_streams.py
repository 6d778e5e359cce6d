"""Whom we have muted, and owe their sound.

A server remembers a mute of a program for longer than the program lives, and than koed does: names
are kept on disk until it is undone.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any, Literal

from koed.audio.sound_server import SoundServer
from koed.service import files

MAX_NAME_CHARS = 60
MAX_NAMES = 100
MAX_BYTES = 65536


def name_of(stream: Any) -> str:
    """Of the program whose stream it is."""
    name = str(stream.proplist.get("application.name") or stream.name or "a program")
    return name[:MAX_NAME_CHARS]


class MutedStreams:
    """Of one output and one ``kind`` of streams, over all its connections to one server.
    ``memory``: a file, which is there while anybody is mute; None = that does not outlive us."""

    def __init__(
        self, kind: Literal["sink_input", "source_output"], memory: Path | None = None
    ) -> None:
        self._kind = kind
        self._memory = memory
        self._server_cookie = 0
        self._there: dict[int, str] = {}
        """Numbers and names of their streams."""
        self._owed = self._recalled()
        """Names of programs whose streams are gone, or were before we came."""
        self._written = set(self._owed)

    def __bool__(self) -> bool:
        return bool(self._there or self._owed)

    def meet(self, server: SoundServer) -> bool:
        """Whether this is another server than before; its numbers begin anew, and it may know the
        programs by name."""
        cookie = int(server.call(lambda p: p.server_info()).cookie)
        if cookie == self._server_cookie:
            return False
        self._server_cookie = cookie
        self._owed.update(self._there.values())
        self._there.clear()
        return True

    def owes(self, stream: Any) -> bool:
        return stream.index in self._there or bool(stream.mute and name_of(stream) in self._owed)

    def mute(self, server: SoundServer, streams: list[Any]) -> None:
        """Those of them that sound. Whom she had muted is not ours to let sound again. Silence
        comes first: a disk may take its time."""
        for stream in streams:
            if not stream.mute and self._set(server, stream, True):
                self._there[stream.index] = name_of(stream)
        self._keep()

    def let_sound(self, server: SoundServer, streams: list[Any]) -> None:
        for stream in streams:
            if self._set(server, stream, False):
                self._there.pop(stream.index, None)
                self._owed.discard(name_of(stream))
        self._keep()

    def look(self, streams: list[Any]) -> None:
        """``streams``: all that there are."""
        for index in self._there.keys() - {stream.index for stream in streams}:
            self._owed.add(self._there.pop(index))

    def _set(self, server: SoundServer, stream: Any, on: bool) -> bool:
        return server.tried(lambda p: getattr(p, f"{self._kind}_mute")(stream.index, on))

    # --- on disk --------------------------------------------------------------------------------

    def _recalled(self) -> set[str]:
        names: Any = []
        if self._memory is not None:
            with contextlib.suppress(OSError, ValueError):  # it matters to nobody but them
                names = json.loads(files.read(self._memory, MAX_BYTES) or b"[]")
        if not isinstance(names, list):
            return set()
        return {str(name)[:MAX_NAME_CHARS] for name in names[:MAX_NAMES]}

    def _keep(self) -> None:
        names = self._owed | set(self._there.values())
        if self._memory is None or names == self._written:
            return
        with contextlib.suppress(OSError):
            if names:
                files.write(self._memory, json.dumps(sorted(names)[:MAX_NAMES]).encode())
            else:
                files.remove(self._memory)
            self._written = names
