"""Has one phrase at a time spoken into memory instead of an output.

It uses a lane of the engine that no output has, with little credit and below all of them, so that a
worker prefers the others. And it gives way altogether: `cancel` ends the job when a line comes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from koed.engine.base import Job, Mouth, Word
from koed.phrases.takes import MAX_S, Piece, Take
from koed.text.segment import Segment
from koed.voices import ReadyVoice

LANE = 0
"""Of the engines; outputs have 1 and up."""
AHEAD_S = 0.5
"""The worker makes so much at a time: little, so that it stops soon."""
TOO_LONG = "phrase_too_long"


class Host(Protocol):
    """The part of an engine host that the studio needs."""

    def speak(self, job: Job) -> None: ...
    def kill(self, serials: list[int]) -> None: ...
    def grant(self, lane: int, ahead_s: float) -> None: ...


@dataclass(frozen=True, slots=True)
class Order:
    """A phrase to be rendered. ``key``: see `koed.phrases.takes.take_key`."""

    key: str
    voice: ReadyVoice
    segments: tuple[Segment, ...]


@dataclass(slots=True)
class _Recording:
    order: Order
    serial: int
    pieces: list[Piece] = field(default_factory=list)
    pcm: list[NDArray[np.float32]] = field(default_factory=list)
    words: list[Word] = field(default_factory=list)
    mouths: list[Mouth] = field(default_factory=list)
    rate_hz: int = 0
    seconds: float = 0.0


class Studio:
    """``done`` hears of each order's end: the take, or None with a code and a message."""

    def __init__(
        self,
        hosts: Mapping[str, Host],
        next_serial: Callable[[], int],
        lookahead_s: float,
        done: Callable[[Order, Take | None, str, str], None],
    ) -> None:
        self._hosts = hosts
        self._next_serial = next_serial
        self._ahead_s = max(0.0, lookahead_s - AHEAD_S)
        self._done = done
        self._recording: _Recording | None = None

    @property
    def order(self) -> Order | None:
        """What is being rendered."""
        return self._recording.order if self._recording else None

    def begin(self, order: Order) -> None:
        self.cancel()
        self._recording = _Recording(order, 0)
        self._speak(self._recording)

    def cancel(self) -> None:
        """Stop; nobody is told. What was made of it so far is lost."""
        recording, self._recording = self._recording, None
        if recording is not None:
            self._host(recording.order).kill([recording.serial])

    def owns(self, serials: Collection[int]) -> bool:
        """Whether the job that is being rendered is among ``serials``."""
        return self._recording is not None and self._recording.serial in serials

    def _host(self, order: Order) -> Host:
        return self._hosts[order.voice.engine]

    def _speak(self, recording: _Recording) -> None:
        order = recording.order
        segment = order.segments[len(recording.pieces)]
        recording.serial = self._next_serial()
        host = self._host(order)
        host.grant(LANE, self._ahead_s)
        host.speak(
            Job(
                serial=recording.serial,
                lane=LANE,
                voice=order.voice.key,
                text=segment.text,
                lang=segment.lang,
                speed=order.voice.profile.speed,
                seed=segment.index,
            )
        )

    def _of(self, serial: int) -> _Recording | None:
        recording = self._recording
        return recording if recording and recording.serial == serial else None

    def _end(self, take: Take | None, code: str = "", message: str = "") -> None:
        assert self._recording is not None, "something ends"
        order, self._recording = self._recording.order, None
        self._done(order, take, code, message)

    # --- what the engines say ----------------------------------------------------------------

    def chunk(
        self,
        serial: int,
        pcm: NDArray[np.float32],
        rate_hz: int,
        words: Sequence[Word],
        mouths: Sequence[Mouth],
    ) -> None:
        recording = self._of(serial)
        if recording is None:
            return
        recording.seconds += len(pcm) / rate_hz
        if recording.seconds > MAX_S or recording.rate_hz not in (0, rate_hz):
            self._host(recording.order).kill([serial])
            self._end(None, TOO_LONG, f"it is longer than {MAX_S:.0f} s")
            return
        recording.rate_hz = rate_hz
        recording.pcm.append(pcm)
        recording.words.extend(words)
        recording.mouths.extend(mouths)
        self._host(recording.order).grant(LANE, self._ahead_s)

    def done(self, serial: int) -> None:
        recording = self._of(serial)
        if recording is None:
            return
        order = recording.order
        segment = order.segments[len(recording.pieces)]
        pcm = np.concatenate([np.zeros(0, np.float32), *recording.pcm])
        recording.pieces.append(
            Piece(
                segment.text,
                segment.lang,
                recording.rate_hz or 48000,
                pcm,
                tuple(recording.words),
                tuple(recording.mouths),
            )
        )
        recording.pcm, recording.words, recording.mouths = [], [], []
        recording.rate_hz = 0
        if len(recording.pieces) < len(order.segments):
            self._speak(recording)
        elif not recording.seconds:
            self._end(None, "nothing_to_say", "the engine found nothing in it to speak")
        else:
            self._end(Take(order.key, order.voice.key, tuple(recording.pieces)))

    def failed(self, serial: int, code: str, message: str) -> None:
        if self._of(serial) is not None:
            self._end(None, code, message)
