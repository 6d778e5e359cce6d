"""``koe chat twitch CHANNEL``: the chat of a channel, read without an account.

Anonymous (a login of the form justinfan12345), over TLS, read-only: nothing but PONG, PING and
JOIN is ever sent. It connects again for ever, ever more slowly, and so stays far below the limit of
20 logins in 10 seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import random
import re
import ssl
import time
from argparse import Namespace
from collections.abc import AsyncIterator
from typing import IO, Any

from koe.aio import AsyncClient
from koe.bridge.notes import Notes
from koe.chat.irc import Message, parse_message, request_of
from koe.chat.sources import Cutter
from koe.transport.connection import NoDaemon, require
from koe.wire.framing import WireError
from koe.wire.requests import Chat, ChatDelete

SERVER = "irc.chat.twitch.tv:6697"
CONNECT_S = 10.0
JOIN_S = 10.0
QUIET_S = 90.0
"""After so long without a word from Twitch it is asked; Twitch itself asks every five minutes."""
PONG_S = 10.0
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 60.0
STEADY_S = 30.0
"""A connection that held for so long was good: the next attempt comes at once."""
IN_FLIGHT = 64
"""Lines at koed without an answer; beyond, Twitch has to wait."""
READ_BYTES = 65536
_CHANNEL = re.compile(r"(?:https?://)?(?:www\.)?(?:twitch\.tv/)?#?([A-Za-z0-9_]{1,25})/?")


class Lost(Exception):
    """The connection is over; the text says why."""


def channel_of(text: str) -> str:
    """``name``, ``#Name`` or the page's address as Twitch's login; raises `WireError`."""
    found = _CHANNEL.fullmatch(text.strip())
    if found is None:
        raise WireError(
            "bad_argument",
            f"{text[:60]!r} is no channel",
            "give the name that stands in the page's address: twitch.tv/NAME",
        )
    return found[1].lower()


def run(args: Namespace, place: dict[str, Any]) -> int:
    """Until Ctrl-C. Raises `WireError` for a wrong argument, `NoDaemon` if there is no koed yet."""
    reader = Reader(args, place, Notes("chat twitch"))
    with contextlib.ExitStack() as stack:
        if args.record:
            reader.log = stack.enter_context(_log(args.record))
        return asyncio.run(reader.run())


def _log(path: str) -> IO[bytes]:
    """Raises `WireError` where it cannot be written to."""
    try:
        return open(path, "ab", buffering=0)
    except OSError as error:
        raise WireError(
            "bad_argument", f"{path} cannot be written: {error.strerror}", "name another file"
        ) from error


