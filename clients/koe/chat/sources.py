"""Where lines come from: standard input, or a ZeroMQ socket that programs PUSH to."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import zmq
import zmq.auth
from zmq.auth.thread import ThreadAuthenticator

from koe.chat.record import MAX_LINE_BYTES
from koe.wire.framing import WireError

READ_BYTES = 65536
PULL_WAITING = 1000
"""Messages that wait here; who pushes more has to wait."""
LOOPBACK = re.compile(r"tcp://(127(\.\d{1,3}){3}|localhost|\[::1\]):(\d{1,5}|\*)")
ELSEWHERE = re.compile(r"tcp://.+:(\d{1,5}|\*)")


class ChatSource(Protocol):
    @property
    def pollable(self) -> Any:
        """What a `zmq.Poller` can watch."""

    def read(self) -> list[bytes] | None:
        """Lines that are there, without their ends; None at the end of the input. A line that is
        too long comes as its first bytes, more than `MAX_LINE_BYTES`."""

    def close(self) -> None: ...


class Cutter:
    """Bytes into lines, in bounded memory."""

    def __init__(self) -> None:
        self._rest = b""
        self._skipping = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        *whole, rest = (self._rest + data).split(b"\n")
        self._rest = b""
        for line in whole:
            if self._skipping:  # the end of what was told to be too long
                self._skipping = False
            else:
                yield line[: MAX_LINE_BYTES + 1]
        if self._skipping:
            return
        if len(rest) > MAX_LINE_BYTES:
            self._skipping = True
            yield rest[: MAX_LINE_BYTES + 1]
        else:
            self._rest = rest

    def end(self) -> bytes:
        return self._rest


class StandardInput:
    """Any file descriptor that can be polled, a plain file included."""

    def __init__(self, fd: int = 0) -> None:
        self._fd = fd
        self._cutter = Cutter()
        self._ended = False

    @property
    def pollable(self) -> int:
        return self._fd

    def read(self) -> list[bytes] | None:
        if self._ended:
            return None
        data = os.read(self._fd, READ_BYTES)
        if data:
            return list(self._cutter.feed(data))
        self._ended = True
        return [self._cutter.end()]

    def close(self) -> None:
        pass


class Pull:
    """A bound PULL socket; each message is a line, or several."""

    def __init__(self, endpoint: str, keys: str | None = None) -> None:
        """Raises `WireError` ``bad_endpoint``, ``bad_keys`` or ``cannot_listen``."""
        _check(endpoint, keys)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._gate: ThreadAuthenticator | None = None
        self._socket = self._context.socket(zmq.PULL)
        self._socket.linger = 0
        self._socket.rcvhwm = PULL_WAITING
        self._socket.maxmsgsize = 16 * MAX_LINE_BYTES
        self._path = ""
        """Of the socket, if it is one of this machine."""
        try:
            if keys is not None:
                self._lock(Path(keys))
            self._bind(endpoint)
        except BaseException:
            self.close()
            raise

    def _lock(self, folder: Path) -> None:
        secret = folder / "server.key_secret"
        try:
            public, private = zmq.auth.load_certificate(secret)
        except (OSError, ValueError) as error:
            raise WireError(
                "bad_keys", f"cannot read {secret}: {error}", "`koed keys new NAME` makes it"
            ) from error
        self._gate = ThreadAuthenticator(self._context)
        self._gate.start()
        self._gate.configure_curve(domain="*", location=os.fspath(folder / "clients"))
        self._socket.curve_publickey = public
        self._socket.curve_secretkey = private or b""
        self._socket.curve_server = True

    def _bind(self, endpoint: str) -> None:
        try:
            if endpoint.startswith("ipc://"):
                path = Path(endpoint.removeprefix("ipc://"))
                if path.exists() and not stat.S_ISSOCK(path.stat().st_mode):
                    raise WireError(
                        "bad_endpoint", f"{path} is a file, not a socket", "choose another name"
                    )
                self._socket.bind(endpoint)
                self._path = os.fspath(path)
                path.chmod(0o600)
            else:
                self._socket.bind(endpoint)
        except (zmq.ZMQError, OSError) as error:
            raise WireError(
                "cannot_listen", f"cannot listen at {endpoint}: {error}",
                "is another program there, or is the folder missing?",
            ) from error  # fmt: skip

    @property
    def endpoint(self) -> str:
        return self._socket.get_string(zmq.LAST_ENDPOINT)

    @property
    def pollable(self) -> Any:
        return self._socket

    def read(self) -> list[bytes]:
        try:
            frames = self._socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return []
        return [line for frame in frames for line in frame.split(b"\n")]

    def close(self) -> None:
        if self._gate is not None:
            self._gate.stop()
        self._context.destroy(0)
        if self._path:
            Path(self._path).unlink(missing_ok=True)


def _check(endpoint: str, keys: str | None) -> None:
    if endpoint.startswith("ipc://") and len(endpoint) > len("ipc://"):
        return
    if LOOPBACK.fullmatch(endpoint):
        return
    if not ELSEWHERE.fullmatch(endpoint):
        raise WireError(
            "bad_endpoint", f"{endpoint[:80]!r} is no endpoint to listen at",
            "it looks like ipc:///run/user/1000/chat or tcp://127.0.0.1:7600",
        )  # fmt: skip
    if keys is None:
        raise WireError(
            "bad_keys", f"{endpoint} can be reached from other machines, and there are no keys",
            "listen at tcp://127.0.0.1:PORT, or give --pull-keys DIR",
        )  # fmt: skip
