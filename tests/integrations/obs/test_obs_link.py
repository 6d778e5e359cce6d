"""One connection to a real OBS, and to servers that are none."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from koed.errors import KoedError
from koed.integrations.obs.link import EVENTS, METERS, Link, ObsRefused
from koed.integrations.obs.password import from_obs
from tests.rigs.waiting import wait_for
from tools.counterparts.obs import ObsStudio, free_port

PATIENCE_S = 40.0


def refusal(link: Link, deadline_s: float = PATIENCE_S) -> KoedError:
    with pytest.raises(KoedError) as caught:
        link.open(deadline_s)
    assert not link.alive
    return caught.value


def test_answers_events_and_refusals(obs: ObsStudio) -> None:
    heard: list[tuple[str, dict[str, Any]]] = []

    def listen(name: str, data: dict[str, Any]) -> None:
        heard.append((name, data))
        raise RuntimeError("a listener with a bug")

    with obs.link(listen) as link:
        assert link.call("GetVersion")["rpcVersion"] == 1
        with pytest.raises(ObsRefused) as caught:
            link.call("SetCurrentProgramScene", sceneName="no such scene")
        assert (caught.value.code, caught.value.number) == ("obs_refused", 600)
        assert "no such scene" in caught.value.message
        with pytest.raises(KoedError, match="no Unicode"):
            link.call("BroadcastCustomEvent", eventData={"text": "\ud800"})
        link.call("BroadcastCustomEvent", eventData={"n": 1})
        link.call("BroadcastCustomEvent", eventData={"n": 2})
        wait_for(lambda: ("CustomEvent", {"n": 2}) in heard, PATIENCE_S, "it is called again")
        link.subscribe(EVENTS | METERS)
        wait_for(lambda: any(name == "InputVolumeMeters" for name, _ in heard), PATIENCE_S)
        assert link.call("GetVersion")["obsVersion"], "a listener that raises ends nothing"


def test_threads_get_their_own_answers(obs: ObsStudio) -> None:
    wrong: list[str] = []

    def ask(link: Link, name: str) -> None:
        for number in range(40):
            with pytest.raises(ObsRefused) as caught:
                link.call("GetInputSettings", inputName=f"{name} {number}")
            if f"`{name} {number}`" not in caught.value.message:
                wrong.append(caught.value.message)

    with obs.link() as link:
        threads = [threading.Thread(target=ask, args=(link, f"t{n}")) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_each_way_of_not_being_there_has_its_code(obs: ObsStudio) -> None:
    place = ("127.0.0.1", obs.port)
    error = refusal(Link(*place, "wrong"))
    assert (error.code, "does not take koed's password" in error.message) == ("obs_password", True)
    assert "wrong" not in f"{error}"
    assert "wants a password" in refusal(Link(*place)).message
    assert refusal(Link("127.0.0.1", free_port())).code == "obs_absent"
    obs.hang()
    assert refusal(Link(*place, obs.password), 0.3).code == "obs_silent"


def test_each_start_has_the_port_and_the_password_that_it_was_given(obs: ObsStudio) -> None:
    """Wherever this OBS keeps them; and there koed finds the password."""
    for password in ("another", "a third"):
        obs.kill()
        obs.port = free_port()
        obs.start(password)
        with obs.link() as link:
            assert link.call("GetVersion")["rpcVersion"] == 1
        assert from_obs(obs.folder / "home", obs.folder / "config") == password


def test_the_end_is_told_once(obs: ObsStudio) -> None:
    ends: list[str] = []
    place = ("127.0.0.1", obs.port, obs.password)
    link = Link(*place, on_lost=lambda error: ends.append(error.code), timeout_s=0.3)
    link.open(PATIENCE_S)
    closed = Link(*place, on_lost=lambda error: ends.append("closed by us")).open(PATIENCE_S)
    closed.close()
    obs.hang()
    with pytest.raises(KoedError) as caught:
        link.call("GetVersion")
    assert caught.value.code == "obs_silent"
    obs.kill()
    wait_for(lambda: ends, PATIENCE_S, "the end is told")
    with pytest.raises(KoedError) as caught:
        link.call("GetVersion")
    assert caught.value.code == "obs_gone"
    wait_for(lambda: not any(t.name == "obs reader" for t in threading.enumerate()), PATIENCE_S)
    assert ends == ["obs_gone"]


@contextlib.contextmanager
def server(talk: Any) -> Iterator[int]:
    """Something that listens and ``talk``s to whoever connects; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    peer, _ = listening.accept()
                    with peer, contextlib.suppress(OSError):
                        talk(peer)

        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


def silent(peer: socket.socket) -> None:
    while peer.recv(1000):
        pass


def drip(peer: socket.socket) -> None:
    """Never silent, never done: a deadline per read would not end it."""
    peer.sendall(b"HTTP/1.1 101 Switching Protocols\r\nX: ")
    for _ in range(2000):
        peer.sendall(b"x")
        time.sleep(0.01)


def page(peer: socket.socket) -> None:
    peer.recv(1000)
    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")


def away(peer: socket.socket) -> None:
    peer.recv(1000)
    peer.sendall(b"HTTP/1.1 302 Found\r\nLocation: ws://192.0.2.1:1/\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize(
    ("talk", "code", "deadline_s"),
    [
        (silent, "obs_silent", 1.0),
        (drip, "obs_silent", 1.0),
        (page, "obs_strange", PATIENCE_S),
        (away, "obs_strange", PATIENCE_S),
        (lambda peer: peer.sendall(b"220 smtp.example\r\n"), "obs_strange", PATIENCE_S),
    ],
    ids=["silent", "drip", "web page", "redirect", "mail"],
)
def test_what_is_no_obs(talk: Any, code: str, deadline_s: float) -> None:
    with server(talk) as port:
        assert refusal(Link("127.0.0.1", port, "secret"), deadline_s).code == code
