"""The jobs: a segment goes to its engine, and what the engine sends of it goes to the mixer.

**Stop is one integer.** Serial numbers rise with every job; raising a lane's floor kills all that
was issued below it, in the mixer within a block and in the worker before its next chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from koe.protocol import EngineRetry
from koed.channel import Channel, PartBook
from koed.config import Config
from koed.engine.base import Capabilities, Job, Mouth, Word
from koed.errors import KoedError
from koed.events import Bus
from koed.performance import Part, Performance, Planned
from koed.phrases.takes import Piece
from koed.voices import ReadyVoice

RETRY_SEED = 500_000_000
"""What failed once would fail again from the same seed."""
FEED_S = 0.1
"""What was rendered ahead is fed in pieces: the first is heard while the others are converted."""


class Host(Protocol):
    """The part of `koed.engine.host.EngineHost` that the stage needs."""

    @property
    def state(self) -> str: ...
    @property
    def capabilities(self) -> Capabilities | None: ...
    def speak(self, job: Job) -> None: ...
    def floor(self, lane: int, serial: int) -> None: ...
    def kill(self, serials: list[int]) -> None: ...
    def grant(self, lane: int, ahead_s: float) -> None: ...


class Jobs:
    """``fail`` is told of a line whose sound the mixer does not take."""

    def __init__(
        self,
        config: Config,
        hosts: Mapping[str, Host],
        channels: Mapping[str, Channel],
        bus: Bus,
        fail: Callable[[Performance, str, str], None],
    ) -> None:
        self.parts: PartBook = {}
        self.hosts = hosts
        self._config = config
        self._channels = channels
        self._bus = bus
        self._fail = fail
        self._serial = 0

    def next_serial(self) -> int:
        self._serial += 1
        return self._serial

    # --- to the engines ----------------------------------------------------------------------

    def issue(
        self, channel: Channel, performance: Performance, planned: Planned, voice: ReadyVoice
    ) -> None:
        """Have a segment spoken, or play what was rendered of it ahead."""
        part = Part(self.next_serial(), performance.lane, planned, voice)
        performance.parts.append(part)
        self.parts[part.serial] = (performance, part)
        self._open(channel, performance, part)
        piece = performance.canned(planned, voice)
        if piece is not None:
            self._play(channel, performance, part, piece)
            return
        host = self.hosts[voice.engine]
        host.speak(
            Job(
                serial=part.serial,
                lane=part.lane,
                voice=voice.key,
                text=planned.segment.text,
                lang=planned.segment.lang,
                speed=voice.profile.speed,
                seed=_seed(performance, planned),
                restyle_of=planned.restyle_of,
                start_s=planned.start_s,
            )
        )
        if planned.restyle_of:
            host.kill([planned.restyle_of])
        host.grant(part.lane, channel.mixer.ahead_s(part.lane))

    def _open(self, channel: Channel, performance: Performance, part: Part) -> None:
        """Make room for a part on its lane of the mixer."""
        gain_db = self._gain_db(part.voice)
        joint = part.planned.joint
        if joint and any(other.serial == joint.old for other in performance.parts):
            channel.mixer.splice(
                part.lane,
                joint.old,
                part.serial,
                joint.at_s,
                aligned=joint.aligned,
                gain_db=gain_db,
            )
        else:
            channel.mixer.open(part.lane, part.serial, gain_db)

    def _gain_db(self, voice: ReadyVoice) -> float:
        wanted = voice.profile.loudness_lufs
        target = self._config.audio.loudness_lufs if wanted is None else wanted
        return target - voice.loudness_lufs

    def _play(self, channel: Channel, performance: Performance, part: Part, piece: Piece) -> None:
        """Feed a segment that was rendered ahead, all of it at once."""
        part.canned = True
        words, mouths = piece.words, piece.mouths
        step = max(1, round(FEED_S * piece.rate_hz))
        for at in range(0, len(piece.pcm), step):
            self.chunk(part.serial, piece.pcm[at : at + step], piece.rate_hz, words, mouths)
            words, mouths = (), ()
        if part.serial in self.parts:  # it found room
            self.end(channel, performance, part)

    def grant(self, channel: Channel, performance: Performance) -> None:
        """Tell the engines of a line how much of its lane is still to be heard."""
        ahead_s = channel.mixer.ahead_s(performance.lane)
        for name in {part.voice.engine for part in performance.parts if not part.done}:
            self.hosts[name].grant(performance.lane, ahead_s)

    def drop(self, channel: Channel, lane: int, parts: Sequence[Part]) -> None:
        """Forget some jobs of a lane, and their sound."""
        serials = [part.serial for part in parts]
        for serial in serials:
            self.parts.pop(serial, None)
        channel.mixer.drop(lane, serials)
        for host in self.hosts.values():
            host.kill(serials)

    def raise_floor(self, channel: Channel, lane: int) -> None:
        """Kill all jobs of a lane but those of the lines that stand on it."""
        channel.mixer.floor(lane, self._floor(channel, lane))
        self.let_go(channel, lane)

    def let_go(self, channel: Channel, lane: int) -> None:
        """The same for the engines alone. They keep a job that is made in case that it is restyled,
        and what has been heard cannot be."""
        floor = self._floor(channel, lane)
        for host in self.hosts.values():
            host.floor(lane, floor)

    def _floor(self, channel: Channel, lane: int) -> int:
        alive = [part.serial for standing in channel.lanes[lane] for part in standing.parts]
        return min(alive, default=self._serial + 1)

    # --- from the engines --------------------------------------------------------------------

    def chunk(
        self,
        serial: int,
        pcm: NDArray[np.float32],
        rate_hz: int,
        words: tuple[Word, ...],
        mouths: tuple[Mouth, ...],
    ) -> None:
        """Sound of a job; sound of a job that is dead by now is nothing."""
        found = self.parts.get(serial)
        if found is None:
            return
        performance, part = found
        part.words.extend(words)
        part.mouths.extend(mouths)
        part.received_s += len(pcm) / rate_hz
        try:
            self._channels[performance.line.output].mixer.feed(serial, pcm, rate_hz)
        except KoedError as error:  # an engine that does not keep to its credit
            self._fail(performance, error.code, error.message)

    def end(self, channel: Channel, performance: Performance, part: Part) -> None:
        """All sound of a part is here."""
        part.done = True
        pause_s = part.segment.pause_s
        if performance.script.exhausted and part is performance.parts[-1]:
            pause_s = self._config.queue.line_pause_s
        channel.mixer.end(part.serial, pause_s)

    def retried(self, serial: int, code: str, message: str = "") -> None:
        """Tell that a job, or what was left of it, is made again by the same voice."""
        found = self.parts.get(serial)
        if found is None:
            return
        performance, part = found
        self._bus.publish(
            EngineRetry(
                utterance=performance.line.utterance,
                engine=part.voice.engine,
                voice=part.voice.name,
                code=code,
                message=message,
            )
        )


def _seed(performance: Performance, planned: Planned) -> int:
    """Of a job: the same whenever the same line is spoken, another after a fault."""
    of_line = performance.line.utterance * 1000 + planned.segment.index
    return of_line + RETRY_SEED * performance.retries
