"""Requests under way: many at a time, each answer told with the line it belongs to."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import zmq

from koe.transport.blocking import Caller
from koe.transport.connection import milliseconds
from koe.wire.framing import WireError

IN_FLIGHT = 64
"""Requests without an answer; beyond, no more is read: who writes has to wait."""

Answer = tuple[int, dict[str, Any] | WireError]
"""Number of the line, and what came of it."""


class Pipeline(Caller):
    """One connection; `send` as long as there is `room`, `answers` as they come, in order."""

    def __init__(self, **place: Any) -> None:
        super().__init__(**place)
        self._under_way: deque[tuple[int, int]] = deque()

    @property
    def room(self) -> bool:
        return len(self._under_way) < IN_FLIGHT

    @property
    def idle(self) -> bool:
        return not self._under_way

    def watch(self, poller: zmq.Poller) -> None:
        """Register what wakes a waiting program when answers come."""
        poller.register(self._link.socket, zmq.POLLIN)
        poller.register(self._link.monitor, zmq.POLLIN)

    def wait(self, timeout_s: float = 0.1) -> None:
        """Until there may be an answer."""
        poller = zmq.Poller()
        self.watch(poller)
        poller.poll(milliseconds(timeout_s))

    def send(self, number: int, request: dict[str, Any]) -> None:
        """Send the request of line ``number``; raises `WireError` if it cannot be sent."""
        self._under_way.append((number, self._link.send(request, self.timeout_s)))

    def answers(self, wait: bool = False) -> Iterator[Answer]:
        """What is there; with ``wait`` all that is still to come (or ``timeout_s`` without)."""
        self._link.take()
        while self._under_way:
            number, request = self._under_way[0]
            if not wait and not self._settled(request):
                return
            self._under_way.popleft()
            try:
                yield number, self._link.receive(request, self.timeout_s)
            except WireError as error:
                yield number, error

    def _settled(self, request: int) -> bool:
        box = self._link.box
        return request in box.replies or request in box.lost
