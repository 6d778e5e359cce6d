"""Who plays into our sink, on a server that takes its time."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from koed.audio.foreign_streams import RETURNS_ALLOWED, ForeignStreams
from koed.audio.sound_server import OWNER

OURS, SPEAKERS = 1, 2


class SlowServer:
    """One program plays; where it was moved to it plays from `arrive` on."""

    def __init__(self) -> None:
        self.music = SimpleNamespace(
            index=7, sink=OURS, mute=False, name="music", proplist={"application.name": "player"}
        )
        self._moved_to = OURS

    def call(self, operation: Callable[[Any], Any]) -> Any:
        return operation(self)

    def tried(self, operation: Callable[[Any], Any]) -> bool:
        operation(self)
        return True

    def server_info(self) -> Any:
        return SimpleNamespace(cookie=1)

    def defaults(self) -> dict[str, str]:
        return {"sink": "speakers"}

    def sink_list(self) -> list[Any]:
        ours = SimpleNamespace(index=OURS, name="koed", proplist={"koed.owner": OWNER})
        speakers = SimpleNamespace(
            index=SPEAKERS, name="speakers", description="Speakers", proplist={}
        )
        return [ours, speakers]

    def sink_input_list(self) -> list[Any]:
        return [self.music]

    def sink_input_mute(self, index: int, on: bool) -> None:
        assert index == self.music.index
        self.music.mute = on

    def sink_input_move(self, index: int, sink: int) -> None:
        assert index == self.music.index
        self._moved_to = sink

    def arrive(self) -> None:
        self.music.sink = self._moved_to


def told(foreign: ForeignStreams, server: Any) -> list[str]:
    return [error.message for error in foreign.show_out(server, OURS)]


def test_a_program_on_its_way_has_not_come_back() -> None:
    foreign, server = ForeignStreams(), SlowServer()
    assert len(told(foreign, server)) == 1
    for _ in range(3 * RETURNS_ALLOWED):
        assert told(foreign, server) == []
        assert server.music.mute
    server.arrive()
    assert told(foreign, server) == []
    assert not server.music.mute


def test_a_program_that_comes_back_too_often_stays_mute() -> None:
    foreign, server = ForeignStreams(), SlowServer()
    for _ in range(RETURNS_ALLOWED + 1):
        server.music.sink = OURS
        (message,) = told(foreign, server)
        server.arrive()
        told(foreign, server)
    assert "again and again" in message
    assert server.music.mute
