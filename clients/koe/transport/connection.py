"""What both clients know about one connection: errors, sockets, and which reply is whose.

Nothing here waits, so that `koe.client` and `koe.aio` can wait each in its own way.

A request must never be spoken twice, and never long after its sender gave up on it. Therefore a
message is only handed to a connection that stands (ZMQ_IMMEDIATE, and the socket's monitor says
so), nothing is ever sent again by itself, and what was under way when a connection broke is
reported as unanswered.
"""

from __future__ import annotations

import itertools
import math
import struct
from typing import Any

import zmq

from koe.transport.address import Address, absence
from koe.wire.framing import MAX_FRAME_BYTES, WireError, pack, unpack

WATCHED = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
START_HINT = "start it with `make run` or `koed run`"


class Refused(WireError):
    """koed (or this client, before sending) says no; ``hint`` says what would be accepted."""


class NoDaemon(WireError):
    """No answer. Code ``no_daemon``: the request was not sent, it may safely be tried again. Code
    ``no_reply``: it was sent, and koed may have acted on it."""


def encode(request: dict[str, Any], number: int) -> bytes:
    """The frame of a request map; raises `Refused` for what cannot be sent."""
    try:
        data = pack(request | {"id": number})
    except UnicodeEncodeError as error:
        raise bad_text(error) from error
    except OverflowError as error:
        raise Refused(
            "bad_field", f"{request['op']}: a number does not fit into 64 bits", "use a smaller one"
        ) from error
    return checked(data)


