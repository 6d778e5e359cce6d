"""The player's inputs of the last two minutes, so that a fault found on air can be looked at again.

An entry is one step as bytes; a head, made every ten seconds, is what a fresh player must know to
go on from there. Lines that stood on a lane then are not in it: what is said of them afterwards is
nothing to the fresh player.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterator
from typing import Any

import msgpack
import numpy as np

from koe import protocol
from koed.audio.arrangement import Report
from koed.config.daemon import AudioConfig, Config, EngineConfig, QueueConfig, TextConfig
from koed.config.delivery import PLAIN, Delivery
from koed.engine.base import Mouth, Word
from koed.playback import inputs
from koed.playback.effects import Effect
from koed.playback.lineup import Takes
from koed.playback.player import Player
from koed.playback.queue import Line
from koed.playback.takes import Piece, Take
from koed.playback.voice_choice import Engine, VoiceState

VERSION = 2
KEPT_S = 120.0
HEAD_S = 10.0
TICK_S = 0.25
MAX_BYTES = 2_000_000

KINDS: dict[str, type] = {
    cls.__name__: cls
    for cls in (
        inputs.Tick, inputs.Submit, inputs.Amend, inputs.Withdraw,
        inputs.Empty, inputs.Silence, inputs.SetMode, inputs.Received, inputs.Done, inputs.Failed,
        inputs.Mended, inputs.Lost, inputs.Heard, Report, Line, Delivery, Word, Mouth, Engine, Take,
        Piece,
        QueueConfig, TextConfig, AudioConfig, EngineConfig, protocol.SayAppend,
        protocol.SayClose, protocol.Stop, protocol.Skip, protocol.Clear, protocol.Cancel,
        protocol.Pause, protocol.Resume, protocol.Mute, protocol.Unmute, protocol.Mode,
        protocol.Panic, protocol.Release,
    )
} | {"Voice": VoiceState, "VoiceRequest": protocol.Voice}  # fmt: skip
"""What may stand in a recording, by the name that it has there since the first of this version."""
_NAMES = {cls: name for name, cls in KINDS.items()}


class BadRecording(ValueError):
    """A file is no recording of the player."""


def plain(value: Any) -> Any:
    """A value as msgpack takes it. Samples are left out, only how many there were is kept."""
    if dataclasses.is_dataclass(value):
        fields = {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"": _NAMES[type(value)]} | fields
    if isinstance(value, np.ndarray):
        return len(value)
    if isinstance(value, (frozenset, set)):
        return sorted(value)
    return [plain(v) for v in value] if isinstance(value, (tuple, list)) else value


def value_of(data: Any) -> Any:
    """What `plain` was given; raises `BadRecording`."""
    if isinstance(data, list):
        return tuple(value_of(item) for item in data)
    if not isinstance(data, dict):
        return data
    fields = {name: value_of(item) for name, item in data.items() if name}
    cls = KINDS.get(data.get("", ""))
    try:
        if cls is Engine:
            fields["jobs"] = frozenset(fields["jobs"])
        if cls is Piece:
            fields["pcm"] = np.zeros(fields["pcm"], dtype=np.float32)
        return cls(**fields)  # type: ignore[misc]
    except (TypeError, KeyError, ValueError) as error:
        raise BadRecording(f"{data.get('', '?')}: {error}") from error


class Recorder:
    """Notes every step of a player."""

    def __init__(self) -> None:
        self._entries: deque[bytes] = deque()
        self._first = 0
        """Number of the first entry that is kept."""
        self._heads: deque[tuple[float, int, bytes]] = deque()
        """(when, the entry that follows, the head)"""
        self._size = 0
        self._noted_at = float("-inf")
        self._taken: list[tuple[str, Take]] = []

    def watch(self, takes: Takes) -> Takes:
        """``takes``, and what it gives is noted with the step that asked."""

        def watched(text: str, voice: VoiceState) -> Take | None:
            take = takes(text, voice)
            if take is not None:
                self._taken.append((text, take))
            return take

        return watched

    def note(self, player: Player, moment: inputs.Moment, item: Any, done: list[Effect]) -> None:
        """A step that was taken. Of time that went by without an effect a little is enough, and
        none while nothing sounds."""
        if isinstance(item, inputs.Tick) and len(done) == 1:
            recent = moment.now - self._noted_at < TICK_S
            if recent or not any(True for _ in player.lineup.on_stage()):
                return
        if type(item) not in _NAMES:
            return
        self._noted_at = moment.now
        taken, self._taken = self._taken, []
        outputs = [[e.output, e.heard_t, e.positions, e.playing, e.unheard] for e in moment.outputs]
        entry: bytes = msgpack.packb([[moment.now, outputs], plain(item), plain(taken)])
        self._entries.append(entry)
        self._size += len(entry)
        if not self._heads or moment.now - self._heads[-1][0] >= HEAD_S:
            head: bytes = msgpack.packb(_head(player))
            self._heads.append((moment.now, self._first + len(self._entries), head))
        self._prune(moment.now)

    def _prune(self, now: float) -> None:
        while len(self._heads) > 1 and (
            self._heads[1][0] <= now - KEPT_S or self._size > MAX_BYTES
        ):
            self._heads.popleft()
        while self._first < self._heads[0][1] and self._entries:
            self._size -= len(self._entries.popleft())
            self._first += 1

    def dump(self) -> bytes:
        """All that is kept, as a file: a head, then entries."""
        head = self._heads[0][2] if self._heads else msgpack.packb(None)
        return b"".join([msgpack.packb(VERSION), head, *self._entries])


def _head(player: Player) -> dict[str, Any]:
    lineup = player.lineup
    standing = {line.number for line in lineup.on_stage()}
    config = lineup.config
    return {
        "lanes": {name: channel.lower.number for name, channel in lineup.channels.items()},
        "config": [plain(c) for c in (config.queue, config.text, config.audio, config.engine)],
        "serial": lineup.next_serial,
        "voice": lineup.voice,
        "channels": {
            name: [c.muted, c.mode, c.paused, c.voice, c.panicked, plain(c.living)]
            for name, c in lineup.channels.items()
        },
        "known": [
            plain(v) for v in (*lineup.voices.by_name.values(), *lineup.voices.engines.values())
        ],
        "standing": sorted(standing),
        "waiting": [
            plain(line)
            for line in lineup.queue.waiting()
            if line.utterance not in standing and not lineup.pieces(line.utterance)
        ],
    }


@dataclasses.dataclass(frozen=True, slots=True)
class StepRecording:
    player: Player
    """As it was before the first step."""
    standing: tuple[int, ...]
    """Lines that were on a lane then, and are left out."""
    steps: list[tuple[inputs.Moment, Any]]

    def replay(self) -> Iterator[tuple[inputs.Moment, Any, list[Effect]]]:
        """Each step again, with what the player does; raises `BadRecording`."""
        for number, (moment, item) in enumerate(self.steps, 1):
            try:
                done = self.player.step(moment, item)
            except Exception as error:
                raise BadRecording(f"damaged at step {number}: {error!r}") from error
            yield moment, item, done


def read(data: bytes) -> StepRecording:
    """Of what `Recorder.dump` gave; raises `BadRecording`."""
    unpacker = msgpack.Unpacker(max_buffer_size=4 * MAX_BYTES, strict_map_key=False)
    unpacker.feed(data[: 4 * MAX_BYTES])
    try:
        version, head, *entries = unpacker
        if version != VERSION or not isinstance(head, dict):
            raise BadRecording("no recording of this version of koed, or an empty one")
        steps, taken = [], deque[tuple[str, Take]]()
        for moment, item, takes in entries:
            steps.append((_moment(*moment), value_of(item)))
            taken.extend(value_of(takes))
        player = _player(head, taken)
        return StepRecording(player, tuple(head["standing"]), steps)
    except (ValueError, TypeError, KeyError, AttributeError, msgpack.UnpackException) as error:
        raise BadRecording(f"empty, damaged or no recording of the player: {error!r}") from error


def _moment(now: float, outputs: list[Any]) -> inputs.Moment:
    return inputs.Moment(
        float(now),
        tuple(
            inputs.OutputPosition(
                output, heard_t, tuple(tuple(p) for p in positions), playing, unheard
            )
            for output, heard_t, positions, playing, unheard in outputs
        ),
    )


def _player(head: dict[str, Any], taken: deque[tuple[str, Take]]) -> Player:
    queue, text, audio, engine = (value_of(part) for part in head["config"])
    config = dataclasses.replace(
        Config(), queue=queue, text=text, audio=audio, engine=engine, voice=head["voice"]
    )

    def takes(text: str, voice: VoiceState) -> Take | None:
        there = taken and taken[0][0] == text and taken[0][1].voice == voice.key
        return taken.popleft()[1] if there else None

    player = Player(config, head["lanes"], takes)
    lineup = player.lineup
    for name, (muted, mode, paused, voice, *newer) in head["channels"].items():
        channel = lineup.channels[name]
        channel.muted, channel.mode = muted, mode
        channel.paused, channel.voice = paused, voice
        # older recordings know of neither
        channel.panicked = bool(newer and newer[0])
        channel.living = value_of(newer[1]) if len(newer) > 1 else PLAIN
        lineup.queue.hold(name, channel.silent)
    start = inputs.Moment(0.0)
    waiting = [inputs.Submit(value_of(line)) for line in head["waiting"]]
    for known in [*map(value_of, head["known"]), *waiting]:
        player.step(start, known)
    lineup.next_serial = head["serial"]
    return player
