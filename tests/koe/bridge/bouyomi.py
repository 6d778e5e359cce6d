"""``koe bridge bouyomi`` as a child process, and the bytes that real clients send to it."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIMIT_S = 60.0


@dataclass
class Bridge:
    """A running bridge; its notes are in ``notes()``."""

    process: subprocess.Popen[str]
    tcp: int
    http: int
    log: Path

    def notes(self) -> str:
        return self.log.read_text()

    # --- the TCP door ----------------------------------------------------------------------------

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.tcp), LIMIT_S)

    def send(self, *pieces: bytes, pause_s: float = 0.0) -> bytes:
        """Everything that comes back until the bridge hangs up, as it should: without a reset."""
        with self.connect() as door:
            door.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for number, piece in enumerate(pieces):
                time.sleep(pause_s if number else 0)
                door.sendall(piece)
            return b"".join(iter(lambda: door.recv(4096), b""))

    # --- the HTTP door ---------------------------------------------------------------------------

    def connect_http(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.http), LIMIT_S)

    def get(self, target: str, headers: dict[str, str] | None = None, **more: Any) -> Answer:
        return self.request("GET", target, headers or {}, **more)

    def request(
        self, method: str, target: str, headers: dict[str, str], body: bytes | None = None
    ) -> Answer:
        line = http.client.HTTPConnection("127.0.0.1", self.http, timeout=LIMIT_S)
        with contextlib.closing(line):
            line.request(method, target, body, headers)
            answer = line.getresponse()
            return Answer(answer.status, answer.read(), dict(answer.getheaders()))


@dataclass
class Answer:
    status: int
    data: bytes
    headers: dict[str, str]

    @property
    def value(self) -> Any:
        return json.loads(self.data)


def drained(door: socket.socket) -> bytes:
    got = b""
    with contextlib.suppress(ConnectionError):
        while data := door.recv(4096):
            got += data
    return got


@contextlib.contextmanager
def bridge(directory: Path, *options: str) -> Iterator[Bridge]:
    """A bridge on free ports to the daemon of ``directory``, ended as a service manager does."""
    command = [sys.executable, "-m", "koe.cli", "bridge", "bouyomi", "--json", "--tcp-port", "0",
               "--http-port", "0", "--runtime-dir", str(directory), *options]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as told:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=told, text=True)
        assert process.stdout is not None
        try:
            first = process.stdout.readline()
            assert first, log.read_text()
            ports = json.loads(first)["listening"]
            yield Bridge(process, ports["tcp"], ports["http"], log)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(LIMIT_S)
            finally:
                process.kill()
                process.stdout.close()
        assert process.returncode == 0, "the bridge did not end well"


# --- what clients in use send ----------------------------------------------------------------
#
# No such client can be had from PyPI or npm. These are the bytes of some that were written
# independently of each other and of koed: recorded from koheiapril20/bouyomi-client (JavaScript),
# vivil/bouyomi (JavaScript) and yumimint/bouyomichan (Python), written down from what
# go-numb/go-bouyomichan (Go), TORISOUP/UnityBoyomichanClient (C#) and hapo31/Bouyomi-Socket
# (TypeScript) send. All are public on GitHub.

TCP_CLIENTS: dict[str, tuple[tuple[bytes, ...], str, str]] = {
    "koheiapril20": ((bytes.fromhex("010078 00ffff 3200 0200 00 0b000000") + b"Hello there",),
                     "Hello there", "high"),
    "vivil, two lines on one connection": (
        (bytes.fromhex("0100 ffff ffff ffff 0000 00 0c000000") + b"Good evening",
         bytes.fromhex("0100 ffff ffff ffff 0000 00 0b000000"), b"Second line"),
        "Good evening", "low"),
    "go-numb": ((bytes.fromhex("0100 6400 ffff 1400 0000 00 05000000") + b"Hello",),
                "Hello", "low"),
    "TORISOUP, a write per field": (
        (b"\1\0", b"\xff\xff", b"\xff\xff", b"\xff\xff", b"\2\0", b"\0", b"\x06\0\0\0",
         "はい".encode()),
        "はい", "high"),
    "hapo31, with an end of line": (
        (bytes.fromhex("0100 ffff ffff ffff 0100 00 05000000") + b"Hello", b"\r\n\r\n"),
        "Hello", "low"),
}  # fmt: skip
"""What a client writes, the line that koed is to queue, and its voice (2 is high, the others
low)."""

YUMIMINT_GET = (
    "/talk?text=three%2C%20two%2C%20one%2C%20zero%21%20%E9%A6%AC&speed=100&voice=2&volume=100"
)
PYTHON_HEADERS = {"Accept-Encoding": "identity", "User-Agent": "Python-urllib/3.11"}
