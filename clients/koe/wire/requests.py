"""What can be asked of koed: a class per operation. Read `koe.protocol` first."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Union

from koe.wire.fields import did_you_mean, fields_from_map
from koe.wire.framing import WireError

Priority = Literal["urgent", "normal", "chatter"]
When = Literal["next", "line", "now"]
Held = Literal["", "panic", "all_muted", "muted", "paused"]
"""Why a line that was taken waits although it is its turn."""
ModeName = Literal["speak", "chat_muted", "all_muted"]
"""From the mildest to the strictest."""

RequestId = Union[str, int, None]  # noqa: UP007 - evaluated at run time by field checks


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What all requests share: ``id`` is echoed in the reply, whatever text or number it is."""

    op: ClassVar[str] = ""
    id: RequestId = None

    def to_map(self) -> dict[str, Any]:
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {"op": self.op} | {k: v for k, v in values.items() if v is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenFields(Request):
    """How something is spoken; None = as its voice does. What the engine of the voice cannot do is
    named in the result (``ignored``)."""

    speed: float | None = None
    """Ratio, 0.5 to 2."""
    pitch: float | None = None
    """Semitones above the voice's own, -12 to 12."""
    range: float | None = None
    """Ratio of the voice's own intonation, 0 to 2; 0 = monotone."""
    energy: float | None = None
    """Effort of speaking in dB, -12 to 12; it changes the sound of a voice as well."""
    volume: float | None = None
    """Loudness in dB, -24 to 12; of any voice."""
    temperature: float | None = None
    """Of a neural voice, 0.01 to 2: the lower, the steadier; the higher, the livelier."""
    top_k: int | None = None
    """Of a neural voice, 1 to 1024: among so many of the likeliest sounds it chooses."""
    seed: int | None = None
    """Of a neural voice, 0 to 2147483647: the same one makes the same text sound the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineFields(SpokenFields):
    """How a line is spoken."""

    style: str | None = None
    """One of the styles of its voice."""
    reference: str | None = None
    """The style whose clip is imitated, while all else is as without it: a name, never a path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Say(LineFields):
    """Speak ``text``. Result: ``{utterance, voice, position, held, truncated}``, and ``ignored``
    if fields had to be; with ``wait`` the reply comes when it is over and also has ``outcome`` and
    ``reason``."""

    op: ClassVar[str] = "say"
    text: str
    voice: str | None = None
    """Profile name; None = the current voice, fixed now."""
    lang: str | None = None
    """zh, ja, ko, en, ... None = by the voice and by script. What is no code of a language is
    refused with ``unknown_language``."""
    priority: Priority = "normal"
    ttl_s: float | None = None
    """Dropped (reason ``expired``) if it has not begun to sound after so many seconds."""
    key: str | None = None
    """A later line with the same key replaces this one while it waits."""
    author: str | None = None
    """Who wrote it: for per-author limits and for ``cancel``."""
    output: str | None = None
    """Which of the configured outputs; None = the voice's."""
    wait: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SayOpen(LineFields):
    """Begin a line whose text comes piece by piece. Result: ``{utterance, voice}``, and ``ignored``
    as of `Say`."""

    op: ClassVar[str] = "say_open"
    voice: str | None = None
    lang: str | None = None
    priority: Priority = "normal"
    ttl_s: float | None = None
    key: str | None = None
    author: str | None = None
    output: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SayAppend(Request):
    """More text for an open line, any cut: half a word is fine. Result: ``{}``."""

    op: ClassVar[str] = "say_append"
    utterance: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SayClose(Request):
    """No more text. With ``wait`` the reply comes when the line is over, as in `Say`."""

    op: ClassVar[str] = "say_close"
    utterance: int
    wait: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputRequest(Request):
    """What can be asked of one output, or of all of them (``output`` None)."""

    output: str | None = None


class Stop(OutputRequest):
    """Silence now and forget every line, on one output or on all. Result: ``{dropped}``."""

    op: ClassVar[str] = "stop"


class Skip(OutputRequest):
    """End the line that sounds; the next one begins. Result: ``{utterance}`` or ``{}``."""

    op: ClassVar[str] = "skip"


class Pause(OutputRequest):
    """Hold the voice where it is; nothing is lost."""

    op: ClassVar[str] = "pause"


class Resume(OutputRequest):
    """Go on from the very sample where `Pause` held."""

    op: ClassVar[str] = "resume"


@dataclass(frozen=True, slots=True, kw_only=True)
class Clear(Request):
    """Forget the waiting lines; the one that sounds is finished. Result: ``{dropped}``."""

    op: ClassVar[str] = "clear"
    output: str | None = None
    priority: Priority | None = None


class Mute(OutputRequest):
    """Silence, latched: the line that sounds ends, the others wait until `Unmute`."""

    op: ClassVar[str] = "mute"


class Unmute(OutputRequest):
    """Sound again; what waited and is still fresh is spoken."""

    op: ClassVar[str] = "unmute"


@dataclass(frozen=True, slots=True, kw_only=True)
class Panic(Request):
    """Silence on all outputs at once, latched: what sounds ends, what waits is held, and nothing
    sounds before `Release`, whatever else is asked for, and even if koed is started again. A second
    one changes nothing. Result: ``{}``."""

    op: ClassVar[str] = "panic"
    by: str | None = None
    """Who or what it was, for people to read: at most 100 characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release(Request):
    """The end of a `Panic`; other latches (`Mute`, `Pause`, `Mode`) hold on. Result: ``{}``."""

    op: ClassVar[str] = "release"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode(Request):
    """Get (no ``mode``) or set what may sound. ``chat_muted``: no line of a chat is taken (reason
    ``chat_muted``), and those that wait are dropped. ``all_muted``: silence as well; `Mute` is
    another latch, and sound comes back when neither holds. Result: ``{mode, previous, modes}``,
    the last one by output."""

    op: ClassVar[str] = "mode"
    mode: ModeName | None = None
    """None = tell the current one."""
    output: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice(SpokenFields):
    """Get (nothing given) or set the current voice and how it speaks. ``when``: ``next`` = lines
    queued from now on; ``line`` = also the waiting ones that named no voice; ``now`` = also the one
    that sounds, in mid-sentence. Fields hold for lines in the current voice until they are given
    again, another voice is named or koed ends: over what its profile says, under what a line says.
    Result: ``{voice, previous, fields}``, and ``ignored`` if fields had to be."""

    op: ClassVar[str] = "voice"
    name: str | None = None
    """Of a profile; None = the current one."""
    plain: bool | None = None
    """The fields that were given before hold no more."""
    when: When = "next"
    output: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrase(Request):
    """Speak a phrase of the configuration, at once: what was rendered ahead is heard even if its
    engine is away. Result as of `Say`, and ``canned``: it was rendered ahead in this voice."""

    op: ClassVar[str] = "phrase"
    name: str
    """As in ``phrases:`` of koed.yaml."""
    voice: str | None = None
    priority: Priority = "urgent"
    ttl_s: float | None = None
    key: str | None = None
    author: str | None = None
    output: str | None = None
    wait: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrases(Request):
    """Result: ``{phrases: [{name, text, lang, voices, waiting, stored, failed, seconds}]}``:
    ``voices`` are those in which it is ready to be heard."""

    op: ClassVar[str] = "phrases"


@dataclass(frozen=True, slots=True, kw_only=True)
class Voices(Request):
    """Result: ``{voices: [{name, engine, lang, ready, tags, error, ...}]}``."""

    op: ClassVar[str] = "voices"


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue(Request):
    """Result: ``{speaking: [...], waiting: [...]}``."""

    op: ClassVar[str] = "queue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel(Request):
    """Take lines back, even the one that sounds, by utterance, by key or by author.
    Result: ``{cancelled: [utterance, ...]}``."""

    op: ClassVar[str] = "cancel"
    utterance: int | None = None
    key: str | None = None
    author: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat(Request):
    """A line of a chat, for the policy (``chat:`` in koed.yaml) to decide. Result: ``{verdict:
    said | merged | held | dropped, reason, utterance, voice, text}``; ``held`` = it waits behind a
    mute or a pause. Refused lines are results, not errors, and each is an event ``chat.line``."""

    op: ClassVar[str] = "chat"
    text: str
    author: str
    """What the platform knows the author by; case does not count."""
    name: str | None = None
    """As it is displayed; None = the author."""
    platform: str = ""
    """twitch, youtube, ..."""
    line: str | None = None
    """The platform's id of the line, for `ChatDelete`."""
    roles: list[str] = field(default_factory=list)
    """broadcaster, mod, vip, sub, member, first, bot; others mean nothing."""
    donation: float | None = None
    """Amount that came with the line, in ``currency``."""
    currency: str | None = None
    kind: str = "message"
    """message, donation, sub, raid, or whatever ``chat.announce`` has a template for."""
    emotes: list[str] = field(default_factory=list)
    """The words of ``text`` that are emotes."""
    reply_to: str | None = None
    lang: str | None = None
    output: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatDelete(Request):
    """Take lines of the chat back, even in mid-word: one (``line``), all of an ``author``, or
    ``everything`` (of a ``platform``, or of all). A deletion may come before its line.
    Result: ``{cancelled: [utterance, ...]}``."""

    op: ClassVar[str] = "chat_delete"
    line: str | None = None
    author: str | None = None
    platform: str = ""
    everything: bool = False
    """All lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status(Request):
    """Result: versions, uptime, outputs, engines, queue lengths and counters."""

    op: ClassVar[str] = "status"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reload(Request):
    """Read configuration and profiles again. Result: ``{changed: [...], errors: [...]}``."""

    op: ClassVar[str] = "reload"


@dataclass(frozen=True, slots=True, kw_only=True)
class Save(Request):
    """One page of the last minutes that an output played. Result: ``{rate_hz, pcm (s16le mono
    bytes), first_frame, next_frame, end_frame}``; ask again with ``from_frame=next_frame`` until
    it reaches the first reply's ``end_frame``. The client writes the file: no path crosses the
    wire."""

    op: ClassVar[str] = "save"
    output: str | None = None
    seconds: float | None = None
    """How far back the first page starts; None = all that is kept."""
    from_frame: int | None = None
    """Where the page begins; None = as ``seconds`` says."""


REQUESTS: dict[str, type[Request]] = {
    cls.op: cls
    for cls in (
        Say,
        SayOpen,
        SayAppend,
        SayClose,
        Stop,
        Skip,
        Pause,
        Resume,
        Clear,
        Mute,
        Unmute,
        Panic,
        Release,
        Mode,
        Voice,
        Phrase,
        Phrases,
        Voices,
        Queue,
        Cancel,
        Chat,
        ChatDelete,
        Status,
        Reload,
        Save,
    )
}


def request_from_map(message: dict[str, Any]) -> Request:
    """The request that a map stands for; raises `WireError`."""
    values = dict(message)
    op = values.pop("op", None)
    if not isinstance(op, str):
        raise WireError(
            "missing_field", "the message names no operation", 'add "op", for instance "status"'
        )
    cls = REQUESTS.get(op)
    if cls is None:
        raise WireError(
            "unknown_op",
            f"there is no operation {op[:40]!r}",
            did_you_mean(op, REQUESTS, "koed knows"),
        )
    return fields_from_map(cls, values, op)
