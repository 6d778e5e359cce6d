"""Requests in, events out: the only ZeroMQ between koed and its clients.

Nothing here may block: a request is validated, handled, answered. A reply that a client does not
read is dropped by its socket's bound, and so is an event that a subscriber is too slow
for; both see it by ``id`` and by ``seq``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import zmq
import zmq.auth

from koe.protocol import (
    MAX_FRAME_BYTES,
    Event,
    Reply,
    Request,
    RequestId,
    WireError,
    endpoint,
    pack,
    request_from_map,
)
from koe.wire.framing import unpack_request
from koed.auth.zap import ZapHandler
from koed.config.daemon import ServerConfig
from koed.errors import ConfigError, KoedError

log = logging.getLogger(__name__)

BURST = 64
"""Messages read from one socket before the others get their turn."""
REPLIES_WAITING = 1000
EVENTS_WAITING = 10000
REQUESTS_WAITING = 200
"""Of one client, before it has to wait: their bytes lie in the daemon's memory."""
MAX_NAME_CHARS = 200
"""Of any text but what is to be spoken: it is kept, compared, and sent back many times."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Where the reply to a request goes."""

    socket: zmq.Socket[bytes]
    envelope: tuple[bytes, ...]
    """The client's identity; after it, for a REQ socket, the empty frame that it wants back."""
    id: RequestId


NOBODY = Asker(None, (), None)  # type: ignore[arg-type]
"""Asks without waiting for an answer."""

