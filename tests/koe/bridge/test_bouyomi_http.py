"""Bouyomi-chan's HTTP door: what programs get, and what strangers get."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import pytest

from koe.bridge.bouyomi.guard import admit
from koe.bridge.bouyomi.http import MAX_BODY_BYTES, MAX_HEAD_BYTES
from koe.transport.connection import Refused
from koed.testing.rig import Rig, Watch
from tests.koe.bridge.bouyomi import (
    LIMIT_S,
    PYTHON_HEADERS,
    YUMIMINT_GET,
    Bridge,
    bridge,
    drained,
)
from tests.koe.bridge.conftest import ALLOWED
from tests.koe.fake_daemon import FakeDaemon, until

ORIGIN = "Access-Control-Allow-Origin"
SITE = "sec-fetch-site"
CHROME = ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/156.0")
HOST = ("host", "localhost:50080")


# --- who may enter ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        [HOST],
        [("host", "LOCALHOST:50080")],
        [("host", "127.0.0.1:50080"), ("user-agent", "Python-urllib/3.11")],
        [("host", "[::1]:50080")],
        [HOST, CHROME, (SITE, "none")],
        [HOST, CHROME, ("origin", ALLOWED), (SITE, "cross-site")],
        [HOST, CHROME, ("origin", ALLOWED.upper())],
        [HOST, CHROME, ("origin", "chrome-extension://abc"), (SITE, "cross-site")],
    ],
)
def test_admitted(headers: list[tuple[str, str]]) -> None:
    visitor = admit(headers, 50080, {ALLOWED, "chrome-extension://abc"})
    assert (visitor.origin is not None) == any(name == "origin" for name, _ in headers)
    assert visitor.browser == any(name in ("origin", SITE) for name, _ in headers)


@pytest.mark.parametrize(
    ("code", "headers"),
    [
        ("bad_host", []),
        ("bad_host", [("host", "rebound.example:50080")]),
        ("bad_host", [("host", "localhost")]),
        ("bad_host", [("host", "localhost:80")]),
        ("bad_host", [("host", "localhost:50080.evil.example")]),
        ("bad_host", [("host", "127.0.0.1.evil.example:50080")]),
        ("bad_host", [HOST, ("host", "evil.example")]),
        ("bad_host", [("host", "")]),
        ("not_allowed", [HOST, (SITE, "cross-site")]),
        ("not_allowed", [HOST, (SITE, "same-site")]),
        ("not_allowed", [HOST, (SITE, "none"), (SITE, "cross-site")]),
        ("not_allowed", [HOST, (SITE, "")]),
        ("not_allowed", [HOST, CHROME]),
        ("not_allowed", [HOST, ("origin", "null")]),
        ("not_allowed", [HOST, ("origin", "")]),
        ("not_allowed", [HOST, ("origin", "https://evil.example")]),
        ("not_allowed", [HOST, ("origin", "http://localhost:50080"), (SITE, "same-origin")]),
        ("not_allowed", [HOST, ("origin", "chrome-extension://evil"), (SITE, "none")]),
        ("not_allowed", [HOST, ("origin", ALLOWED), ("origin", "https://evil.example")]),
        ("not_allowed", [HOST, ("origin", ALLOWED + ".evil.example")]),
    ],
)
def test_refused(code: str, headers: list[tuple[str, str]]) -> None:
    with pytest.raises(Refused) as refusal:
        admit(headers, 50080, {ALLOWED})
    assert refusal.value.code == code


# --- programs --------------------------------------------------------------------------------


def test_talk_with_a_client_in_use(bouyomi: Bridge, watch: Watch) -> None:
    answer = bouyomi.get(YUMIMINT_GET, PYTHON_HEADERS)
    task = answer.value["taskId"]
    queued = watch.wait("utterance.queued", task)
    assert (queued.text, queued.voice) == ("three, two, one, zero! 馬", "high")  # type: ignore[attr-defined]
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    text = "It is a long text that goes on. " + quote("長い") + "%20" * 3 + "x" * 1000
    headers = PYTHON_HEADERS | {"Content-Type": "application/x-www-form-urlencoded"}
    task = bouyomi.request("POST", "/talk?voice=2", headers, f"text={text}".encode()).value[
        "taskId"
    ]
    queued = watch.wait("utterance.queued", task)
    assert queued.text.startswith("It is a long text that goes on. 長い")  # type: ignore[attr-defined]
    assert queued.voice == "high"  # type: ignore[attr-defined]


def test_every_page_answers_in_any_case(bouyomi: Bridge, watch: Watch) -> None:
    assert bouyomi.get("/GetPause").value == {"pause": False}
    # one client in use looks at the sixteenth character of this answer, and at nothing else
    assert bouyomi.get("/getnowplaying").data == b'{"nowPlaying": false}'
    assert bouyomi.get("/getNowTaskId").value == {"nowTaskId": -1}
    assert bouyomi.get("/GETTALKTASKCOUNT").value == {"talkTaskCount": 0}
    assert bouyomi.get("/getvoicelist").value == {"voiceList": [
        {"id": 0, "kind": "koed", "name": "low", "alias": ""},
        {"id": 1, "kind": "koed", "name": "low", "alias": ""},
        {"id": 2, "kind": "koed", "name": "high", "alias": ""},
    ]}  # fmt: skip
    for page in ("/pause", "/Resume", "/SKIP", "/clear"):
        assert bouyomi.get(page).value == {}
    missing = bouyomi.get("/favicon.ico")
    assert (missing.status, missing.value["error"]["code"]) == (404, "not_found")


def test_garbage_in_numbers_is_taken_for_nothing(bouyomi: Bridge, watch: Watch) -> None:
    for more in (
        "voice=",
        "voice=-7",
        "voice=99999999999999999999",
        "voice=x&speed=y&tone=&volume=1e9",
    ):
        task = bouyomi.get(f"/talk?TEXT=hello&{more}").value["taskId"]
        assert watch.wait("utterance.queued", task).voice == "low"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("status", "target"),
    [
        (400, "/talk"), (400, "/talk?text=%20"), (400, "/talk?text=ok%ff"),
        (400, "/talk?" + "&".join(f"f{n}=1" for n in range(50))),
        (404, "/"), (404, "/talk/../skip"), (404, "http://127.0.0.1/talk?text=x"),
        (404, "//talk?text=x"), (404, "[?text=x"), (404, "?text=x"), (404, "*"),
    ],
)  # fmt: skip
def test_what_cannot_be_said_is_refused_with_a_reason(
    bouyomi: Bridge, status: int, target: str
) -> None:
    answer = bouyomi.get(target, {"Host": f"localhost:{bouyomi.http}"})
    assert (answer.status, set(answer.value["error"])) == (status, {"code", "message", "hint"})
    assert ORIGIN not in answer.headers


RAW = {
    b"400 ": [
        b"GET /talk?text=hi HTTP/1.1\r\n\r\n",  # nobody's name
        b"GET /talk?text=hi HTTP/1.1\r\nHost: localhost:%d\r\nHost: a\r\n\r\n",
        b"GET /talk?text=hi\r\n\r\n",
        b"\x16\x03\x01" + b"\0" * 50 + b"\r\n\r\n",
        b"POST /talk HTTP/1.1\r\nHost: localhost:%d\r\nContent-Length: x\r\n\r\ntext=hi",
        b"POST /talk HTTP/1.1\r\nHost: localhost:%d\r\nContent-Length: 7\r\n"
        b"Content-Length: 8\r\n\r\ntext=hi!",
    ],
    b"403 ": [b"GET /talk?text=hi HTTP/1.0\r\n\r\n"],
    b"405 ": [b"PUT /talk?text=hi HTTP/1.1\r\nHost: localhost:%d\r\n\r\n",
              b"HEAD /talk?text=hi HTTP/1.1\r\nHost: localhost:%d\r\n\r\n"],
    b"413 ": [b"POST /talk HTTP/1.1\r\nHost: localhost:%d\r\nContent-Length: 99999999\r\n\r\ntext="
              + b"x" * (MAX_BODY_BYTES + 9)],
    b"431 ": [b"GET /talk?text=" + b"x" * (MAX_HEAD_BYTES + 9)],
}  # fmt: skip


def test_broken_requests_say_nothing(bouyomi: Bridge, watch: Watch) -> None:
    for status, requests in RAW.items():
        for request in requests:
            with bouyomi.connect_http() as door:
                door.sendall(request.replace(b"%d", str(bouyomi.http).encode()))
                told = drained(door)
            assert told.startswith(b"HTTP/1.1 " + status), (request[:80], told)
    task = bouyomi.get("/talk?text=the+end").value["taskId"]
    watch.wait("utterance.queued", task)
    texts = [e.text for e in watch.events if e.event == "utterance.queued"]  # type: ignore[attr-defined]
    assert texts == ["the end"]


# --- browsers --------------------------------------------------------------------------------


def test_an_allowed_origin_is_answered_and_nobody_else(bouyomi: Bridge) -> None:
    mine = {"Origin": ALLOWED, "Sec-Fetch-Site": "cross-site"}
    answer = bouyomi.get("/getpause", mine)
    assert (answer.status, answer.headers[ORIGIN]) == (200, ALLOWED)
    assert answer.headers["Vary"] == "Origin"
    preflight = bouyomi.request("OPTIONS", "/talk", mine)
    assert (preflight.status, preflight.headers[ORIGIN], preflight.data) == (204, ALLOWED, b"")
    stranger = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    for method in ("GET", "OPTIONS", "POST"):
        answer = bouyomi.request(method, "/getpause", stranger)
        assert (answer.status, ORIGIN in answer.headers) == (403, False)
    assert "--allow-origin" in bouyomi.notes()
    assert "https://evil.example" in bouyomi.notes()
    assert bouyomi.request("POST", "/talk?text=x", mine).status == 403
    assert bouyomi.request("POST", "/talk?text=x", {"Sec-Fetch-Site": "none"}).status == 403


def test_a_callback_is_a_name_and_for_an_allowed_origin(bouyomi: Bridge) -> None:
    mine = {"Origin": ALLOWED}
    answer = bouyomi.get("/getpause?callback=my.handler_1", mine)
    assert answer.data == b'/**/my.handler_1({"pause": false});'
    assert answer.headers["Content-Type"].startswith("text/javascript")
    assert bouyomi.get("/getpause?callback=f").status == 403
    for code in ("alert(1)//", "a-b", "a b", "1a", "a.", "x" * 65, "a%0aalert", "%EF%BB%BFa"):
        answer = bouyomi.get(f"/getpause?callback={quote(code, safe='%')}", mine)
        assert (answer.status, answer.value["error"]["code"]) == (400, "bad_field"), code


# --- koed gone and back ----------------------------------------------------------------------


def test_without_koed_a_program_is_told_so_and_all_is_well_when_it_is_back(tmp_path: Path) -> None:
    with bridge(tmp_path, "--timeout", "20") as running:
        answer = running.get("/talk?text=hello")
        assert (answer.status, answer.value["error"]["code"]) == (503, "no_daemon")
        assert running.send(b"\x30\1") == b""  # no answer, rather than a wrong one
        for _ in range(2):
            with FakeDaemon(tmp_path) as koed:
                until(lambda: running.get("/talk?text=hello&voice=1").status == 200, LIMIT_S)
                said = next(r for r in koed.requests if r.op == "say")
                assert (said.text, said.priority, said.voice) == ("hello", "chatter", "hana")  # type: ignore[attr-defined]
            until(lambda: running.get("/getpause").status == 503, LIMIT_S)
        assert running.notes().count("koed is back") == 2
        assert running.notes().count("lines are lost") == 3


def test_a_line_that_is_about_to_sound_is_playing(tmp_path: Path) -> None:
    """A viewer that says a line and waits for its end asks before the engine has made a sound."""
    line = {"utterance": 1, "text": "hello", "output": "main"}
    with FakeDaemon(tmp_path) as koed, bridge(tmp_path) as running:

        def playing(speaking: int, waiting: int, **state: bool | str) -> bool:
            queue = {"speaking": [line] * speaking, "waiting": [line] * waiting}
            koed.answers["queue"] = lambda _: queue
            koed.answers["status"] = lambda _: {"outputs": {"main": state}}
            told = running.get("/getnowplaying").value
            assert running.send(b"\x20\1") == bytes([told["nowPlaying"]])
            return bool(told["nowPlaying"])

        assert playing(speaking=0, waiting=1)
        assert not playing(speaking=0, waiting=1, paused=True)
        assert not playing(speaking=0, waiting=1, muted=True)
        assert not playing(speaking=0, waiting=1, mode="all_muted"), "nobody waits for a break"
        assert not playing(speaking=0, waiting=1, held="panic")
        assert playing(speaking=0, waiting=1, mode="chat_muted"), "a line of another kind"
        assert playing(speaking=1, waiting=0)
        assert not playing(speaking=0, waiting=0)


def test_a_voice_that_is_gone_is_replaced_by_the_current(daemon: Rig, watch: Watch) -> None:
    with bridge(daemon.folder / "run", "--voice", "3=gone", "--priority", "normal") as running:
        task = running.get("/talk?text=hello&voice=3").value["taskId"]
        event = watch.wait("utterance.queued", task)
        assert (event.voice, event.priority) == ("low", "normal")  # type: ignore[attr-defined]
        assert "gone" in running.notes()
        assert json.dumps(running.get("/getvoicelist").value).count("gone") == 1
