"""The bus: one way, from those who know to those who want to know.

A listener that raises is logged and left out of that event; it can never hurt the speaker.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable

from koe.protocol import (
    Event,
    Trouble,
    UtteranceDropped,
    UtteranceFailed,
    UtteranceFinished,
    UtteranceSkipped,
    WireError,
)
from koed.errors import KoedError

log = logging.getLogger(__name__)

Listener = Callable[[Event], None]
LineEnd = UtteranceFinished | UtteranceSkipped | UtteranceDropped | UtteranceFailed
"""A line is over: each has exactly one of these."""


def outcome(end: LineEnd) -> tuple[str, str]:
    """How a line ended, in a word, and why; for one that was heard out there is no why."""
    why: str = getattr(end, "reason", "") or getattr(end, "code", "")
    return end.event.removeprefix("utterance."), why


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

    def trouble(self, error: KoedError | WireError) -> None:
        """Tell of something that went wrong and that koed lives with."""
        self.publish(Trouble(code=error.code, message=error.message, hint=error.hint))
