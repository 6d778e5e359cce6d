"""Hostile and clumsy clients, with sockets of their own, against a real daemon.

After each test the daemon must answer at once and speak a line that is heard at the sink.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest
import zmq

from koe.client import Client
from koed.testing.rig import PATIENCE_S, Rig, Watch
from tests.rigs import hearing
from tests.rigs.daemon import LOW

TIMEOUT_MS = 40_000
HZ = {"low": 400.0, "high": 1000.0}
SOCKETS = ("control", "events", "text")
CHAR_S = LOW["settings"]["char_ms"] / 1000
MEGABYTE = "x" * 1_000_000


class Plain:
    """ZeroMQ and msgpack and nothing else, as a client in any language has them."""

    def __init__(self, daemon: Rig) -> None:
        self._folder = daemon.folder / "run"
        self._context: zmq.Context[Any] = zmq.Context()
        self._open: list[Any] = []
        """Without it a socket is closed, and its message lost, as soon as a test looks away."""

    def socket(self, kind: int = zmq.DEALER, name: str = "control", **options: int) -> Any:
        opened = self._context.socket(kind)
        opened.linger = 0
        opened.sndtimeo = opened.rcvtimeo = TIMEOUT_MS
        for option, value in options.items():
            setattr(opened, option, value)
        opened.connect(f"ipc://{self._folder / name}")
        self._open.append(opened)
        return opened

    def unix(self, name: str) -> socket.socket:
        opened = socket.socket(socket.AF_UNIX)
        opened.connect(str(self._folder / name))
        return opened

    def close(self) -> None:
        self._context.destroy(0)


def pack(value: Any) -> bytes:
    data: bytes = msgpack.packb(value)
    return data


def ask(opened: Any, *frames: bytes) -> dict[str, Any]:
    opened.send_multipart(frames)
    reply: dict[str, Any] = msgpack.unpackb(opened.recv())
    return reply


def ask_map(opened: Any, **request: Any) -> dict[str, Any]:
    return ask(opened, pack(request))


def prove_alive(daemon: Rig) -> None:
    """It answers at once, and a line is heard for as long as it is."""
    with Client(str(daemon.folder / "run"), timeout_s=PATIENCE_S) as client:
        began = time.monotonic()
        assert client.status()["ready"]
        assert time.monotonic() - began < 10.0
        client.stop()
        mark = hearing.played_on(daemon, hearing.FADED_S) + round(hearing.FADED_S * 48000)
        assert client.begin_say("ping").result(PATIENCE_S).outcome == "finished"
    windows = hearing.voices(daemon.sound_from(mark), HZ)
    assert hearing.seconds(windows, "low") == pytest.approx(4 * CHAR_S, abs=0.03)


@pytest.fixture
def plain(daemon: Rig) -> Iterator[Plain]:
    opened = Plain(daemon)
    yield opened
    try:
        prove_alive(daemon)
    finally:
        opened.close()


@pytest.fixture
def watch(daemon: Rig, watch: Watch) -> Watch:
    """Once its subscription has reached the daemon: other sockets may be faster."""
    deadline = time.monotonic() + TIMEOUT_MS / 1000
    while not watch.events and time.monotonic() < deadline:
        daemon.client.set_voice("low")
        time.sleep(0.01)
    watch.events.clear()
    return watch


@contextlib.contextmanager
def growth_below(daemon: Rig, megabytes: float) -> Iterator[None]:
    """The daemon's memory stays within a bound all the time, not only at the end."""
    before, highest, over = daemon.rss_mb(), 0.0, threading.Event()

    def look() -> None:
        nonlocal highest
        while not over.wait(0.01):
            highest = max(highest, daemon.rss_mb())

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield
    finally:
        over.set()
        looking.join()
    assert highest - before < megabytes


