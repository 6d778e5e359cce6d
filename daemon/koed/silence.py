"""What takes lines back or holds the voice: one method per operation of the wire."""

from __future__ import annotations

from typing import Any

from koe import protocol
from koe.protocol import StateChanged
from koed.channel import Channel
from koed.errors import KoedError
from koed.events import Bus
from koed.stage import Stage


class Silence:
    """A counter of the desk. ``output`` None means all of them; an unknown one raises `KoedError`
    ``unknown_output``."""

    def __init__(self, stage: Stage, bus: Bus) -> None:
        self._stage = stage
        self._bus = bus

    def stop(self, request: protocol.Stop) -> dict[str, Any]:
        gone: list[int] = []
        for channel in self._stage.channels_of(request.output):
            drops = self._stage.speaker.clear(channel.name, reason="stop")
            gone += self._stage.silence_output(channel.name, "stop")
            self._stage.drop_all(drops)
            gone += [drop.line.utterance for drop in drops]
        return {"dropped": gone}

    def skip(self, request: protocol.Skip) -> dict[str, Any]:
        gone: list[int] = []
        for channel in self._stage.channels_of(request.output):
            gone += self._stage.silence_output(channel.name, "skip")
        return {"utterance": gone[0]} if gone else {}

    def clear(self, request: protocol.Clear) -> dict[str, Any]:
        if request.output is not None:
            self._stage.require_channel(request.output)
        drops = self._stage.speaker.clear(request.output, request.priority)
        self._stage.drop_all(drops)
        return {"dropped": [drop.line.utterance for drop in drops]}

    def cancel(self, request: protocol.Cancel) -> dict[str, Any]:
        if request.utterance is None and request.key is None and request.author is None:
            raise KoedError(
                "missing_field",
                "cancel needs to know what",
                "name an utterance, a key or an author",
            )
        drops, sounding = self._stage.speaker.cancel(request.utterance, request.key, request.author)
        self._stage.drop_all(drops)
        for line in sounding:
            performance = self._stage.performance_of(line.utterance)
            if performance is not None:
                self._stage.cut(performance, "cancel")
        gone = [drop.line.utterance for drop in drops] + [line.utterance for line in sounding]
        if not gone and request.utterance is not None:
            raise KoedError(
                "unknown_utterance",
                f"no line {request.utterance} waits or sounds",
                "see: koe queue",
            )
        return {"cancelled": gone}

    def pause(self, request: protocol.Pause) -> dict[str, Any]:
        return self._pause(request.output, True)

    def resume(self, request: protocol.Resume) -> dict[str, Any]:
        return self._pause(request.output, False)

    def _pause(self, output: str | None, on: bool) -> dict[str, Any]:
        for channel in self._stage.channels_of(output):
            if channel.paused != on:
                channel.paused = on
                channel.mixer.pause(on)
                self._say_state("paused" if on else "resumed", channel)
        return {}

    def mute(self, request: protocol.Mute) -> dict[str, Any]:
        return self._mute(request.output, True)

    def unmute(self, request: protocol.Unmute) -> dict[str, Any]:
        done = self._mute(request.output, False)
        self._stage.advance()
        return done

    def _mute(self, output: str | None, on: bool) -> dict[str, Any]:
        for channel in self._stage.channels_of(output):
            if channel.muted != on:
                channel.muted = on
                self._stage.hush(channel)
                self._say_state("muted" if on else "unmuted", channel)
        return {}

    def _say_state(self, state: str, channel: Channel) -> None:
        self._bus.publish(StateChanged(state=state, output=channel.name))
