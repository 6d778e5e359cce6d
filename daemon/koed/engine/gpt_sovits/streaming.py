"""An utterance as a stream: codes are awaited, judged and made sound of, chunk after chunk.

There is one path. Each decode sees all codes so far, holds back the last few (`Pace.lookahead`),
because what follows them would still change them, and renders the frames that have not been sent
with the exact context of the networks. Once all codes are there, chunks are parts of one sound.
Joining the chunks is the whole output.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from koed.engine.base import Chunk
from koed.engine.gpt_sovits import guards
from koed.engine.gpt_sovits.model.sovits import SAMPLE_RATE_HZ, SoundModel
from koed.engine.gpt_sovits.model.style_encoder import Style
from koed.engine.gpt_sovits.model.text_encoder import Encoded
from koed.engine.gpt_sovits.timing.schedule import Score, Times
from koed.engine.gpt_sovits.trim import Trimmer
from koed.errors import EngineError

log = logging.getLogger(__name__)

FRAMES_PER_CODE = 2
ATTEMPTS = 4
_SEED_STEP = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio: attempts lie far apart
_EMPTY = np.empty(0, np.float32)

PATIENCE_S = 0.02
"""So long other streams of this thread wait when this one has nothing to do but to wait."""

Sound = NDArray[np.float32]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pace:
    """How an utterance is cut into chunks, in codes of 40 ms."""

    first: int = 7
    """Of the first chunk, at speed 1."""
    lookahead: int = 6
    """Held back while more are to come; see `seams`."""
    growth: float = 1.7
    """Each chunk is so much longer than the last: the longer, the less is encoded twice."""
    most: int = 50


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """What is to be said and how: all that a stream needs beside the model."""

    phones: Tensor
    """[N] int64, of the text alone."""
    score: Score
    """What is shown along the phones."""
    seed: int
    speed: float = 1.0
    pace: Pace = field(default_factory=Pace)
    noise_scale: float = 0.5


class Windows(Protocol):
    """`SoundModel`, or `WindowGraphs` on a GPU."""

    def decode_window(
        self, encoded: Encoded, first_frame: int, frames: int, style: Style, seed: int,
        noise_scale: float = ...,
    ) -> Tensor:  # fmt: skip
        """-> the samples [640 * frames] float32 from ``first_frame`` on; fewer at the end"""


@dataclass(slots=True)
class Codes:
    """The codes of an utterance as far as anybody asked for them.

    Those that must be judged first are tried anew with another seed if they are wrong, as long as
    nothing has been given away. Raises `EngineError` ``speech_*`` when that does not help.
    """

    attempt: Callable[[int], Iterator[int]]
    """Seed -> codes, one by one; its ``close`` stops the model."""
    judge: Callable[[list[int], bool], guards.Verdict | None]
    seed: int
    hold: int = 0
    """Judge so many (or the end) before any is given away."""
    budget_s: float = 1.5
    """No new attempt when so much time has gone."""
    clock: Callable[[], float] = time.monotonic
    wrong: Callable[[guards.Verdict], None] = lambda verdict: None
    """Told of every verdict, to count it."""

    known: list[int] = field(default_factory=list)
    ended: bool = False
    attempts: int = 0
    _running: Iterator[int] | None = None
    _given: bool = False
    _began: float | None = None

    def until(self, count: int) -> Generator[None, None, None]:
        """Wait until ``count`` codes are known or the end is; yields after each, to be stopped."""
        while not self._given:
            yield from self._pull(max(count, self.hold))
            verdict = self.judge(self.known, self.ended)
            if verdict is None:
                self._given = True
                return
            self._retry(verdict)
            yield  # an attempt may end at its first code: a stop is heard between attempts
        yield from self._pull(count)
        verdict = self.judge(self.known, self.ended)
        if verdict is not None:
            self.wrong(verdict)
            self.close()
            raise EngineError(f"speech_{verdict}", f"speech went wrong: {guards.WORDS[verdict]}")

    def close(self) -> None:
        """Stop the model. What is known stays."""
        running, self._running = self._running, None
        if isinstance(running, Generator):
            running.close()

    def _pull(self, count: int) -> Generator[None, None, None]:
        if self._running is None and not self.attempts:
            self._start()
        while len(self.known) < count and not self.ended:
            code = next(self._running, None) if self._running is not None else None
            if code is None:
                self.ended = True
                self.close()
                return
            self.known.append(code)
            yield

    def _start(self) -> None:
        if self._began is None:
            self._began = self.clock()
        seed = (self.seed + self.attempts * _SEED_STEP) % 2**63
        self.attempts += 1
        self.known, self.ended = [], False
        self._running = iter(self.attempt(seed))

    def _retry(self, verdict: guards.Verdict) -> None:
        self.close()
        self.wrong(verdict)
        late = self._began is not None and self.clock() - self._began > self.budget_s
        if late or self.attempts >= ATTEMPTS:
            raise EngineError(
                f"speech_{verdict}",
                f"speech went wrong {self.attempts} times: {guards.WORDS[verdict]}",
                "another reference, or a lower temperature, helps where it happens often",
            )
        self._start()


@dataclass(frozen=True, slots=True)
class Rendering:
    """A chunk whose sound is being made."""

    encoded: Encoded
    first: int
    end: int
    """Frames from ``first`` to ``end``, not included."""
    ended: bool
    """Whether all codes of the utterance were known."""
    last: bool
    wave: Future[Tensor | None]
    """[S] of these frames, and of one more unless it is the last piece; None if there are none."""

    def ready(self) -> bool:
        return not wait((self.wave,), PATIENCE_S).not_done


class AtOnce(Executor):
    """Runs what it is given before it returns."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


