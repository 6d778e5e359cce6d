"""Who records us, and hears nothing else.

A sound server gives a stream whose device has gone another one without asking: who recorded our
microphone would hear the streamer's own. It cannot be kept from that, so they are muted at once,
given the new device, and heard again when that has its sound. Whom she had muted stays mute.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from koed.audio.muted_streams import MutedStreams, name_of
from koed.audio.sound_server import NO_INDEX, SoundServer
from koed.audio.virtual_mic import Devices, leftovers
from koed.errors import KoedError

MOVES_ALLOWED = 5
"""A stream that the server puts elsewhere more often stays mute there."""


@dataclass(frozen=True, slots=True)
class Recorder:
    """A stream of somebody else that records us."""

    name: str
    of: Literal["microphone", "sink"]
    """What it records: the microphone, or what is played into the sink."""


class Recorders:
    """Of one output, over all its connections to one server. ``memory``: see `MutedStreams`."""

    def __init__(self, memory: Path | None = None) -> None:
        self.names: tuple[str, ...] = ()
        """Of the programs that record, as of the last look."""
        self._known: dict[int, Recorder] = {}
        self._moves: Counter[int] = Counter()
        self._muted = MutedStreams("source_output", memory)

    @property
    def has_muted(self) -> bool:
        """Somebody is mute because of us."""
        return bool(self._muted)

    def meet(self, server: SoundServer) -> None:
        """Of another server than before nobody is known."""
        if self._muted.meet(server):
            self._known = {}
            self._moves.clear()

    def look(self, streams: list[Any], devices: Devices) -> None:
        """Note who records. ``streams`` were listed before the devices, which stood then: who is
        elsewhere has gone there by itself, unless we muted him or the server has yet to link him:
        he has not been given the new devices then."""
        ours = recorders(streams, devices.sink, devices.microphone)
        kept = {
            stream.index: self._known[stream.index]
            for stream in streams
            if stream.index in self._known
            and (stream.source == NO_INDEX or self._muted.owes(stream))
        }
        self._known = kept | ours
        waiting = {stream.index for stream in streams} - ours.keys()
        self._moves = Counter({i: n for i, n in self._moves.items() if i in waiting})
        self.names = tuple(sorted({recorder.name for recorder in ours.values()}))

    def hush(self, server: SoundServer, sink: Any = None, microphone: Any = None) -> None:
        """Our devices are gone, or going (those that are still there)."""
        streams = source_outputs(server)
        self._known |= recorders(streams, sink, microphone)
        self._muted.mute(server, [stream for stream in streams if stream.index in self._known])

    def take_back(
        self, server: SoundServer, devices: Devices, by_name: bool = False
    ) -> list[KoedError]:
        """Give those who recorded the old devices the new ones, with ``by_name`` also who asks for
        ours and got another; what is to be told."""
        taken = []
        for stream in source_outputs(server):
            recorder = self._known.get(stream.index)
            if recorder is None and by_name and _asks_for(stream, devices.microphone):
                recorder = Recorder(name_of(stream), "microphone")
            if recorder is None:
                continue
            wanted = devices.microphone.index
            if recorder.of == "sink":
                wanted = devices.sink.monitor_source
            # PipeWire forgets whither a stream is moved that it has yet to link.
            if stream.source in (wanted, NO_INDEX) or self._moves[stream.index] >= MOVES_ALLOWED:
                continue
            self._moves[stream.index] += 1
            taken.append(recorder.name)
            _move(server, stream, wanted)
        if not taken:
            return []
        return [
            KoedError(
                "recorder_moved",
                f"{', '.join(sorted(set(taken)))} records koed, and the sound server had given it "
                "another microphone; koed gave its own back",
                "if nothing is heard there, choose koed's microphone in that program again",
            )
        ]

    def open_ears(self, server: SoundServer, devices: Devices) -> None:
        """Our sound is there: who records it is heard again. Whoever records something else stays
        as he is."""
        streams = source_outputs(server)
        ours = recorders(streams, devices.sink, devices.microphone)
        self._muted.look(streams)
        hear = [stream for stream in streams if stream.index in ours and self._muted.owes(stream)]
        self._muted.let_sound(server, hear)


def source_outputs(server: SoundServer) -> list[Any]:
    """All streams that record something."""
    listed: list[Any] = server.call(lambda p: p.source_output_list())
    return listed


def recorders(streams: list[Any], sink: Any, microphone: Any) -> dict[int, Recorder]:
    """Who records these devices, by number of the stream; what makes the microphone from the sink
    is nobody."""
    found: dict[int, Recorder] = {}
    for stream in streams:
        if microphone is not None and stream.owner_module == microphone.owner_module:
            continue
        if microphone is not None and stream.source == microphone.index:
            found[stream.index] = Recorder(name_of(stream), "microphone")
        elif sink is not None and stream.source == sink.monitor_source:
            found[stream.index] = Recorder(name_of(stream), "sink")
    return found


def _move(server: SoundServer, stream: Any, source: int) -> None:
    server.tried(lambda p: p.source_output_move(stream.index, source))


def _asks_for(stream: Any, microphone: Any) -> bool:
    """On PipeWire who asks for a microphone that is not there gets another, and is not given it
    when it comes."""
    return bool(stream.proplist.get("target.object") == microphone.name)


def who_records(server: SoundServer) -> list[str]:
    """Names of the programs that record what a koed made, and that has ended."""
    left = leftovers(server)
    makers = {item.owner_module for item in left}
    streams = [s for s in source_outputs(server) if s.owner_module not in makers]
    found: dict[int, Recorder] = {}
    for item in left:
        is_sink = hasattr(item, "monitor_source")
        found |= recorders(streams, item, None) if is_sink else recorders(streams, None, item)
    return sorted({recorder.name for recorder in found.values()})
