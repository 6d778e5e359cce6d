"""Bouyomi-chan's TCP door, by default 127.0.0.1:50001.

A web page can open this port and send a request of HTTP, whose first two bytes are no command:
it is hung up on before anything else is read. So is a handshake of TLS or of WebRTC.
"""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter

from koe import protocol
from koe.bridge.bouyomi import wire
from koe.bridge.bouyomi.commands import Commands
from koe.bridge.listener import PATIENCE_S
from koe.bridge.notes import Notes
from koe.transport.connection import NoDaemon
from koe.wire.framing import WireError

CONTROLS: dict[int, type[protocol.Request]] = {
    wire.PAUSE: protocol.Pause,
    wire.RESUME: protocol.Resume,
    wire.SKIP: protocol.Skip,
    wire.CLEAR: protocol.Clear,
}


class TcpDoor:
    """Serves one connection at a time with one command; what follows it is not read."""

    def __init__(self, commands: Commands, notes: Notes) -> None:
        self._commands = commands
        self._notes = notes

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Raises `EOFError` and `TimeoutError` where the other side is gone or too slow."""
        async with asyncio.timeout(PATIENCE_S):
            command = wire.command(await reader.readexactly(2))
            talk = await _talk(reader) if command == wire.TALK else None
        if command is None or (command == wire.TALK and talk is None):
            writer.transport.abort()
            self._notes.once("hung up on somebody at the TCP door who speaks something else")
            return
        try:
            if talk is None:
                writer.write(await self._carry_out(command))
            elif talk.text:
                await self._commands.talk(talk)
        except NoDaemon:
            writer.transport.abort()  # no answer is better than a false one; it has been told
        except WireError as error:
            text = f"koed refused a line: {error.message}; {error.hint}"
            self._notes.once(text, kind=f"refused {error.code}")

    async def _carry_out(self, command: int) -> bytes:
        """The answer's bytes, none if the command has no answer."""
        commands = self._commands
        if command in CONTROLS:
            await commands.control(CONTROLS[command])
            return b""
        if command == wire.GET_TASK_COUNT:
            return (await commands.waiting()).to_bytes(4, "little")
        if command == wire.GET_PAUSE:
            return bytes([await commands.paused()])
        return bytes([await commands.playing()])


async def _talk(reader: StreamReader) -> wire.Talk | None:
    head = await reader.readexactly(wire.TALK_HEAD.size)
    length = wire.text_bytes(head)
    return None if length is None else wire.talk(head, await reader.readexactly(length))
