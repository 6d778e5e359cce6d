"""One connection to OBS: the only file that knows obs-websocket-py, and mends what it lacks.

The library waits for ever for a server that hangs, loses the reason of a refusal, forgets the code
with which OBS closed, and ends its reading thread without a word when a callback raises. Here:

- `Link.open` has a deadline; one `Link` is one attempt, and a new attempt is a new `Link`;
- `Link.call` answers, or raises a `KoedError` that says why;
- whatever ends the connection is told once, to ``on_lost``, as a `KoedError`.

``on_event`` and ``on_lost`` run on the reading thread: they put things into a queue and return.

Codes: ``obs_absent`` (nobody listens), ``obs_silent`` (connected, no answer in time),
``obs_password``, ``obs_strange`` (not an OBS that koed understands), ``obs_gone`` (the connection
ended), ``obs_refused`` (see `ObsRefused`), ``obs_bad_text`` (it was not sent).
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any, Protocol

import websocket
from obswebsocket import base_classes, exceptions, obsws, requests
from obswebsocket.core import RecvThread

from koed.errors import KoedError

log = logging.getLogger(__name__)

EVENTS = 1023
"""Event subscriptions: all that come seldom."""
METERS = 1 << 16
"""``InputVolumeMeters``, every 50 ms."""

OPEN_S = 2.0
CALL_S = 2.0

WRONG_PASSWORD = 4009
"""Close code `AuthenticationFailed` of obs-websocket 5."""

OnEvent = Callable[[str, dict[str, Any]], None]
OnLost = Callable[[KoedError], None]


class ObsRefused(KoedError):
    """OBS said no. ``number``: its RequestStatus, for instance 600 = there is no such thing, 601 =
    it is there already, 604 = wrong state."""

    def __init__(self, request: str, number: int, comment: str) -> None:
        said = f": {comment}" if comment else ""
        super().__init__("obs_refused", f"OBS refuses {request} ({number}){said}")
        self.number = number


class Caller(Protocol):
    """What is needed of a `Link` where it is only asked."""

    def call(self, request: str, **data: Any) -> dict[str, Any]: ...


class Link:
    """One connection, used once: ``with Link(host, port, password).open() as link: ...``.

    ``timeout_s`` is how long `call` waits for each answer. Any thread may `call` and `close`."""

    def __init__(
        self,
        host: str,
        port: int,
        password: str | None = None,
        *,
        on_event: OnEvent | None = None,
        on_lost: OnLost | None = None,
        timeout_s: float = CALL_S,
    ) -> None:
        # What it writes at these levels holds chat, and the answer to OBS's password challenge.
        logging.getLogger("obswebsocket").setLevel(logging.CRITICAL)
        self.where = f"{host}:{port}"
        self._on_event = on_event
        self._on_lost = on_lost
        self._closed = False
        self._lost: KoedError | None = None
        self._obs = _Obs(host, port, password or "", timeout_s, self._end)
        self._obs.register(self._receive)

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def alive(self) -> bool:
        """It was opened, and nothing has ended it so far."""
        return self._obs.reading and not self._closed

    def open(self, deadline_s: float = OPEN_S) -> Link:
        """Connect and identify within ``deadline_s``, or raise `KoedError`."""
        outcome: list[KoedError | None] = []
        done = threading.Event()

        def dial() -> None:
            # On a thread of its own: looking up a name has no deadline, nor has a server that
            # sends a byte now and then.
            outcome.append(self._dial(deadline_s))
            done.set()

        threading.Thread(target=dial, name="obs dial", daemon=True).start()
        if not done.wait(deadline_s):
            self.close()
            raise _silent(self.where, deadline_s)
        failure = outcome[0]
        if failure is not None:
            self.close()
            raise failure
        return self

    def _dial(self, deadline_s: float) -> KoedError | None:
        try:
            self._obs.dial(deadline_s)
        except exceptions.ConnectionFailure as error:
            return self._unidentified(error)
        except (TimeoutError, websocket.WebSocketTimeoutException):
            return _silent(self.where, deadline_s)
        except OSError as error:
            return KoedError(
                "obs_absent",
                f"no OBS at {self.where}: {error.strerror or error}",
                "start OBS, and see Tools > WebSocket Server Settings there",
            )
        except (websocket.WebSocketException, ValueError, LookupError, TypeError) as error:
            return _strange(self.where, str(error))
        if self._closed:  # it came after its time
            self._obs.cut()
        return None

    def _unidentified(self, error: Exception) -> KoedError:
        if self._obs.close_code != WRONG_PASSWORD:
            return _strange(self.where, str(error))
        what = "does not take koed's password" if self._obs.password else "wants a password"
        return KoedError(
            "obs_password",
            f"OBS at {self.where} {what}",
            "it is shown by OBS: Tools > WebSocket Server Settings > Show Connect Info;"
            " give it to koed as KOED_OBS_PASSWORD or in a file, see docs/obs.md",
        )

    def call(self, request: str, **data: Any) -> dict[str, Any]:
        """OBS's answer to ``request`` (a name of the obs-websocket protocol, its fields as
        keywords). Raises `ObsRefused`, or `KoedError` ``obs_silent`` or ``obs_gone``."""
        if self._obs.reads_here():
            raise RuntimeError("no call in a callback: it would wait for itself")
        if not self.alive:
            raise self._lost or KoedError(
                "obs_gone", f"the connection to OBS at {self.where} ended"
            )
        if not _sendable(data):
            raise KoedError("obs_bad_text", f"{request}: this text is no Unicode", "")
        asked = getattr(requests, request)()
        asked.dataout = data
        try:
            answer: base_classes.Baserequests = self._obs.call(asked)
        except exceptions.MessageTimeout as error:
            raise _silent(self.where, self._obs.timeout) from error
        except (OSError, websocket.WebSocketException, AttributeError) as error:
            # AttributeError: the socket was taken away by the reader in the same moment
            raise self._lost or KoedError("obs_gone", f"OBS at {self.where}: {error}") from error
        if not answer.status:
            status = answer.datain["status"]
            raise ObsRefused(request, int(status.get("code", 0)), str(status.get("comment", "")))
        return dict(answer.datain["data"])

    def subscribe(self, events: int) -> None:
        """Which events come from now on: `EVENTS`, and `METERS` where they are wanted."""
        self._obs.ws.send(f'{{"op": 3, "d": {{"eventSubscriptions": {int(events)}}}}}')

    def close(self) -> None:
        """End it. Returns at once whatever OBS does, and ``on_lost`` is not called."""
        self._closed = True
        self._obs.cut()

    def _receive(self, event: base_classes.Baseevents) -> None:
        if self._on_event is None or self._closed:
            return
        data = event.datain
        try:
            self._on_event(event.name, data if isinstance(data, dict) else {})
        except Exception:
            log.exception("a listener failed on OBS's event %s", event.name)

    def _end(self, reason: str) -> None:
        """The reading thread is at its end."""
        code = self._obs.close_code
        why = reason or (f"OBS closed the connection ({code})" if code else "the connection ended")
        self._lost = KoedError("obs_gone", f"OBS at {self.where} is gone: {why}")
        if not self._closed and self._on_lost is not None:
            self._on_lost(self._lost)


class _Obs(obsws):  # type: ignore[misc]
    """The library's client, with deadlines, a watched reading thread and whole answers."""

    _ids = itertools.count(1)

    def __init__(
        self, host: str, port: int, password: str, timeout_s: float, end: Callable[[str], None]
    ) -> None:
        super().__init__(host, port, password, legacy=False, timeout=timeout_s)
        self.answers = _Answers()
        self.ws = _Socket()
        self._end = end
        self._raw: socket.socket | None = None
        self._cut = False

    @property
    def id(self) -> int:
        """The library reads this and then raises it: two threads could get the same number."""
        return next(self._ids)

    @id.setter
    def id(self, _: int) -> None:
        pass

    @property
    def close_code(self) -> int:
        return int(self.ws.close_code)

    @property
    def reading(self) -> bool:
        return self.thread_recv is not None and bool(self.thread_recv.is_alive())

    def reads_here(self) -> bool:
        return threading.current_thread() is self.thread_recv

    def dial(self, timeout_s: float) -> None:
        """The library's ``connect``, on a socket of ours: it can be cut, and no proxy of the
        environment comes between."""
        self._raw = socket.create_connection((self.host, self.port), timeout_s)
        try:
            self._identify(self._raw)
        except BaseException:
            self._raw.close()
            raise

    def _identify(self, raw: socket.socket) -> None:
        if self._cut:
            self.cut()
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        host = f"[{self.host}]" if ":" in self.host else self.host
        self.ws.connect(  # type: ignore[no-untyped-call]
            f"ws://{host}:{self.port}", socket=raw, redirect_limit=0
        )
        self._auth()
        raw.settimeout(None)
        self.thread_recv = _Reader(self, self._end)
        self.thread_recv.start()

    def cut(self) -> None:
        """Ends whatever waits for this socket. No closing handshake: OBS may hang."""
        self._cut = True
        if self._raw is not None:
            with contextlib.suppress(OSError):
                self._raw.shutdown(socket.SHUT_RDWR)


