"""Who plays into our sink and is not koed: what the desktop plays would go on air.

A sound server puts streams there when the speakers vanish, and programs may do so themselves. It
cannot be prevented; they are silenced at once, given the speakers, and heard there again. Whom she
had muted stays mute.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from koed.audio.device import MARK
from koed.audio.recorders import name_of
from koed.audio.sound_server import OWNER, SoundServer
from koed.errors import KoedError

RETURNS_ALLOWED = 2
"""A program that comes back more often stays mute."""


class Strangers:
    """Of one output, over all its connections to one server."""

    def __init__(self) -> None:
        self._server_cookie = 0
        self._silenced: dict[int, str] = {}
        """Numbers and names of the streams that we muted."""
        self._moves: Counter[int] = Counter()
        self._owed: set[str] = set()
        """Names of programs that ended while we had muted them: a server remembers that."""

    def meet(self, server: SoundServer) -> None:
        """Of another server than before nothing is known: its numbers begin anew."""
        cookie = server.call(lambda p: p.server_info()).cookie
        if cookie != self._server_cookie:
            self._server_cookie = cookie
            self._silenced, self._moves = {}, Counter()

    def show_out(self, server: SoundServer, sink: int) -> list[KoedError]:
        """Silence who plays into our sink, and give them another; what is to be told."""
        streams = server.call(lambda p: p.sink_input_list())
        strangers = [s for s in streams if s.sink == sink and MARK not in s.proplist]
        for stream in strangers:  # silence first
            if not stream.mute and _mute(server, stream, True):
                self._silenced[stream.index] = name_of(stream)
        told = [self._put_elsewhere(server, stream) for stream in strangers]
        if self._silenced or self._owed:
            self._let_sound(server)
        return [error for error in told if error is not None]

    def _put_elsewhere(self, server: SoundServer, stream: Any) -> KoedError | None:
        speakers = _speakers(server)
        stubborn = self._moves[stream.index] >= RETURNS_ALLOWED
        if speakers is None:
            what = "muted, as there is nothing else to play it"
            hint = "it is heard again as soon as there are speakers"
        else:
            if not server.tried(lambda p: p.sink_input_move(stream.index, speakers.index)):
                return None
            self._moves[stream.index] += 1
            what = f"moved to {speakers.description}"
            hint = "choose your speakers for it, or as default, in the settings of the desktop"
            if stubborn:
                what += ", and muted, as it comes back again and again"
        return KoedError(
            "foreign_sound",
            f"{name_of(stream)} played into koed's sink, where everybody who records koed hears "
            f"it: {what}",
            hint,
        )

    def _let_sound(self, server: SoundServer) -> None:
        """Those that we muted and that play into the user's devices again."""
        streams = {s.index: s for s in server.call(lambda p: p.sink_input_list())}
        koeds = {
            sink.index
            for sink in server.call(lambda p: p.sink_list())
            if sink.proplist.get("koed.owner") == OWNER
        }
        for index in self._silenced.keys() - streams.keys():
            self._owed.add(self._silenced.pop(index))
        for index, stream in streams.items():
            owed = stream.mute and MARK not in stream.proplist and name_of(stream) in self._owed
            if stream.sink in koeds or not (owed or index in self._silenced):
                continue
            if self._moves[index] > RETURNS_ALLOWED:
                continue
            if _mute(server, stream, False):
                self._silenced.pop(index, None)
                self._owed.discard(name_of(stream))

    def release(self, server: SoundServer) -> None:
        """Our sink is going: nobody is to stay mute for it."""
        for stream in server.call(lambda p: p.sink_input_list()):
            if stream.index in self._silenced:
                _mute(server, stream, False)
        self._silenced.clear()


def _mute(server: SoundServer, stream: Any, on: bool) -> bool:
    return server.tried(lambda p: p.sink_input_mute(stream.index, on))


def _speakers(server: SoundServer) -> Any:
    """The default sink, or any that is not a koed's; None = there is none."""
    listed = server.call(lambda p: p.sink_list())
    sinks = [sink for sink in listed if sink.proplist.get("koed.owner") != OWNER]
    default = server.call(lambda p: p.server_info()).default_sink_name
    return next((s for s in sinks if s.name == default), sinks[0] if sinks else None)
