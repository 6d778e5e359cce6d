"""The asyncio client: the verbs of `koe.client`, to be awaited.

    async with AsyncClient() as koed:
        await koed.say("hello")
        async for event in koed.events(["utterance."]):
            print(event)

One client serves any number of tasks of one event loop at the same time. Raises what
`koe.client.Client` raises.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterable
from typing import Any, Self

import zmq
import zmq.asyncio

from koe import protocol
from koe.protocol import Event, ModeName, Priority, Request, When, WireError
from koe.transport.address import find
from koe.transport.connection import NoDaemon, Refused, encode_text, prepare, require, silence
from koe.transport.nonblocking import AsyncEvents, WaitingLink
from koe.wire.results import (
    ChatResult,
    Page,
    PhraseInfo,
    QueueResult,
    Recording,
    ReloadResult,
    SayResult,
    VoiceInfo,
    VoiceResult,
    count,
    ends,
)  # fmt: skip

__all__ = ["AsyncClient", "AsyncEvents", "AsyncLine", "NoDaemon", "Refused", "WireError"]


class AsyncLine:
    """A line whose text comes piece by piece. See `koe.client.Line`."""

    def __init__(self, client: AsyncClient, utterance: int, voice: str) -> None:
        self.utterance = utterance
        self.voice = voice
        self._client = client
        self._closed = False

    async def append(self, text: str) -> None:
        """More text, cut anywhere, even within a word."""
        await self._client.ask(protocol.SayAppend(utterance=self.utterance, text=text))

    async def close(self, wait: bool = False) -> SayResult | None:
        """No more text. With ``wait``: how the line ended, when it is over."""
        self._closed = True
        result = await self._client.ask(protocol.SayClose(utterance=self.utterance, wait=wait))
        return SayResult.read({"utterance": self.utterance} | result) if wait else None

    async def finish(self) -> None:
        """Close the line unless that was done."""
        if not self._closed:
            await self.close()

    async def cancel(self) -> None:
        """Take the line back, even while it sounds."""
        self._closed = True
        await self._client.cancel(self.utterance)


class AsyncClient:
    """The requests of koed as coroutines. Arguments as for `koe.client.Client`."""

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        endpoint: str | None = None,
        keys: str | os.PathLike[str] | None = None,
        events: str | None = None,
        timeout_s: float = 5.0,
    ) -> None:
        self.address = find(directory, endpoint, keys, events)
        self.timeout_s = timeout_s
        self._context = zmq.asyncio.Context()
        self._plain: zmq.Context[zmq.Socket[bytes]] = zmq.Context(self._context)
        self._link: WaitingLink | None = None
        self._text: zmq.asyncio.Socket | None = None

    async def close(self) -> None:
        """Close all sockets; texts that were pushed are given three seconds to leave."""
        if self._link is not None:
            self._link.close()
            self._link.socket.close(0)
            self._link.monitor.close(0)
        if self._text is not None:
            self._text.close(3000)
        self._context.destroy(0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def ask(self, request: Request, timeout_s: float | None = None) -> dict[str, Any]:
        """Send any request and wait for its result as it is on the wire.

        A request with ``wait`` is waited for without end unless ``timeout_s`` is given.
        """
        if self._link is None:
            self._link = WaitingLink(self._plain, self.address)
        number = await self._link.send(request.to_map(), self.timeout_s)
        if timeout_s is None and not getattr(request, "wait", False):
            timeout_s = self.timeout_s
        return await self._link.receive(number, timeout_s)

    # --- lines -------------------------------------------------------------------------------

    async def say(
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
    ) -> SayResult:
        """Speak ``text``; with ``wait`` return when it is over. See `koe.protocol.Say`."""
        request = protocol.Say(
            text=text, voice=voice, lang=lang, priority=priority, ttl_s=ttl_s, key=key,
            author=author, output=output, wait=wait,
        )  # fmt: skip
        return SayResult.read(await self.ask(request))

    @contextlib.asynccontextmanager
    async def open_line(
        self,
        *,
        voice: str | None = None,
        lang: str | None = None,
        priority: Priority = "normal",
        ttl_s: float | None = None,
        key: str | None = None,
        author: str | None = None,
        output: str | None = None,
    ) -> AsyncIterator[AsyncLine]:
        """Begin a line whose text comes piece by piece, as from a chatbot; ``async with``."""
        request = protocol.SayOpen(
            voice=voice, lang=lang, priority=priority, ttl_s=ttl_s, key=key, author=author,
            output=output,
        )  # fmt: skip
        result = await self.ask(request)
        line = AsyncLine(self, result.get("utterance", 0), result.get("voice") or "")
        try:
            yield line
        except BaseException:
            with contextlib.suppress(WireError):  # the first error is the one to tell
                await line.finish()
            raise
        await line.finish()

    async def push(self, text: str) -> None:
        """Hand text to the socket that takes nothing else. There is no answer and no refusal."""
        data = encode_text(text)
        require(self.address.text)
        if self._text is None:
            self._text = self._context.socket(zmq.PUSH)
            prepare(self._text, self.address)
            self._text.connect(self.address.text)
        try:
            await asyncio.wait_for(self._text.send(data), self.timeout_s)
        except TimeoutError as error:
            raise silence(self.address.text, self.timeout_s, sent=False) from error

    async def phrase(
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
    ) -> SayResult:
        """Speak a phrase of the configuration at once. See `koe.protocol.Phrase`."""
        request = protocol.Phrase(
            name=name, voice=voice, priority=priority, ttl_s=ttl_s, key=key, author=author,
            output=output, wait=wait,
        )  # fmt: skip
        return SayResult.read(await self.ask(request))

    async def cancel(
        self, utterance: int | None = None, *, key: str | None = None, author: str | None = None
    ) -> tuple[int, ...]:
        """Take lines back, even the one that sounds; the utterances that were."""
        result = await self.ask(protocol.Cancel(utterance=utterance, key=key, author=author))
        return tuple(result.get("cancelled") or ())

    async def chat(self, line: protocol.Chat) -> ChatResult:
        """Hand a line of a chat to the policy, which decides whether it is read."""
        return ChatResult.read(await self.ask(line))

    async def chat_delete(
        self,
        line: str | None = None,
        *,
        author: str | None = None,
        platform: str = "",
        everything: bool = False,
    ) -> tuple[int, ...]:
        """Take lines of a chat back, even in mid-word; the utterances that were."""
        request = protocol.ChatDelete(
            line=line, author=author, platform=platform, everything=everything
        )
        return tuple((await self.ask(request)).get("cancelled") or ())

    async def wait_for(self, utterance: int, timeout_s: float | None = None) -> Event | None:
        """Wait until a line is over: the event that ended it, or None if it was over already.

        Raises `TimeoutError`.
        """
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(timeout_s), self.events(("utterance.",)) as events:
            while True:  # the queue is asked again: an event may be lost, its line is not
                waiting = (await self.queue()).has(utterance)
                until = loop.time() + (1.0 if waiting else 0.1)
                while (left := until - loop.time()) > 0:
                    event = await events.next(left)
                    if event is not None and ends(event, utterance):
                        return event
                if not waiting:
                    return None

    # --- control -----------------------------------------------------------------------------

    async def stop(self, output: str | None = None) -> int:
        """Silence now; every line is forgotten. How many were dropped."""
        return count((await self.ask(protocol.Stop(output=output))).get("dropped"))

    async def skip(self, output: str | None = None) -> int | None:
        """End the line that sounds; its utterance, None if none sounded."""
        return (await self.ask(protocol.Skip(output=output))).get("utterance")

    async def pause(self, output: str | None = None) -> None:
        """Hold the voice where it is."""
        await self.ask(protocol.Pause(output=output))

    async def resume(self, output: str | None = None) -> None:
        """Go on where `pause` held."""
        await self.ask(protocol.Resume(output=output))

    async def clear(self, output: str | None = None, priority: Priority | None = None) -> int:
        """Forget the waiting lines. How many were dropped."""
        result = await self.ask(protocol.Clear(output=output, priority=priority))
        return count(result.get("dropped"))

    async def mute(self, output: str | None = None) -> None:
        """Silence until `unmute`; the line that sounds ends."""
        await self.ask(protocol.Mute(output=output))

    async def unmute(self, output: str | None = None) -> None:
        """Speak again."""
        await self.ask(protocol.Unmute(output=output))

    async def panic(self, by: str | None = None) -> None:
        """Silence on all outputs until `release`, even over a restart; what waits is held."""
        await self.ask(protocol.Panic(by=by))

    async def release(self) -> None:
        """End a panic."""
        await self.ask(protocol.Release())

    async def mode(self, output: str | None = None) -> ModeName:
        """What may sound: ``speak``, ``chat_muted`` or ``all_muted``."""
        mode: ModeName = (await self.ask(protocol.Mode(output=output))).get("mode", "speak")
        return mode

    async def set_mode(self, mode: ModeName, output: str | None = None) -> None:
        """Say what may sound, on one output or all. See `koe.protocol.Mode`."""
        await self.ask(protocol.Mode(mode=mode, output=output))

    async def voice(self, output: str | None = None) -> str:
        """The name of the current voice."""
        return VoiceResult.read(await self.ask(protocol.Voice(output=output))).voice

    async def set_voice(
        self, name: str, when: When = "next", output: str | None = None
    ) -> VoiceResult:
        """Change the current voice. See `koe.protocol.Voice` for ``when``."""
        request = protocol.Voice(name=name, when=when, output=output)
        return VoiceResult.read(await self.ask(request))

    # --- questions ---------------------------------------------------------------------------

    async def voices(self) -> tuple[VoiceInfo, ...]:
        """All voices, usable or broken."""
        entries = (await self.ask(protocol.Voices())).get("voices") or ()
        return tuple(VoiceInfo.read(entry) for entry in entries)

    async def phrases(self) -> tuple[PhraseInfo, ...]:
        """The phrases of the configuration, and in which voices each is ready."""
        entries = (await self.ask(protocol.Phrases())).get("phrases") or ()
        return tuple(PhraseInfo.read(entry) for entry in entries)

    async def queue(self) -> QueueResult:
        """What sounds and what waits."""
        return QueueResult.read(await self.ask(protocol.Queue()))

    async def status(self) -> dict[str, Any]:
        """Versions, uptime, outputs, engines, queue lengths and counters."""
        return await self.ask(protocol.Status())

    async def reload(self) -> ReloadResult:
        """Let koed read its configuration and profiles again."""
        return ReloadResult.read(await self.ask(protocol.Reload()))

    async def pages(
        self, output: str | None = None, seconds: float | None = None
    ) -> AsyncIterator[Page]:
        """The last ``seconds`` that an output played (None = all that is kept), page by page."""
        page = Page.read(await self.ask(protocol.Save(output=output, seconds=seconds)))
        end_frame = page.end_frame
        yield page
        while page.next_frame < end_frame:
            request = protocol.Save(output=output, from_frame=page.next_frame)
            page = Page.read(await self.ask(request))
            yield page

    async def save(
        self,
        path: str | os.PathLike[str],
        *,
        output: str | None = None,
        seconds: float | None = None,
    ) -> Recording:
        """Write the last ``seconds`` that an output played as a WAV file. Raises `OSError`."""
        from koe.recording import write_wav

        pages = [page async for page in self.pages(output, seconds)]
        return await asyncio.to_thread(write_wav, path, pages)

    def events(self, topics: Iterable[str] = ()) -> AsyncEvents:
        """What koed tells from now on. See `koe.client.Events`."""
        require(self.address.events)
        return AsyncEvents(self._context, self.address, topics)
