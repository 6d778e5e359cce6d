"""Has one phrase at a time spoken into memory instead of an output.

Its jobs are phrases, to which a worker prefers those of the air, and have little credit. And it
gives way altogether: `cancel` ends the job when a line comes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from koed.engine.base import Job, Mouth, Word
from koed.engine.jobs import Jobs
from koed.phrases.takes import MAX_S
from koed.playback.takes import Piece, Take
from koed.text.segment import Segment
from koed.voices.catalog import ReadyVoice

AHEAD_S = 0.5
"""The worker makes so much at a time: little, so that it stops soon."""
TOO_LONG = "phrase_too_long"


LOST = "engine_lost"
"""The code of a request whose worker is gone."""


@dataclass(frozen=True, slots=True)
class RenderRequest:
    """A phrase to be rendered. ``key``: see `koed.phrases.takes.take_key`."""

    key: str
    voice: ReadyVoice
    segments: tuple[Segment, ...]


Done = Callable[[RenderRequest, Take | None, str, str], None]
"""Told of the end of a request: the take, or None with a code and a message."""


@dataclass(slots=True)
class _Recording:
    request: RenderRequest
    serial: int
    pieces: list[Piece] = field(default_factory=list)
    pcm: list[NDArray[np.float32]] = field(default_factory=list)
    words: list[Word] = field(default_factory=list)
    mouths: list[Mouth] = field(default_factory=list)
    rate_hz: int = 0
    seconds: float = 0.0


class PhraseRenderer:
    """Owns its jobs (`koed.playback.dispatch.JobOwner`). ``lane``: one that no output has;
    ``serials``: for the jobs of phrases."""

    def __init__(
        self,
        jobs: Jobs,
        lane: int,
        serials: Iterator[int],
        lookahead_s: float,
        done: Done,
    ) -> None:
        self._jobs = jobs
        self._lane = lane
        self._serials = serials
        self._ahead_s = max(0.0, lookahead_s - AHEAD_S)
        self._done = done
        self._recording: _Recording | None = None

    @property
    def request(self) -> RenderRequest | None:
        """What is being rendered."""
        return self._recording.request if self._recording else None

    def begin(self, request: RenderRequest) -> None:
        self.cancel()
        self._recording = _Recording(request, 0)
        self._speak(self._recording)

    def cancel(self) -> None:
        """Stop; nobody is told. What was made of it so far is lost."""
        recording, self._recording = self._recording, None
        if recording is not None:
            self._jobs.keep(self, recording.request.voice.engine, ())

    def _speak(self, recording: _Recording) -> None:
        request = recording.request
        segment = request.segments[len(recording.pieces)]
        recording.serial = next(self._serials)
        host = self._jobs.hosts[request.voice.engine]
        delivery = request.voice.profile.delivery.only(
            host.capabilities.line_fields if host.capabilities else ()
        )
        job = Job(
            serial=recording.serial,
            lane=self._lane,
            voice=request.voice.key,
            text=segment.text,
            lang=segment.lang,
            speed=delivery.speed or 1.0,
            seed=1000 * (delivery.seed or 0) + segment.index,
            owner="phrase",
            settings=delivery.job_settings,
        )
        self._jobs.speak(self, request.voice.engine, job, self._ahead_s)
        self._jobs.keep(self, request.voice.engine, (recording.serial,))

    def _of(self, serial: int) -> _Recording | None:
        recording = self._recording
        return recording if recording and recording.serial == serial else None

    def _end(self, take: Take | None, code: str = "", message: str = "") -> None:
        assert self._recording is not None, "something ends"
        request = self._recording.request
        self.cancel()
        self._done(request, take, code, message)

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
            self._end(None, TOO_LONG, f"it is longer than {MAX_S:.0f} s")
            return
        recording.rate_hz = rate_hz
        recording.pcm.append(pcm)
        recording.words.extend(words)
        recording.mouths.extend(mouths)
        self._jobs.hosts[recording.request.voice.engine].grant(self._lane, self._ahead_s)

    def done(self, serial: int) -> None:
        recording = self._of(serial)
        if recording is None:
            return
        request = recording.request
        segment = request.segments[len(recording.pieces)]
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
        if len(recording.pieces) < len(request.segments):
            self._speak(recording)
        elif not recording.seconds:
            self._end(None, "nothing_to_say", "the engine found nothing in it to speak")
        else:
            self._end(Take(request.key, request.voice.key, tuple(recording.pieces)))

    def failed(self, serial: int, code: str, message: str) -> None:
        if self._of(serial) is not None:
            self._end(None, code, message)

    def mended(self, serial: int, code: str) -> None:
        """What was made anew before it was sent is whole."""

    def lost(self, serials: Collection[int], code: str) -> None:
        if self._recording is not None and self._recording.serial in serials:
            self._end(None, LOST, "its engine ended over it, twice")
