"""The asyncio client: the verbs of `koe.client`, to be awaited.

    async with AsyncClient() as koed:
        await koed.say("hello")
        async for event in koed.events(["utterance."]):
            print(event)

One client serves any number of tasks of one event loop at the same time. Raises what
`koe.client.Client` raises.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any, Self

import zmq
import zmq.asyncio

from koe import protocol
from koe.protocol import Event, Request, WireError
from koe.transport.address import find
from koe.transport.connection import NoDaemon, Refused, encode_text, prepare, require, silence
from koe.transport.nonblocking import AsyncEvents, WaitingLink
from koe.verbs import LineVerbs, Verbs, Waiting
from koe.wire.results import Page, Recording, ends

__all__ = ["AsyncClient", "AsyncEvents", "AsyncLine", "NoDaemon", "Refused", "WireError"]


class AsyncLine(LineVerbs, Waiting):
    """A line whose text comes piece by piece. See `koe.client.Line`."""

    async def ask(self, request: Request, timeout_s: float | None = None) -> dict[str, Any]:
        client: AsyncClient = self._client
        return await client.ask(request, timeout_s)

    async def finish(self) -> None:
        """Close the line unless that was done."""
        if not self._closed:
            await self.close()


class AsyncClient(Verbs[AbstractAsyncContextManager[AsyncLine]], Waiting):
    """The requests of koed as coroutines. Arguments as for `koe.client.Client`."""

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        endpoint: str | None = None,
        keys: str | os.PathLike[str] | None = None,
        events: str | None = None,
        timeout_s: float = 5.0,
    ) -> None:
        self.address = find(directory, endpoint, keys, events)
        self.timeout_s = timeout_s
        self._context = zmq.asyncio.Context()
        self._plain: zmq.Context[zmq.Socket[bytes]] = zmq.Context(self._context)
        self._link: WaitingLink | None = None
        self._text: zmq.asyncio.Socket | None = None

    async def close(self) -> None:
        """Close all sockets; texts that were pushed are given three seconds to leave."""
        if self._link is not None:
            self._link.close()
            self._link.socket.close(0)
            self._link.monitor.close(0)
        if self._text is not None:
            self._text.close(3000)
        self._context.destroy(0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def ask(self, request: Request, timeout_s: float | None = None) -> dict[str, Any]:
        if self._link is None:
            self._link = WaitingLink(self._plain, self.address)
        number = await self._link.send(request.to_map(), self.timeout_s)
        if timeout_s is None and not getattr(request, "wait", False):
            timeout_s = self.timeout_s
        return await self._link.receive(number, timeout_s)

    @contextlib.asynccontextmanager
    async def _open(self, request: protocol.SayOpen) -> AsyncIterator[AsyncLine]:
        result = await self.ask(request)
        line = AsyncLine(self, result.get("utterance", 0), result.get("voice") or "")
        try:
            yield line
        except BaseException:
            with contextlib.suppress(WireError):  # the first error is the one to tell
                await line.finish()
            raise
        await line.finish()

    async def push(self, text: str) -> None:
        """Hand text to the socket that takes nothing else. There is no answer and no refusal."""
        data = encode_text(text)
        require(self.address.text)
        if self._text is None:
            self._text = self._context.socket(zmq.PUSH)
            prepare(self._text, self.address)
            self._text.connect(self.address.text)
        try:
            await asyncio.wait_for(self._text.send(data), self.timeout_s)
        except TimeoutError as error:
            raise silence(self.address.text, self.timeout_s, sent=False) from error

    async def wait_for(self, utterance: int, timeout_s: float | None = None) -> Event | None:
        """Wait until a line is over: the event that ended it, or None if it was over already.

        Raises `TimeoutError`.
        """
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(timeout_s), self.events(("utterance.",)) as events:
            while True:  # the queue is asked again: an event may be lost, its line is not
                waiting = (await self.queue()).has(utterance)
                until = loop.time() + (1.0 if waiting else 0.1)
                while (left := until - loop.time()) > 0:
                    event = await events.next(left)
                    if event is not None and ends(event, utterance):
                        return event
                if not waiting:
                    return None

    async def pages(
        self, output: str | None = None, seconds: float | None = None
    ) -> AsyncIterator[Page]:
        """The last ``seconds`` that an output played (None = all that is kept), page by page."""
        page = await self._page(output, seconds)
        end_frame = page.end_frame
        yield page
        while page.next_frame < end_frame:
            page = await self._page(output, from_frame=page.next_frame)
            yield page

    async def save(
        self,
        path: str | os.PathLike[str],
        *,
        output: str | None = None,
        seconds: float | None = None,
    ) -> Recording:
        """Write the last ``seconds`` that an output played as a WAV file. Raises `OSError`."""
        from koe.recording import write_wav

        pages = [page async for page in self.pages(output, seconds)]
        return await asyncio.to_thread(write_wav, path, pages)

    def events(self, topics: Iterable[str] = ()) -> AsyncEvents:
        """What koed tells from now on. See `koe.client.Events`."""
        require(self.address.events)
        return AsyncEvents(self._context, self.address, topics)
