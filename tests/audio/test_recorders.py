"""Who records koed while its devices come and go: no stream is forgotten while it is mute.

A server of values stands in here: which stream is linked when is PipeWire's own affair.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from koed.audio.recorders import MOVES_ALLOWED, Recorders
from koed.audio.sound_server import NO_INDEX
from koed.audio.virtual_mic import Devices

HERS = 7


@dataclass
class Item:
    index: int
    name: str = ""
    owner_module: int = NO_INDEX
    monitor_source: int = NO_INDEX
    source: int = NO_INDEX
    mute: bool = False
    proplist: dict[str, str] = field(default_factory=dict)


class Server:
    """Answers for pulsectl, too."""

    def __init__(self, *streams: Item) -> None:
        self.streams = list(streams)
        self.moves: list[tuple[int, int]] = []
        self.obeys = True

    def call(self, operation: Callable[[Any], Any]) -> Any:
        return operation(self)

    def tried(self, operation: Callable[[Any], Any]) -> bool:
        operation(self)
        return True

    def source_output_list(self) -> list[Item]:
        return list(self.streams)

    def source_output_mute(self, index: int, on: bool) -> None:
        self._stream(index).mute = on

    def source_output_move(self, index: int, source: int) -> None:
        self.moves.append((index, source))
        if self.obeys and self._stream(index).source != NO_INDEX:
            self._stream(index).source = source

    def _stream(self, index: int) -> Item:
        return next(stream for stream in self.streams if stream.index == index)


def devices(sink: int) -> Devices:
    """Ours of one making: numbers never come again."""
    microphone = Item(sink + 2, "koed_mic", sink)
    return Devices(Item(sink, "koed", sink, monitor_source=sink + 1), microphone)


def look(recorders: Recorders, server: Any, ours: Devices) -> list[str]:
    """As a session does at every change; what it tells."""
    recorders.look(server.source_output_list(), ours)
    told = recorders.take_back(server, ours)
    recorders.open_ears(server, ours)
    return [error.code for error in told]


def test_a_stream_that_is_not_linked_yet_is_given_ours_once_it_is() -> None:
    old, new = devices(10), devices(20)
    of_microphone, of_sink = Item(1, source=12), Item(2, source=11)
    server: Any = Server(of_microphone, of_sink)
    recorders = Recorders()
    look(recorders, server, old)
    recorders.hush(server)
    for stream in server.streams:
        stream.source = NO_INDEX
    assert look(recorders, server, new) == []
    assert recorders.names == ()
    assert server.moves == []
    for stream in server.streams:
        stream.source = HERS  # where the server links them in the end
    assert look(recorders, server, new) == ["recorder_moved"]
    assert (of_microphone.source, of_sink.source) == (22, 21)
    assert not of_microphone.mute
    assert not of_sink.mute
    assert look(recorders, server, new) == []


def test_who_chose_another_microphone_himself_is_left_there() -> None:
    ours, stream = devices(10), Item(1, source=12)
    server: Any = Server(stream)
    recorders = Recorders()
    look(recorders, server, ours)
    stream.source = HERS
    assert look(recorders, server, ours) == []
    assert stream.source == HERS


def test_a_stream_that_cannot_be_moved_stays_mute_and_is_let_be() -> None:
    old, new, stream = devices(10), devices(20), Item(1, source=12)
    server: Any = Server(stream)
    recorders = Recorders()
    look(recorders, server, old)
    recorders.hush(server)
    stream.source, server.obeys = HERS, False
    told = [look(recorders, server, new) for _ in range(2 * MOVES_ALLOWED)]
    assert told == [["recorder_moved"]] * MOVES_ALLOWED + [[]] * MOVES_ALLOWED
    assert stream.mute
    stream.source, server.obeys = 22, True  # as she chooses it
    look(recorders, server, new)
    assert not stream.mute
    recorders.hush(server)
    stream.source = HERS
    assert look(recorders, server, devices(30)) == ["recorder_moved"]
