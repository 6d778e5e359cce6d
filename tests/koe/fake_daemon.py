"""A daemon that only talks: real sockets, the real protocol, answers that a test can set."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import zmq

from koe.protocol import (
    Event,
    Reply,
    Request,
    SayClose,
    SayOpen,
    WireError,
    pack,
    request_from_map,
    unpack,
)  # fmt: skip

Answer = Callable[[Any], dict[str, Any]]

PCM = bytes(range(256)) * 40
RATE_HZ = 8000
VOICES = [
    {
        "name": "hana",
        "engine": "embedded",
        "lang": "ja",
        "ready": True,
        "tags": ["calm"],
        "styles": ["happy", "sad"],
    },
    {
        "name": "rex",
        "engine": "tone",
        "lang": "en",
        "ready": False,
        "error": "no file",
        "rights": "by rex\x1b[2J, CC BY 3.0",
    },
]


def until(condition: Callable[[], Any], timeout_s: float = 40.0) -> Any:
    """Poll until ``condition()`` is true and give it back; fail after ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.002)
    return value


class FakeDaemon:
    """Lines end only when a test calls `finish`; ``silent`` operations are never answered."""

    def __init__(self, directory: Path, curve: tuple[bytes, bytes] | None = None) -> None:
        self.directory = directory
        self.requests: list[Request] = []
        self.texts: list[str] = []
        self.topics: list[str] = []
        self.silent: set[str] = set()
        self.answers: dict[str, Answer] = {}
        self.tcp = ""
        """Control endpoint when there are CURVE keys (public, secret); events are at port + 1."""
        self._curve = curve
        self._waiting: dict[int, tuple[bytes, Any]] = {}
        self._seq = 0
        self._todo: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._over = threading.Event()
        self._waking = threading.Lock()
        self._context = zmq.Context()
        self._wake_in = self._context.socket(zmq.PULL)
        self._wake_in.bind("inproc://wake")
        self._wake = self._context.socket(zmq.PUSH)
        self._wake.connect("inproc://wake")
        self._control = self._bound(zmq.ROUTER, "control")
        self._events = self._bound(zmq.XPUB, "events")
        self._events.setsockopt(zmq.XPUB_VERBOSE, 1)  # a topic is told as often as it is wanted
        self._text = self._bound(zmq.PULL, "text")
        if curve:
            self._bind_tcp(curve)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _bound(self, kind: int, name: str) -> zmq.Socket[bytes]:
        socket = self._context.socket(kind)
        socket.linger = 0
        path = self.directory / name
        path.unlink(missing_ok=True)
        socket.bind(f"ipc://{path}")
        return socket

    def _bind_tcp(self, curve: tuple[bytes, bytes]) -> None:
        """Also listen on two ports in a row."""
        for socket in (self._control, self._events):
            socket.curve_publickey, socket.curve_secretkey = curve
            socket.curve_server = True
        for port in range(20000, 32000, 7):
            try:
                self._control.bind(f"tcp://127.0.0.1:{port}")
                self._events.bind(f"tcp://127.0.0.1:{port + 1}")
            except zmq.ZMQError:
                continue
            self.tcp = f"tcp://127.0.0.1:{port}"
            return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End without a word to anybody; the socket files go."""
        if not self._over.is_set():
            self._over.set()
            self._wake.send(b"")
            self._thread.join(40)
            self._context.destroy(0)

    # --- for tests -------------------------------------------------------------------------------

    def ops(self) -> list[str]:
        return [request.op for request in self.requests]

    def publish(self, event: Event) -> None:
        self.publish_map(event.to_map())

    def publish_map(self, message: dict[str, Any]) -> None:
        self._seq += 1
        frames = [message["event"].encode(), pack(message | {"seq": self._seq, "t": 1.5})]
        self._do(lambda: self._events.send_multipart(frames))

    def finish(self, utterance: int = 0, outcome: str = "finished", reason: str = "") -> None:
        """End a line that somebody waits for (0 = whichever it is)."""
        utterance = utterance or until(lambda: next(iter(self._waiting.copy()), 0))
        until(lambda: utterance in self._waiting)
        who, number = self._waiting.pop(utterance)
        result = {"utterance": utterance, "outcome": outcome, "reason": reason}
        self._do(lambda: self._reply(who, Reply(id=number, result=result)))

    def send_raw(self, who: bytes, data: bytes) -> None:
        self._do(lambda: self._control.send_multipart([who, data]))

    def _do(self, action: Callable[[], Any]) -> None:
        self._todo.put(action)
        with self._waking:  # a socket is for one thread at a time
            self._wake.send(b"")

    # --- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        poller = zmq.Poller()
        for socket in (self._wake_in, self._control, self._events, self._text):
            poller.register(socket, zmq.POLLIN)
        while True:
            ready = dict(poller.poll())
            if self._over.is_set():
                return
            if self._wake_in in ready:
                self._wake_in.recv()
                self._todo.get()()
            if self._control in ready:
                self._serve(*self._control.recv_multipart())
            if self._events in ready:
                frame = self._events.recv()
                if frame[0] == 1:
                    self.topics.append(frame[1:].decode())
            if self._text in ready:
                self.texts.append(self._text.recv().decode())

    def _reply(self, who: bytes, reply: Reply) -> None:
        self._control.send_multipart([who, pack(reply.to_map())])

    def _serve(self, who: bytes, data: bytes) -> None:
        message = unpack(data)
        self.who = who
        try:
            request = request_from_map(message)
            self.requests.append(request)
            if request.op in self.silent:
                return
            result = self.answers.get(request.op, self._answer)(request)
        except WireError as error:
            self._reply(who, Reply(id=message.get("id"), ok=False, error=error))
            return
        if getattr(request, "wait", False):
            utterance = request.utterance if isinstance(request, SayClose) else len(self.requests)
            self._waiting[utterance] = (who, request.id)
        else:
            self._reply(who, Reply(id=request.id, result=result))

    def _answer(self, request: Any) -> dict[str, Any]:
        """Utterances are numbered by the request that began them."""
        utterance = len(self.requests)
        if isinstance(request, SayOpen):
            return {"utterance": utterance, "voice": request.voice or "hana"}
        answers: dict[str, Answer] = {
            "say": lambda r: {"utterance": utterance, "voice": r.voice or "hana", "position": 2,
                              "truncated": r.priority == "chatter", "new_in_v9": 1}
            | ({"ignored": ["temperature", "seed"]} if r.seed is not None else {}),
            "say_append": lambda r: {},
            "say_close": lambda r: {"utterance": r.utterance},
            "stop": lambda r: {"dropped": [7, 8]},
            "clear": lambda r: {"dropped": [8]},
            "skip": lambda r: {"utterance": 7},
            "voice": lambda r: {
                "voice": r.name or "hana", "previous": "hana",
                "fields": {} if r.pitch is None else {"pitch": r.pitch, "volume": r.volume},
            },
            "mode": lambda r: {"mode": r.mode or "speak", "previous": "speak",
                               "modes": {"main": r.mode or "speak"}},
            "phrase": lambda r: {"utterance": utterance, "voice": "hana", "canned": True},
            "phrases": lambda r: {"phrases": [{"name": "hello", "text": "hi", "voices": ["hana"],
                                               "waiting": ["rex"]}]},
            "voices": lambda r: {"current": "hana", "voices": VOICES},
            "queue": lambda r: {
                "speaking": [{"utterance": 7, "text": "now", "voice": "hana", "output": "main",
                              "priority": "urgent"}],
                "waiting": [{"utterance": 8, "text": "then \x1b[2J", "voice": "rex",
                             "output": "main", "priority": "normal", "author": "bob"}],
            },
            "cancel": lambda r: {"cancelled": [r.utterance or 8]},
            "chat": lambda r: {"verdict": "said", "reason": "", "utterance": utterance,
                               "voice": "hana", "text": r.text},
            "chat_delete": lambda r: {"cancelled": [7]},
            "status": lambda r: {"version": "0.1.0", "uptime_s": 1.25, "outputs": {
                "main": {"device": "null", "muted": False}}, "engines": [{"name": "tone"}]},
            "reload": lambda r: {"changed": ["mei"], "errors": []},
            "save": self._save,
        }  # fmt: skip
        return answers.get(request.op, lambda r: {})(request)

    @staticmethod
    def _save(request: Any) -> dict[str, Any]:
        """Three pages of a history that began at frame 1000 and has grown after the first."""
        first = request.from_frame or 1000
        history = PCM if request.from_frame is None else PCM + b"late" * 50
        pcm = history[2 * (first - 1000) :][: 2 * 2000]
        return {"rate_hz": RATE_HZ, "pcm": pcm, "first_frame": first,
                "next_frame": first + len(pcm) // 2,
                "end_frame": 1000 + len(history) // 2}  # fmt: skip
