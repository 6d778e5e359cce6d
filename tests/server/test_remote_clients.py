"""Clients on other machines: tcp with CURVE keys, and silence for whoever has none."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
import zmq

from koe.client import Client
from koe.transport.connection import NoDaemon
from koed.testing.rig import Rig, rig
from tests.rigs.daemon import LOW
from tests.rigs.waiting import free_port

KOED = [sys.executable, "-m", "koed.cli"]


def until(true: Callable[[], bool], timeout_s: float = 40.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def port() -> int:
    return free_port(3)  # control, events, text


@pytest.fixture(scope="module")
def remote(port: int) -> Iterator[Rig]:
    """A daemon that listens on tcp, started before it has a single key."""
    server = {
        name: f"tcp://127.0.0.1:{port + offset}"
        for offset, name in enumerate(("tcp_control", "tcp_events", "tcp_text"))
    }
    with rig({"voice": "low", "server": server}, {"low": LOW}) as running:
        running.wait_ready()
        yield running


def new_key(daemon: Rig, name: str) -> Path:
    """`koed keys new`, as a person runs it; the file to carry to the client."""
    config = ["--config", str(daemon.folder / "koed.yaml")]
    made = subprocess.run(
        [*KOED, "keys", "--json", *config, "new", name], check=True, capture_output=True, text=True
    )
    return Path(json.loads(made.stdout)["file"])


def connect(port: int, keys: Path, timeout_s: float = 40.0) -> Client:
    return Client(endpoint=f"tcp://127.0.0.1:{port}", keys=keys, timeout_s=timeout_s)


def is_silent(port: int, keys: Path) -> bool:
    with connect(port, keys, timeout_s=0.5) as client:
        try:
            client.status()
        except NoDaemon:
            return True
    return False


def test_without_any_key_it_starts_and_says_that_nobody_is_admitted(remote: Rig) -> None:
    assert remote.client.status()["ready"]
    assert "koed keys new" in remote.log()
    assert (remote.folder / "keys" / "server.key_secret").stat().st_mode & 0o077 == 0


def test_a_new_key_is_admitted_by_reload(remote: Rig, port: int) -> None:
    keys = new_key(remote, "gaming-pc")
    assert is_silent(port, keys)
    remote.client.reload()
    with connect(port, keys) as client:
        assert client.status()["ready"]


def test_who_was_refused_comes_in_as_soon_as_the_key_is_admitted(remote: Rig, port: int) -> None:
    """Without a restart: a bot on another machine may be there before its key."""
    keys = new_key(remote, "early")
    told: list[Any] = []
    with connect(port, keys, timeout_s=0.5) as client, client.events(("utterance.",)) as events:
        for early in (client.status, lambda: client.push("too early")):
            with pytest.raises(NoDaemon):
                early()
        remote.client.reload()
        client.timeout_s = 40.0
        assert client.status()["ready"]
        until(lambda: remote.client.say("to all") and events.next(0) is not None)
        client.push("pushed at last")
        until(lambda: told.append(events.next(40.0)) or "at last" in getattr(told[-1], "text", ""))  # type: ignore[func-returns-value]
    client.close()


def test_everything_works_from_afar(remote: Rig, port: int) -> None:
    keys = new_key(remote, "afar")
    remote.client.reload()
    with connect(port, keys) as client, client.events(("utterance.",)) as events:
        until(lambda: client.say("once", wait=True).outcome == "finished" and bool(events.next(0)))
        said = client.say("hello from afar")
        told: list[Any] = []
        until(lambda: told.append(events.next(40.0)) or told[-1].event == "utterance.finished")  # type: ignore[func-returns-value]
        while told[-1].utterance != said.utterance:
            told.append(events.next(40.0))
        client.push("pushed from afar")
        queued: Any = next(e for e in iter(lambda: events.next(40.0), None) if hasattr(e, "text"))
        while queued.text != "pushed from afar":
            queued = events.next(40.0)
    client.close()


def plain(kind: int, endpoint: str, **curve: bytes) -> zmq.Socket[bytes]:
    opened: zmq.Socket[bytes] = zmq.Context.instance().socket(kind)
    opened.linger = 0
    for option, value in curve.items():
        setattr(opened, option, value)
    opened.connect(endpoint)
    return opened


@pytest.mark.parametrize("with_keys", [False, True])
def test_a_stranger_gets_no_answer_at_all(remote: Rig, port: int, with_keys: bool) -> None:
    curve: dict[str, bytes] = {}
    if with_keys:  # a good pair, and the right server: but nobody admitted it
        public, secret = zmq.curve_keypair()
        text = (remote.folder / "keys" / "server.key").read_text()
        server = text.split('public-key = "')[1].split('"')[0].encode()
        curve = {"curve_publickey": public, "curve_secretkey": secret, "curve_serverkey": server}
    control = plain(zmq.DEALER, f"tcp://127.0.0.1:{port}", **curve)
    events = plain(zmq.SUB, f"tcp://127.0.0.1:{port + 1}", **curve)
    push = plain(zmq.PUSH, f"tcp://127.0.0.1:{port + 2}", **curve)
    events.subscribe("")
    control.send(b"\x81\xa2op\xa6status")
    push.send(b"never spoken", zmq.NOBLOCK) if push.poll(200, zmq.POLLOUT) else None
    before = remote.client.status()["counts"].get("utterance.queued", 0)
    assert remote.client.say("something to tell", wait=True).outcome == "finished"
    assert not control.poll(300)
    assert not events.poll(0)
    assert remote.client.status()["counts"]["utterance.queued"] == before + 1
    for opened in (control, events, push):
        opened.close()


def test_a_key_that_is_removed_is_out_even_while_connected(remote: Rig, port: int) -> None:
    keys, others = new_key(remote, "leaver"), new_key(remote, "stayer")
    remote.client.reload()
    config = ["--config", str(remote.folder / "koed.yaml")]
    with connect(port, keys) as leaver, connect(port, others) as stayer:
        events = leaver.events(("utterance.",))
        assert leaver.status()["ready"]
        assert stayer.status()["ready"]
        until(lambda: bool(leaver.say("x", wait=True)) and events.next(0) is not None)
        kept = keys.read_bytes()
        subprocess.run([*KOED, "keys", *config, "remove", "leaver"], check=True)
        keys.write_bytes(kept)  # its owner has a copy
        remote.client.reload()
        leaver.timeout_s = 1.0
        for _ in range(2):  # the connection ends, and there is no way back in
            with pytest.raises(NoDaemon):
                leaver.status()
        while events.next(0) is not None:
            pass
        assert stayer.say("not for you", wait=True).outcome == "finished"
        assert events.next(0.3) is None
        events.close()


def test_a_broken_key_file_keeps_nobody_else_out(remote: Rig, port: int) -> None:
    keys = new_key(remote, "honest")
    (remote.folder / "keys" / "clients" / "broken.key").write_text("this is no key")
    remote.client.reload()
    with connect(port, keys) as client:
        assert client.status()["ready"]
    assert "broken.key" in remote.log()


@pytest.mark.parametrize("fault", ["open to others", "port taken"])
def test_it_does_not_start_where_it_cannot_be_safe(tmp_path: Path, port: int, fault: str) -> None:
    keys = tmp_path / "keys"
    keys.mkdir(mode=0o700)
    settings = {"server": {"tcp_control": f"tcp://127.0.0.1:{port}"}, "audio": {"device": "null"}}
    (tmp_path / "koed.yaml").write_text(yaml.safe_dump(settings))
    taken = socket.socket()
    if fault == "open to others":
        keys.chmod(0o777)
    else:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings["server"]["tcp_control"] = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        (tmp_path / "koed.yaml").write_text(yaml.safe_dump(settings))
    ended = subprocess.run(
        [*KOED, "run", "--config", str(tmp_path / "koed.yaml")],
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "KOED_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    taken.close()
    assert ended.returncode == 1
    assert ("chmod 700" if fault == "open to others" else "cannot listen") in ended.stderr
