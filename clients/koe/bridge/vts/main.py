"""``koe bridge vts``: keeps a connection to koed and one to VTube Studio until interrupted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from koe.aio import AsyncClient
from koe.bridge.listener import interruption
from koe.bridge.names import tell_unknown
from koe.bridge.notes import Notes
from koe.bridge.vts import api
from koe.bridge.vts.parameters import VOWELS, Parameters
from koe.bridge.vts.token import Tokens, default_path
from koe.protocol import Mouth
from koe.transport.connection import NoDaemon, Refused, require

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 5.0
OPEN_S = 5.0
MAX_FRAME_BYTES = 1 << 20
EXPLANATION = "koed: how much of the sound {} the mouth shows"


def run(args: Namespace, place: dict[str, Any]) -> int:
    """Until SIGINT or SIGTERM: 0; 1 if the user denied us. Raises `Refused`."""
    if not args.address.startswith(("ws://", "wss://")):
        raise Refused(
            "bad_argument", f"{args.address!r} is no address", "such as ws://localhost:8001"
        )
    # ZeroMQ's files can be watched by the selectors' loop on every system
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        return runner.run(_serve(args, place))


async def _serve(args: Namespace, place: dict[str, Any]) -> int:
    over = interruption()
    notes = Notes("bridge vts")
    bridge = Bridge(args, notes)
    async with AsyncClient(**place) as koed:
        require(koed.address.events)  # no daemon at all: said at once
        await tell_unknown(koed, notes, [args.voice], args.output)
        parts = [
            asyncio.create_task(part)
            for part in (bridge.follow(koed), bridge.attend(), over.wait())
        ]
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for part in done:
                part.result()
        finally:
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)
    return 1 if bridge.denied else 0


class Bridge:
    """koed's events on one side, VTube Studio on the other, `Parameters` between them."""

    def __init__(self, args: Namespace, notes: Notes) -> None:
        self._address: str = args.address
        self._vowels: bool = args.vowels
        self._json: bool = getattr(args, "json", False)
        self._tokens = Tokens(Path(args.token_file) if args.token_file else default_path())
        self._notes = notes
        self._mouth = Parameters(args.vowels, args.lead_ms / 1000, args.output, args.voice)
        self._news = asyncio.Event()
        self.denied = False

    async def follow(self, koed: AsyncClient) -> None:
        """Take koed's events, for ever."""
        while True:
            with contextlib.suppress(NoDaemon):
                async for event in koed.events(["mouth"]):
                    if isinstance(event, Mouth):
                        self._mouth.take(event, time.monotonic())
                        self._news.set()
            await asyncio.sleep(FIRST_WAIT_S)

    async def attend(self) -> None:
        """Connect to VTube Studio again and again; ends if the user says no."""
        from websockets.asyncio.client import connect
        from websockets.exceptions import WebSocketException

        from koe.bridge.vts.session import Hung

        wait_s = FIRST_WAIT_S
        while not self.denied:
            try:
                async with connect(
                    self._address, open_timeout=OPEN_S, max_size=MAX_FRAME_BYTES, close_timeout=1.0
                ) as socket:
                    wait_s = FIRST_WAIT_S
                    await self._session(socket)
            except api.VtsError as error:
                self.denied = error.number == api.DENIED
                more = "; start again when you have changed your mind" if self.denied else ""
                self._notes.tell(f"VTube Studio refuses: {error}{more}")
            except (OSError, WebSocketException, TimeoutError, Hung) as error:
                reason = str(error) or type(error).__name__
                self._notes.once(f"no VTube Studio at {self._address}: {reason}; trying again")
            if not self.denied:
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    async def _session(self, socket: Any) -> None:
        from koe.bridge.vts.session import VtsSession

        session = VtsSession(socket, self._notes)
        listening = asyncio.create_task(session.listen())
        moving = asyncio.create_task(self._move(session))
        try:
            done, _ = await asyncio.wait((listening, moving), return_when=asyncio.FIRST_COMPLETED)
            for part in done:
                part.result()
        finally:
            for part in (listening, moving):
                part.cancel()
            shut = self._mouth.release()
            if shut is not None:
                with contextlib.suppress(Exception):  # it has gone, or says so by itself
                    await session.say(shut)
            await asyncio.gather(listening, moving, return_exceptions=True)

    async def _move(self, session: Any) -> None:
        await session.log_in(self._tokens, self._address)
        if self._vowels:
            names = {name: EXPLANATION.format(shape) for shape, name in VOWELS.items()}
            await session.create(names)
        self._notes.tell(f"moving the mouth in VTube Studio at {self._address}")
        if self._json:
            print(json.dumps({"connected": self._address}), flush=True)
        while True:
            values = self._mouth.due(time.monotonic())
            if values is not None:
                await session.say(values)
            await self._until(self._mouth.next_s())

    async def _until(self, due_s: float | None) -> None:
        """Until then, or until there is news."""
        self._news.clear()
        wait_s = None if due_s is None else max(0.0, due_s - time.monotonic())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), wait_s)
