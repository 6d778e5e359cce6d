"""What takes lines back, holds the voice or changes it: one method per operation of the wire.

``output`` None means all of them; an unknown one raises `KoedError` ``unknown_output``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from koe import protocol
from koe.protocol import ModeChanged, ModeName, StateChanged
from koed.config.delivery import PLAIN, Delivery
from koed.errors import KoedError
from koed.playback import effects, inputs
from koed.playback.channel import Channel
from koed.playback.handover import Handover
from koed.playback.lineup import Lineup
from koed.playback.queue import Line
from koed.playback.script import Script

OPEN_LINE_TEXTS = 20
"""An open line may be so many times ``text.max_chars`` long."""


class Controls:
    """See the module's docstring."""

    def __init__(self, lineup: Lineup, handover: Handover) -> None:
        self._lineup = lineup
        self._handover = handover

    # --- text that comes in pieces ------------------------------------------------------------

    def append(self, request: protocol.SayAppend) -> dict[str, Any]:
        script = self._open_script(request.utterance)
        limit = self._lineup.config.text.max_chars
        if len(request.text) > limit:
            raise KoedError(
                "text_too_long",
                f"{len(request.text)} characters in one piece",
                f"send at most {limit} at a time",
            )
        if len(script.received) + len(request.text) > OPEN_LINE_TEXTS * limit:
            raise KoedError(
                "text_too_long",
                f"line {request.utterance} is full",
                "close it and open another",
            )
        script.append(request.text)
        return {}

    def close(self, request: protocol.SayClose) -> dict[str, Any]:
        self._open_script(request.utterance).close()
        return {"utterance": request.utterance}

    def _open_script(self, number: int) -> Script:
        utterance = self._lineup.find(number)
        if utterance is None or utterance.script is None or not utterance.open:
            raise KoedError(
                "unknown_utterance",
                f"line {number} is not open",
                "say_open gives the number; a line that was closed, cut or dropped takes no more "
                "text",
            )
        utterance.touched_at = self._lineup.now
        return utterance.script

    # --- taking back --------------------------------------------------------------------------

    def stop(self, request: protocol.Stop) -> dict[str, Any]:
        gone: list[int] = []
        for channel in self._lineup.channels_of(request.output):
            drops = self._lineup.queue.clear(channel.name, reason="stop")
            gone += self._lineup.silence(channel, "stop")
            self._lineup.drop_all(drops)
            gone += [drop.line.utterance for drop in drops]
        return {"dropped": gone}

    def skip(self, request: protocol.Skip) -> dict[str, Any]:
        gone: list[int] = []
        for channel in self._lineup.channels_of(request.output):
            gone += self._lineup.silence(channel, "skip")
        return {"utterance": gone[0]} if gone else {}

    def clear(self, request: protocol.Clear) -> dict[str, Any]:
        self._lineup.channels_of(request.output)
        return {"dropped": self.empty(inputs.Empty(request.output, request.priority, "clear"))}

    def empty(self, order: inputs.Empty) -> list[int]:
        drops = self._lineup.queue.clear(order.output, order.priority, order.reason)
        self._lineup.drop_all(drops)
        return [drop.line.utterance for drop in drops]

    def cancel(self, request: protocol.Cancel) -> dict[str, Any]:
        if request.utterance is None and request.key is None and request.author is None:
            raise KoedError(
                "missing_field",
                "cancel needs to know what",
                "name an utterance, a key or an author",
            )
        gone = self._cancel(request.utterance, request.key, request.author, "cancel")
        if not gone and request.utterance is not None:
            raise KoedError(
                "unknown_utterance",
                f"no line {request.utterance} waits or sounds",
                "see: koe queue",
            )
        return {"cancelled": gone}

    def withdraw(self, order: inputs.Withdraw) -> bool:
        return bool(self._cancel(order.utterance, None, None, order.reason))

    def _cancel(
        self, utterance: int | None, key: str | None, author: str | None, reason: str
    ) -> list[int]:
        drops, sounding = self._lineup.queue.cancel(utterance, key, author, reason)
        self._lineup.drop_all(drops)
        for line in sounding:
            found = self._lineup.find(line.utterance)
            if found is not None:
                self._lineup.cut(found, reason)
        return [drop.line.utterance for drop in drops] + [line.utterance for line in sounding]

    # --- latches ------------------------------------------------------------------------------

    def pause(self, request: protocol.Pause | protocol.Resume) -> dict[str, Any]:
        on = isinstance(request, protocol.Pause)
        for channel in self._lineup.channels_of(request.output):
            if channel.paused != on:
                channel.paused = on
                self._lineup.effect(effects.Pause(channel.name, on))
                self._say_state("paused" if on else "resumed", channel)
        return {}

    def mute(self, request: protocol.Mute | protocol.Unmute) -> dict[str, Any]:
        on = isinstance(request, protocol.Mute)
        for channel in self._lineup.channels_of(request.output):
            if channel.muted != on:
                channel.muted = on
                self._hush(channel)
                self._say_state("muted" if on else "unmuted", channel)
        return {}

    def panic(self, request: protocol.Panic | protocol.Release) -> dict[str, Any]:
        on = isinstance(request, protocol.Panic)
        by = (request.by or "") if isinstance(request, protocol.Panic) else ""
        for channel in self._lineup.channels_of(None):
            if channel.panicked != on:
                channel.panicked = on
                self._hush(channel, "panic")
                self._say_state("panic" if on else "released", channel, by)
        return {}

    def mode(self, request: protocol.Mode) -> dict[str, Any]:
        channels = self._lineup.channels_of(request.output)
        previous = channels[0].mode
        if request.mode is not None:
            self.set_mode(request.mode, request.output, "client")
        modes = {name: channel.mode for name, channel in self._lineup.channels.items()}
        return {"mode": channels[0].mode, "previous": previous, "modes": modes}

    def set_mode(self, mode: ModeName, output: str | None, by: str) -> None:
        """Who asked last is obeyed."""
        for channel in self._lineup.channels_of(output):
            previous = channel.mode
            if previous == mode:
                continue
            channel.mode = mode
            if channel.chat_muted:  # reading yesterday's chat when the break is over helps nobody
                waiting = self._lineup.queue.clear(channel.name, "chatter", "chat_muted")
                self._lineup.drop_all(waiting)
            self._hush(channel)
            self._lineup.publish(
                ModeChanged(mode=mode, previous=previous, output=channel.name, by=by)
            )

    def _hush(self, channel: Channel, reason: str = "mute") -> None:
        """Silence, or sound again, as the latches of ``channel`` say."""
        if channel.silent == self._lineup.queue.held(channel.name):
            return
        self._lineup.effect(effects.Mute(channel.name, channel.silent))
        self._lineup.queue.hold(channel.name, channel.silent)
        if channel.silent:
            self._lineup.silence(channel, reason)

    def _say_state(self, state: str, channel: Channel, detail: str = "") -> None:
        self._lineup.publish(StateChanged(state=state, output=channel.name, detail=detail))

    # --- the voice ----------------------------------------------------------------------------

    def voice(self, request: protocol.Voice) -> dict[str, Any]:
        """``name`` is a voice that there is, and with ``when`` "now" a compiled one."""
        lineup = self._lineup
        fields = Delivery.read_from(request)
        channels = lineup.channels_of(request.output)
        previous = lineup.current_voice(request.output)
        name = request.name
        changed = self._set_living(channels, request, fields)
        if name is not None:
            self._set_voice(channels, request.output, name)
        asked = name is not None or request.plain or fields != PLAIN
        if asked and request.when in ("line", "now"):
            lineup.queue.revise(lambda line: self._revised(line, name), request.output)
        voice = lineup.voices.by_name.get(name) if name is not None else None
        if asked and request.when == "now" and (name is None or (voice and voice.ready)):
            self._handover.switch_now(voice, request.output)
        if name is not None:
            lineup.publish(
                protocol.VoiceChanged(
                    voice=name, previous=previous, when=request.when, output=request.output
                )
            )
        for channel in changed:
            lineup.publish(
                protocol.VoiceFields(
                    voice=lineup.current_voice(channel.name), fields=channel.living.given,
                    when=request.when, output=channel.name,
                )
            )  # fmt: skip
        current = lineup.current_voice(request.output)
        return {"voice": current, "previous": previous, "fields": channels[0].living.given}

    def _set_living(
        self, channels: list[Channel], request: protocol.Voice, fields: Delivery
    ) -> list[Channel]:
        """How the current voices speak from now on; the outputs where that is another way."""
        changed = []
        for channel in channels:
            same = request.name in (None, self._lineup.current_voice(channel.name))
            living = fields.over(channel.living if same and not request.plain else PLAIN)
            if living != channel.living:
                channel.living = living
                changed.append(channel)
        return changed

    def _set_voice(self, channels: list[Channel], output: str | None, name: str) -> None:
        if output is None:
            self._lineup.voice = name
        for channel in channels:
            channel.voice = None if output is None else name

    def _revised(self, line: Line, name: str | None) -> Line:
        """A waiting line as it is to be spoken now: in another voice if it named none."""
        voice = line.voice
        if name is not None and not line.explicit_voice:
            voice = self._lineup.voices.styled(name, line.style)
        return replace(line, voice=voice, living=self._lineup.living(voice, line.output))