@contextlib.contextmanager
def answering(daemon: Rig, within_s: float = 1.0) -> Iterator[None]:
    """Another client is answered all the while: before the daemon has done ``within_s`` of other
    work, however long a busy machine takes for that."""
    waits: list[float] = []
    longest: list[float] = []
    over = threading.Event()

    def look() -> None:
        with Client(str(daemon.folder / "run"), timeout_s=PATIENCE_S) as client:
            while not (over.wait(0.02) and waits):
                began, began_s = time.monotonic(), daemon.cpu_s()
                client.status()
                waits.append(daemon.cpu_s() - began_s)
                longest.append(time.monotonic() - began)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield
    finally:
        over.set()
        looking.join()
    assert waits
    assert max(waits) < within_s
    assert max(longest) < 20.0  # nor does it wait for anybody


@pytest.fixture(scope="module")
def dealer(daemon: Rig) -> Iterator[Any]:
    """One connection for the whole table: no bad message spoils it for the next one."""
    opened = Plain(daemon)
    yield opened.socket()
    prove_alive(daemon)
    opened.close()


# --- one bad message -------------------------------------------------------------------------

SURROGATE = "\ud800".encode("utf-8", "surrogatepass")
WIDE = b"\xdd" + (4_000_000).to_bytes(4, "big")

MALFORMED = {
    "garbage": b"\xc1\xff\x00garbage",
    "noise": bytes(range(255, 127, -1)) * 16,
    "empty": b"",
    "half a map": pack({"op": "status", "id": 1})[:-1],
    "a map and more": pack({"op": "status"}) + b"\x00",
    "a list": pack(["status"]),
    "a text": pack("status"),
    "nil": pack(None),
    "10,000 levels": b"\x91" * 10_000 + b"\xc0",
    "10,000 levels within the map": pack({"op": "status"})[:-7] + b"\x91" * 10_000 + b"\xc0",
    "numbers for names": pack({1: "status"}),
    "millions of lists": WIDE + b"\x90" * 4_000_000,
    "millions of maps": b"\x81\xa2op" + WIDE + b"\x80" * 4_000_000,
    "a big map of maps": pack({"op": "status", "x": [{str(i): {}} for i in range(40_000)]}),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_no_map_is_refused(dealer: Any, name: str) -> None:
    began = time.monotonic()
    reply = ask(dealer, MALFORMED[name])
    assert time.monotonic() - began < 20.0  # it takes milliseconds; looking at it all, minutes
    assert (reply["id"], reply["ok"]) == (None, False)
    assert reply["error"]["code"] == "bad_message"
    assert all(reply["error"][part] for part in ("code", "message", "hint"))
    assert ask_map(dealer, op="status", id=1)["ok"]


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({}, "missing_field", "status"),
    ({"op": 7}, "missing_field", "status"),
    ({"op": "stauts"}, "unknown_op", "did you mean 'status'?"),
    ({"op": "x" * 1000}, "unknown_op", "koed knows"),
    ({"op": "../status"}, "unknown_op", "did you mean"),
    ({"op": "_do_say"}, "unknown_op", "did you mean 'say'?"),
    ({"op": "say"}, "missing_field", "text"),
    ({"op": "say", "txet": "hi"}, "unknown_field", "did you mean 'text'?"),
    ({"op": "say", "text": "hi", "x" * 9999: 1}, "unknown_field", "it knows"),
    ({"op": "say", "text": "hi", b"text": "hi"}, "unknown_field", "it knows"),
    ({"op": "say", "text": 5}, "bad_field", "text is text"),
    ({"op": "say", "text": b"hi"}, "bad_field", "text is text"),
    ({"op": "say", "text": ["hi"]}, "bad_field", "text is text"),
    ({"op": "say", "text": None}, "bad_field", "text is text"),
    ({"op": "say", "text": "hi", "wait": "yes"}, "bad_field", "true or false"),
    ({"op": "say", "text": "hi", "priority": "high"}, "bad_field", "urgent | normal | chatter"),
    ({"op": "say", "text": "hi", "ttl_s": float("nan")}, "bad_field", "number"),
    ({"op": "say", "text": "hi", "ttl_s": float("inf")}, "bad_field", "number above 0"),
    ({"op": "say", "text": "hi", "ttl_s": -float("inf")}, "bad_field", "number above 0"),
    ({"op": "say", "text": "hi", "ttl_s": 0}, "bad_field", "number above 0"),
    ({"op": "say", "text": "hi", "voice": "lov"}, "unknown_voice", "did you mean 'low'?"),
    ({"op": "say", "text": "hi", "voice": "../low"}, "unknown_voice", "low"),
    ({"op": "say", "text": "hi", "voice": "low\0"}, "unknown_voice", "low"),
    ({"op": "say", "text": "hi", "output": "side"}, "unknown_output", "main"),
    ({"op": "say", "text": "hi", "lang": "jp"}, "unknown_language", "did you mean 'ja'?"),
    ({"op": "say_open", "lang": "xx"}, "unknown_language", "a code such as"),
    ({"op": "say", "text": MEGABYTE}, "text_too_long", "pieces"),
    ({"op": "say", "text": "hi", "key": MEGABYTE}, "bad_field", "at most"),
    ({"op": "say", "text": "hi", "author": MEGABYTE}, "bad_field", "at most"),
    ({"op": "say", "text": "hi", "voice": MEGABYTE}, "bad_field", "at most"),
    ({"op": "say", "text": "\u200b\u202e\0\ufeff"}, "nothing_to_say", "marks"),
    ({"op": "say_append", "utterance": 2**64 - 1, "text": "x"}, "unknown_utterance", "say_open"),
    ({"op": "say_close", "utterance": -(2**63)}, "unknown_utterance", "say_open"),
    ({"op": "say_close", "utterance": 1.0}, "bad_field", "whole number"),
    ({"op": "cancel"}, "missing_field", "name an utterance"),
    ({"op": "cancel", "utterance": 2**63}, "unknown_utterance", "koe queue"),
    ({"op": "voice", "name": "low", "when": "later"}, "bad_field", "next | line | now"),
    ({"op": "save", "output": "side"}, "unknown_output", "main"),
    ({"op": "save", "seconds": "all"}, "bad_field", "number"),
]


