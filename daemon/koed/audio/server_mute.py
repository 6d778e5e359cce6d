"""Silence at the server: for what has left the mixer and waits in buffers on its way to the ear.

The mixer is silent within a block, but 20 to 40 ms of sound are in the hands of PortAudio, ALSA and
the server by then. This mutes our sink for the moment in which they run dry, and opens it
again: it holds no silence, the mixer does. A thread and a connection of its own, because the
output's thread may be in the middle of a question to the server.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import threading
import time

from koed.audio.sound_server import OWNER, SoundServer
from koed.errors import DeviceError

log = logging.getLogger(__name__)

SHUT_S = 0.3
"""By then the buffers are empty: they hold three blocks, and some more on PipeWire."""
IDLE_S = 5.0
RETRY_S = 1.0


class ServerMute:
    """Of the sink with this name, if it is a koed's. Works from `start` to `close`."""

    def __init__(self, sink: str) -> None:
        self._sink = sink
        self._wanted = threading.Event()
        self._released = threading.Event()
        self._closing = False
        self._mutes = False
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = threading.Thread(target=self._run, name=f"mute {sink}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def shut(self) -> None:
        """Silence now, for `SHUT_S`; returns at once."""
        self._released.clear()
        self._wanted.set()
        self._ring()

    def release(self) -> None:
        """Open it before its time."""
        self._wanted.clear()
        self._released.set()
        self._ring()

    @property
    def is_shut(self) -> bool:
        """The sink is mute because of it, or will be in a moment."""
        return self._mutes or self._wanted.is_set()

    def close(self, deadline_s: float = 0.5) -> None:
        """Open it and end; a hung server is not waited for any longer than this."""
        self._closing = True
        self.release()
        if self._thread.ident is not None:
            self._thread.join(deadline_s)
        if not self._thread.is_alive():
            os.close(self._fd)

    def _ring(self) -> None:
        os.eventfd_write(self._fd, 1)

    # --- its own thread --------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing:
            try:
                self._serve()
            except DeviceError as error:
                log.debug("mute of %s: %s", self._sink, error)
                select.select([self._fd], [], [], RETRY_S)

    def _serve(self) -> None:
        """One connection, until it breaks or this is closed."""
        server = SoundServer("koed valve", wake_fd=self._fd)
        try:
            server.connect()
            # a koed that ended while it was shut, or a server that remembers it, left it so
            self._mute(server, False)
            while not self._closing:
                self._wait(server, IDLE_S)
                if self._wanted.is_set():
                    self._wanted.clear()
                    self._cut(server)
        finally:
            server.close()

    def _cut(self, server: SoundServer) -> None:
        if not self._mute(server, True):
            return
        until = time.monotonic() + SHUT_S
        while not self._released.is_set() and (left_s := until - time.monotonic()) > 0:
            self._wait(server, left_s)
            if self._wanted.is_set():  # again, while it is shut
                self._wanted.clear()
                until = time.monotonic() + SHUT_S
        self._mute(server, False)

    def _wait(self, server: SoundServer, timeout_s: float) -> None:
        server.wait(timeout_s)
        with contextlib.suppress(BlockingIOError):  # it was the server, or time
            os.eventfd_read(self._fd)

    def _mute(self, server: SoundServer, on: bool) -> bool:
        """Whether this changed anything. Somebody's own mute of the sink is left alone."""
        sinks = server.call(lambda p: p.sink_list())
        ours = [s for s in sinks if (s.name, s.proplist.get("koed.owner")) == (self._sink, OWNER)]
        if not ours or bool(ours[0].mute) == on:
            return False
        self._mutes = True  # before anybody can see it
        server.call(lambda p: p.sink_mute(ours[0].index, on))
        self._mutes = on
        return True
