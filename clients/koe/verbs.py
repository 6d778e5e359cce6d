"""The verbs of both clients, each written once: the request, and how its reply is read.

Such a function gives a `Call`. `verb` makes two methods of it: a `Blocking` asker's waits and gives
what was read, a `Waiting` one's is a coroutine. Parameters and docstring are those written here.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, Generic, NamedTuple, ParamSpec, TypeVar, overload

from koe import protocol
from koe.protocol import ModeName, Priority, Request, When
from koe.wire.results import (
    ChatResult,
    Page,
    PhraseInfo,
    QueueResult,
    ReloadResult,
    SayResult,
    VoiceInfo,
    VoiceResult,
    count,
)

P = ParamSpec("P")
T = TypeVar("T")
Opened = TypeVar("Opened")
"""A `koe.client.Line`; or what is entered with ``async with`` to have a `koe.aio.AsyncLine`."""


class Blocking:
    """What asks and waits in place."""

    def ask(self, request: Request, timeout_s: float | None = None) -> dict[str, Any]:
        """Send any request and wait for its result as it is on the wire.

        A request with ``wait`` is waited for without end unless ``timeout_s`` is given.
        """
        raise NotImplementedError


class Waiting:
    """What asks and leaves the event loop free meanwhile."""

    async def ask(self, request: Request, timeout_s: float | None = None) -> dict[str, Any]:
        """As that of `Blocking`."""
        raise NotImplementedError


class Call(NamedTuple, Generic[T]):
    request: Request
    read: Callable[[dict[str, Any]], T]
    """The result as it is on the wire -> what the verb gives."""


class verb(Generic[P, T]):
    """A function that makes a `Call`, as a method of either asker."""

    def __init__(self, make: Callable[Concatenate[Any, P], Call[T]]) -> None:
        @functools.wraps(make)
        def blocking(self: Blocking, *args: P.args, **named: P.kwargs) -> T:
            call = make(self, *args, **named)
            return call.read(self.ask(call.request))

        @functools.wraps(make)
        async def waiting(self: Waiting, *args: P.args, **named: P.kwargs) -> T:
            call = make(self, *args, **named)
            return call.read(await self.ask(call.request))

        self._blocking, self._waiting = blocking, waiting
        # `help` is to show what the methods give
        given = make.__annotations__["return"]
        make.__annotations__["return"] = given.removeprefix("Call[").removesuffix("]")

    @overload
    def __get__(self, asker: Blocking, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, asker: Waiting, owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    @overload
    def __get__(self, asker: None, owner: type) -> Callable[..., Any]: ...
    def __get__(self, asker: Any, owner: type) -> Any:
        """For type checkers: an asker's class has the plain methods, see `Asker`. What is asked of
        a class in between, as `help` does, gets the blocking one."""
        return self.method_of(owner)

    def method_of(self, owner: type) -> Callable[..., Any]:
        return self._waiting if issubclass(owner, Waiting) else self._blocking


class Asker:
    """Its subclasses that are `Blocking` or `Waiting` get plain methods for the verbs: what looks
    into a class, such as `unittest.mock.create_autospec`, finds what it knows."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if issubclass(cls, Blocking | Waiting):
            for name in dir(cls):
                found = inspect.getattr_static(cls, name)
                if isinstance(found, verb):
                    setattr(cls, name, found.method_of(cls))


def _nothing(_: dict[str, Any]) -> None:
    """What a verb gives that only does something."""


def _cancelled(result: dict[str, Any]) -> tuple[int, ...]:
    return tuple(result.get("cancelled") or ())


def _dropped(result: dict[str, Any]) -> int:
    return count(result.get("dropped"))


class LineVerbs(Asker):
    """Of a line whose text comes piece by piece; it is spoken while it still comes."""

    def __init__(self, client: Any, utterance: int, voice: str) -> None:
        self.utterance = utterance
        self.voice = voice
        self._client = client
        self._closed = False

    @verb
    def append(self, text: str) -> Call[None]:
        """More text, cut anywhere, even within a word."""
        return Call(protocol.SayAppend(utterance=self.utterance, text=text), _nothing)

    @verb
    def close(self, wait: bool = False) -> Call[SayResult | None]:
        """No more text. With ``wait``: how the line ended, when it is over."""
        self._closed = True

        def read(result: dict[str, Any]) -> SayResult | None:
            return SayResult.read({"utterance": self.utterance} | result) if wait else None

        return Call(protocol.SayClose(utterance=self.utterance, wait=wait), read)

    @verb
    def cancel(self) -> Call[None]:
        """Take the line back, even while it sounds."""
        self._closed = True
        return Call(protocol.Cancel(utterance=self.utterance), _nothing)


