"""The shell around the player: turns the world into its inputs and carries its effects out.

Samples do not pass through the player: they go by serial straight to the mixer, which refuses what
no list names. Everything here runs on the main thread and returns at once.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from koe.protocol import Levels, Trouble
from koed.audio.arrangement import Entry, Report
from koed.config.delivery import NAMES, PLAIN
from koed.engine.base import Capabilities, Mouth, Word
from koed.engine.jobs import Host, Jobs
from koed.errors import KoedError
from koed.events import Bus
from koed.playback import effects, inputs
from koed.playback.effects import Effect
from koed.playback.lipsync import LipSync
from koed.playback.player import Player
from koed.playback.takes import Piece
from koed.playback.voice_choice import Engine, VoiceState

log = logging.getLogger(__name__)

BEAT_S = 0.25
FEED_S = 0.1
"""What was rendered ahead is fed in pieces: the first is heard while the others are converted."""


Window = tuple[int, float, float]
"""(frame, rms_db, peak_db) of a piece of sound"""


class Mixer(Protocol):
    """The control side of `koed.audio.mixer.Mixer`."""

    rate_hz: int
    clock_frames: int

    @property
    def delay_frames(self) -> int: ...
    def arrange(self, lane: int, entries: Sequence[Entry]) -> None: ...
    def feed(self, serial: int, pcm: NDArray[np.float32], rate_hz: int) -> None: ...
    def end(self, serial: int, pause_s: float = 0.0) -> None: ...
    def duck(self, lane: int, gain_db: float) -> None: ...
    def mute(self, on: bool) -> None: ...
    def pause(self, on: bool) -> None: ...
    def ahead_s(self, lane: int) -> float: ...
    def position(self, lane: int) -> tuple[int, float]: ...
    def reports(self) -> list[Report]: ...
    def levels(self) -> list[Window]: ...
    def fine_levels(self) -> list[Window]: ...


@dataclass(frozen=True, slots=True)
class Outlet:
    """Where an output's sound goes."""

    mixer: Mixer
    heard_t: Callable[[int], float]
    """Monotonic time at which a frame of the mixer's clock reaches the ear."""
    shut: Callable[[bool], None] = lambda on: None
    """Cuts off what has left the mixer and is not heard yet, or lets it pass again."""
    playing: Callable[[], bool] = lambda: True
    """Whether a device takes it."""
    unheard: Callable[[], str] = lambda: ""
    """Why nobody hears it all the same."""


class VoiceBook(Protocol):
    """The part of `koed.voices.catalog.VoiceBook` that is looked at."""

    version: int
    """Rises with every change."""

    def all_names(self) -> list[str]: ...
    def profile(self, name: str) -> Any: ...
    def ready(self, name: str) -> Any: ...
    def error(self, name: str) -> KoedError | None: ...


Note = Callable[[Player, inputs.Moment, Any, list[Effect]], None]


