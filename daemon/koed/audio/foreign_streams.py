"""Who plays into our sink and is not koed: what the desktop plays would go on air.

A sound server puts streams there when the speakers vanish, and programs may do so themselves. It
cannot be prevented; they are silenced at once, given the speakers, and heard there again. Whom she
had muted stays mute.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from koed.audio.device import MARK
from koed.audio.muted_streams import MutedStreams, name_of
from koed.audio.sound_server import OWNER, SoundServer, others
from koed.errors import KoedError

RETURNS_ALLOWED = 2
"""A program that comes back more often stays mute."""


class ForeignStreams:
    """Of one output, over all its connections to one server. ``memory``: see `MutedStreams`."""

    def __init__(self, memory: Path | None = None) -> None:
        self._muted = MutedStreams("sink_input", memory)
        self._moves: Counter[int] = Counter()
        self._on_their_way: set[int] = set()
        """Numbers of the streams that we moved and that have not been seen elsewhere since."""

    def meet(self, server: SoundServer) -> None:
        """Of another server than before nobody is known."""
        if self._muted.meet(server):
            self._moves.clear()
            self._on_their_way.clear()

    def show_out(self, server: SoundServer, sink: int) -> list[KoedError]:
        """Silence who plays into our sink, and give them another; what is to be told."""
        streams = server.call(lambda p: p.sink_input_list())
        foreign = [s for s in streams if s.sink == sink and MARK not in s.proplist]
        self._on_their_way &= {stream.index for stream in foreign}
        self._muted.mute(server, foreign)  # silence first
        told = [self._put_elsewhere(server, stream) for stream in foreign]
        if self._muted:
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
            if stream.index in self._on_their_way:
                return None
            self._on_their_way.add(stream.index)
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
        streams = server.call(lambda p: p.sink_input_list())
        koeds = {
            sink.index
            for sink in server.call(lambda p: p.sink_list())
            if sink.proplist.get("koed.owner") == OWNER
        }
        self._muted.look(streams)
        away = [s for s in streams if s.sink not in koeds and MARK not in s.proplist]
        may_sound = [s for s in away if self._moves[s.index] <= RETURNS_ALLOWED]
        self._muted.let_sound(server, [s for s in may_sound if self._muted.owes(s)])

    def release(self, server: SoundServer) -> None:
        """Our sink is going: nobody is to stay mute for it."""
        streams = server.call(lambda p: p.sink_input_list())
        self._muted.look(streams)
        self._muted.let_sound(server, [s for s in streams if self._muted.owes(s)])


def _speakers(server: SoundServer) -> Any:
    """The default sink, or any that is not a koed's; None = there is none."""
    sinks = others(server, "sink")
    default = server.defaults()["sink"]
    return next((s for s in sinks if s.name == default), sinks[0] if sinks else None)