Handle = Callable[[Request, Asker], dict[str, Any] | None]
"""Carries a request out; None = the reply comes later through `Server.reply`."""
TextSink = Callable[[str], None]
TroubleSink = Callable[[WireError], None]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One kind of socket: the first is of this machine, the second, if any, of the network."""

    kind: int
    name: Literal["control", "text", "events"]
    tcp: str | None
    sockets: list[zmq.Socket[bytes]] = field(default_factory=list)


class Server:
    """Owns the sockets; `bind` after construction, `receive` when the poller says so."""

    def __init__(self, directory: Path, config: ServerConfig, context: zmq.Context[Any]) -> None:
        self._directory = directory
        self._context = context
        self._control = Endpoint(zmq.ROUTER, "control", config.tcp_control)
        self._text = Endpoint(zmq.PULL, "text", config.tcp_text)
        self._events = Endpoint(zmq.PUB, "events", config.tcp_events)
        self._endpoints = (self._control, self._text, self._events)
        self._zap: ZapHandler | None = None
        self._guests: frozenset[str] = frozenset()
        """The public keys that are admitted."""
        self._stale = False
        """Somebody is connected whose key was taken away."""

    # --- life --------------------------------------------------------------------------------

    def bind(self, server_keys: tuple[bytes, bytes] | None, clients: Path | None) -> None:
        """Open the sockets. ``server_keys`` (public, secret) and the folder of the clients' public
        keys are needed for tcp only; raises `ConfigError` when they are missing."""
        for one in self._endpoints:
            address = endpoint(str(self._directory), one.name)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(address.removeprefix("ipc://"))  # of a daemon that was killed
            one.sockets.append(self._bound(one.kind, address, None))
            os.chmod(address.removeprefix("ipc://"), 0o600)
        over_tcp = [one.tcp for one in self._endpoints if one.tcp]
        if not over_tcp:
            return
        if server_keys is None or clients is None:
            raise ConfigError(
                "tcp_without_keys",
                f"{over_tcp[0]} is configured but there are no keys",
                "make a pair with: koed keys new NAME",
            )
        self._zap = ZapHandler(self._context, server_keys, lambda key: key in self._guests)
        self.readmit(clients)
        self._bind_tcp()

    def _bind_tcp(self) -> None:
        for one in self._endpoints:
            if one.tcp and len(one.sockets) == 1:
                one.sockets.append(self._bound(one.kind, one.tcp, self._zap))

    def _bound(self, kind: int, address: str, zap: ZapHandler | None) -> zmq.Socket[bytes]:
        socket: zmq.Socket[bytes] = self._context.socket(kind)
        socket.setsockopt(zmq.LINGER, 100)
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME_BYTES)
        socket.setsockopt(zmq.RCVHWM, REQUESTS_WAITING)
        socket.setsockopt(zmq.SNDHWM, EVENTS_WAITING if kind == zmq.PUB else REPLIES_WAITING)
        if zap:
            zap.guard(socket)
        try:
            socket.bind(address)
        except zmq.ZMQError as error:
            socket.close()
            raise ConfigError(
                "cannot_listen",
                f"cannot listen at {address}: {error}",
                "is another program there? see server: in koed.yaml",
            ) from error
        return socket

    def readmit(self, clients: Path) -> None:
        """Read the folder of admitted keys again."""
        keys = _public_keys(clients)
        if not keys:
            log.warning("no client has a key for tcp yet; make one with: koed keys new NAME")
        self._stale |= bool(self._guests - keys)
        self._guests = keys

    def _reopen(self) -> None:
        """Ask all who came over tcp for their keys again: a connection outlives its admission."""
        for one in self._endpoints:
            for socket in one.sockets[1:]:
                socket.unbind(socket.getsockopt_string(zmq.LAST_ENDPOINT))
                socket.close()
            del one.sockets[1:]
        self._stale = False

    def sockets(self) -> list[zmq.Socket[bytes]]:
        """What the poller must watch."""
        sockets = [*self._control.sockets, *self._text.sockets]
        if self._zap is not None:
            sockets.append(self._zap.socket)
        return sockets

    def close(self) -> None:
        for one in self._endpoints:
            for socket in one.sockets:
                socket.close()
        if self._zap is not None:
            self._zap.close()
        for one in self._endpoints:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._directory / one.name)

    # --- in ----------------------------------------------------------------------------------

    def receive(self, handle: Handle, text: TextSink, trouble: TroubleSink) -> bool:
        """Handle what is readable, at most `BURST` messages a socket; True if more may wait."""
        more = False
        if self._stale:
            self._reopen()
        with contextlib.suppress(ConfigError):  # the port is not free yet: on the next turn
            self._bind_tcp()
        if self._zap is not None:
            self._zap.answer()
        for socket in self._control.sockets:
            more |= self._drain(socket, functools.partial(self._request, handle, socket))
        for socket in self._text.sockets:
            more |= self._drain(socket, lambda frames: self._push(frames, text, trouble))
        return more

    def _drain(self, socket: zmq.Socket[bytes], handle: Callable[[list[bytes]], None]) -> bool:
        for _ in range(BURST):
            if self._stale:  # from here on nothing is taken from whoever lost the key
                return True
            try:
                frames = socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return False
            handle(frames)
        return True

    def _request(self, handle: Handle, socket: zmq.Socket[bytes], frames: list[bytes]) -> None:
        is_req = len(frames) > 2 and not frames[1]
        envelope, body = tuple(frames[: 1 + is_req]), frames[1 + is_req :]
        asker = Asker(socket, envelope, None)
        try:
            if len(body) != 1:
                raise WireError(
                    "bad_message",
                    f"{len(body)} frames where one was expected",
                    "send one msgpack map per message",
                )
            message = unpack_request(body[0])
            request_id = message.get("id")
            if _is_id(request_id):
                asker = Asker(socket, envelope, request_id)
            request = request_from_map(message)
            check_lengths(request)
            result = handle(request, asker)
        except Exception as error:  # noqa: BLE001 - told to whoever asked
            self.reply(asker, error=_told(error, "a request"))
        else:
            if result is not None:
                self.reply(asker, result)

    @staticmethod
    def _push(frames: list[bytes], text: TextSink, trouble: TroubleSink) -> None:
        try:
            if len(frames) != 1:
                raise WireError(
                    "bad_message",
                    f"{len(frames)} frames on the text socket",
                    "send one UTF-8 string a message",
                )
            text(_decoded(frames[0]))
        except Exception as error:  # noqa: BLE001 - told to whoever listens
            trouble(_told(error, "a text message"))

    # --- out ---------------------------------------------------------------------------------

    def reply(
        self, asker: Asker, result: dict[str, Any] | None = None, error: WireError | None = None
    ) -> None:
        reply = Reply(id=asker.id, ok=error is None, result=result or {}, error=error)
        # a client that reads nothing loses its replies, and nobody else's
        with contextlib.suppress(zmq.Again, zmq.ZMQError):
            asker.socket.send_multipart([*asker.envelope, pack(reply.to_map())], zmq.NOBLOCK)

    def publish(self, event: Event) -> None:
        """A listener of the bus: send an event to whoever subscribed to its name."""
        frames = [event.event.encode(), pack(event.to_map())]
        for socket in self._events.sockets:
            with contextlib.suppress(zmq.Again):
                socket.send_multipart(frames, zmq.NOBLOCK)


def _decoded(message: bytes) -> str:
    try:
        return message.decode("utf-8")
    except UnicodeDecodeError as error:
        raise WireError(
            "invalid_utf8",
            f"a text message is not UTF-8: {error.reason}",
            "send one UTF-8 string a message",
        ) from error


def _told(error: Exception, what: str) -> WireError:
    """What others get to know of an error; of a bug the log has the rest."""
    if isinstance(error, WireError | KoedError):
        return WireError(error.code, error.message, error.hint)
    log.error("%s could not be handled", what, exc_info=error)
    message = f"a bug in koed: {type(error).__name__}: {error}"
    return WireError("internal", message, "please report it with the daemon's log")


def _is_id(value: Any) -> bool:
    """Whether it can be echoed; what cannot (true, a list, a novel) is refused with id nil."""
    if isinstance(value, str):
        return len(value) <= MAX_NAME_CHARS
    return isinstance(value, int) and not isinstance(value, bool)


def check_lengths(request: Request) -> None:
    """Names and keys are kept and compared: raises `WireError` for one that is a novel."""
    for spec in dataclasses.fields(request):
        value = getattr(request, spec.name)
        if spec.name != "text" and isinstance(value, str) and len(value) > MAX_NAME_CHARS:
            raise WireError(
                "bad_field",
                f"{request.op}: {spec.name} has {len(value)} characters",
                f"{spec.name} has at most {MAX_NAME_CHARS}",
            )


def _public_keys(clients: Path) -> frozenset[str]:
    """Of every certificate in the folder; one that cannot be read keeps nobody else out."""
    keys = set()
    for path in clients.glob("*.key"):
        try:
            keys.add(zmq.auth.load_certificate(path)[0].decode())
        except (OSError, ValueError) as error:
            log.warning("%s is no key of a client and lets nobody in: %s", path, error)
    return frozenset(keys)
