"""The sockets of the asyncio client, which leave the event loop free."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any, Self

import zmq
import zmq.asyncio

from koe.transport.address import Address
from koe.transport.blocking import TURN_S
from koe.transport.connection import Link, encode, milliseconds, prepare, require, silence
from koe.wire.events import Event
from koe.wire.framing import unpack
from koe.wire.results import read_event


class WaitingLink(Link):
    """A link whose waits leave the event loop free.

    ZeroMQ's file descriptors only tell of a change, and any use of the socket may swallow that
    sign. Therefore everything is read after every use, whoever was waiting for it.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], address: Address) -> None:
        super().__init__(context, address)
        self._changed = asyncio.Event()
        self._turn = asyncio.Lock()  # requests leave in the order in which they were made
        self._waiters: dict[int, asyncio.Future[None]] = {}
        self._loop = asyncio.get_running_loop()
        self._files = [self.socket.fileno(), self.monitor.fileno()]
        for file in self._files:
            self._loop.add_reader(file, self._read)
        self._read()

    def _read(self) -> None:
        for number in self.take():
            waiter = self._waiters.get(number)
            if waiter is not None and not waiter.done():
                waiter.set_result(None)
        self._changed.set()
        self._changed.clear()

    async def send(self, request: dict[str, Any], timeout_s: float) -> int:
        """Hand a request map to a connection that stands; raises `NoDaemon` if there comes none."""
        number = self.box.number()
        data = encode(request, number)
        deadline = self._loop.time() + timeout_s
        async with self._turn:
            self._read()
            while not self.try_send(data, number):
                require(self.endpoint)
                left = deadline - self._loop.time()
                if left <= 0:
                    raise silence(self.endpoint, timeout_s, sent=False)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), min(left, TURN_S))
                self._read()
        self._read()
        return number

    async def receive(self, number: int, timeout_s: float | None) -> dict[str, Any]:
        """The result of request ``number``."""
        waiter = self._waiters[number] = self._loop.create_future()
        try:
            result = self.box.result(number, self.endpoint)
            if result is None:
                await asyncio.wait_for(waiter, timeout_s)
                result = self.box.result(number, self.endpoint)
            assert result is not None
            return result
        except TimeoutError as error:
            raise silence(self.endpoint, timeout_s or 0.0, sent=True) from error
        finally:
            del self._waiters[number]
            self.box.forget(number)

    def close(self) -> None:
        for file in self._files:
            self._loop.remove_reader(file)
        self.box.lose_open()
        for waiter in self._waiters.values():
            if not waiter.done():
                waiter.cancel("the client was closed")


class AsyncEvents:
    """An asynchronous iterator over what koed tells. See `koe.client.Events`."""

    def __init__(
        self, context: zmq.asyncio.Context, address: Address, topics: Iterable[str]
    ) -> None:
        self._socket = context.socket(zmq.SUB)
        prepare(self._socket, address)
        for topic in tuple(topics) or ("",):
            self._socket.subscribe(topic)
        self._socket.connect(address.events)

    async def next_map(self, timeout_s: float | None = None) -> dict[str, Any] | None:
        """The next event as it is on the wire; None if none came in time."""
        if not await self._socket.poll(milliseconds(timeout_s)):
            return None
        frames = await self._socket.recv_multipart()
        return unpack(frames[-1])

    async def next(self, timeout_s: float | None = None) -> Event | None:
        """The next known event; None if none came in time."""
        loop = asyncio.get_running_loop()
        deadline = None if timeout_s is None else loop.time() + timeout_s
        while True:
            left = None if deadline is None else max(0.0, deadline - loop.time())
            message = await self.next_map(left)
            if message is None:
                return None
            event = read_event(message)
            if event is not None:
                return event

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while (event := await self.next()) is None:
            pass
        return event

    def close(self) -> None:
        self._socket.close(0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.close()
