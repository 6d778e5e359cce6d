"""The desk: carries out each operation of the wire on the stage. One method per request; some are
at counters of their own."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from koe import protocol
from koe.protocol import (
    Event,
    Request,
    UtteranceDropped,
    UtteranceFailed,
    UtteranceFinished,
    UtteranceSkipped,
)
from koed.config import Config
from koed.continuity import Continuity
from koed.errors import KoedError
from koed.events import Bus
from koed.server import Asker
from koed.silence import Silence
from koed.speaker import Line, Speaker
from koed.stage import Stage
from koed.text.normalize import clip, normalize
from koed.voices import VoiceBook

SAVE_PAGE_FRAMES = 32768
"""Sound in one reply of ``save``: little, since a client that reads nothing has many waiting."""

OPEN_LINE_TEXTS = 20
"""An open line may be so many times ``text.max_chars`` long."""

Reply = Callable[[Asker, dict[str, Any]], None]
Handler = Callable[[Any], dict[str, Any]]


class Desk:
    """``status`` and ``reload`` look beyond the stage: the app passes them in."""

    def __init__(
        self,
        config: Config,
        stage: Stage,
        continuity: Continuity,
        book: VoiceBook,
        bus: Bus,
        reply: Reply,
        status: Callable[[], dict[str, Any]],
        reload: Callable[[], dict[str, Any]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._stage = stage
        self._continuity = continuity
        self._speaker: Speaker = stage.speaker
        self._book = book
        self._bus = bus
        self._reply = reply
        self._status = status
        self._reload = reload
        self._clock = clock
        self._utterance = 0
        self._waiters: dict[int, list[tuple[Asker, dict[str, Any]]]] = {}
        silence = Silence(stage, bus)
        self._counters: dict[str, Handler] = {
            "stop": silence.stop,
            "skip": silence.skip,
            "clear": silence.clear,
            "cancel": silence.cancel,
            "pause": silence.pause,
            "resume": silence.resume,
            "mute": silence.mute,
            "unmute": silence.unmute,
        }
        self.voice = config.voice
        """The current voice."""
        self._voice_of: dict[str, str] = {}
        """Current voice of an output for which one was set."""
        bus.listen(self._settle)

    def add(self, op: str, handler: Handler) -> None:
        """Another counter of the desk: ``handler`` carries out the requests of ``op``."""
        self._counters[op] = handler

    def handle(self, request: Request, asker: Asker) -> dict[str, Any] | None:
        """Carry out one request. None: the answer follows when the line is over."""
        handler: Handler = self._counters.get(request.op) or getattr(self, f"_do_{request.op}")
        result = handler(request)
        if getattr(request, "wait", False) and result is not None:
            self._waiters.setdefault(result["utterance"], []).append((asker, result))
            return None
        return result

    # --- lines -------------------------------------------------------------------------------

    def push(self, text: str) -> None:
        """A line from the text socket: no reply, so every refusal is an event."""
        try:
            self._do_say(protocol.Say(text=text))
        except KoedError as error:
            if error.code in ("queue_full", "author_limit", "chat_muted"):
                return  # the stage has published it already
            self._utterance += 1
            self._bus.publish(
                UtteranceDropped(
                    utterance=self._utterance,
                    output=next(iter(self._stage.channels)),
                    reason=error.code,
                )
            )

    def _do_say(self, request: protocol.Say) -> dict[str, Any]:
        limit = self._config.text.max_chars
        if len(request.text) > limit:
            raise KoedError(
                "text_too_long",
                f"{len(request.text)} characters; at most {limit} are taken",
                "send it in pieces, or with say_open and say_append",
            )
        truncated = False
        text = normalize(request.text, self._config.text, request.lang or self._lang(request))
        if request.priority == "chatter":
            text, truncated = clip(text, self._config.text.chatter_max_chars)
        if not text:
            raise KoedError(
                "nothing_to_say",
                "nothing in this text can be spoken",
                "it may hold only marks, or emoji that the text: settings drop",
            )
        return self._submit(request, text, is_open=False) | {"truncated": truncated}

    def enqueue(self, request: protocol.Say, text: str) -> dict[str, Any]:
        """`_do_say` for a ``text`` that is normalised already."""
        return self._submit(request, text, is_open=False)

    def _do_say_open(self, request: protocol.SayOpen) -> dict[str, Any]:
        return self._submit(request, "", is_open=True)

    def _submit(
        self, request: protocol.Say | protocol.SayOpen, text: str, is_open: bool
    ) -> dict[str, Any]:
        ttl_s = request.ttl_s
        if ttl_s is None and request.priority == "chatter":
            ttl_s = self._config.queue.chatter_ttl_s
        if ttl_s is not None and not (ttl_s > 0 and math.isfinite(ttl_s)):
            raise KoedError("bad_field", f"ttl_s is {ttl_s}", "ttl_s is a number above 0")
        now = self._clock()
        voice = request.voice or self._current(request.output)
        if request.voice:
            self._book.check(request.voice)
        self._utterance += 1
        line = Line(
            utterance=self._utterance,
            text=text,
            voice=voice,
            output=self._output(request.output, voice),
            priority=request.priority,
            lang=request.lang,
            key=request.key,
            author=request.author,
            queued_at=now,
            expires_at=None if ttl_s is None else now + ttl_s,
            explicit_voice=request.voice is not None,
        )
        admission = self._stage.submit(line, is_open)
        if admission.refused:
            raise KoedError(
                admission.refused,
                f"line {line.utterance} was not taken: {admission.refused}",
                "koe mode speak lets chat in again"
                if admission.refused == "chat_muted"
                else "wait until some lines are spoken, or see queue: in koed.yaml",
            )
        return {
            "utterance": line.utterance,
            "voice": voice,
            "position": admission.position,
            "held": self._stage.channels[line.output].held,
        }

    def _current(self, output: str | None) -> str:
        return self._voice_of.get(output or "", self.voice)

    def _lang(self, request: protocol.Say) -> str | None:
        profile = self._book.profile(request.voice or self._current(request.output))
        return profile.lang if profile else None

    def _output(self, asked: str | None, voice: str | None) -> str:
        profile = self._book.profile(voice) if voice else None
        name = asked or (profile.output if profile else None) or next(iter(self._stage.channels))
        return self._stage.require_channel(name).name

    def _do_say_append(self, request: protocol.SayAppend) -> dict[str, Any]:
        script = self._stage.script_of(request.utterance)
        if script is None:
            raise _no_open_line(request.utterance)
        limit = self._config.text.max_chars
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
        performance = self._stage.performance_of(request.utterance)
        if performance is not None:
            performance.touched_at = self._clock()
        self._stage.advance()
        return {}

    def _do_say_close(self, request: protocol.SayClose) -> dict[str, Any]:
        script = self._stage.script_of(request.utterance)
        if script is None:
            raise _no_open_line(request.utterance)
        script.close()
        if not request.wait:  # with wait, the asker must be noted before the line can end
            self._stage.advance()
        return {"utterance": request.utterance}

    def _settle(self, event: Event) -> None:
        """A line is over: answer those who wait for it."""
        outcome = {
            UtteranceFinished: "finished",
            UtteranceSkipped: "skipped",
            UtteranceDropped: "dropped",
            UtteranceFailed: "failed",
        }.get(type(event))
        if outcome is None:
            return
        utterance: int = event.utterance  # type: ignore[attr-defined]
        reason = getattr(event, "reason", "") or getattr(event, "code", "")
        for asker, result in self._waiters.pop(utterance, ()):
            self._reply(asker, result | {"outcome": outcome, "reason": reason})

    # --- voices ------------------------------------------------------------------------------

    def _do_voice(self, request: protocol.Voice) -> dict[str, Any]:
        output = request.output
        if output is not None:
            self._stage.require_channel(output)
        previous = self._current(output)
        if request.name is None:
            return {"voice": previous, "previous": previous}
        self._book.check(request.name)
        ready = self._book.ready(request.name)
        broken = self._book.error(request.name)
        if ready is None and broken is not None:  # every line would fail: the last voice stays
            raise KoedError(
                "voice_broken",
                f"voice {request.name} cannot be used: {broken.message}",
                broken.hint or "see: koe voices",
            )
        if request.when == "now" and ready is None:
            raise KoedError(
                "voice_not_ready",
                f"voice {request.name} is still being prepared",
                "wait for the event voice.ready, or see: koe voices",
            )
        if output is None:
            self.voice = request.name
            self._voice_of.clear()
        else:
            self._voice_of[output] = request.name
        if request.when in ("line", "now"):
            self._speaker.revoice(request.name, output)
        if request.when == "now" and ready is not None:
            self._continuity.switch_now(ready, output)
        self._stage.advance()
        self._bus.publish(
            protocol.VoiceChanged(
                voice=request.name, previous=previous, when=request.when, output=output
            )
        )
        return {"voice": request.name, "previous": previous}

    def _do_voices(self, _: protocol.Voices) -> dict[str, Any]:
        return {"current": self.voice, "voices": self._book.describe()}

    # --- looking -----------------------------------------------------------------------------

    def _do_queue(self, _: protocol.Queue) -> dict[str, Any]:
        now = self._clock()
        return {
            "speaking": [self._describe(line, now) for line in self._speaker.speaking()],
            "waiting": [self._describe(line, now) for line in self._speaker.waiting()],
        }

    def _describe(self, line: Line, now: float) -> dict[str, Any]:
        performance = self._stage.performance_of(line.utterance)
        return {
            "utterance": line.utterance,
            "text": performance.script.received if performance else line.text,
            "heard": performance.heard if performance else "",
            "voice": performance.voice if performance else line.voice,
            "output": line.output,
            "priority": line.priority,
            "author": line.author,
            "key": line.key,
            "waited_s": round(now - line.queued_at, 3),
            "ttl_s": None if line.expires_at is None else round(line.expires_at - now, 3),
        }

    def _do_status(self, _: protocol.Status) -> dict[str, Any]:
        return self._status()

    def _do_reload(self, _: protocol.Reload) -> dict[str, Any]:
        return self._reload()

    def _do_save(self, request: protocol.Save) -> dict[str, Any]:
        channel = self._stage.channels_of(request.output)[0]
        mixer = channel.mixer
        first = request.from_frame
        if first is None:
            kept_s = self._config.audio.history_s
            back_s = kept_s if request.seconds is None else min(request.seconds, kept_s)
            first = mixer.history.end_frame - int(max(0.0, back_s) * mixer.rate_hz)
        first, pcm = mixer.history.page(max(0, first), SAVE_PAGE_FRAMES)
        return {
            "rate_hz": mixer.rate_hz,
            "pcm": pcm.tobytes(),
            "first_frame": first,
            "next_frame": first + len(pcm),
            "end_frame": mixer.history.end_frame,
        }


def _no_open_line(utterance: int) -> KoedError:
    return KoedError(
        "unknown_utterance",
        f"line {utterance} is not open",
        "say_open gives the number; a line that was closed, cut or dropped takes no more text",
    )
