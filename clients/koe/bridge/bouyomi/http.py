"""Bouyomi-chan's HTTP door, by default localhost:50080.

h11 reads the requests, strictly; sizes, deadlines and who may enter are decided here. One request
per connection: nobody sends many, and nothing can be smuggled behind one.
"""

from __future__ import annotations

import asyncio
import json
import re
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import h11

from koe import protocol
from koe.bridge.bouyomi.commands import Commands
from koe.bridge.bouyomi.guard import Visitor, admit
from koe.bridge.bouyomi.wire import Talk, clean
from koe.bridge.listener import PATIENCE_S
from koe.bridge.notes import Notes
from koe.transport.connection import NoDaemon, Refused
from koe.wire.framing import WireError

MAX_HEAD_BYTES = 65536
"""Of a request without its body: a text of 5000 characters fits into its address."""
MAX_BODY_BYTES = 65536
MAX_FIELDS = 20
READ_BYTES = 65536

CALLBACK = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]{0,63}(\.[A-Za-z_$][A-Za-z0-9_$]{0,63}){0,4}", re.A)
"""A function's name and nothing that could be code."""
NUMBER = re.compile(r"[+-]?[0-9]{1,9}", re.A)

STATUS = {
    "bad_host": 403, "not_allowed": 403, "not_found": 404, "bad_method": 405, "too_large": 413,
    "queue_full": 429, "author_limit": 429,
}  # fmt: skip
"""HTTP's word for a refusal; 400 for others."""

Fields = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that was let in. ``path`` and the names of ``fields`` in lower case."""

    method: str
    path: str
    fields: Fields
    visitor: Visitor


@dataclass(slots=True)
class Answer:
    status: int = 200
    value: dict[str, Any] = field(default_factory=dict)
    callback: str | None = None
    origin: str | None = None
    """Who may read it, if a browser asks."""
    bare: bool = False
    """The head alone was asked for."""


class HttpDoor:
    """``port`` is set when it is known: a request must name it."""

    def __init__(self, commands: Commands, origins: Collection[str], notes: Notes) -> None:
        self.port = 0
        self._commands = commands
        self._origins = frozenset(origins)
        self._notes = notes
        self._pages: dict[str, Callable[[Fields], Awaitable[dict[str, Any]]]] = {
            "/talk": self._talk,
            "/pause": self._control(protocol.Pause),
            "/resume": self._control(protocol.Resume),
            "/skip": self._control(protocol.Skip),
            "/clear": self._control(protocol.Clear),
            "/getpause": self._get_pause,
            "/getnowplaying": self._get_now_playing,
            "/getnowtaskid": self._get_now_task_id,
            "/gettalktaskcount": self._get_talk_task_count,
            "/getvoicelist": self._get_voice_list,
        }

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Raises `EOFError` and `TimeoutError` where the other side is gone or too slow."""
        wire = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        answer = Answer()
        try:
            async with asyncio.timeout(PATIENCE_S):
                asked = await self._read(wire, reader, writer, answer)
            await self._answer(asked, answer)
        except h11.RemoteProtocolError as error:
            answer.status = error.error_status_hint
            answer.value = _told("bad_request", "this is not a request of HTTP", str(error))
        except WireError as error:
            gone = isinstance(error, NoDaemon)
            answer.status = 503 if gone else STATUS.get(error.code, 400)
            answer.value = _told(error.code, error.message, error.hint)
            if error.code in ("bad_host", "not_allowed"):
                self._notes.once(f"{error.message}; {error.hint}")
        if wire.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            writer.write(_bytes(wire, answer))

    async def _read(
        self, wire: h11.Connection, reader: StreamReader, writer: StreamWriter, answer: Answer
    ) -> Asked:
        """The request, if its sender may enter. Its body is read after that."""
        request = await _event(wire, reader)
        if not isinstance(request, h11.Request):
            raise EOFError
        headers = [
            (name.decode("ascii"), value.decode("latin-1")) for name, value in request.headers
        ]
        visitor = admit(headers, self.port, self._origins)
        answer.origin = visitor.origin
        method, body = request.method.decode("ascii"), b""
        answer.bare = method == "HEAD"
        if method == "POST":
            if visitor.browser:
                raise Refused("not_allowed", "a browser may not post here", "use GET")
            if wire.they_are_waiting_for_100_continue:
                writer.write(
                    wire.send(h11.InformationalResponse(status_code=100, headers=[])) or b""
                )
            body = await _body(wire, reader)
        elif method not in ("GET", "OPTIONS"):
            raise Refused("bad_method", f"{method[:20]} is not done here", "use GET")
        path, _, query = request.target.decode("ascii").partition("?")
        fields = _fields(query) | _fields(body.decode("latin-1"))
        return Asked(method, path.lower(), fields, visitor)

    async def _answer(self, asked: Asked, answer: Answer) -> None:
        page = self._pages.get(asked.path)
        if page is None:
            raise Refused(
                "not_found", f"there is no {asked.path[:60]}", "known: " + " ".join(self._pages)
            )
        if asked.method == "OPTIONS":
            answer.status = 204
            return
        callback = asked.fields.get("callback")
        if callback:
            if asked.visitor.origin is None:
                raise Refused("not_allowed", "only an allowed origin may name a callback",
                              "koe bridge bouyomi --allow-origin ORIGIN")  # fmt: skip
            if not CALLBACK.fullmatch(callback):
                raise Refused("bad_field", "callback is not the name of a function")
            answer.callback = callback
        answer.value = await page(asked.fields)

    # --- pages -------------------------------------------------------------------------------

    async def _talk(self, fields: Fields) -> dict[str, Any]:
        text = clean(fields.get("text", ""))
        if not text:
            raise Refused("missing_field", "there is no text", "add ?text=...")
        return {"taskId": await self._commands.talk(Talk(text, max(0, _number(fields, "voice"))))}

    def _control(
        self, verb: type[protocol.Request]
    ) -> Callable[[Fields], Awaitable[dict[str, Any]]]:
        async def page(_: Fields) -> dict[str, Any]:
            await self._commands.control(verb)
            return {}

        return page

    async def _get_pause(self, _: Fields) -> dict[str, Any]:
        return {"pause": await self._commands.paused()}

    async def _get_now_playing(self, _: Fields) -> dict[str, Any]:
        return {"nowPlaying": await self._commands.playing()}

    async def _get_now_task_id(self, _: Fields) -> dict[str, Any]:
        return {"nowTaskId": await self._commands.sounding()}

    async def _get_talk_task_count(self, _: Fields) -> dict[str, Any]:
        return {"talkTaskCount": await self._commands.waiting()}

    async def _get_voice_list(self, _: Fields) -> dict[str, Any]:
        voices = await self._commands.voices()
        entries = [{"id": n, "kind": "koed", "name": name, "alias": ""} for n, name in voices]
        return {"voiceList": entries}