@pytest.mark.parametrize(("request_", "code", "hint"), REFUSED)
def test_refusals_name_code_message_and_hint(
    dealer: Any, request_: dict[str, Any], code: str, hint: str
) -> None:
    reply = ask(dealer, pack(request_ | {"id": "it's me"}))
    error = reply["error"]
    assert (reply["id"], reply["ok"], error["code"]) == ("it's me", False, code)
    assert set(error) == {"code", "message", "hint"}
    assert hint in error["hint"]
    assert 0 < len(error["message"]) < 300
    assert 0 < len(error["hint"]) < 500


@pytest.mark.parametrize("text", [b"\xff\xfe", b"ok\x80", SURROGATE, b"\xe3\x81"])
def test_text_that_is_not_utf8_is_refused(dealer: Any, text: bytes) -> None:
    head = b"\x82\xa2op\xa3say\xa4text"
    reply = ask(dealer, head + bytes([0xA0 | len(text)]) + text)
    assert reply["error"]["code"] == "invalid_utf8"
    assert reply["error"]["hint"]


@pytest.mark.parametrize("frames", [(b"", b"x"), (b"x", b""), (b"x",) * 100, (b"",) * 3])
def test_more_frames_than_one_are_refused(dealer: Any, frames: tuple[bytes, ...]) -> None:
    dealer.send_multipart(frames)
    reply = msgpack.unpackb(dealer.recv_multipart()[-1])
    assert reply["error"]["code"] == "bad_message"


