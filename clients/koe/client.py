"""The synchronous client: one method per request of `koe.protocol`.

    with Client() as koed:
        koed.say("hello")
        with koed.open_line(voice="hana") as line:
            for piece in tokens:
                line.append(piece)

A client belongs to one thread; make one per thread. Long waits need not block it: `begin_say` gives
a `Pending` that is asked for its result later, and other requests may come in between. ZeroMQ
reconnects by itself when koed was restarted. Every method raises `Refused` or `NoDaemon`, both of
them `koe.protocol.WireError`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import zmq

from koe import protocol
from koe.protocol import Event, ModeName, Priority, Request, When, WireError
from koe.transport.blocking import BlockingLink, Caller, Events
from koe.transport.connection import (
    NoDaemon,
    Refused,
    encode_text,
    milliseconds,
    prepare,
    require,
    silence,
)
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

__all__ = ["Client", "Events", "Line", "NoDaemon", "Pending", "Refused", "WireError"]


class Pending:
    """A line that was sent with ``wait`` and whose end has not been asked for yet."""

    def __init__(self, link: BlockingLink, number: int) -> None:
        self._link = link
        self._number = number

    def result(self, timeout_s: float | None = None) -> SayResult:
        """Wait until the line is over; ask once."""
        return SayResult.read(self._link.receive(self._number, timeout_s))


class Line:
    """A line whose text comes piece by piece; it is spoken while it still comes.

    Leaving the ``with`` block closes it. If an exception leaves the block, what came is still
    spoken to its end: a voice that breaks off in mid-word is no error message.
    """

    def __init__(self, client: Client, utterance: int, voice: str) -> None:
        self.utterance = utterance
        self.voice = voice
        self._client = client
        self._closed = False

    def append(self, text: str) -> None:
        """More text, cut anywhere, even within a word."""
        self._client.ask(protocol.SayAppend(utterance=self.utterance, text=text))

    def close(self, wait: bool = False) -> SayResult | None:
        """No more text. With ``wait``: how the line ended, when it is over."""
        self._closed = True
        result = self._client.ask(protocol.SayClose(utterance=self.utterance, wait=wait))
        return SayResult.read({"utterance": self.utterance} | result) if wait else None

    def cancel(self) -> None:
        """Take the line back, even while it sounds."""
        self._closed = True
        self._client.cancel(self.utterance)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._closed:
            return
        try:
            self.close()
        except WireError:
            if error is None:  # else the first error is the one to tell
                raise


class Client(Caller):
    """The requests of koed as methods.

    ``directory``: koed's runtime folder (None = the usual one). ``endpoint``: its control socket
    instead, ``tcp://HOST:PORT``, which needs ``keys``, the file that ``koed keys new`` wrote.
    ``timeout_s``: how long a request waits for its answer (a line that is waited for is not meant).
    """

    _text: zmq.Socket[bytes] | None = None

    def close(self) -> None:
        """Close all sockets; texts that were pushed are given three seconds to leave."""
        if self._text is not None:
            self._text.close(3000)
        super().close()

    def ask(self, request: Request, timeout_s: float | None = None) -> dict[str, Any]:
        """Send any request and wait for its result as it is on the wire.

        A request with ``wait`` is waited for without end unless ``timeout_s`` is given.
        """
        return self.call(request.to_map(), timeout_s)

    # --- lines -------------------------------------------------------------------------------

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
    ) -> SayResult:
        """Speak ``text``; with ``wait`` return when it is over. See `koe.protocol.Say`."""
        request = protocol.Say(
            text=text, voice=voice, lang=lang, priority=priority, ttl_s=ttl_s, key=key,
            author=author, output=output, wait=wait,
        )  # fmt: skip
        return SayResult.read(self.ask(request))

    def begin_say(
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
    ) -> Pending:
        """Speak ``text`` and go on at once; `Pending.result` waits for its end.

        A refusal, too, is only told by `Pending.result`.
        """
        request = protocol.Say(
            text=text, voice=voice, lang=lang, priority=priority, ttl_s=ttl_s, key=key,
            author=author, output=output, wait=True,
        )  # fmt: skip
        return Pending(self._link, self._link.send(request.to_map(), self.timeout_s))

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
    ) -> Line:
        """Begin a line whose text comes piece by piece, as from a chatbot."""
        request = protocol.SayOpen(
            voice=voice, lang=lang, priority=priority, ttl_s=ttl_s, key=key, author=author,
            output=output,
        )  # fmt: skip
        result = self.ask(request)
        return Line(self, result.get("utterance", 0), result.get("voice") or "")

    def push(self, text: str) -> None:
        """Hand text to the socket that takes nothing else. There is no answer and no refusal."""
        data = encode_text(text)
        require(self.address.text)
        if self._text is None:
            self._text = self._context.socket(zmq.PUSH)
            prepare(self._text, self.address)
            self._text.connect(self.address.text)
        if not self._text.poll(milliseconds(self.timeout_s), zmq.POLLOUT):
            raise silence(self.address.text, self.timeout_s, sent=False)
        self._text.send(data, zmq.NOBLOCK)

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
    ) -> SayResult:
        """Speak a phrase of the configuration at once. See `koe.protocol.Phrase`."""
        request = protocol.Phrase(
            name=name, voice=voice, priority=priority, ttl_s=ttl_s, key=key, author=author,
            output=output, wait=wait,
        )  # fmt: skip
        return SayResult.read(self.ask(request))

    def cancel(
        self, utterance: int | None = None, *, key: str | None = None, author: str | None = None
    ) -> tuple[int, ...]:
        """Take lines back, even the one that sounds; the utterances that were."""
        result = self.ask(protocol.Cancel(utterance=utterance, key=key, author=author))
        return tuple(result.get("cancelled") or ())

    def chat(self, line: protocol.Chat) -> ChatResult:
        """Hand a line of a chat to the policy, which decides whether it is read."""
        return ChatResult.read(self.ask(line))

    def chat_delete(
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
        return tuple(self.ask(request).get("cancelled") or ())

    def wait_for(self, utterance: int, timeout_s: float | None = None) -> Event | None:
        """Wait until a line is over: the event that ended it, or None if it was over already.

        Raises `TimeoutError`.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self.events(("utterance.",)) as events:
            while True:  # the queue is asked again: an event may be lost, its line is not
                waiting = self.queue().has(utterance)
                until = time.monotonic() + (1.0 if waiting else 0.1)
                while (left := min(until, deadline or until) - time.monotonic()) > 0:
                    event = events.next(left)
                    if event is not None and ends(event, utterance):
                        return event
                if not waiting:
                    return None
                if deadline is not None and time.monotonic() >= deadline:
                    raise TimeoutError(f"line {utterance} is not over after {timeout_s:g} s")

    # --- control -----------------------------------------------------------------------------

    def stop(self, output: str | None = None) -> int:
        """Silence now; every line is forgotten. How many were dropped."""
        return count(self.ask(protocol.Stop(output=output)).get("dropped"))

    def skip(self, output: str | None = None) -> int | None:
        """End the line that sounds; its utterance, None if none sounded."""
        return self.ask(protocol.Skip(output=output)).get("utterance")

    def pause(self, output: str | None = None) -> None:
        """Hold the voice where it is."""
        self.ask(protocol.Pause(output=output))

    def resume(self, output: str | None = None) -> None:
        """Go on where `pause` held."""
        self.ask(protocol.Resume(output=output))

    def clear(self, output: str | None = None, priority: Priority | None = None) -> int:
        """Forget the waiting lines. How many were dropped."""
        return count(self.ask(protocol.Clear(output=output, priority=priority)).get("dropped"))

    def mute(self, output: str | None = None) -> None:
        """Silence until `unmute`; the line that sounds ends."""
        self.ask(protocol.Mute(output=output))

    def unmute(self, output: str | None = None) -> None:
        """Speak again."""
        self.ask(protocol.Unmute(output=output))

    def panic(self, by: str | None = None) -> None:
        """Silence on all outputs until `release`, even over a restart; what waits is held."""
        self.ask(protocol.Panic(by=by))

    def release(self) -> None:
        """End a panic."""
        self.ask(protocol.Release())

    def mode(self, output: str | None = None) -> ModeName:
        """What may sound: ``speak``, ``chat_muted`` or ``all_muted``."""
        mode: ModeName = self.ask(protocol.Mode(output=output)).get("mode", "speak")
        return mode

    def set_mode(self, mode: ModeName, output: str | None = None) -> None:
        """Say what may sound, on one output or all. See `koe.protocol.Mode`."""
        self.ask(protocol.Mode(mode=mode, output=output))

    def voice(self, output: str | None = None) -> str:
        """The name of the current voice."""
        return VoiceResult.read(self.ask(protocol.Voice(output=output))).voice

    def set_voice(self, name: str, when: When = "next", output: str | None = None) -> VoiceResult:
        """Change the current voice. See `koe.protocol.Voice` for ``when``."""
        return VoiceResult.read(self.ask(protocol.Voice(name=name, when=when, output=output)))

    # --- questions ---------------------------------------------------------------------------

    def voices(self) -> tuple[VoiceInfo, ...]:
        """All voices, usable or broken."""
        entries = self.ask(protocol.Voices()).get("voices") or ()
        return tuple(VoiceInfo.read(entry) for entry in entries)

    def phrases(self) -> tuple[PhraseInfo, ...]:
        """The phrases of the configuration, and in which voices each is ready."""
        entries = self.ask(protocol.Phrases()).get("phrases") or ()
        return tuple(PhraseInfo.read(entry) for entry in entries)

    def queue(self) -> QueueResult:
        """What sounds and what waits."""
        return QueueResult.read(self.ask(protocol.Queue()))

    def status(self) -> dict[str, Any]:
        """Versions, uptime, outputs, engines, queue lengths and counters."""
        return self.ask(protocol.Status())

    def reload(self) -> ReloadResult:
        """Let koed read its configuration and profiles again."""
        return ReloadResult.read(self.ask(protocol.Reload()))

    def pages(self, output: str | None = None, seconds: float | None = None) -> Iterator[Page]:
        """The last ``seconds`` that an output played (None = all that is kept), page by page."""
        page = Page.read(self.ask(protocol.Save(output=output, seconds=seconds)))
        end_frame = page.end_frame
        yield page
        while page.next_frame < end_frame:
            request = protocol.Save(output=output, from_frame=page.next_frame)
            page = Page.read(self.ask(request))
            yield page

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        output: str | None = None,
        seconds: float | None = None,
    ) -> Recording:
        """Write the last ``seconds`` that an output played as a WAV file. Raises `OSError`."""
        from koe.recording import write_wav

        return write_wav(path, list(self.pages(output, seconds)))
