"""Bouyomi-chan's TCP door: real sockets on one side, a real daemon on the other."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from koe.bridge.bouyomi import wire
from koe.bridge.listener import MOST, PATIENCE_S
from koed.testing.rig import Rig, Sound, Watch
from tests.koe.bridge.bouyomi import LIMIT_S, TCP_CLIENTS, Bridge, bridge, drained
from tests.rigs.hearing import order, voices
from tests.rigs.waiting import wait_for

PAUSE, RESUME, SKIP, CLEAR = b"\x10\0", b"\x20\0", b"\x30\0", b"\x40\0"
GET_PAUSE, GET_NOW_PLAYING, GET_TASK_COUNT = b"\x10\1", b"\x20\1", b"\x30\1"


def talk(
    text: str, voice: int = 0, *, charset: int = 0, length: int | None = None, speed: int = -1
) -> bytes:
    data = text.encode(("utf-8", "utf-16-le", "cp932")[charset] if charset < 3 else "utf-8")
    size = len(data) if length is None else length
    return struct.pack("<hhhhhBi", 1, speed, -1, -1, voice, charset, size) + data


def queued(watch: Watch, last: str) -> list[tuple[str, str]]:
    """Text and voice of all lines that koed was given, when ``last`` is among them."""

    def lines() -> list[tuple[str, str]]:
        events = [e for e in watch.events if e.event == "utterance.queued"]
        return [(e.text, e.voice) for e in events]  # type: ignore[attr-defined]

    wait_for(lambda: last in [text for text, _ in lines()], LIMIT_S, f"{last!r} among {lines()}")
    return lines()


def test_a_talk_is_heard_in_the_voice_of_its_number(
    daemon: Rig, bouyomi: Bridge, watch: Watch
) -> None:
    began_t = time.monotonic()
    assert bouyomi.send(talk("this is the low voice")) == b""
    assert bouyomi.send(talk("this is the high voice", voice=2)) == b""
    assert bouyomi.send(talk("number 9 is nobody, so low", voice=9, speed=300)) == b""
    wait_for(
        lambda: len([e for e in watch.events if e.event == "utterance.finished"]) == 3, LIMIT_S
    )

    def heard() -> list[str]:
        sound: Sound = daemon.sound(began_t)
        return order(voices(sound, {"low": 400.0, "high": 1000.0}))

    wait_for(lambda: heard() == ["low", "high", "low"], LIMIT_S, "three lines at the sink")


@pytest.mark.parametrize("name", TCP_CLIENTS)
def test_clients_in_use_are_understood(bouyomi: Bridge, watch: Watch, name: str) -> None:
    pieces, text, voice = TCP_CLIENTS[name]
    assert bouyomi.send(*pieces, pause_s=0.02) == b""
    assert queued(watch, text) == [(text, voice)]


@pytest.mark.parametrize("charset", [0, 1, 2])
def test_three_encodings(bouyomi: Bridge, watch: Watch, charset: int) -> None:
    text = "こんにちは、世界。髙い"  # 髙 is in what Windows calls Shift-JIS, not in Shift-JIS
    whole = talk(text, charset=charset)
    bouyomi.send(whole[:15], whole[15:], pause_s=0.05)  # header and text in packets of their own
    assert queued(watch, text) == [(text, "low")]


def test_controls_and_questions(daemon: Rig, bouyomi: Bridge, watch: Watch) -> None:
    assert bouyomi.send(GET_PAUSE) == b"\0"
    wait_for(lambda: bouyomi.send(GET_NOW_PLAYING) == b"\0", LIMIT_S, "what was before is over")
    assert bouyomi.send(GET_TASK_COUNT) == b"\0\0\0\0"
    for number in range(4):
        bouyomi.send(talk(f"line number {number} " + "goes on and on " * 100))
    assert bouyomi.send(GET_NOW_PLAYING) == b"\1"  # even if its first sound is still to come
    watch.wait("utterance.started")
    assert bouyomi.send(GET_TASK_COUNT) == b"\3\0\0\0"
    assert bouyomi.send(PAUSE) == b""
    assert bouyomi.send(GET_PAUSE) == b"\1"
    assert bouyomi.get("/getpause").value == {"pause": True}
    assert bouyomi.send(RESUME) == b""
    assert bouyomi.send(GET_PAUSE) == b"\0"
    first = bouyomi.get("/getnowtaskid").value["nowTaskId"]
    assert bouyomi.send(SKIP) == b""
    watch.wait("utterance.skipped", first)
    wait_for(lambda: bouyomi.get("/getnowtaskid").value == {"nowTaskId": first + 1}, LIMIT_S)
    assert bouyomi.get("/gettalktaskcount").value == {"talkTaskCount": 2}
    assert bouyomi.send(CLEAR) == b""
    watch.wait("utterance.dropped", first + 3)
    assert bouyomi.send(GET_TASK_COUNT) == b"\0\0\0\0"
    assert bouyomi.send(GET_NOW_PLAYING) == b"\1"  # what sounds is finished
    bouyomi.send(SKIP)
    wait_for(lambda: bouyomi.send(GET_NOW_PLAYING) == b"\0", LIMIT_S)


def test_what_comes_on_two_connections_keeps_its_order(bouyomi: Bridge, watch: Watch) -> None:
    with contextlib.ExitStack() as stack:
        for text, voice in (("first", 9), ("second", 0)):  # for number 9 koed is asked twice
            door = stack.enter_context(bouyomi.connect())
            door.sendall(talk(text, voice))
    assert queued(watch, "second") == [("first", "low"), ("second", "low")]


HOSTILE = {
    "a form of a web page": b"POST /raw HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" + talk("form"),
    "a websocket": b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
    "tls": bytes.fromhex("16030100c8010000c40303") + b"x" * 200,
    "a question of webrtc": bytes.fromhex("000100002112a442") + b"x" * 12,
    "the same framed for tcp": bytes.fromhex("0014000100002112a442") + b"x" * 12,
    "an old command": b"\0\0" + talk("old")[2:],
    "an unknown command": b"\2\0" + talk("unknown")[2:],
    "endless text": talk("endless", length=2**31 - 1),
    "more than is allowed": talk("long" + "\0" * wire.MAX_TEXT_BYTES),
    "negative length": talk("negative", length=-1),
    "an unknown encoding": talk("encoding", charset=3),
    "text that never ends": talk("cut", length=100),
    "half a header": talk("half")[:9],
    "half a command": b"\1",
    "nothing": b"",
    "an empty talk": talk(""),
    "a talk of nothing but marks": talk("\0\0\0"),
}


def test_what_is_no_command_says_nothing(bouyomi: Bridge, watch: Watch) -> None:
    for name, data in HOSTILE.items():
        with bouyomi.connect() as door:
            with contextlib.suppress(ConnectionError):  # it may hang up before it has it all
                door.sendall(data)
            if name in ("text that never ends", "half a header", "half a command", "nothing"):
                door.shutdown(socket.SHUT_WR)  # else it is waited for a while
            assert drained(door) == b"", name
    bouyomi.send(talk("after all that"))
    assert queued(watch, "after all that") == [("after all that", "low")]


def test_a_chat_that_is_muted_is_told_once(daemon: Rig, bouyomi: Bridge, watch: Watch) -> None:
    """A viewer goes on sending through a whole game: one word with a way out, not one a line."""
    daemon.client.set_mode("chat_muted")
    try:
        for number in range(5):
            bouyomi.send(talk(f"line {number}"))
        wait_for(lambda: sum(e.event == "utterance.dropped" for e in watch.events) == 5, LIMIT_S)
    finally:
        daemon.client.set_mode("speak")
    assert bouyomi.notes().count("chat_muted") == 1, bouyomi.notes()
    assert "koe mode speak" in bouyomi.notes()


def test_a_flood_of_slow_senders_is_bounded(bouyomi: Bridge, watch: Watch) -> None:
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(bouyomi.connect()) for _ in range(MOST)]
        for door in slow:
            door.sendall(talk("slow")[:7])
        wait_for(lambda: _is_shut(bouyomi), what="one too many is hung up on")
        assert bouyomi.get("/getpause").status == 200  # the other door is not clogged
        for door in slow:
            assert drained(door) == b""
    bouyomi.send(talk("room again"))
    assert queued(watch, "room again") == [("room again", "low")]


def _is_shut(bouyomi: Bridge) -> bool:
    """Does the bridge hang up before anything is said?"""
    with bouyomi.connect() as door:
        door.settimeout(PATIENCE_S - 1.0)  # one that was let in is hung up on after that
        with contextlib.suppress(TimeoutError, ConnectionError):
            return door.recv(1) == b""
    return False


def test_both_doors_are_for_this_machine_only(bouyomi: Bridge) -> None:
    listening: dict[int, set[str]] = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            address, port = local.split(":")
            if state == "0A":
                listening.setdefault(int(port, 16), set()).add(address)
    loopback = {"0100007F", "00000000000000000000000001000000"}
    assert listening[bouyomi.tcp] <= loopback
    assert listening[bouyomi.http] <= loopback


def test_names_that_koed_does_not_have_are_told_at_once(daemon: Rig) -> None:
    options = ["--voice", "1=low", "--voice", "2=hihg", "--output", "nowhere"]
    with bridge(daemon.folder / "run", *options) as opened:
        for note in ("no output 'nowhere'", "no voice 'hihg'; did you mean 'high'?"):
            wait_for(lambda note=note: note in opened.notes(), LIMIT_S, note)
        assert "'low'" not in opened.notes()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--tcp-port", "{tcp}"], "cannot_listen"),
        (["--no-tcp", "--no-http"], "no_door"),
        (["--allow-origin", "null"], "every web page"),
        (["--allow-origin", "*"], "every web page"),
        (["--allow-origin", "https://a.example/path"], "without a path"),
        (["--voice", "hana"], "NUMBER=VOICE"),
    ],
)
def test_what_cannot_be_is_told(bouyomi: Bridge, options: list[str], told: str) -> None:
    filled = [option.format(tcp=bouyomi.tcp) for option in options]
    command = [sys.executable, "-m", "koe.cli", "bridge", "bouyomi", "--json", "--http-port", "0"]
    done = subprocess.run([*command, *filled], capture_output=True, text=True, timeout=LIMIT_S)
    if done.returncode == 1:
        assert json.loads(done.stdout)["error"]["code"] == told
    else:
        assert done.returncode == 2
        assert told in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_the_bridges_are_not_loaded_before_they_are_asked_for() -> None:
    code = """
import contextlib, sys
from koe.cli.parser import parser
for words in (["say", "--help"], ["--help"], ["bridge", "--help"], ["bridge"]):
    with contextlib.suppress(SystemExit):
        parser().parse_args(words)
    print(*(name for name in ("koe.bridge", "koe.bridge.bouyomi", "zmq") if name in sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT_S, check=True
    )
    said = [line for line in done.stdout.splitlines() if line.split(".")[0] in ("", "koe", "zmq")]
    assert [line for line in said if line] == ["koe.bridge", "koe.bridge"]
    assert "bouyomi" in done.stdout
    assert "the following arguments are required: BRIDGE" in done.stderr
