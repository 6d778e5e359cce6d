"""What koed tells: a class per event. Read `koe.protocol` first."""

from __future__ import annotations

import dataclasses
import reprlib
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from koe.wire.fields import fields_from_map
from koe.wire.framing import WireError
from koe.wire.requests import ModeName, Priority, When


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What all events share. ``seq`` rises by one per event, so a subscriber sees what it missed;
    ``t`` is the daemon's monotonic clock in seconds. ``boot`` is other after each start of the
    daemon, as in its ``status``: numbers of lines and ``seq`` begin anew then. All three are set
    when it is published."""

    event: ClassVar[str] = ""
    seq: int = 0
    t: float = 0.0
    boot: str = ""

    def to_map(self) -> dict[str, Any]:
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {"event": self.event} | values


@dataclass(frozen=True, slots=True, kw_only=True)
class UtteranceQueued(Event):
    """A line was taken and waits its turn."""

    event: ClassVar[str] = "utterance.queued"
    utterance: int
    text: str
    voice: str
    output: str
    priority: Priority = "normal"
    author: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UtteranceStarted(Event):
    """Its first sample is at the device. ``heard_t``: monotonic time when the ear gets it."""

    event: ClassVar[str] = "utterance.started"
    utterance: int
    text: str
    voice: str
    output: str
    heard_t: float
    author: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress(Event):
    """A word (or, where the engine gives no word times, a segment) begins to sound.

    ``start`` and ``end`` are character positions in ``UtteranceStarted.text`` (for an open line:
    in all the text that came so far)."""

    event: ClassVar[str] = "utterance.progress"
    utterance: int
    output: str
    kind: Literal["word", "segment"]
    """What begins to sound."""
    text: str
    start: int
    """Of its first character."""
    end: int
    """Behind its last character."""
    heard_t: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UtteranceFinished(Event):
    """It was heard to its end. ``spoken_s``: seconds that sounded."""

    event: ClassVar[str] = "utterance.finished"
    utterance: int
    output: str
    spoken_s: float = 0.0
    starved_s: float = 0.0
    """Seconds of silence that the listener heard because the engine was late."""
    unheard: str = ""
    """Why nobody heard it all the same, as far as koed can see: its device is muted or turned down
    in the sound server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UtteranceSkipped(Event):
    """It was cut while it sounded. ``reason``: skip, stop, cancel, mute, panic, urgent,
    shutdown."""

    event: ClassVar[str] = "utterance.skipped"
    utterance: int
    output: str
    reason: str
    heard: str = ""
    """The part of the text that was heard, to the word that was cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UtteranceDropped(Event):
    """It never sounded. ``reason``: expired, replaced, queue_full, author_limit, clear, stop,
    cancel, shutdown, chat_muted, text_too_long, invalid_utf8, nothing_to_say, lost.

    ``lost``: it waited or sounded when koed was killed; the next start tells it, under a number of
    its own, as queued and dropped."""

    event: ClassVar[str] = "utterance.dropped"
    utterance: int
    output: str
    reason: str
    author: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UtteranceFailed(Event):
    """It could not be spoken, or not to its end. ``heard``: what was."""

    event: ClassVar[str] = "utterance.failed"
    utterance: int
    output: str
    code: str
    message: str
    heard: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatLine(Event):
    """What became of a line of the chat: one such event for every `koe.protocol.Chat`.

    ``reason`` of ``dropped``: chat_muted, deleted, blocked, bot, command, not_a_reader, kind, rate,
    raid, filtered, nothing_to_say, or why the queue did not take it (queue_full, author_limit...);
    of ``merged``: repeat."""

    event: ClassVar[str] = "chat.line"
    verdict: Literal["said", "merged", "held", "dropped"]
    author: str
    text: str
    """As it was written, cut to 500 characters."""
    reason: str = ""
    name: str | None = None
    """As the author is displayed."""
    platform: str = ""
    line: str | None = None
    utterance: int | None = None
    """Of a merged line: that of the line it was merged into."""
    voice: str | None = None
    kind: str = "message"
    roles: list[str] = field(default_factory=list)
    donation: float | None = None
    currency: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceChanged(Event):
    """Another voice was chosen. ``when`` as it was asked for."""

    event: ClassVar[str] = "voice.changed"
    voice: str
    previous: str
    when: When
    output: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceFields(Event):
    """The current voice of an output is to speak otherwise, or, with other ``fields`` than it had,
    is another one. ``when`` as it was asked for."""

    event: ClassVar[str] = "voice.fields"
    voice: str
    fields: dict[str, float]
    """All that hold now, by name."""
    when: When
    output: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeChanged(Event):
    """What may sound on an output. ``by``: ``client`` (a request) or ``obs``."""

    event: ClassVar[str] = "mode.changed"
    mode: ModeName
    """What may sound now."""
    previous: ModeName
    output: str
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceReady(Event):
    """A profile was compiled and can be used at once."""

    event: ClassVar[str] = "voice.ready"
    voice: str
    cached: bool = False
    """It was on disk."""
    prepare_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceBroken(Event):
    """A profile could not be read or compiled. The old one, if any, stays in use."""

    event: ClassVar[str] = "voice.broken"
    voice: str
    code: str
    message: str
    kept_old: bool = False
    """The one before it still speaks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhraseReady(Event):
    """A phrase of the configuration can be heard at once in this voice."""

    event: ClassVar[str] = "phrase.ready"
    phrase: str
    voice: str
    seconds: float
    cached: bool = False
    """It was on disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineDown(Event):
    """An engine's worker is gone or cannot be reached; it is started again."""

    event: ClassVar[str] = "engine.down"
    engine: str
    code: str
    """worker_killed, worker_unfit (the processor lacks what a library needs: koed tries again in an
    hour), worker_exited, worker_stalled, worker_memory, worker_unreachable."""
    message: str
    retry_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineUp(Event):
    """An engine can speak (again)."""

    event: ClassVar[str] = "engine.up"
    engine: str
    ready_s: float
    pid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRetry(Event):
    """A piece of a line went wrong in the engine and is made again by the same voice: before any
    of it was heard, or from the next word on, if one is left."""

    event: ClassVar[str] = "engine.retry"
    utterance: int
    engine: str
    voice: str
    code: str
    """What it was; of the neural voice: speech_empty, speech_early_end, speech_runaway,
    speech_stuck, speech_leak (found before they were heard), oom."""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFallback(Event):
    """The rest of a line is spoken by another voice; or a piece of it, in a language for which its
    own voice has no words."""

    event: ClassVar[str] = "engine.fallback"
    utterance: int
    voice: str
    fallback: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceLost(Event):
    """The sound server or our sink is gone; lines wait where they are. ``code``: no_server,
    server_lost, server_hung, sink_unloaded, microphone_unloaded, stream_moved, device_stalled..."""

    event: ClassVar[str] = "device.lost"
    output: str
    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceBack(Event):
    """It plays again."""

    event: ClassVar[str] = "device.back"
    output: str
    device: str
    lost_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ObsUp(Event):
    """Connected to OBS. ``retries``: attempts that failed since it was gone."""

    event: ClassVar[str] = "obs.up"
    obs: str
    """Its version."""
    scene: str
    live: bool
    retries: int = 0
    """Attempts that failed since it was gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObsDown(Event):
    """Not connected to OBS, once per reason. ``code``: obs_absent, obs_silent, obs_password,
    obs_gone, obs_strange."""

    event: ClassVar[str] = "obs.down"
    code: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObsScene(Event):
    """A scene is on air, or OBS began or ended its stream. ``rule``: the name or pattern that
    fits, ``otherwise``, or empty for none; ``voice`` and ``mode``: what it asked for."""

    event: ClassVar[str] = "obs.scene"
    scene: str
    live: bool
    rule: str = ""
    """The name or pattern that fits, ``otherwise``, or empty for none."""
    voice: str | None = None
    """The one that the rule asks for."""
    mode: ModeName | None = None
    """The same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObsHears(Event):
    """OBS hears koed's microphone, or does not (any more): then a `Trouble` ``obs_deaf`` has the
    cure. ``captures``: names of OBS's sources that do, or do not."""

    event: ClassVar[str] = "obs.hears"
    hears: bool
    """OBS lists koed's microphone for its captures."""
    captures: list[str] = field(default_factory=list)
    """Names of OBS's sources that do, or do not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels(Event):
    """20 times a second while it sounds, then once with silence. Decibels full scale."""

    event: ClassVar[str] = "levels"
    output: str
    rms_db: float
    peak_db: float
    heard_t: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Mouth(Event):
    """50 times a second while it sounds, then once with the mouth shut: for avatars."""

    event: ClassVar[str] = "mouth"
    output: str
    voice: str
    """Who speaks; "" at the end."""
    open: float
    """0 shut, 1 wide open."""
    level: float
    """0 to 1, of the sound alone."""
    shape: str = ""
    """a, i, u, e, o, closed, rest; "" where the engine tells no phones."""
    heard_t: float
    """When the end of these 20 ms leaves the device; usually in the near future."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChanged(Event):
    """``state``: ready, paused, resumed, muted, unmuted, panic, released, audible, reloaded,
    stopping. ``detail`` of ``panic``: by whom."""

    event: ClassVar[str] = "state"
    state: str
    output: str | None = None
    detail: str = ""
    """Of ``panic``: by whom; of ``reloaded``: what changed; of ``stopping``: the signal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble(Event):
    """Something outside koed is wrong and koed lives with it (disk full, bad text message...)."""

    event: ClassVar[str] = "trouble"
    code: str
    message: str
    hint: str = ""


EVENTS: dict[str, type[Event]] = {
    cls.event: cls
    for cls in (
        UtteranceQueued,
        UtteranceStarted,
        Progress,
        UtteranceFinished,
        UtteranceSkipped,
        UtteranceDropped,
        UtteranceFailed,
        ChatLine,
        VoiceChanged,
        VoiceFields,
        ModeChanged,
        VoiceReady,
        VoiceBroken,
        PhraseReady,
        EngineDown,
        EngineUp,
        EngineRetry,
        EngineFallback,
        DeviceLost,
        DeviceBack,
        ObsUp,
        ObsDown,
        ObsScene,
        ObsHears,
        Levels,
        Mouth,
        StateChanged,
        Trouble,
    )
}


def event_from_map(message: dict[str, Any]) -> Event:
    """The event that a map stands for; raises `WireError` for one this client does not know."""
    values = dict(message)
    name = values.pop("event", None)
    cls = EVENTS.get(name) if isinstance(name, str) else None
    if cls is None:
        raise WireError(
            "unknown_event", f"unknown event {reprlib.repr(name)[:40]}", "update the client"
        )
    return fields_from_map(cls, values, str(name))