async def _event(wire: h11.Connection, reader: StreamReader) -> Any:
    while (event := wire.next_event()) is h11.NEED_DATA:
        wire.receive_data(await reader.read(READ_BYTES))
    return event


async def _body(wire: h11.Connection, reader: StreamReader) -> bytes:
    body = b""
    while isinstance(event := await _event(wire, reader), h11.Data):
        body += event.data
        if len(body) > MAX_BODY_BYTES:
            raise Refused("too_large", f"more than {MAX_BODY_BYTES} bytes", "send a shorter text")
    return body


def _fields(text: str) -> dict[str, str]:
    """The fields of a query or a form; of several with one name the first."""
    try:
        fields = parse_qs(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except UnicodeDecodeError as error:
        raise Refused("invalid_utf8", "the text is not UTF-8", "percent-encode UTF-8") from error
    except ValueError as error:
        raise Refused("bad_request", f"more than {MAX_FIELDS} fields", "send fewer") from error
    return {name.lower(): values[0] for name, values in fields.items()}


def _number(fields: Fields, name: str) -> int:
    """-1 for what is no number, too: programs send empty fields."""
    text = fields.get(name, "").strip()
    return int(text) if NUMBER.fullmatch(text) else -1


def _told(code: str, message: str, hint: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "hint": hint}}


def _bytes(wire: h11.Connection, answer: Answer) -> bytes:
    headers = [("Connection", "close"), ("Cache-Control", "no-store"),
               ("X-Content-Type-Options", "nosniff"), ("Vary", "Origin")]  # fmt: skip
    if answer.origin is not None:
        headers += [("Access-Control-Allow-Origin", answer.origin),
                    ("Access-Control-Allow-Methods", "GET"),
                    ("Access-Control-Allow-Headers", "*")]  # fmt: skip
    body, kind = json.dumps(answer.value), "application/json"
    if answer.callback is not None:
        # the comment keeps the answer from beginning with bytes that a page has chosen
        body, kind = f"/**/{answer.callback}({body});", "text/javascript"
    data = b"" if answer.status == 204 else body.encode("ascii")
    if data:
        headers += [("Content-Type", f"{kind}; charset=utf-8"), ("Content-Length", str(len(data)))]
    response = h11.Response(
        status_code=answer.status, headers=[(n.encode(), v.encode()) for n, v in headers]
    )
    content = [h11.Data(data=data)] if data and not answer.bare else []
    events = [response, *content, h11.EndOfMessage()]
    return b"".join(wire.send(event) or b"" for event in events)
