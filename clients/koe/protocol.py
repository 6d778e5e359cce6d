"""Every message between koed and its clients: the only place where the wire is written down.

One request is one msgpack map ``{"op": "say", "id": 7, "text": "hello"}``; its reply is
``{"id": 7, "ok": true, "result": {...}}`` or ``{"id": 7, "ok": false, "error": {"code", "message",
"hint"}}``. An event is two frames: the topic (the event's name, so that a subscriber can filter by
prefix) and one msgpack map ``{"event": "utterance.started", "seq": 12, "t": 81.3, ...}``.

A request class lists the fields that the wire knows; an unknown field is an error with a
"did you mean", never ignored. Nothing here knows about sockets. The classes are in
`koe.wire.requests` and `koe.wire.events`, bytes in `koe.wire.framing`; all can be had from here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from koe.wire.events import *  # noqa: F403 - whoever talks to koed finds every class here
from koe.wire.fields import fields_from_map as fields_from_map
from koe.wire.framing import MAX_FRAME_BYTES as MAX_FRAME_BYTES
from koe.wire.framing import WireError as WireError
from koe.wire.framing import endpoint as endpoint
from koe.wire.framing import pack as pack
from koe.wire.framing import runtime_dir as runtime_dir
from koe.wire.framing import unpack as unpack
from koe.wire.requests import *  # noqa: F403
from koe.wire.requests import RequestId
from koe.wire.results import Outcome as Outcome

PROTOCOL_VERSION = 1


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
