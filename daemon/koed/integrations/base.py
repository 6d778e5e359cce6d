"""Companions: what stands beside the voice, such as OBS. koed speaks on without any of them.

A companion has a thread of its own for whatever may block. The main loop gives it a turn, as it
does to every other part; only there does it touch the handlers or the stage.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable


class Companion(Protocol):
    def start(self) -> None:
        """Begin; returns at once, whether or not the other side is there."""

    def turn(self, now: float) -> None:
        """On the main thread, at every turn of the loop: take what came, never block. Whoever has
        something for the main thread rings the daemon's bell, and this is called."""

    def stop(self, deadline_s: float) -> None:
        """End, and undo what must not stay (a caption, a picture that is shown)."""

    def status(self) -> dict[str, Any]:
        """For `koe status`, under the companion's name."""


@runtime_checkable
class Punctual(Protocol):
    """A companion that has something to do at certain moments."""

    def due(self) -> float | None:
        """When it wants a turn at the latest, monotonic; None = when something happens."""
