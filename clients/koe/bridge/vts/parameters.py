"""When which parameter has which value: mouth events become frames on the playback clock. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from koe.protocol import Mouth

MOUTH = "MouthOpen"
VOWELS = {shape: f"KoedMouth{shape.upper()}" for shape in "aiueo"}
REPEAT_S = 0.5
"""A value is said again after so long: VTube Studio takes back what is not, after a second."""
KEPT = 500
WINDOW_S = 0.02
"""A frame is about the 20 ms that end at its ``heard_t``; it is said as they begin."""


@dataclass(frozen=True, slots=True)
class Frame:
    due_s: float
    values: dict[str, float]
    held: bool
    """False: the mouth is shut and given back."""


class Parameters:
    """Takes events as they come and gives frames when they are due."""

    def __init__(
        self,
        vowels: bool = False,
        lead_s: float = 0.0,
        output: str | None = None,
        voice: str | None = None,
    ) -> None:
        self._vowels = vowels
        self._lead_s = lead_s
        self._output = output
        self._voice = voice
        self._frames: deque[Frame] = deque(maxlen=KEPT)
        self._held: Frame | None = None
        self._said_s = 0.0

    def take(self, event: Mouth, now_s: float) -> None:
        """An event that came at ``now_s``. Its times are of the daemon's clock, which need not be
        ours: what counts is how far ahead of its sending the sound is heard."""
        if self._output is not None and event.output != self._output:
            return
        voice = event.voice.partition("/")[0]  # in whatever style
        other = self._voice is not None and voice not in ("", self._voice)
        shut = not event.voice or other
        due_s = now_s + (event.heard_t - event.t) - WINDOW_S - self._lead_s
        values = {MOUTH: 0.0 if shut else event.open}
        if self._vowels:
            for shape, name in VOWELS.items():
                values[name] = 1.0 if not shut and event.shape == shape else 0.0
        self._frames.append(Frame(due_s, values, not shut))

    def next_s(self) -> float | None:
        """When there is something to say next; None = nothing in sight."""
        if self._frames:
            return self._frames[0].due_s
        return self._said_s + REPEAT_S if self._held else None

    def due(self, now_s: float) -> dict[str, float] | None:
        """What to say now, the latest of what is due; None = nothing."""
        frame = None
        while self._frames and self._frames[0].due_s <= now_s:
            frame = self._frames.popleft()
        if frame is None:
            if self._held is None or now_s < self._said_s + REPEAT_S:
                return None
            frame = self._held
        if not frame.held and self._held is None:
            return None  # it is shut and given back already
        self._held = frame if frame.held else None
        self._said_s = now_s
        return frame.values

    def release(self) -> dict[str, float] | None:
        """koed has gone: what shuts a mouth that was left open."""
        self._frames.clear()
        held, self._held = self._held, None
        return dict.fromkeys(held.values, 0.0) if held else None