class Speech:
    """A `koed.engine.base.Stream`. An empty chunk says that the engine is at work, and no more.

    With a thread as ``beside``, a chunk is rendered there while the codes of the next are made: two
    cores that never wait for each other, and the same sound.
    """

    def __init__(self, model: SoundModel, windows: Windows, style: Style, script: StreamPlan,
                 codes: Codes, beside: Executor | None = None) -> None:  # fmt: skip
        self.script, self.codes = script, codes
        self._model, self._windows, self._style = model, windows, style
        self._beside = beside or AtOnce()
        self._trim = Trimmer(SAMPLE_RATE_HZ)
        self._times = Times(script.score)
        self._frame = 0  # up to which sound is made or being made
        self._skip = 0  # samples of the first frame that are not wanted
        self._tail: Sound = _EMPTY  # the frame after, rendered with less ahead of it
        self._text: Tensor | None = None  # phones as the encoder reads them
        self._encoded: tuple[int, Encoded] | None = None
        self._waited: Future[Tensor | None] | None = None  # of the latest piece
        self._chunks = self._run()

    def __iter__(self) -> Speech:
        return self

    def __next__(self) -> Chunk:
        return next(self._chunks)

    def close(self) -> None:
        """Stop at once: no other code is made."""
        self._leave()
        self.codes.close()

    def restyled(self, model: SoundModel, windows: Windows, style: Style, start_s: float) -> Speech:
        """The same codes in another style, from ``start_s`` of the sound on. This one is over."""
        self._leave()
        other = Speech(model, windows, style, self.script, self.codes, self._beside)
        sample = self._trim.lead + round(start_s * SAMPLE_RATE_HZ)
        other._frame, other._skip = divmod(sample, model.samples_per_frame)
        other._trim = self._trim.begun_at(sample)
        other._times = self._times.again(start_s)
        return other

    def _leave(self) -> None:
        self._chunks.close()
        if self._waited is not None:
            self._waited.cancel()  # if it has not begun

    def _run(self) -> Generator[Chunk, None, None]:
        pace, speed = self.script.pace, self.script.speed
        size, last = pace.first, False
        piece: Rendering | None = None
        while not last:
            done = int(self._frame * speed / FRAMES_PER_CODE)
            known = self.codes.until(done + max(1, round(size * speed)) + pace.lookahead)
            yield from self._meanwhile(piece, known)
            encoded = self._encode()
            end = self._end(encoded, size)
            last = self.codes.ended and end == encoded.frames
            piece = self._begin(encoded, end, last)
            size = min(pace.most, round(size * pace.growth))
        yield from self._meanwhile(piece, iter(()))
        if not self._trim.emitted:
            raise EngineError("speech_silent", "speech went wrong: nothing but silence was made")

    def _meanwhile(
        self, piece: Rendering | None, work: Iterator[None]
    ) -> Generator[Chunk, None, None]:
        """Hands ``piece`` on as soon as it is there; that ``work`` fails does not keep it back."""
        failed: EngineError | None = None
        working = True
        while working or piece is not None:
            if piece is not None and (piece.wave.done() or (not working and piece.ready())):
                yield self._finish(piece)
                piece = None
                continue
            if working:
                try:
                    next(work)
                except StopIteration:
                    working = False
                    continue
                except EngineError as error:
                    failed, working = error, False
                    continue
            yield Chunk(_EMPTY, SAMPLE_RATE_HZ)
        if failed is not None:
            raise failed

    def _encode(self) -> Encoded:
        """All codes that are known, encoded; once, if no more are to come."""
        known, script = self.codes.known, self.script
        if self._encoded is None or self._encoded[0] != len(known):
            if self._text is None:
                self._text = self._model.read(script.phones)
            ids = torch.tensor(known, dtype=torch.int64)
            encoded = self._model.encode(ids, script.phones, self._style, script.speed, self._text)
            self._encoded = len(known), encoded
        return self._encoded[1]

    def _end(self, encoded: Encoded, size: int) -> int:
        """The frame up to which to render: ``size`` codes on, if what follows is known."""
        end = self._frame + size * FRAMES_PER_CODE
        if self.codes.ended:
            small = self.script.pace.first * FRAMES_PER_CODE
            return encoded.frames if end + small > encoded.frames else end
        known = len(self.codes.known)
        return min(end, encoded.frames * (known - self.script.pace.lookahead) // known)

    def _begin(self, encoded: Encoded, end: int, last: bool) -> Rendering:
        """Have the frames up to ``end`` made, and one more, to be faded into the next piece."""
        first, self._frame = self._frame, max(self._frame, end)
        frames = self._frame - first
        wave = self._beside.submit(self._decode, encoded, first, frames and frames + (not last))
        self._waited = wave
        return Rendering(encoded, first, self._frame, self.codes.ended, last, wave)

    def _decode(self, encoded: Encoded, first: int, frames: int) -> Tensor | None:
        """The only thing that runs beside: it changes nothing here."""
        if not frames:
            return None
        script = self.script
        return self._windows.decode_window(
            encoded, first, frames, self._style, script.seed, script.noise_scale
        )

    def _finish(self, piece: Rendering) -> Chunk:
        """The sound of ``piece``, with the words and mouths that begin there."""
        pcm = self._sound(piece)
        if not np.isfinite(pcm).all():
            raise EngineError("speech_broken", "the sound model made samples that are no numbers")
        out = self._trim.push(pcm, piece.last)
        frame_s = self._model.samples_per_frame / SAMPLE_RATE_HZ
        known = piece.encoded.frames if piece.ended else piece.end
        shares = piece.encoded.attention.double().cpu().numpy()
        row_s = frame_s / self.script.speed
        self._times.reached(known * frame_s, piece.ended, shares, row_s)
        lead_s = self._trim.lead / SAMPLE_RATE_HZ
        until_s = lead_s + self._trim.emitted / SAMPLE_RATE_HZ
        return Chunk(out, SAMPLE_RATE_HZ, *self._times.take(until_s, lead_s, piece.last))

    def _sound(self, piece: Rendering) -> Sound:
        """[S] of the piece, joined to the one before; waits for it."""
        wave = piece.wave.result()
        if wave is None:
            return _EMPTY
        pcm: Sound = wave.float().cpu().numpy()
        size = (piece.end - piece.first) * self._model.samples_per_frame
        if len(self._tail):
            faded = min(len(self._tail), len(pcm))
            rise = np.linspace(0.0, 1.0, faded, dtype=np.float32)
            pcm[:faded] = self._tail[:faded] + (pcm[:faded] - self._tail[:faded]) * rise
        self._tail = pcm[size:].copy()
        pcm = pcm[self._skip : size]
        self._skip = max(0, self._skip - size)
        return pcm
