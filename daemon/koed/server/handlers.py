"""Carries out each operation of the wire: the player's own, and those with handlers elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from koe import protocol
from koe.protocol import Event, Request, UtteranceDropped, UtteranceFinished
from koed.audio.history import History
from koed.config.daemon import Config
from koed.config.delivery import Delivery
from koed.config.styles import styled, voice_of
from koed.errors import KoedError
from koed.events import Bus, LineEnd, outcome
from koed.playback.dispatch import Dispatch
from koed.playback.inputs import Submit
from koed.playback.queue import Admission, Line
from koed.server.zmq import Asker
from koed.text import language
from koed.text.normalize import clip, normalize
from koed.text.style_tags import Marks, normalize_tagged
from koed.voices.catalog import VoiceBook
from koed.voices.styles import chosen

SAVE_PAGE_FRAMES = 32768
"""Sound in one reply of ``save``: little, since a client that reads nothing has many waiting."""

PLAYERS = (
    "say_append", "say_close", "stop", "skip", "clear", "cancel", "pause", "resume", "mute",
    "unmute", "mode", "release",
)  # fmt: skip
"""The operations that the player takes as they are."""

MAX_BY_CHARS = 100
"""Of who caused a panic: it stands in events, in the status and in a file."""

Reply = Callable[[Asker, dict[str, Any]], None]
Handler = Callable[[Any], dict[str, Any]]


class Handlers:
    """``status`` and ``reload`` look beyond the voice: the app passes them in."""

    def __init__(
        self,
        config: Config,
        dispatch: Dispatch,
        histories: Mapping[str, History],
        book: VoiceBook,
        bus: Bus,
        reply: Reply,
        status: Callable[[], dict[str, Any]],
        reload: Callable[[], dict[str, Any]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._dispatch = dispatch
        self._lineup = dispatch.player.lineup
        self._histories = histories
        self._book = book
        self._bus = bus
        self._reply = reply
        self._clock = clock
        self._utterance = 0
        self._waiters: dict[int, list[tuple[Asker, dict[str, Any]]]] = {}
        self._ended: dict[int, dict[str, Any]] = {}
        """Outcomes of the lines that ended while the request in work was carried out."""
        self._asked = 0
        """Requests in work: one may make another."""
        self._heard: list[Callable[[Request], None]] = []
        self._by_op: dict[str, Handler] = dict.fromkeys(PLAYERS, dispatch.ask) | {
            "say": self._say,
            "say_open": lambda request: self._submit(request, "", in_pieces=True),
            "panic": self._panic,
            "voice": self.voice,
            "voices": lambda _: {"current": self._lineup.voice, "voices": book.describe()},
            "queue": self._queue,
            "status": lambda _: status(),
            "reload": lambda _: reload(),
            "save": self._save,
        }
        bus.listen(self._settle)

    def add(self, op: str, handler: Handler) -> None:
        """``handler`` carries out the requests of ``op``."""
        self._by_op[op] = handler

    def listen(self, listener: Callable[[Request], None]) -> None:
        """``listener`` hears of each request that a person made and that was carried out."""
        self._heard.append(listener)

    def number(self) -> int:
        """Of the next line."""
        self._utterance += 1
        return self._utterance

    def handle(self, request: Request, asker: Asker) -> dict[str, Any] | None:
        """Carry out one request. None: the answer follows when the line is over."""
        self._asked += 1
        try:
            result = self._by_op[request.op](request)
            for listener in self._heard:
                listener(request)
            if not getattr(request, "wait", False):
                return result
            ended = self._ended.get(result["utterance"])
            if ended is not None:  # it was over before anybody could wait for it
                return result | ended
            self._waiters.setdefault(result["utterance"], []).append((asker, result))
            return None
        finally:
            self._asked -= 1
            if not self._asked:
                self._ended.clear()

    # --- lines -------------------------------------------------------------------------------

    def push(self, text: str) -> None:
        """A line from the text socket: no reply, so every refusal is an event."""
        try:
            self._say(protocol.Say(text=text))
        except KoedError as error:
            if error.code in ("queue_full", "author_limit", "chat_muted"):
                return  # the player has told it already
            self._bus.publish(
                UtteranceDropped(
                    utterance=self.number(),
                    output=next(iter(self._lineup.channels)),
                    reason=error.code,
                )
            )

    def _say(self, request: protocol.Say) -> dict[str, Any]:
        limit = self._config.text.max_chars
        if len(request.text) > limit:
            raise KoedError(
                "text_too_long",
                f"{len(request.text)} characters; at most {limit} are taken",
                "send it in pieces, or with say_open and say_append",
            )
        truncated, marks = False, Marks()
        lang, tags = request.lang or self._lang(request), self._tags(request)
        if tags:
            text, marks = normalize_tagged(request.text, tags, self._config.text, lang)
        else:
            text = normalize(request.text, self._config.text, lang)
        if request.priority == "chatter":
            text, truncated = clip(text, self._config.text.chatter_max_chars)
        if not text:
            raise KoedError(
                "nothing_to_say",
                "nothing in this text can be spoken",
                "it may hold only marks, or emoji that the text: settings drop",
            )
        return self._submit(request, text, marks) | {"truncated": truncated}

    def enqueue(self, request: protocol.Say, text: str) -> dict[str, Any]:
        """`_say` for a ``text`` that is normalised already."""
        return self._submit(request, text)

    def _submit(
        self, request: protocol.Say | protocol.SayOpen, text: str, marks: Marks = (),
        in_pieces: bool = False,
    ) -> dict[str, Any]:  # fmt: skip
        language.check(request.lang)
        ttl_s = request.ttl_s
        if ttl_s is None and request.priority == "chatter":
            ttl_s = self._config.queue.chatter_ttl_s
        if ttl_s is not None and not (ttl_s > 0 and math.isfinite(ttl_s)):
            raise KoedError("bad_field", f"ttl_s is {ttl_s}", "ttl_s is a number above 0")
        now = self._clock()
        delivery = Delivery.read_from(request)
        voice = request.voice or self._lineup.current_voice(request.output)
        if request.voice:
            self._book.check(request.voice)
        choice = chosen(self._book, voice, request.style, request.reference)
        voice, delivery = styled(voice, choice.style), delivery.over(choice.delivery)
        output = self._output(request.output, voice)
        line = Line(
            utterance=self.number(),
            text=text,
            voice=voice,
            output=output,
            priority=request.priority,
            lang=request.lang,
            key=request.key,
            author=request.author,
            queued_at=now,
            expires_at=None if ttl_s is None else now + ttl_s,
            explicit_voice=request.voice is not None,
            style=choice.style,
            delivery=delivery,
            living=self._lineup.living(voice, output),
            tags=self._tags(request) if in_pieces else (),
            marks=marks,
        )
        admission: Admission = self._dispatch.ask(Submit(line, in_pieces))
        if admission.refused:
            raise KoedError(
                admission.refused,
                f"line {line.utterance} was not taken: {admission.refused}",
                "koe mode speak lets chat in again"
                if admission.refused == "chat_muted"
                else "wait until some lines are spoken, or see queue: in koed.yaml",
            )
        result = {
            "utterance": line.utterance,
            "voice": voice,
            "position": admission.position,
            "held": self._lineup.channels[line.output].held,
        }
        return result | self._ignored(request, voice)

    def _ignored(self, request: protocol.SpokenFields, voice: str) -> dict[str, list[str]]:
        """What the engine of a voice cannot obey, as far as that is known by now."""
        state = self._lineup.voices.by_name.get(voice)
        engine = self._lineup.voices.engines.get(state.engine) if state else None
        given = Delivery.read_from(request)
        obeyed = given.only(engine.line_fields).given if engine else given.given
        ignored = [name for name in given.given if name not in obeyed]
        return {"ignored": ignored} if ignored else {}

    def _tags(self, request: protocol.Say | protocol.SayOpen) -> tuple[str, ...]:
        """The styles to which the text may change: if its voice allows it, and never in a chat."""
        voice = voice_of(request.voice or self._lineup.current_voice(request.output))
        profile = self._book.profile(voice)
        allowed = profile is not None and profile.style_tags and request.priority != "chatter"
        return tuple(self._book.styles(voice)) if allowed else ()

    def _lang(self, request: protocol.Say) -> str | None:
        profile = self._book.profile(request.voice or self._lineup.current_voice(request.output))
        return profile.lang if profile else None

    def _output(self, asked: str | None, voice: str | None) -> str:
        profile = self._book.profile(voice) if voice else None
        name = asked or (profile.output if profile else None) or next(iter(self._lineup.channels))
        return self._lineup.channels_of(name)[0].name

    def _settle(self, event: Event) -> None:
        """A line is over: answer those who wait for it."""
        if not isinstance(event, LineEnd):
            return
        how, why = outcome(event)
        told = {"outcome": how, "reason": why}
        if isinstance(event, UtteranceFinished) and event.unheard:
            told["unheard"] = event.unheard
        if self._asked:
            self._ended[event.utterance] = told
        for asker, result in self._waiters.pop(event.utterance, ()):
            self._reply(asker, result | told)

    # --- latches -----------------------------------------------------------------------------

    def _panic(self, request: protocol.Panic) -> dict[str, Any]:
        if request.by is not None and len(request.by) > MAX_BY_CHARS:
            raise KoedError(
                "bad_field",
                f"panic: by has {len(request.by)} characters",
                f"by has at most {MAX_BY_CHARS}",
            )
        done: dict[str, Any] = self._dispatch.ask(request)
        return done

    # --- voices ------------------------------------------------------------------------------

    def voice(self, request: protocol.Voice) -> dict[str, Any]:
        """Called by a rule, nobody is told that a person wanted it."""
        if request.name is not None:
            self._check_voice(request.name, request.when)
        changed: dict[str, Any] = self._dispatch.ask(request)
        return changed | self._ignored(request, changed["voice"])

    def _check_voice(self, name: str, when: protocol.When) -> None:
        self._book.check(name)
        ready, broken = self._book.ready(name), self._book.error(name)
        if ready is None and broken is not None:  # every line would fail: the last voice stays
            raise KoedError(
                "voice_broken",
                f"voice {name} cannot be used: {broken.message}",
                broken.hint or "see: koe voices",
            )
        if when == "now" and ready is None:
            raise KoedError(
                "voice_not_ready",
                f"voice {name} is still being prepared",
                "wait for the event voice.ready, or see: koe voices",
            )

    # --- looking -----------------------------------------------------------------------------

    def _queue(self, _: protocol.Queue) -> dict[str, Any]:
        now = self._clock()
        return {
            "speaking": [self._describe(line, now) for line in self._lineup.queue.speaking()],
            "waiting": [self._describe(line, now) for line in self._lineup.queue.waiting()],
        }

    def _describe(self, line: Line, now: float) -> dict[str, Any]:
        utterance = self._lineup.find(line.utterance)
        assert utterance is not None, "a line that is queued is not over"
        return {
            "utterance": line.utterance,
            "text": utterance.text,
            "heard": utterance.heard,
            "voice": utterance.voice or line.voice,
            "output": line.output,
            "priority": line.priority,
            "author": line.author,
            "key": line.key,
            "waited_s": round(now - line.queued_at, 3),
            "ttl_s": None if line.expires_at is None else round(line.expires_at - now, 3),
        }

    def _save(self, request: protocol.Save) -> dict[str, Any]:
        history = self._histories[self._lineup.channels_of(request.output)[0].name]
        audio = self._config.audio
        first = request.from_frame
        if first is None:
            kept_s = audio.history_s
            back_s = kept_s if request.seconds is None else min(request.seconds, kept_s)
            first = history.end_frame - int(max(0.0, back_s) * audio.rate_hz)
        first, pcm = history.page(max(0, first), SAVE_PAGE_FRAMES)
        return {
            "rate_hz": audio.rate_hz,
            "pcm": pcm.tobytes(),
            "first_frame": first,
            "next_frame": first + len(pcm),
            "end_frame": history.end_frame,
        }
