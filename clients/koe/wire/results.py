"""What requests give back, as frozen values.

Read leniently: a newer daemon may say more than this client knows. The whole map stays in ``raw``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from koe.wire.events import (
    EVENTS,
    Event,
    UtteranceDropped,
    UtteranceFailed,
    UtteranceFinished,
    UtteranceSkipped,
    event_from_map,
)
from koe.wire.framing import WireError
from koe.wire.requests import Held, Priority

Outcome = Literal["finished", "skipped", "dropped", "failed"]


@dataclass(frozen=True, slots=True)
class SayResult:
    utterance: int
    voice: str = ""
    position: int = 0
    """Lines that are spoken before it."""
    held: Held = ""
    """Why it waits although it is its turn; empty = it does not."""
    truncated: bool = False
    canned: bool = False
    """It was rendered ahead (of `Phrase` only)."""
    ignored: tuple[str, ...] = ()
    """The fields that the engine of the voice cannot obey."""
    outcome: Outcome | None = None
    """How it ended; None unless it was waited for."""
    reason: str = ""

    @classmethod
    def read(cls, result: Mapping[str, Any]) -> SayResult:
        return cls(
            utterance=result.get("utterance", 0),
            voice=result.get("voice") or "",
            position=result.get("position") or 0,
            held=result.get("held") or "",
            truncated=bool(result.get("truncated")),
            canned=bool(result.get("canned")),
            ignored=tuple(result.get("ignored") or ()),
            outcome=result.get("outcome"),
            reason=result.get("reason") or "",
        )


@dataclass(frozen=True, slots=True)
class ChatResult:
    verdict: str
    """said, merged, held or dropped."""
    reason: str = ""
    utterance: int | None = None
    voice: str = ""
    text: str = ""
    """As it will be spoken."""

    @classmethod
    def read(cls, result: Mapping[str, Any]) -> ChatResult:
        return cls(
            verdict=result.get("verdict") or "",
            reason=result.get("reason") or "",
            utterance=result.get("utterance"),
            voice=result.get("voice") or "",
            text=result.get("text") or "",
        )


@dataclass(frozen=True, slots=True)
class VoiceResult:
    voice: str
    previous: str = ""
    fields: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """How it speaks until that is changed, where its profile says otherwise."""
    ignored: tuple[str, ...] = ()
    """The fields that its engine cannot obey."""

    @classmethod
    def read(cls, result: Mapping[str, Any]) -> VoiceResult:
        return cls(
            voice=result.get("voice") or "",
            previous=result.get("previous") or "",
            fields=result.get("fields") or {},
            ignored=tuple(result.get("ignored") or ()),
        )


@dataclass(frozen=True, slots=True)
class VoiceInfo:
    name: str
    engine: str
    lang: str
    ready: bool
    tags: tuple[str, ...]
    error: str
    """Why it, or one of its styles, cannot be used, or ``""``."""
    raw: Mapping[str, Any]
    styles: tuple[str, ...] = ()

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> VoiceInfo:
        return cls(
            name=entry.get("name") or "",
            engine=str(entry.get("engine") or ""),
            lang=entry.get("lang") or "",
            ready=bool(entry.get("ready")),
            tags=tuple(entry.get("tags") or ()),
            error=str(entry.get("error") or ""),
            raw=entry,
            styles=tuple(entry.get("styles") or ()),
        )


@dataclass(frozen=True, slots=True)
class PhraseInfo:
    name: str
    text: str
    voices: tuple[str, ...]
    """Those in which it is ready to be heard at once."""
    waiting: tuple[str, ...]
    """Those in which it is still to be rendered."""
    raw: Mapping[str, Any]

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> PhraseInfo:
        return cls(
            name=entry.get("name") or "",
            text=entry.get("text") or "",
            voices=tuple(map(str, entry.get("voices") or ())),
            waiting=tuple(map(str, entry.get("waiting") or ())),
            raw=entry,
        )


@dataclass(frozen=True, slots=True)
class QueuedLine:
    utterance: int
    text: str
    voice: str
    output: str
    priority: Priority
    author: str | None
    key: str | None
    raw: Mapping[str, Any]

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> QueuedLine:
        return cls(
            utterance=entry.get("utterance", 0),
            text=entry.get("text") or "",
            voice=entry.get("voice") or "",
            output=entry.get("output") or "",
            priority=entry.get("priority") or "normal",
            author=entry.get("author"),
            key=entry.get("key"),
            raw=entry,
        )


@dataclass(frozen=True, slots=True)
class QueueResult:
    speaking: tuple[QueuedLine, ...]
    waiting: tuple[QueuedLine, ...]

    @classmethod
    def read(cls, result: Mapping[str, Any]) -> QueueResult:
        return cls(
            speaking=tuple(QueuedLine.read(entry) for entry in result.get("speaking") or ()),
            waiting=tuple(QueuedLine.read(entry) for entry in result.get("waiting") or ()),
        )

    def has(self, utterance: int) -> bool:
        return any(line.utterance == utterance for line in (*self.speaking, *self.waiting))


@dataclass(frozen=True, slots=True)
class ReloadResult:
    changed: tuple[str, ...]
    errors: tuple[str, ...]
    restart: tuple[str, ...] = ()
    """Sections of koed.yaml that are other ones now and are read only at the start."""

    @classmethod
    def read(cls, result: Mapping[str, Any]) -> ReloadResult:
        return cls(
            changed=tuple(map(str, result.get("changed") or ())),
            errors=tuple(map(str, result.get("errors") or ())),
            restart=tuple(map(str, result.get("restart") or ())),
        )


@dataclass(frozen=True, slots=True)
class Page:
    """Some of what an output played. ``pcm``: signed 16-bit little-endian, mono, at ``rate_hz``.
    Frames are counted from the start of the output's clock."""

    rate_hz: int
    pcm: bytes
    first_frame: int
    next_frame: int
    end_frame: int

    @classmethod
    def read(cls, result: Mapping[str, Any]) -> Page:
        try:
            page = cls(**{f.name: result[f.name] for f in dataclasses.fields(cls)})
        except KeyError as error:
            raise WireError("bad_reply", f"koed's reply to save has no {error}") from error
        if page.next_frame <= page.first_frame < page.end_frame:
            raise WireError("bad_reply", "koed's pages of sound do not advance")
        return page


@dataclass(frozen=True, slots=True)
class Recording:
    """A WAV file that was written: signed 16-bit mono."""

    path: str
    rate_hz: int
    frames: int

    @property
    def seconds(self) -> float:
        return self.frames / self.rate_hz


def count(dropped: Any) -> int:
    """How many lines ``{dropped}`` of `Stop` and `Clear` means: a number or a list of lines."""
    return len(dropped) if isinstance(dropped, (list, tuple)) else int(dropped or 0)


def read_event(message: Mapping[str, Any]) -> Event | None:
    """The event of a map; None for one that this client is too old to know."""
    cls = EVENTS.get(message.get("event", ""))
    if cls is None:
        return None
    known = {f.name for f in dataclasses.fields(cls)} | {"event"}
    return event_from_map({name: value for name, value in message.items() if name in known})


def ends(event: Event, utterance: int) -> bool:
    """Is ``event`` the end of line ``utterance``?"""
    over = (
        UtteranceFinished, UtteranceSkipped, UtteranceDropped,
        UtteranceFailed,
    )  # fmt: skip
    return isinstance(event, over) and event.utterance == utterance
