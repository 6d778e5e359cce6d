"""Every message between koed and its clients: the only place where the wire is written down.

One request is one msgpack map ``{"op": "say", "id": 7, "text": "hello"}``; its reply is
``{"id": 7, "ok": true, "result": {...}}`` or ``{"id": 7, "ok": false, "error": {"code", "message",
"hint"}}``. An event is two frames: the topic (the event's name, so that a subscriber can filter by
prefix) and one msgpack map ``{"event": "utterance.started", "seq": 12, "t": 81.3, ...}``.

A request class lists the fields that the wire knows; an unknown field is an error with a
"did you mean", never ignored. Nothing here knows about sockets. The classes are in
`koe.requests` and `koe.events`, bytes and addresses in `koe.framing`; all can be had from here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from koe.events import EVENTS as EVENTS
from koe.events import ChatLine as ChatLine
from koe.events import DeviceBack as DeviceBack
from koe.events import DeviceLost as DeviceLost
from koe.events import EngineDown as EngineDown
from koe.events import EngineFallback as EngineFallback
from koe.events import EngineRetry as EngineRetry
from koe.events import EngineUp as EngineUp
from koe.events import Event as Event
from koe.events import Levels as Levels
from koe.events import ModeChanged as ModeChanged
from koe.events import Mouth as Mouth
from koe.events import ObsDown as ObsDown
from koe.events import ObsHears as ObsHears
from koe.events import ObsScene as ObsScene
from koe.events import ObsUp as ObsUp
from koe.events import PhraseReady as PhraseReady
from koe.events import Progress as Progress
from koe.events import StateChanged as StateChanged
from koe.events import Trouble as Trouble
from koe.events import UtteranceDropped as UtteranceDropped
from koe.events import UtteranceFailed as UtteranceFailed
from koe.events import UtteranceFinished as UtteranceFinished
from koe.events import UtteranceQueued as UtteranceQueued
from koe.events import UtteranceSkipped as UtteranceSkipped
from koe.events import UtteranceStarted as UtteranceStarted
from koe.events import VoiceBroken as VoiceBroken
from koe.events import VoiceChanged as VoiceChanged
from koe.events import VoiceReady as VoiceReady
from koe.events import event_from_map as event_from_map
from koe.fields import fields_from_map as fields_from_map
from koe.framing import MAX_FRAME_BYTES as MAX_FRAME_BYTES
from koe.framing import WireError as WireError
from koe.framing import endpoint as endpoint
from koe.framing import pack as pack
from koe.framing import runtime_dir as runtime_dir
from koe.framing import unpack as unpack
from koe.requests import REQUESTS as REQUESTS
from koe.requests import Cancel as Cancel
from koe.requests import Chat as Chat
from koe.requests import ChatDelete as ChatDelete
from koe.requests import Clear as Clear
from koe.requests import Held as Held
from koe.requests import Mode as Mode
from koe.requests import ModeName as ModeName
from koe.requests import Mute as Mute
from koe.requests import OutputRequest as OutputRequest
from koe.requests import Panic as Panic
from koe.requests import Pause as Pause
from koe.requests import Phrase as Phrase
from koe.requests import Phrases as Phrases
from koe.requests import Priority as Priority
from koe.requests import Queue as Queue
from koe.requests import Release as Release
from koe.requests import Reload as Reload
from koe.requests import Request as Request
from koe.requests import RequestId as RequestId
from koe.requests import Resume as Resume
from koe.requests import Save as Save
from koe.requests import Say as Say
from koe.requests import SayAppend as SayAppend
from koe.requests import SayClose as SayClose
from koe.requests import SayOpen as SayOpen
from koe.requests import Skip as Skip
from koe.requests import Status as Status
from koe.requests import Stop as Stop
from koe.requests import Unmute as Unmute
from koe.requests import Voice as Voice
from koe.requests import Voices as Voices
from koe.requests import When as When
from koe.requests import request_from_map as request_from_map

PROTOCOL_VERSION = 1

Outcome = Literal["finished", "skipped", "dropped", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    id: RequestId = None
    ok: bool = True
    result: dict[str, Any] = field(default_factory=dict)
    error: WireError | None = None

    def to_map(self) -> dict[str, Any]:
        head: dict[str, Any] = {"id": self.id, "ok": self.ok}
        if self.error is not None:
            return head | {"error": self.error.to_map()}
        return head | {"result": self.result}


def reply_from_map(message: dict[str, Any]) -> Reply:
    error = message.get("error")
    return Reply(
        id=message.get("id"),
        ok=bool(message.get("ok")),
        result=message.get("result") or {},
        error=WireError(
            str(error.get("code", "unknown")),
            str(error.get("message", "")),
            str(error.get("hint", "")),
        )
        if isinstance(error, dict)
        else None,
    )
