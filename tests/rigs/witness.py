"""What the events told, and what was done to whom."""

from __future__ import annotations

import os
import signal
from typing import Any

from koed.testing.rig import Rig, Watch
from tests.rigs.waiting import wait_for

ENDS = {
    "utterance.finished": "finished",
    "utterance.skipped": "skipped",
    "utterance.dropped": "dropped",
    "utterance.failed": "failed",
}


def watch(daemon: Rig) -> Watch:
    """All events but levels, from now on."""
    return daemon.watch("utterance.", "voice.", "state", "trouble", "engine.", "device.")


def say(daemon: Rig, text: str, **rest: Any) -> int:
    """The number of the line."""
    return daemon.client.say(text, **rest).utterance


def end(watch: Watch, utterance: int, timeout_s: float = 60.0) -> Any:
    """The event that ended a line."""

    def find() -> Any:
        return next(
            (
                event
                for event in list(watch.events)
                if event.event in ENDS and getattr(event, "utterance", 0) == utterance
            ),
            None,
        )

    return wait_for(find, timeout_s, f"the end of line {utterance}")


def outcome(watch: Watch, utterance: int, timeout_s: float = 60.0) -> str:
    """finished, skipped, dropped or failed."""
    return ENDS[end(watch, utterance, timeout_s).event]


def told(watch: Watch, name: str, **values: Any) -> list[Any]:
    """All events so far of a name and with these values."""
    return [
        event
        for event in list(watch.events)
        if event.event == name and all(getattr(event, k) == v for k, v in values.items())
    ]


def words(watch: Watch, utterance: int) -> list[str]:
    """The words (or segments) that were heard to begin, in order; one said again counts once."""
    seen: dict[int, str] = {}
    for event in told(watch, "utterance.progress", utterance=utterance):
        seen.setdefault(event.start, event.text)
    return [seen[start] for start in sorted(seen)]


def worker(daemon: Rig, engine: str = "tone") -> int:
    """Process id of the worker of an engine that is up."""

    def find() -> int:
        told = daemon.client.status()["engines"][engine]
        return int(told["pid"]) if told["state"] == "up" else 0

    return int(wait_for(find, 120.0, f"engine {engine} is up"))


def kill(pid: int, how: signal.Signals = signal.SIGKILL) -> None:
    os.kill(pid, how)


def runs(pid: int) -> bool:
    """Whether a process lives; one that nobody has reaped yet does not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False