class Dispatch:
    """A `JobOwner`: the air's."""

    def __init__(
        self,
        player: Player,
        outlets: Mapping[str, Outlet],
        jobs: Jobs,
        book: VoiceBook,
        bus: Bus,
        clock: Callable[[], float],
        note: Note = lambda *_step: None,
    ) -> None:
        """``note`` hears of every step that was taken."""
        self.player = player
        self._note = note
        self._outlets = outlets
        self._mixers = {
            lane.number: outlets[name].mixer
            for name, channel in player.lineup.channels.items()
            for lane in channel.lanes
        }
        self._jobs = jobs
        self._book = book
        self._bus = bus
        self._clock = clock
        self._lipsync = LipSync(player.lineup)
        self._todo: deque[Effect] = deque()
        self._busy = False
        self._seen: dict[str, tuple[Any, ...]] = {}
        """What the book had of each voice at the last look."""
        self._version = -1
        """Of the book, at that look."""
        self._engines: dict[str, tuple[str, Capabilities | None, float]] = {}
        """State, capabilities and time of the last look at each engine."""

    # --- the world's calls --------------------------------------------------------------------

    def ask(self, item: Any) -> Any:
        """Have the player carry out a command; its answer. Raises `KoedError` where it refuses."""
        self._look()
        self._drain()
        return self._step(item)

    def advance(self) -> None:
        """A turn of the loop: what the lanes report, what has expired, what can be made next."""
        self._look()
        self._drain()
        self._tell(inputs.Tick())
        for name, outlet in self._outlets.items():
            self._tell_levels(name, outlet)
        for (engine, lane), behind_s in self.player.behind_s().items():
            ahead_s = self._mixers[lane].ahead_s(lane) - behind_s
            self._jobs.hosts[engine].grant(lane, max(0.0, ahead_s))

    # --- JobOwner -----------------------------------------------------------------------------

    def chunk(
        self,
        serial: int,
        pcm: NDArray[np.float32],
        rate_hz: int,
        words: tuple[Word, ...],
        mouths: tuple[Mouth, ...],
    ) -> None:
        try:
            self._feed(serial, pcm, rate_hz)
        except KoedError as error:  # an engine that does not keep to its credit
            self._tell(inputs.Failed(serial, error.code, error.message))
        else:
            self._tell(inputs.Received(serial, len(pcm) / rate_hz, words, mouths))

    def done(self, serial: int) -> None:
        self._tell(inputs.Done(serial))

    def failed(self, serial: int, code: str, message: str) -> None:
        self._look()
        self._drain()
        self._tell(inputs.Failed(serial, code, message))

    def mended(self, serial: int, code: str) -> None:
        self._tell(inputs.Mended(serial, code))

    def lost(self, serials: Collection[int], code: str) -> None:
        self._look()
        self._drain()
        self._tell(inputs.Lost(tuple(serials), code))

    # --- the world as inputs ------------------------------------------------------------------

    def _look(self) -> None:
        """Tell of voices and engines that are not as they were."""
        for engine, host in self._jobs.hosts.items():
            self._look_at_engine(engine, host)
        if self._version == self._book.version:
            return
        self._version = self._book.version
        for name in self._book.all_names():
            now = (self._book.profile(name), self._book.ready(name), self._book.error(name))
            before = self._seen.get(name, ())
            if len(before) != len(now) or any(a is not b for a, b in zip(before, now, strict=True)):
                self._seen[name] = now
                self._tell(self._voice(name, *now))

    def _look_at_engine(self, name: str, host: Host) -> None:
        """What it does matters to the watchdog alone, and is news as often as workers tell it."""
        now, can = self._clock(), host.capabilities
        before = self._engines.get(name)
        if before and before[:2] == (host.state, can) and now - before[2] < BEAT_S:
            return
        self._engines[name] = (host.state, can, now)
        restyle, word_times = (can.restyle, can.word_times) if can else (False, False)
        languages, fields = (can.languages, can.line_fields) if can else ((), NAMES)
        engine = Engine(
            name, host.state, restyle, word_times, host.doing, host.jobs, languages, fields,
            can.sentence_chars if can else 0,
        )  # fmt: skip
        if self.player.lineup.voices.engines.get(name) != engine:
            self._tell(engine)

    def _voice(self, name: str, used: Any, ready: Any, error: KoedError | None) -> VoiceState:
        """``used``: the profile."""
        wanted = used.loudness_lufs if used else None
        target = self.player.lineup.config.audio.loudness_lufs if wanted is None else wanted
        return VoiceState(
            name,
            lang=used.lang if used else "en",
            fallback=used.fallback if used else None,
            speed=used.speed if used else 1.0,
            delivery=used.delivery if used else PLAIN,
            gain_db=target - ready.loudness_lufs if ready else 0.0,
            engine=ready.engine if ready else "",
            key=ready.key if ready else "",
            code=error.code if error else "",
            message=error.message if error else "",
        )

    def _drain(self) -> None:
        for name, outlet in self._outlets.items():
            for report in outlet.mixer.reports():
                self._tell(inputs.Heard(name, report, outlet.heard_t(report.frame)))

    def _tell_levels(self, name: str, outlet: Outlet) -> None:
        """How loud it was, and what the mouth of the voice does."""
        mixer = outlet.mixer
        for frame, rms_db, peak_db in mixer.levels():
            heard_t = outlet.heard_t(frame)
            self._bus.publish(Levels(output=name, rms_db=rms_db, peak_db=peak_db, heard_t=heard_t))
        now_frame = mixer.clock_frames + mixer.delay_frames
        for frame, rms_db, _ in mixer.fine_levels():
            ago_s = (now_frame - frame) / mixer.rate_hz
            mouth = self._lipsync.window(name, rms_db, ago_s, outlet.heard_t(frame))
            self._bus.publish(mouth)

    def _moment(self) -> inputs.Moment:
        outputs = []
        for name, channel in self.player.lineup.channels.items():
            outlet = self._outlets[name]
            positions = tuple(
                (lane.number, *outlet.mixer.position(lane.number)) for lane in channel.lanes
            )
            heard_t = outlet.heard_t(outlet.mixer.clock_frames)
            outputs.append(
                inputs.OutputPosition(name, heard_t, positions, outlet.playing(), outlet.unheard())
            )
        return inputs.Moment(self._clock(), tuple(outputs))

    # --- effects ------------------------------------------------------------------------------

    def _tell(self, item: Any) -> None:
        """A step that nobody waits for: whatever is wrong with it costs this step only."""
        try:
            self._step(item)
        except Exception as error:
            log.exception("the player failed on %s", item)
            self._trouble(f"a bug in koed, at {type(item).__name__}: {error!r}")

    def _step(self, item: Any) -> Any:
        moment = self._moment()
        done = self.player.step(moment, item)
        self._note(self.player, moment, item, done)
        *todo, answer = done
        assert isinstance(answer, effects.Answer), "a step ends with its answer"
        self._todo.extend(todo)
        self._carry_out()
        if answer.error is not None:
            raise answer.error
        return answer.value

    def _carry_out(self) -> None:
        """All that is to be done, in order. A listener may ask for more in the midst of it: that
        comes after what is on its way."""
        if self._busy:
            return
        self._busy = True
        try:
            while self._todo:
                effect = self._todo.popleft()
                try:
                    self._do(effect)
                except Exception as error:  # noqa: BLE001 - it costs its line, no more
                    self._failed(effect, error)
        finally:
            self._busy = False

    def _do(self, effect: Effect) -> None:
        match effect:
            case effects.Arrange(lane, entries):
                self._mixers[lane].arrange(lane, entries)
            case effects.Speak(engine, job):
                behind_s = self.player.behind_s().get((engine, job.lane), 0.0)
                ahead_s = self._mixers[job.lane].ahead_s(job.lane) - behind_s
                self._jobs.speak(self, engine, job, max(0.0, ahead_s))
            case effects.Play(serial, piece):
                self._play(serial, piece)
            case effects.End(serial, pause_s):
                for outlet in self._outlets.values():  # one of them has it, or none any more
                    outlet.mixer.end(serial, pause_s)
            case effects.Keep(engine, serials):
                self._jobs.keep(self, engine, serials)
            case effects.Gain(lane, gain_db):
                self._mixers[lane].duck(lane, gain_db)
            case effects.Mute(output, on):
                self._outlets[output].mixer.mute(on)
                self._outlets[output].shut(on)
            case effects.Pause(output, on):
                self._outlets[output].mixer.pause(on)
            case effects.Publish(event):
                self._bus.publish(event)

    def _feed(self, serial: int, pcm: NDArray[np.float32], rate_hz: int) -> None:
        found = self.player.lineup.part_of(serial)
        if found is not None:
            output = found[0].line.output
            self._outlets[output].mixer.feed(serial, pcm, rate_hz)

    def _play(self, serial: int, piece: Piece) -> None:
        step = max(1, round(FEED_S * piece.rate_hz))
        for at in range(0, len(piece.pcm), step):
            self._feed(serial, piece.pcm[at : at + step], piece.rate_hz)

    def _failed(self, effect: Effect, error: Exception) -> None:
        """What cannot be carried out costs its line; nothing else is lost."""
        code = error.code if isinstance(error, KoedError) else "internal"
        message = error.message if isinstance(error, KoedError) else f"a bug in koed: {error!r}"
        if code == "internal":
            log.error("cannot carry out %s", type(effect).__name__, exc_info=error)
        match effect:
            case effects.Speak(_, job):
                self._tell(inputs.Failed(job.serial, code, message))
            case effects.Play(serial, _):
                self._tell(inputs.Failed(serial, code, message))
            case _:
                self._trouble(message)

    def _trouble(self, message: str) -> None:
        hint = "koed speaks on; please report it with the daemon's log"
        self._bus.publish(Trouble(code="internal", message=message, hint=hint))
