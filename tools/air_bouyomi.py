"""Bouyomi-chan's door: how long after a viewer's talk a line can be heard."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator

from koed.config import daemon as config
from koed.errors import KoedError
from koed.testing.rig import Rig, rig

WORDS = ("hello there", "good evening", "welcome to the stream", "nice one", "thank you so much")
WARM_UP = 5
START_S = 20.0


def measure(n: int = 60) -> dict[str, list[float]]:
    """``bouyomi_ms``: from the moment before a talk is sent to the TCP door to the first sample at
    the sink that can be heard; the embedded voice of a fresh machine, ``n`` lines, milliseconds."""
    shipped = config.resolve(config.Config(), "profiles")
    with rig(shipped=shipped) as running:
        running.wait_ready()
        with _bridge(running) as port:
            samples = _onsets(running, port, WARM_UP + n)
    return {"bouyomi_ms": samples[WARM_UP:]}


@contextlib.contextmanager
def _bridge(running: Rig) -> Iterator[int]:
    """The TCP port of a bridge to the daemon."""
    command = [sys.executable, "-m", "koe.cli", "bridge", "bouyomi", "--json", "--no-http",
               "--tcp-port", "0", "--runtime-dir", str(running.folder / "run")]  # fmt: skip
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    try:
        first = process.stdout.readline()
        if not first:
            raise KoedError("bench_bridge", "koe bridge bouyomi did not start", running.log())
        yield json.loads(first)["listening"]["tcp"]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(START_S)
        process.stdout.close()


def _onsets(running: Rig, port: int, lines: int) -> list[float]:
    delays = []
    watch = running.watch("utterance.")
    try:
        for number in range(lines):
            # after the pause that follows a line, and never in step with the device's blocks
            time.sleep(0.3 + 0.003 * (number % 7))
            sent_t = time.monotonic()
            _talk(port, WORDS[number % len(WORDS)])
            watch.wait("utterance.finished", number + 1)
            onset_t = running.sound(sent_t).onset_t(sent_t)
            if onset_t is None:
                raise KoedError("bench_silent", "a line was not heard at the sink", running.log())
            delays.append((onset_t - sent_t) * 1000)
    finally:
        watch.close()
    return delays


def _talk(port: int, text: str) -> None:
    """What a comment viewer does: connect, one command, hang up."""
    data = text.encode()
    with socket.create_connection(("127.0.0.1", port), START_S) as door:
        door.sendall(struct.pack("<hhhhhBi", 1, -1, -1, -1, 0, 0, len(data)) + data)
