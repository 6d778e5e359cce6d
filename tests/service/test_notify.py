"""koed.service.systemd against real datagram sockets."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from koed.service.systemd import Notifier, Watchdog


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """``$NOTIFY_SOCKET`` and the socket behind it."""
    if request.param == "path":
        address, bound = str(tmp_path / "notify"), str(tmp_path / "notify")
    else:
        name = f"koed-test-{os.getpid()}-{time.monotonic_ns()}"
        address, bound = f"@{name}", f"\0{name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(bound)
        sock.settimeout(40)
        yield address, sock


def lines(sock: socket.socket) -> list[str]:
    return sock.recv(4096).decode().split("\n")


def test_every_word_arrives(manager: tuple[str, socket.socket]) -> None:
    address, sock = manager
    notifier = Notifier.from_environ({"NOTIFY_SOCKET": address})
    assert notifier.connected

    assert notifier.ready("speaking as hana")
    assert lines(sock) == ["READY=1", "STATUS=speaking as hana"]
    assert notifier.status("3 lines wait")
    assert lines(sock) == ["STATUS=3 lines wait"]
    assert notifier.watchdog()
    assert lines(sock) == ["WATCHDOG=1"]
    assert notifier.stopping()
    assert lines(sock) == ["STOPPING=1"]


def test_the_watchdog_is_fed_while_all_that_plays_moves_on(
    manager: tuple[str, socket.socket],
) -> None:
    address, sock = manager
    watchdog = Watchdog(Notifier(address, watchdog_interval_s=2.0))

    def fed(now: float, **clocks: tuple[int, bool]) -> bool:
        watchdog.feed(now, clocks)
        return bool(select.select([sock], [], [], 0)[0]) and lines(sock) == ["WATCHDOG=1"]

    assert fed(0.0, main=(480, True), cue=(0, False))
    assert not fed(0.5, main=(960, True), cue=(0, False))  # not hungry yet
    assert fed(1.0, main=(960, True), cue=(0, False))
    assert not fed(2.0, main=(960, True), cue=(0, False))  # a device that plays stands still
    assert fed(3.0, main=(961, True), cue=(0, False))


def test_a_status_cannot_carry_another_key(manager: tuple[str, socket.socket]) -> None:
    address, sock = manager
    Notifier(address).status("voice\nSTOPPING=1\r\x0bREADY=1" + "x" * 1000 + "\udcff")
    (line,) = lines(sock)
    assert line.startswith("STATUS=voice STOPPING=1 READY=1xxx")
    assert len(line) < 300


def test_nobody_listens() -> None:
    for address in (None, "", "vsock:2:1234", "relative", "/a\0b", "@" + "x" * 300, "/nowhere/x"):
        notifier = Notifier.from_environ({} if address is None else {"NOTIFY_SOCKET": address})
        verbs = (notifier.ready, notifier.watchdog, notifier.stopping)
        assert not any(verb() for verb in verbs)
        assert not notifier.status("x")


def test_a_manager_that_went_away(manager: tuple[str, socket.socket]) -> None:
    address, sock = manager
    notifier = Notifier(address)
    assert notifier.ready()
    sock.close()
    assert not notifier.watchdog()


def test_a_deaf_manager_does_not_hold_up_the_voice(manager: tuple[str, socket.socket]) -> None:
    address, _ = manager
    notifier = Notifier(address)
    while notifier.watchdog():  # until its queue is full
        pass
    before = time.monotonic()
    assert not any(notifier.watchdog() for _ in range(100))
    assert not notifier.ready()
    assert time.monotonic() - before < 20  # it would wait for ever


@pytest.mark.parametrize(
    ("environ", "interval_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "10000000"}, 5.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "7"}, 5.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "²"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
    ],
)
def test_the_interval_is_half_of_what_is_allowed(
    environ: dict[str, str], interval_s: float | None
) -> None:
    assert Notifier.from_environ(environ, pid=7).watchdog_interval_s == interval_s
