"""The bus: one way, from those who know to those who want to know.

A listener that raises is logged and left out of that event; it can never hurt the speaker.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable

from koe.protocol import Event

log = logging.getLogger(__name__)

Listener = Callable[[Event], None]


class Bus:
    """Stamps events with a rising ``seq``, the monotonic time and the id of this start of the
    daemon, and hands them to listeners."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, boot: str = "") -> None:
        self._clock = clock
        self._boot = boot
        self._listeners: list[Listener] = []
        self._seq = 0

    def listen(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def publish(self, event: Event) -> None:
        self._seq += 1
        stamped = dataclasses.replace(event, seq=self._seq, t=self._clock(), boot=self._boot)
        for listener in self._listeners:
            try:
                listener(stamped)
            except Exception:
                log.exception("a listener failed on %s", event.event)
