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
from koe.protocol import Event, Priority, Request, WireError
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
from koe.verbs import Blocking, LineVerbs, Verbs
from koe.wire.results import Page, Recording, SayResult, ends

__all__ = ["Client", "Events", "Line", "NoDaemon", "Pending", "Refused", "WireError"]


class Pending:
    """A line that was sent with ``wait`` and whose end has not been asked for yet."""

    def __init__(self, link: BlockingLink, number: int) -> None:
        self._link = link
        self._number = number

    def result(self, timeout_s: float | None = None) -> SayResult:
        """Wait until the line is over; ask once."""
        return SayResult.read(self._link.receive(self._number, timeout_s))


class Line(LineVerbs, Blocking):
    """A line whose text comes piece by piece; it is spoken while it still comes.

    Leaving the ``with`` block closes it. If an exception leaves the block, what came is still
    spoken to its end: a voice that breaks off in mid-word is no error message.
    """

    def ask(self, request: Request, timeout_s: float | None = None) -> dict[str, Any]:
        client: Client = self._client
        return client.ask(request, timeout_s)

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


class Client(Verbs[Line], Caller, Blocking):
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
        return self.call(request.to_map(), timeout_s)

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

    def _open(self, request: protocol.SayOpen) -> Line:
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

    def pages(self, output: str | None = None, seconds: float | None = None) -> Iterator[Page]:
        """The last ``seconds`` that an output played (None = all that is kept), page by page."""
        page = self._page(output, seconds)
        end_frame = page.end_frame
        yield page
        while page.next_frame < end_frame:
            page = self._page(output, from_frame=page.next_frame)
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