class _Reader(RecvThread):  # type: ignore[misc]
    def __init__(self, core: _Obs, end: Callable[[str], None]) -> None:
        super().__init__(core)
        self.name = "obs reader"
        self.daemon = True
        self._end = end

    def run(self) -> None:
        reason = ""
        try:
            super().run()
        except (OSError, websocket.WebSocketException) as error:
            reason = str(error)
        except (LookupError, TypeError, AttributeError, RecursionError) as error:
            reason = f"it sent what nobody understands: {error}"
        finally:
            self.running = False
            with contextlib.suppress(OSError):
                self.ws.shutdown()
            self._end(reason)


class _Answers(dict[str, dict[str, Any]]):
    """The library hands on ``responseData`` alone: put the status, with the reason, into it."""

    def __setitem__(self, key: str, answer: dict[str, Any]) -> None:
        data = {"data": answer.get("responseData") or {}, "status": answer["requestStatus"]}
        super().__setitem__(key, answer | {"responseData": data})


class _Socket(websocket.WebSocket):
    """Keeps the code with which the server closed: it alone tells a wrong password. And says at
    once that something arrived: OBS sends an answer only when the event before it is acknowledged
    (Nagle's algorithm), which the kernel would put off for 40 ms."""

    close_code = 0

    def recv_data_frame(self, control_frame: bool = False) -> tuple[Any, ...]:
        opcode, frame = super().recv_data_frame(control_frame)
        if self.sock is not None:
            with contextlib.suppress(OSError):
                self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        if opcode == websocket.ABNF.OPCODE_CLOSE and len(frame.data) >= 2:
            (self.close_code,) = struct.unpack("!H", frame.data[:2])
        return opcode, frame


def _sendable(data: dict[str, Any]) -> bool:
    """OBS leaves a request without an answer if half a surrogate pair is in it."""
    try:
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _silent(where: str, seconds: float) -> KoedError:
    return KoedError(
        "obs_silent", f"OBS at {where} did not answer within {seconds:g} s", "is OBS hanging?"
    )


def _strange(where: str, what: str) -> KoedError:
    return KoedError(
        "obs_strange",
        f"what listens at {where} is no OBS that koed understands: {what[:200]}",
        "koed speaks obs-websocket 5, which is part of OBS 28 and newer; is the port right?",
    )
