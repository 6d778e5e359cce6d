"""Reads the events of a daemon in their order."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

from koe.client import Client
from koe.protocol import Event, UtteranceStarted
from koed.testing.rig import Rig, Watch
from tests.rigs.waiting import wait_for

PATIENCE_S = 40.0
AHEAD = 100
"""Lines that `talking` keeps in the queue."""

LOW = {"engine": "tone", "lang": "en", "settings": {"hz": 400, "char_ms": 25, "amplitude": 0.25}}
HIGH = LOW | {"settings": LOW["settings"] | {"hz": 1000}}  # type: ignore[operator]


class Follower:
    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._at = 0

    def next(self, name: str, **values: Any) -> Any:
        """The next event of that name and with these values; those before it are passed over."""

        def look() -> Event | None:
            events = self._watch.events
            for at in range(self._at, len(events)):
                event = events[at]
                if event.event == name and all(getattr(event, k) == v for k, v in values.items()):
                    self._at = at + 1
                    return event
            return None

        return wait_for(look, PATIENCE_S, f"{name} {values}")

    def skip(self) -> None:
        """Pass over all that came."""
        self._at = len(self._watch.events)

    def seen(self, *names: str) -> list[Any]:
        """All events so far that have one of these names."""
        return [event for event in list(self._watch.events) if event.event in names]

    def speaks(self, lines: int = 1) -> None:
        """koed speaks, now: so many lines begin and end after this was called."""
        since = time.monotonic()

        def spoken() -> bool:
            begun = {
                event.utterance
                for event in self.seen("utterance.started")
                if isinstance(event, UtteranceStarted) and event.t > since
            }
            ended = {event.utterance for event in self.seen("utterance.finished")}
            return len(begun & ended) >= lines

        wait_for(spoken, PATIENCE_S, f"{lines} lines are spoken")


@contextlib.contextmanager
def talking(daemon: Rig, text: str, voice: str) -> Iterator[None]:
    """koed has lines to speak for as long as this lasts, however slow the machine is."""
    over = threading.Event()

    def feed() -> None:
        with Client(str(daemon.folder / "run")) as client:
            while not over.is_set():
                for _ in range(AHEAD - len(client.queue().waiting)):
                    client.say(text, voice=voice)
                over.wait(1.0)

    with contextlib.ExitStack() as stack:
        feeder = threading.Thread(target=feed)
        stack.callback(feeder.join)
        stack.callback(over.set)
        feeder.start()
        yield