def encode_text(text: str) -> bytes:
    """The frame of a message to the text socket; raises `Refused` for what cannot be sent."""
    try:
        return checked(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise bad_text(error) from error


def bad_text(error: UnicodeEncodeError) -> Refused:
    char = ord(error.object[error.start])
    return Refused(
        "invalid_utf8", f"the text has half a character (U+{char:04X}) at position {error.start}",
        "it was cut or decoded wrongly before it came here; send whole UTF-8 characters",
    )  # fmt: skip


def checked(data: bytes) -> bytes:
    if len(data) > MAX_FRAME_BYTES:
        raise Refused(
            "message_too_large",
            f"the message has {len(data)} bytes, koed takes at most {MAX_FRAME_BYTES}",
            "send it in pieces (say_open, say_append, say_close)",
        )
    return data


def silence(address: str, timeout_s: float, sent: bool) -> NoDaemon:
    """The error for a request that nobody answered in time."""
    if sent:
        return NoDaemon(
            "no_reply", f"koed took the request at {address} but gave no answer in {timeout_s:g} s",
            "it may still act on it; see its log, or restart it with `koed run`",
        )  # fmt: skip
    hint = START_HINT
    if address.startswith("tcp://"):
        hint += "; with a key that it does not know koed stays silent, too"
    return NoDaemon(
        "no_daemon", f"koed does not answer at {address} (tried for {timeout_s:g} s)", hint
    )


def require(endpoint: str) -> None:
    """Raise `NoDaemon` at once if nobody can be listening there."""
    reason = absence(endpoint)
    if reason:
        raise NoDaemon("no_daemon", f"koed is not running: {reason}", START_HINT)


def prepare(socket: zmq.Socket[Any], address: Address) -> None:
    """Set the options that all of a client's sockets share, before ``connect``."""
    socket.linger = 0
    if socket.type != zmq.SUB:  # it would subscribe not before it is read
        socket.immediate = 1
    socket.reconnect_ivl = 50  # ms; a restarted daemon is found again within a blink
    socket.reconnect_ivl_max = 1000
    socket.heartbeat_ivl = 2000  # ms; a hung daemon or a pulled cable counts as gone
    socket.heartbeat_timeout = 6000
    if address.keys is not None:
        socket.handshake_ivl = 3000  # ms; who is not let in hears nothing, and tries again
        socket.curve_publickey = address.keys.public
        socket.curve_secretkey = address.keys.secret
        socket.curve_serverkey = address.keys.server


def milliseconds(seconds: float | None) -> int | None:
    """A time limit as ZeroMQ's polls want it, rounded up so that no wait ends too early."""
    return None if seconds is None else math.ceil(max(0.0, seconds) * 1000)


class Mailbox:
    """Which requests are open, which replies have come, and whether the connection stands."""

    def __init__(self) -> None:
        self.up = False
        self.open: set[int] = set()
        self.replies: dict[int, dict[str, Any]] = {}
        """Replies not yet collected, as they came."""
        self.lost: set[int] = set()
        """Requests whose connection broke before the reply."""
        self._numbers = itertools.count(1)

    def number(self) -> int:
        return next(self._numbers)

    def take_reply(self, frame: bytes) -> int | None:
        """Keep a reply for whoever waits for it; None if nobody does (its wait timed out)."""
        try:
            message = unpack(frame)
        except WireError:
            return None  # not koed's language: the request times out and says so
        number = message.get("id")
        if not isinstance(number, int) or number not in self.open:
            return None
        self.open.discard(number)
        self.replies[number] = message
        return number

    def take_monitor(self, frame: bytes) -> bool:
        """Follow the socket's monitor (zmq_socket_monitor(3)); True if the connection broke."""
        (event,) = struct.unpack_from("=H", frame)
        self.up = event == zmq.EVENT_HANDSHAKE_SUCCEEDED
        return not self.up

    def lose_open(self) -> set[int]:
        """The connection broke, and koed forgets whom to answer: nothing open is answered."""
        lost = self.open
        self.lost |= lost
        self.open = set()
        return lost

    def forget(self, number: int) -> None:
        self.open.discard(number)
        self.lost.discard(number)
        self.replies.pop(number, None)

    def result(self, number: int, endpoint: str) -> dict[str, Any] | None:
        """The result of a request, None while it is open; raises `Refused` or `NoDaemon`."""
        if number in self.lost:
            raise NoDaemon(
                "no_reply", f"koed at {endpoint} went away before it answered",
                "it may have acted on the request; ask `koe queue`, then try again",
            )  # fmt: skip
        message = self.replies.get(number)
        if message is None:
            return None
        if message.get("ok"):
            return message.get("result") or {}
        error = message.get("error")
        words = error if isinstance(error, dict) else {}
        raise Refused(
            str(words.get("code", "unknown")),
            str(words.get("message", "koed refused and gave no reason")),
            str(words.get("hint", "")),
        )


class Link:
    """One DEALER socket, its monitor and its mailbox; nothing here waits."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], address: Address) -> None:
        self.endpoint = address.control
        self.box = Mailbox()
        self.socket = context.socket(zmq.DEALER)
        prepare(self.socket, address)
        name = f"inproc://monitor-{id(self)}"
        self.socket.monitor(name, WATCHED)
        self.monitor = context.socket(zmq.PAIR)
        self.monitor.connect(name)
        self.socket.connect(address.control)

    def try_send(self, data: bytes, number: int) -> bool:
        """Hand a request to the connection; False while there is none that stands.

        ``up`` alone is not enough (the socket's buffer may be full) and neither is the socket
        alone (it believes for a moment in a connection that has just broken).
        """
        if not (self.box.up and self.socket.poll(0, zmq.POLLOUT)):
            return False
        self.socket.send(data, zmq.NOBLOCK)
        self.box.open.add(number)
        return True

    def take(self) -> set[int]:
        """Read everything that has come; the requests that are settled now.

        The monitor first: replies that came before a break are still in the socket and count.
        """
        broke = False
        while self.monitor.poll(0):
            broke |= self.box.take_monitor(self.monitor.recv_multipart()[0])
        settled = set()
        while self.socket.poll(0):
            number = self.box.take_reply(self.socket.recv_multipart()[-1])
            if number is not None:
                settled.add(number)
        return settled | self.box.lose_open() if broke else settled
