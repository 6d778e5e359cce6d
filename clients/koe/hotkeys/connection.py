"""The warm connection to koed: a request leaves at once or not at all, and nothing here waits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import zmq

from koe.transport.address import Address
from koe.transport.connection import Link, NoDaemon, encode, prepare
from koe.wire.framing import WireError, unpack

TOPICS = ("voice.changed", "mode.changed", "state")


@dataclass(frozen=True, slots=True)
class News:
    """What has come: the connection stands (``up``) or broke (``down``), an event, a reply, or the
    refusal of a request."""

    kind: str
    """up, down, event, reply, refused."""
    body: dict[str, Any]
    request: dict[str, Any] | None = None


class Connection:
    """``sockets`` are to be polled for reading; `news` is to be asked after each poll."""

    def __init__(self, address: Address) -> None:
        self._context: zmq.Context[Any] = zmq.Context()
        self._link = Link(self._context, address)
        self._events: zmq.Socket[bytes] = self._context.socket(zmq.SUB)
        prepare(self._events, address)
        for topic in TOPICS:
            self._events.subscribe(topic)
        self._events.connect(address.events)
        self._open: dict[int, dict[str, Any]] = {}
        self._was_up = False

    @property
    def sockets(self) -> tuple[zmq.Socket[bytes], ...]:
        return (self._link.socket, self._link.monitor, self._events)

    @property
    def up(self) -> bool:
        return self._link.box.up

    def close(self) -> None:
        self._context.destroy(0)

    def send(self, request: dict[str, Any]) -> bool:
        """Send a request; False = there is no koed now, and it is forgotten.

        Raises `WireError` for what cannot be put on the wire.
        """
        number = self._link.box.number()
        if not self._link.try_send(encode(request, number), number):
            return False
        self._open[number] = request
        return True

    def news(self) -> list[News]:
        """What has come since the last call, in order."""
        settled = self._link.take()
        found: list[News] = []
        if self.up != self._was_up:
            self._was_up = self.up
            found.append(News("up" if self.up else "down", {}))
        found += [self._settle(number) for number in sorted(settled) if number in self._open]
        while self._events.poll(0):
            try:
                message = unpack(self._events.recv_multipart()[-1])
            except WireError:
                continue  # not koed's language
            found.append(News("event", message))
        return found

    def _settle(self, number: int) -> News:
        request = self._open.pop(number)
        try:
            result = self._link.box.result(number, self._link.endpoint) or {}
            return News("reply", result, request)
        except (NoDaemon, WireError) as error:
            return News("refused", error.to_map(), request)
        finally:
            self._link.box.forget(number)