@pytest.mark.parametrize("id_", ["", "a", "声\0", 0, -1, 2**64 - 1, -(2**63)])
def test_an_id_comes_back_as_it_was(dealer: Any, id_: str | int) -> None:
    good, bad = (ask_map(dealer, op=op, id=id_) for op in ("queue", "quene"))
    assert (good["id"], good["ok"]) == (id_, True)
    assert (bad["id"], bad["ok"]) == (id_, False)


def test_without_an_id_nil_comes_back(dealer: Any) -> None:
    assert ask_map(dealer, op="queue")["id"] is None
    assert ask_map(dealer, op="queue", id=None)["ok"]


@pytest.mark.parametrize("id_", [True, 1.5, [1], {"a": 1}, b"a", MEGABYTE])
def test_an_id_of_another_kind_is_refused(dealer: Any, id_: Any) -> None:
    reply = ask_map(dealer, op="queue", id=id_)
    assert (reply["id"], reply["error"]["code"]) == (None, "bad_field")


@pytest.mark.parametrize("seconds", [float("inf"), 1e300, -1, 0, 2**60])
def test_save_takes_any_number_of_seconds(dealer: Any, seconds: float) -> None:
    result = ask_map(dealer, op="save", seconds=seconds)["result"]
    assert result["first_frame"] <= result["next_frame"] <= result["end_frame"]
    page = ask_map(dealer, op="save", from_frame=2**63)["result"]
    assert page["pcm"] == b""


# --- text ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("nul\0l byte", "null byte"),
        ("he\u200bl\u200clo\ufeff there", "hello there"),
        ("\u202eabc\u202c \u2066def\u2069\u200f", "abc def"),
        ("bell\x07 \x1b[2Jclear\r\n", "bell clear"),
    ],
)
def test_what_cannot_be_seen_is_not_spoken(
    plain: Plain, watch: Watch, text: str, spoken: str
) -> None:
    said = ask_map(plain.socket(), op="say", text=text)["result"]["utterance"]
    queued: Any = watch.wait("utterance.queued", said)
    heard = queued.text.replace("[2J", "")  # an escape sequence without its escape is text
    assert heard.split() == spoken.split()
    plain.socket(zmq.PUSH, "text").send(text.encode())
    watch.wait("utterance.queued", said + 1)


@pytest.mark.parametrize(
    "frames", [[b"\xff\xfe"], [b"ok\x80"], [SURROGATE], [b"two", b"frames"], [b"", b"", b""]]
)
def test_bad_text_messages_are_told_as_trouble(
    plain: Plain, watch: Watch, frames: list[bytes]
) -> None:
    plain.socket(zmq.PUSH, "text").send_multipart(frames)
    trouble: Any = watch.wait("trouble")
    assert trouble.code == ("invalid_utf8" if len(frames) == 1 else "bad_message")
    assert trouble.message
    assert trouble.hint


@pytest.mark.parametrize(
    ("text", "reason"), [(MEGABYTE.encode(), "text_too_long"), (b"", "nothing_to_say")]
)
def test_pushed_text_that_is_not_spoken_is_an_event(
    plain: Plain, watch: Watch, text: bytes, reason: str
) -> None:
    plain.socket(zmq.PUSH, "text").send(text)
    dropped: Any = watch.wait("utterance.dropped")
    assert dropped.reason == reason


# --- floods ----------------------------------------------------------------------------------


def test_a_frame_of_100_mb_closes_its_connection_and_no_other(daemon: Rig, plain: Plain) -> None:
    other, flood = plain.socket(), plain.socket(reconnect_ivl=-1)
    monitor = flood.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    assert ask_map(other, op="status")["ok"]
    assert ask_map(flood, op="status")["ok"]
    with growth_below(daemon, 30.0), answering(daemon):
        flood.send(b"\0" * 100_000_000, copy=False)
        assert monitor.poll(TIMEOUT_MS), "the connection was not closed"
    assert ask_map(other, op="status")["ok"]