class Reader:
    """One channel into one koed."""

    def __init__(self, args: Namespace, place: dict[str, Any], notes: Notes) -> None:
        self.channel = channel_of(args.channel)
        self.host, _, port = args.server.rpartition(":")
        if not self.host or not port.isdecimal():
            raise WireError("bad_argument", f"{args.server!r} is no server", f"such as {SERVER}")
        self.port = int(port)
        self.log: IO[bytes] | None = None
        self._tls = None if args.no_tls else ssl.create_default_context()
        self._shared: bool = args.shared
        self._output: str | None = args.output
        self._json: bool = getattr(args, "json", False)
        self._place = place
        self._notes = notes
        self._waiting: set[asyncio.Task[None]] = set()
        self._joined = False
        self._away = False
        """koed does not answer, and that was told."""

    async def run(self) -> int:
        wait_s = FIRST_WAIT_S
        async with AsyncClient(**self._place) as self._koed:
            require(self._koed.address.control)  # no daemon at all: said at once
            while True:
                began = time.monotonic()
                try:
                    await self._session()
                except (OSError, Lost) as error:
                    self._tell_loss(error)
                if time.monotonic() - began > STEADY_S:
                    wait_s = FIRST_WAIT_S
                await asyncio.sleep(wait_s * random.uniform(0.8, 1.2))
                wait_s = min(wait_s * 2, LONGEST_WAIT_S)

    def _tell_loss(self, error: Exception) -> None:
        reason = str(error) or type(error).__name__
        if isinstance(error, ssl.SSLCertVerificationError):
            reason = f"{self.host} does not prove that it is Twitch ({error.verify_message})"
        self._notes.tell(f"{reason}; connecting again")

    # --- one connection ----------------------------------------------------------------------

    async def _session(self) -> None:
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await asyncio.open_connection(self.host, self.port, ssl=self._tls)
        try:
            await self._greet(writer)
            await self._listen(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await asyncio.wait_for(writer.wait_closed(), 1.0)

    async def _greet(self, writer: asyncio.StreamWriter) -> None:
        nick = f"justinfan{random.randint(10000, 99999)}"
        await _send(
            writer,
            "CAP REQ :twitch.tv/tags twitch.tv/commands",
            f"NICK {nick}",
            f"JOIN #{self.channel}",
        )

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._joined = False
        deadline = time.monotonic() + JOIN_S
        async for line in self._lines(reader, writer):
            message = parse_message(line)
            if message is None:
                continue
            if message.command == "PING":
                await _send(writer, "PONG :" + (message.params[-1] if message.params else ""))
            elif message.command == "RECONNECT":
                raise Lost("Twitch asks to connect anew")
            elif message.command == "NOTICE" and not self._joined:
                raise Lost(f"Twitch says: {' '.join(message.params[1:])[:200]}")
            elif message.command in ("JOIN", "ROOMSTATE") and not self._joined:
                self._joined = True
                self._notes.tell(f"reading #{self.channel}")
            else:
                await self._take(message)
            if not self._joined and time.monotonic() > deadline:
                raise Lost(self._not_let_in())

    def _not_let_in(self) -> str:
        return f"Twitch does not let us into #{self.channel}: is the name right?"

    async def _lines(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> AsyncIterator[str]:
        """Whole lines; raises `Lost` at the end, or when Twitch is silent and does not answer."""
        cutter = Cutter()
        asked = False
        while True:
            try:
                wait_s = JOIN_S if not self._joined else PONG_S if asked else QUIET_S
                data = await asyncio.wait_for(reader.read(READ_BYTES), wait_s)
            except TimeoutError:
                if not self._joined:
                    raise Lost(self._not_let_in()) from None
                if asked:
                    raise Lost("Twitch has fallen silent") from None
                asked = True
                await _send(writer, "PING :koed")
                continue
            if not data:
                raise Lost("Twitch has closed the connection")
            asked = False
            if self.log is not None:
                self._record(self.log, data)
            for line in cutter.feed(data):
                yield line.decode(errors="replace").rstrip("\r")

    def _record(self, log: IO[bytes], data: bytes) -> None:
        """A full disk ends the log and not the reading."""
        try:
            log.write(data)
        except OSError as error:
            self.log = None
            self._notes.tell(f"the chat is recorded no more: {error.strerror}")

    # --- to koed -----------------------------------------------------------------------------

    async def _take(self, message: Message) -> None:
        request = request_of(message, self._shared)
        if request is None or message.channel != self.channel:
            return
        if isinstance(request, Chat) and self._output:
            request = dataclasses.replace(request, output=self._output)
        if self._away and self._waiting:
            return  # one line asks for koed; nobody wants the others read when it is back
        while len(self._waiting) >= IN_FLIGHT:
            await asyncio.wait(self._waiting, return_when=asyncio.FIRST_COMPLETED)
        # tasks start in order, so a deletion is sent after its line
        task = asyncio.create_task(self._hand_over(request))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _hand_over(self, request: Chat | ChatDelete) -> None:
        try:
            result = await self._koed.ask(request)
        except NoDaemon:
            if not self._away:
                self._away = True
                self._notes.tell("koed does not answer; the chat goes on unread until it does")
            return
        except WireError as error:
            self._notes.once(f"koed refused a line: {error.message}")
            return
        if self._away:
            self._away = False
            self._notes.tell("koed is back")
        if self._json:
            line = {"op": request.op, "line": request.line, "author": request.author} | result
            print(json.dumps(line), flush=True)


async def _send(writer: asyncio.StreamWriter, *lines: str) -> None:
    writer.write("".join(f"{line}\r\n" for line in lines).encode())
    async with asyncio.timeout(CONNECT_S):
        await writer.drain()
