"""Streams of others on our devices: who records the microphone, and who plays into its sink.

A sound server gives a stream whose device has gone another one without asking: who recorded our
microphone would hear the streamer's own, and what the desktop plays would go on air. It cannot be
kept from that; what it did is silenced at once, put right and told.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal

from koed.audio.device import MARK
from koed.audio.sound_server import OWNER, SoundServer
from koed.audio.virtual import Devices
from koed.errors import DeviceError, KoedError

TELL_AGAIN_S = 60.0
"""What a stubborn program does over and over is told so often."""


@dataclass(frozen=True, slots=True)
class Recorder:
    """A stream of somebody else that records us."""

    name: str
    of: Literal["microphone", "sink"]
    """What it records: the microphone, or what is played into the sink."""


class Neighbours:
    """Of one output, over all its connections to one server."""

    def __init__(self) -> None:
        self.recorders: tuple[str, ...] = ()
        """Names of the programs that record, as of the last look."""
        self._server_cookie = 0
        self._known: dict[int, Recorder] = {}
        self._hushed: set[int] = set()
        """Recorders that we muted, since they hear something else."""
        self._silenced: set[int] = set()
        """Players in our sink that we muted, since there is nowhere to put them."""
        self._told: dict[str, float] = {}

    def meet(self, server: SoundServer) -> None:
        """Of another server than before nothing is known: its numbers begin anew."""
        cookie = server.call(lambda p: p.server_info()).cookie
        if cookie != self._server_cookie:
            self._server_cookie = cookie
            self._known, self._hushed, self._silenced = {}, set(), set()

    # --- who records us ---

    def look(self, server: SoundServer, devices: Devices) -> None:
        """Note who records."""
        self._known = _recorders(server, devices.sink, devices.microphone)
        self.recorders = tuple(sorted({recorder.name for recorder in self._known.values()}))

    def hush(self, server: SoundServer, sink: Any = None, microphone: Any = None) -> None:
        """Our devices are gone, or going (those that are still there): who recorded them is to
        hear nothing else."""
        self._known |= _recorders(server, sink, microphone)
        there = {stream.index for stream in server.call(lambda p: p.source_output_list())}
        for index in self._known.keys() & there - self._hushed:
            if _tried(server, lambda p, i=index: p.source_output_mute(i, True)):
                self._hushed.add(index)

    def take_back(self, server: SoundServer, devices: Devices) -> list[KoedError]:
        """Give those who recorded the old devices the new ones; what is to be told."""
        streams = {s.index: s for s in server.call(lambda p: p.source_output_list())}
        taken = []
        for index, recorder in self._known.items():
            stream = streams.get(index)
            if stream is None:
                continue
            wanted = devices.microphone.index
            if recorder.of == "sink":
                wanted = devices.sink.monitor_source
            if stream.source != wanted:
                taken.append(recorder.name)
                if not _tried(server, lambda p, i=index, w=wanted: p.source_output_move(i, w)):
                    continue  # it stays mute: what it hears is not ours
            if index in self._hushed and _tried(
                server, lambda p, i=index: p.source_output_mute(i, False)
            ):
                self._hushed.discard(index)
        if not taken:
            return []
        return [
            KoedError(
                "recorder_moved",
                f"the microphone was taken from {_listed(taken)}, and the sound server gave "
                "another one; koed muted that at once and gave its own back",
                "if nothing is heard there, choose koed's microphone in that program again",
            )
        ]

    # --- who plays into our sink ---

    def show_out(self, server: SoundServer, sink: int) -> list[KoedError]:
        """Silence who plays into our sink, and give them another; what is to be told."""
        streams = server.call(lambda p: p.sink_input_list())
        strangers = [s for s in streams if s.sink == sink and MARK not in s.proplist]
        for stream in strangers:  # silence first
            if stream.index not in self._silenced and not stream.mute:
                _tried(server, lambda p, i=stream.index: p.sink_input_mute(i, True))
                self._silenced.add(stream.index)
        gone_on = {s.index for s in streams if s.sink != sink} & self._silenced
        for index in gone_on:  # the server found speakers for them
            _tried(server, lambda p, i=index: p.sink_input_mute(i, False))
        self._silenced &= {s.index for s in strangers}
        told = [self._put_elsewhere(server, stream) for stream in strangers]
        return [error for error in told if error is not None]

    def _put_elsewhere(self, server: SoundServer, stream: Any) -> KoedError | None:
        speakers = _speakers(server)
        if speakers is None:
            what = "muted, as there is nothing else to play it"
            hint = "it is heard again as soon as there are speakers"
        else:
            if not _tried(server, lambda p: p.sink_input_move(stream.index, speakers.index)):
                return None
            if stream.index in self._silenced:
                _tried(server, lambda p: p.sink_input_mute(stream.index, False))
                self._silenced.discard(stream.index)
            what = f"moved to {speakers.description}"
            hint = "choose your speakers for it, or as default, in the settings of the desktop"
        name = _name(stream)
        if time.monotonic() - self._told.get(name, -TELL_AGAIN_S) < TELL_AGAIN_S:
            return None
        self._told = {name: time.monotonic()}
        return KoedError(
            "foreign_sound",
            f"{name} played into koed's sink, where everybody who records koed hears it: {what}",
            hint,
        )

    def release(self, server: SoundServer) -> None:
        """Our sink is going: nobody is to stay mute for it."""
        for index in self._silenced:
            _tried(server, lambda p, i=index: p.sink_input_mute(i, False))
        self._silenced.clear()


def _recorders(server: SoundServer, sink: Any, microphone: Any) -> dict[int, Recorder]:
    """Who records these devices, by number of the stream; what makes the microphone from the sink
    is nobody."""
    found: dict[int, Recorder] = {}
    for stream in server.call(lambda p: p.source_output_list()):
        if microphone is not None and stream.owner_module == microphone.owner_module:
            continue
        if microphone is not None and stream.source == microphone.index:
            found[stream.index] = Recorder(_name(stream), "microphone")
        elif sink is not None and stream.source == sink.monitor_source:
            found[stream.index] = Recorder(_name(stream), "sink")
    return found


def _speakers(server: SoundServer) -> Any:
    """The default sink, or any that is not a koed's; None = there is none."""
    sinks = [
        s for s in server.call(lambda p: p.sink_list()) if s.proplist.get("koed.owner") != OWNER
    ]
    default = server.call(lambda p: p.server_info()).default_sink_name
    return next((s for s in sinks if s.name == default), sinks[0] if sinks else None)


def _name(stream: Any) -> str:
    return str(stream.proplist.get("application.name") or stream.name or "a program")[:60]


def _listed(names: list[str]) -> str:
    return ", ".join(sorted(set(names)))


def _tried(server: SoundServer, operation: Any) -> bool:
    """False if the stream has ended meanwhile, or cannot be moved."""
    try:
        server.call(operation)
    except DeviceError as error:
        if error.code != "server_refused":
            raise
        return False
    return True
