"""The sockets of the synchronous client, which wait in place."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Self

import zmq

from koe.transport.address import Address, find
from koe.transport.connection import Link, encode, milliseconds, prepare, require, silence
from koe.wire.framing import unpack

if TYPE_CHECKING:
    from koe.wire.events import Event

TURN_S = 0.1
"""How long a wait for the connection lasts before the socket file is looked at again."""


class BlockingLink(Link):
    """A link that waits in place."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], address: Address) -> None:
        super().__init__(context, address)
        self._poller = zmq.Poller()
        self._poller.register(self.socket, zmq.POLLIN)
        self._poller.register(self.monitor, zmq.POLLIN)

    def send(self, request: dict[str, Any], timeout_s: float) -> int:
        """Hand a request map to a connection that stands; raises `NoDaemon` if there comes none."""
        number = self.box.number()
        data = encode(request, number)
        deadline = time.monotonic() + timeout_s
        self.take()
        while not self.try_send(data, number):
            require(self.endpoint)
            left = deadline - time.monotonic()
            if left <= 0:
                raise silence(self.endpoint, timeout_s, sent=False)
            self._poller.poll(milliseconds(min(left, TURN_S)))
            self.take()
        return number

    def receive(self, number: int, timeout_s: float | None) -> dict[str, Any]:
        """The result of request ``number``; replies to others are kept for their turn."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        try:
            while (result := self.box.result(number, self.endpoint)) is None:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise silence(self.endpoint, timeout_s or 0.0, sent=True)
                self._poller.poll(milliseconds(left))
                self.take()
            return result
        finally:
            self.box.forget(number)


class Events:
    """An iterator over what koed tells; it goes on when koed is restarted.

    ``topics`` are prefixes of event names (none = all events). Nothing that happened before the
    subscription reached koed is seen. Events that this client is too old to know are left out.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], address: Address, topics: Iterable[str]
    ) -> None:
        self._socket = context.socket(zmq.SUB)
        prepare(self._socket, address)
        for topic in tuple(topics) or ("",):
            self._socket.subscribe(topic)
        self._socket.connect(address.events)

    def next_map(self, timeout_s: float | None = None) -> dict[str, Any] | None:
        """The next event as it is on the wire; None if none came in time."""
        if not self._socket.poll(milliseconds(timeout_s)):
            return None
        return unpack(self._socket.recv_multipart()[-1])

    def next(self, timeout_s: float | None = None) -> Event | None:
        """The next known event; None if none came in time."""
        from koe.wire.results import read_event

        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            message = self.next_map(left)
            if message is None:
                return None
            event = read_event(message)
            if event is not None:
                return event

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        while (event := self.next()) is None:
            pass
        return event

    def close(self) -> None:
        self._socket.close(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Caller:
    """One connection to koed that speaks in maps as they are on the wire.

    `koe.client.Client` adds the verbs; a program that must start fast does without them.
    """

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
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._link = BlockingLink(self._context, self.address)

    def close(self) -> None:
        self._context.destroy(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def call(self, request: dict[str, Any], timeout_s: float | None = None) -> dict[str, Any]:
        """Send a request (its ``id`` is ours to set) and wait for its result.

        A request with ``wait`` is waited for without end unless ``timeout_s`` is given.
        """
        number = self._link.send(request, self.timeout_s)
        if timeout_s is None and not request.get("wait"):
            timeout_s = self.timeout_s
        return self._link.receive(number, timeout_s)

    def events(self, topics: Iterable[str] = ()) -> Events:
        """What koed tells from now on. See `Events`."""
        require(self.address.events)
        return Events(self._context, self.address, topics)