class Verbs(Asker, Generic[Opened]):
    """Of a client."""

    def _open(self, request: protocol.SayOpen) -> Opened:
        raise NotImplementedError

    # --- lines -------------------------------------------------------------------------------

    @verb
    def say(
        self,
        text: str,
        *,
        voice: str | None = None,
        lang: str | None = None,
        priority: Priority = "normal",
        ttl_s: float | None = None,
        key: str | None = None,
        author: str | None = None,
        output: str | None = None,
        wait: bool = False,
        style: str | None = None,
        reference: str | None = None,
        speed: float | None = None,
        pitch: float | None = None,
        range: float | None = None,
        energy: float | None = None,
        volume: float | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        seed: int | None = None,
    ) -> Call[SayResult]:
        """Speak ``text``; with ``wait`` return when it is over. See `koe.protocol.Say`."""
        request = protocol.Say(
            text=text, voice=voice, lang=lang, priority=priority, ttl_s=ttl_s, key=key,
            author=author, output=output, wait=wait, style=style, reference=reference,
            speed=speed, pitch=pitch, range=range, energy=energy, volume=volume,
            temperature=temperature, top_k=top_k, seed=seed,
        )  # fmt: skip
        return Call(request, SayResult.read)

    def open_line(
        self,
        *,
        voice: str | None = None,
        lang: str | None = None,
        priority: Priority = "normal",
        ttl_s: float | None = None,
        key: str | None = None,
        author: str | None = None,
        output: str | None = None,
        style: str | None = None,
        reference: str | None = None,
        speed: float | None = None,
        pitch: float | None = None,
        range: float | None = None,
        energy: float | None = None,
        volume: float | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        seed: int | None = None,
    ) -> Opened:
        """Begin a line whose text comes piece by piece, as from a chatbot; enter it with ``with``,
        of `koe.aio.AsyncClient` with ``async with``."""
        request = protocol.SayOpen(
            voice=voice, lang=lang, priority=priority, ttl_s=ttl_s, key=key, author=author,
            output=output, style=style, reference=reference, speed=speed, pitch=pitch,
            range=range, energy=energy, volume=volume, temperature=temperature, top_k=top_k,
            seed=seed,
        )  # fmt: skip
        return self._open(request)

    @verb
    def phrase(
        self,
        name: str,
        *,
        voice: str | None = None,
        priority: Priority = "urgent",
        ttl_s: float | None = None,
        key: str | None = None,
        author: str | None = None,
        output: str | None = None,
        wait: bool = False,
    ) -> Call[SayResult]:
        """Speak a phrase of the configuration at once. See `koe.protocol.Phrase`."""
        request = protocol.Phrase(
            name=name, voice=voice, priority=priority, ttl_s=ttl_s, key=key, author=author,
            output=output, wait=wait,
        )  # fmt: skip
        return Call(request, SayResult.read)

    @verb
    def cancel(
        self, utterance: int | None = None, *, key: str | None = None, author: str | None = None
    ) -> Call[tuple[int, ...]]:
        """Take lines back, even the one that sounds; the utterances that were."""
        return Call(protocol.Cancel(utterance=utterance, key=key, author=author), _cancelled)

    @verb
    def chat(self, line: protocol.Chat) -> Call[ChatResult]:
        """Hand a line of a chat to the policy, which decides whether it is read."""
        return Call(line, ChatResult.read)

    @verb
    def chat_delete(
        self,
        line: str | None = None,
        *,
        author: str | None = None,
        platform: str = "",
        everything: bool = False,
    ) -> Call[tuple[int, ...]]:
        """Take lines of a chat back, even in mid-word; the utterances that were."""
        request = protocol.ChatDelete(
            line=line, author=author, platform=platform, everything=everything
        )
        return Call(request, _cancelled)

    # --- control -----------------------------------------------------------------------------

    @verb
    def stop(self, output: str | None = None) -> Call[int]:
        """Silence now; every line is forgotten. How many were dropped."""
        return Call(protocol.Stop(output=output), _dropped)

    @verb
    def skip(self, output: str | None = None) -> Call[int | None]:
        """End the line that sounds; its utterance, None if none sounded."""
        return Call(protocol.Skip(output=output), lambda result: result.get("utterance"))

    @verb
    def pause(self, output: str | None = None) -> Call[None]:
        """Hold the voice where it is."""
        return Call(protocol.Pause(output=output), _nothing)

    @verb
    def resume(self, output: str | None = None) -> Call[None]:
        """Go on where `pause` held."""
        return Call(protocol.Resume(output=output), _nothing)

    @verb
    def clear(self, output: str | None = None, priority: Priority | None = None) -> Call[int]:
        """Forget the waiting lines. How many were dropped."""
        return Call(protocol.Clear(output=output, priority=priority), _dropped)

    @verb
    def mute(self, output: str | None = None) -> Call[None]:
        """Silence until `unmute`; the line that sounds ends."""
        return Call(protocol.Mute(output=output), _nothing)

    @verb
    def unmute(self, output: str | None = None) -> Call[None]:
        """Speak again."""
        return Call(protocol.Unmute(output=output), _nothing)

    @verb
    def panic(self, by: str | None = None) -> Call[None]:
        """Silence on all outputs until `release`, even over a restart; what waits is held."""
        return Call(protocol.Panic(by=by), _nothing)

    @verb
    def release(self) -> Call[None]:
        """End a panic."""
        return Call(protocol.Release(), _nothing)

    @verb
    def mode(self, output: str | None = None) -> Call[ModeName]:
        """What may sound: ``speak``, ``chat_muted`` or ``all_muted``."""
        return Call(protocol.Mode(output=output), lambda result: result.get("mode", "speak"))

    @verb
    def set_mode(self, mode: ModeName, output: str | None = None) -> Call[None]:
        """Say what may sound, on one output or all. See `koe.protocol.Mode`."""
        return Call(protocol.Mode(mode=mode, output=output), _nothing)

    @verb
    def voice(self, output: str | None = None) -> Call[str]:
        """The name of the current voice."""
        return Call(protocol.Voice(output=output), lambda result: VoiceResult.read(result).voice)

    @verb
    def set_voice(
        self,
        name: str | None = None,
        when: When = "next",
        output: str | None = None,
        *,
        plain: bool | None = None,
        speed: float | None = None,
        pitch: float | None = None,
        range: float | None = None,
        energy: float | None = None,
        volume: float | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        seed: int | None = None,
    ) -> Call[VoiceResult]:
        """Change the current voice, or how it speaks. See `koe.protocol.Voice` for ``when`` and for
        how long the fields hold; ``plain`` ends them."""
        request = protocol.Voice(
            name=name, when=when, output=output, plain=plain, speed=speed, pitch=pitch,
            range=range, energy=energy, volume=volume, temperature=temperature, top_k=top_k,
            seed=seed,
        )  # fmt: skip
        return Call(request, VoiceResult.read)

    # --- questions ---------------------------------------------------------------------------

    @verb
    def voices(self) -> Call[tuple[VoiceInfo, ...]]:
        """All voices, usable or broken."""
        return Call(
            protocol.Voices(),
            lambda result: tuple(map(VoiceInfo.read, result.get("voices") or ())),
        )

    @verb
    def phrases(self) -> Call[tuple[PhraseInfo, ...]]:
        """The phrases of the configuration, and in which voices each is ready."""
        return Call(
            protocol.Phrases(),
            lambda result: tuple(map(PhraseInfo.read, result.get("phrases") or ())),
        )

    @verb
    def queue(self) -> Call[QueueResult]:
        """What sounds and what waits."""
        return Call(protocol.Queue(), QueueResult.read)

    @verb
    def status(self) -> Call[dict[str, Any]]:
        """Versions, uptime, outputs, engines, queue lengths and counters."""
        return Call(protocol.Status(), dict)

    @verb
    def reload(self) -> Call[ReloadResult]:
        """Let koed read its configuration and profiles again."""
        return Call(protocol.Reload(), ReloadResult.read)

    @verb
    def _page(
        self, output: str | None, seconds: float | None = None, from_frame: int | None = None
    ) -> Call[Page]:
        return Call(protocol.Save(output=output, seconds=seconds, from_frame=from_frame), Page.read)
