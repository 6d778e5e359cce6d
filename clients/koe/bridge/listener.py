"""A door on the loopback interface: a server that nobody can clog.

Many may knock, few are let in at a time; who is in has some seconds to say what he wants.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable

from koe.transport.connection import Refused

HOSTS = ("127.0.0.1", "::1")
"""Never another address: these protocols know no password. A program that says "localhost" may
mean either."""
MOST = 64
"""Connections at a time; one more is closed at once."""
PATIENCE_S = 5.0
"""A sender that is slower is hung up on."""
FAREWELL_S = 2.0
"""Time for the other side to read the answer and hang up itself."""
FAREWELL_BYTES = 65536


def interruption() -> asyncio.Event:
    """Set when somebody wants the program to end (SIGINT, SIGTERM); ask for it before anything is
    told, or who reads that and ends the program finds it unprepared."""
    over = asyncio.Event()
    with contextlib.suppress(NotImplementedError):  # not on Windows: there Ctrl-C raises
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, over.set)
    return over


Serve = Callable[[StreamReader, StreamWriter], Awaitable[None]]
"""Talk with one connection; closing it is the door's affair."""


class Listener:
    """One port. ``serve`` may raise `OSError`, `EOFError` and `TimeoutError`: the end of it."""

    def __init__(self, name: str, serve: Serve) -> None:
        self.name = name
        self.port = 0
        self._serve = serve
        self._servers: list[asyncio.Server] = []
        self._inside: set[asyncio.Task[None]] = set()

    async def open(self, port: int) -> None:
        """Listen; port 0 = any that is free. Raises `Refused` if the port is taken."""
        self.port = port
        for host in HOSTS:
            try:
                server = await asyncio.start_server(self._enter, host, self.port, limit=16384)
            except OSError as error:
                if self._servers and (port == 0 or error.errno != errno.EADDRINUSE):
                    continue  # a machine without IPv6
                await self.close()
                why = os.strerror(error.errno or 0)
                raise Refused(
                    "cannot_listen", f"cannot listen on {host}, port {port}: {why}",
                    "another bridge or Bouyomi-chan itself (in Wine?) may have the port:"
                    f" end it, or choose another with --{self.name}-port",
                ) from error  # fmt: skip
            self._servers.append(server)
            self.port = server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and hang up on everybody."""
        for server in self._servers:
            server.close()
        for task in self._inside:
            task.cancel()
        await asyncio.gather(*self._inside, return_exceptions=True)

    async def _enter(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._inside) >= MOST:
            writer.transport.abort()
            return
        self._inside.add(task)
        try:
            await self._serve(reader, writer)
            await _farewell(reader, writer)
        except (OSError, EOFError, TimeoutError):
            pass  # gone, or too slow: nothing to tell and nobody to tell it to
        finally:
            writer.transport.abort()
            self._inside.discard(task)


async def _farewell(reader: StreamReader, writer: StreamWriter) -> None:
    """Let the other side hang up first: to close on bytes that were not read cuts off the answer
    that is under way."""
    if writer.transport.is_closing():
        return
    writer.write_eof()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(FAREWELL_S):
            await writer.drain()
            left = FAREWELL_BYTES
            while left > 0 and (data := await reader.read(4096)):
                left -= len(data)
