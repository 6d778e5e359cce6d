"""``koe bridge bouyomi``: opens the doors and keeps them open until it is interrupted."""

from __future__ import annotations

import asyncio
import contextlib
import json
from argparse import Namespace
from typing import Any

from koe.aio import AsyncClient
from koe.bridge.bouyomi.commands import Commands, Manner
from koe.bridge.bouyomi.tcp import TcpDoor
from koe.bridge.listener import Listener, interruption
from koe.bridge.names import tell_unknown
from koe.bridge.notes import Notes
from koe.transport.connection import Refused


def run(args: Namespace, place: dict[str, Any]) -> int:
    """Serve until SIGINT or SIGTERM; 0. Raises `Refused` where a port cannot be had."""
    # ZeroMQ's files can be watched by the selectors' loop on every system
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(_serve(args, place))
    return 0


async def _serve(args: Namespace, place: dict[str, Any]) -> None:
    over = interruption()
    notes = Notes("bridge bouyomi")
    manner = Manner(dict(args.voices), args.priority, args.output)
    async with AsyncClient(**place) as koed, contextlib.AsyncExitStack() as doors:
        commands = Commands(koed, manner, notes)
        ports = {}
        if not args.no_tcp:
            ports["tcp"] = await _open(
                doors, Listener("tcp", TcpDoor(commands, notes).serve), args.tcp_port
            )
        if not args.no_http:
            ports["http"] = await _open_http(doors, commands, args, notes)
        if not ports:
            raise Refused("no_door", "both doors are to stay shut", "leave out one of --no-...")
        _tell(args, notes, ports)
        await tell_unknown(koed, notes, manner.voices.values(), manner.output)
        await over.wait()


async def _open(doors: contextlib.AsyncExitStack, door: Listener, port: int) -> int:
    await door.open(port)
    doors.push_async_callback(door.close)
    return door.port


async def _open_http(
    doors: contextlib.AsyncExitStack, commands: Commands, args: Namespace, notes: Notes
) -> int:
    try:
        from koe.bridge.bouyomi.http import HttpDoor
    except ImportError as error:
        raise Refused(
            "library_missing", f"the HTTP door cannot be opened: {error}",
            "pip install 'koed[bridges]', or use --no-http",
        ) from error  # fmt: skip
    http = HttpDoor(commands, args.origins, notes)
    http.port = await _open(doors, Listener("http", http.serve), args.http_port)
    return http.port


def _tell(args: Namespace, notes: Notes, ports: dict[str, int]) -> None:
    if getattr(args, "json", False):
        print(json.dumps({"listening": ports}), flush=True)
    for name, port in ports.items():
        notes.tell(f"listening on 127.0.0.1:{port} ({name.upper()})")
