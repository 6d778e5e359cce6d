"""What may sound on each output: everything, nothing from a chat, or nothing at all."""

from __future__ import annotations

from typing import Any

from koe import protocol
from koe.protocol import ModeChanged, ModeName
from koed.channel import Channel
from koed.events import Bus
from koed.stage import Stage


class Modes:
    """Sets the modes of the channels. Who asked last is obeyed."""

    def __init__(self, stage: Stage, bus: Bus) -> None:
        self._stage = stage
        self._bus = bus

    def handle(self, request: protocol.Mode) -> dict[str, Any]:
        """The desk's counter for ``mode``."""
        channels = self._stage.channels_of(request.output)
        previous = channels[0].mode
        if request.mode is not None:
            self.set(request.mode, request.output, "client")
        modes = {name: channel.mode for name, channel in self._stage.channels.items()}
        return {"mode": channels[0].mode, "previous": previous, "modes": modes}

    def set(self, mode: ModeName, output: str | None, by: str) -> None:
        """Raises `KoedError` ``unknown_output``."""
        for channel in self._stage.channels_of(output):
            if channel.mode != mode:
                self._change(channel, mode, by)
        self._stage.advance()

    def _change(self, channel: Channel, mode: ModeName, by: str) -> None:
        previous, channel.mode = channel.mode, mode
        if channel.chat_muted:
            # reading yesterday's chat when the break is over helps nobody
            waiting = self._stage.speaker.clear(channel.name, "chatter", "chat_muted")
            self._stage.drop_all(waiting)
        self._stage.hush(channel)
        self._bus.publish(ModeChanged(mode=mode, previous=previous, output=channel.name, by=by))