@pytest.mark.parametrize(
    ("op", "count", "megabytes"), [("status", 20_000, 5.0), ("save", 5_000, 80.0)]
)
def test_a_client_that_never_reads_its_replies(
    daemon: Rig, plain: Plain, op: str, count: int, megabytes: float
) -> None:
    deaf = plain.socket(rcvhwm=1)
    request = pack({"op": op} | ({"from_frame": 0} if op == "save" else {}))
    with growth_below(daemon, megabytes), answering(daemon):
        for _ in range(count):
            deaf.send(request)


def test_a_subscriber_that_never_reads_costs_nobody_an_event(daemon: Rig, plain: Plain) -> None:
    count = 30_000
    deaf, keen = (
        plain.socket(zmq.SUB, "events", rcvhwm=1),
        plain.socket(zmq.SUB, "events", rcvhwm=0),
    )
    push = plain.socket(zmq.PUSH, "text")
    for subscriber in (deaf, keen):
        subscriber.subscribe("")
    push.send(b"\xff")
    while not keen.poll(100):  # until the subscription has reached the daemon
        push.send(b"\xff")
    seen: list[dict[str, Any]] = []
    with growth_below(daemon, 6.0), answering(daemon):
        for number in range(count):
            push.send(b"\xff")
            while keen.poll(TIMEOUT_MS if number == count - 1 and len(seen) < count else 0):
                topic, data = keen.recv_multipart()
                seen.append(msgpack.unpackb(data))
                assert topic.decode() == seen[-1]["event"]
    numbers = [event["seq"] for event in seen]
    assert len(numbers) >= count
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


# --- manners ---------------------------------------------------------------------------------


def test_a_client_that_leaves_while_it_waits(plain: Plain, watch: Watch) -> None:
    opened = plain.socket()
    opened.send(pack({"op": "say", "text": "nobody waits for this", "wait": True}))
    said: Any = watch.wait("utterance.started")
    opened.close()
    watch.wait("utterance.finished", said.utterance)


def test_wait_tells_how_it_began_and_how_it_ended(plain: Plain) -> None:
    result = ask_map(plain.socket(), op="say", text="both", wait=True)["result"]
    assert {**result, "utterance": 0} == {
        "utterance": 0,
        "voice": "low",
        "position": 0,
        "held": "",
        "truncated": False,
        "outcome": "finished",
        "reason": "",
    }


def test_a_req_socket_gets_its_empty_frame_back(plain: Plain) -> None:
    opened = plain.socket(zmq.REQ)
    for id_ in range(3):
        assert ask_map(opened, op="queue", id=id_)["id"] == id_
        assert ask(opened, b"garbage")["error"]["code"] == "bad_message"


def test_replies_come_in_the_order_of_their_requests(plain: Plain) -> None:
    opened = plain.socket()
    for id_ in range(500):
        opened.send(pack({"op": ("queue", "no such", "status")[id_ % 3], "id": id_}))
    replies = [msgpack.unpackb(opened.recv()) for _ in range(500)]
    assert [reply["id"] for reply in replies] == list(range(500))
    assert [reply["ok"] for reply in replies] == [id_ % 3 != 1 for id_ in range(500)]


@pytest.mark.parametrize("name", SOCKETS)
def test_a_connection_that_is_not_zeromq(plain: Plain, name: str) -> None:
    opened = [plain.unix(name) for _ in range(20)]
    opened[0].sendall(b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n")
    opened[1].sendall(os.urandom(1000))
    opened[2].sendall(b"\xff" + b"\0" * 8 + b"\x7f\x03")  # half a greeting of ZMTP
    opened[3].sendall(b"\0" * 100_000)
    prove_alive_of(plain)
    for one in opened:  # they hang until now
        one.close()


def prove_alive_of(plain: Plain) -> None:
    assert ask_map(plain.socket(), op="status")["ok"]


def test_sockets_are_only_for_their_owner(daemon: Rig) -> None:
    folder = daemon.folder / "run"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in SOCKETS:
        mode = (folder / name).stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600
