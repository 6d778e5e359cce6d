"""The stage's sockets to workers: one for the children here, or one to a worker elsewhere.

Both keep the same sockets for life, whatever comes and goes at the other end. Nothing blocks.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal, Protocol

import zmq
import zmq.utils.monitor

from koed.config.profile import RemoteEngine
from koed.engine import wire
from koed.errors import EngineError

Socket = zmq.Socket[bytes]
Context = zmq.Context[Socket]
Change = Literal["connected", "lost", "refused"]

MAX_IPC_PATH = 107
"""Bytes that Linux allows in the path of a socket."""
HIGH_WATER = 10_000
"""Messages; credit bounds the sound, this bounds everything else."""


class Transport(Protocol):
    """``sockets`` are what to poll for reading."""

    sockets: tuple[Socket, ...]

    def send(self, identity: bytes, frame: bytes) -> bool:
        """False = there is nobody; supervision will find out why."""

    def receive(self) -> tuple[bytes, list[bytes]] | None:
        """Sender and frames of the next message, or None."""

    def changes(self) -> list[Change]:
        """What happened to the connection since the last call."""

    def close(self) -> None: ...


class LocalTransport:
    """A ROUTER that children connect to, each with its session as routing id."""

    def __init__(self, context: Context, folder: Path, name: str) -> None:
        path = folder / f"engine-{re.sub(r'[^0-9A-Za-z_-]', '_', name)}"
        if len(os.fsencode(path)) > MAX_IPC_PATH:
            raise EngineError(
                "path_too_long", f"{path} is too long for a socket",
                "set KOED_RUNTIME_DIR to a short folder",
            )  # fmt: skip
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.endpoint = f"ipc://{path}"
        self._socket = _open(context, zmq.ROUTER)
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        try:
            self._socket.bind(self.endpoint)
        except zmq.ZMQError as error:
            self._socket.close()
            raise EngineError("cannot_bind", f"cannot make {path}: {error}") from error
        self.sockets: tuple[Socket, ...] = (self._socket,)

    def send(self, identity: bytes, frame: bytes) -> bool:
        return _send(self._socket, [identity, frame])

    def receive(self) -> tuple[bytes, list[bytes]] | None:
        frames = _receive(self._socket)
        return (frames[0], frames[1:]) if frames else None

    def changes(self) -> list[Change]:
        return []

    def close(self) -> None:
        self._socket.close()


class RemoteTransport:
    """A DEALER with CURVE keys, and ZeroMQ's monitor to hear at once of a lost connection."""

    def __init__(self, context: Context, remote: RemoteEngine) -> None:
        self._socket = _open(context, zmq.DEALER)
        try:
            self._socket.curve_serverkey = remote.server_public.encode()
            self._socket.curve_publickey = remote.client_public.encode()
            self._socket.curve_secretkey = remote.client_secret.encode()
            # What is not on a live connection is lost and not queued: a late job helps nobody.
            self._socket.immediate = True
            self._socket.reconnect_ivl, self._socket.reconnect_ivl_max = 100, 2000
            self._socket.handshake_ivl = 3000
            self._socket.heartbeat_ivl, self._socket.heartbeat_timeout = 1000, 3000
            self._socket.setsockopt(zmq.ROUTING_ID, b"stage-" + os.urandom(6).hex().encode())
            self._monitor = self._socket.get_monitor_socket(
                zmq.EVENT_HANDSHAKE_SUCCEEDED
                | zmq.EVENT_DISCONNECTED
                | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
            )
            self._socket.connect(remote.address)
        except (zmq.ZMQError, UnicodeEncodeError) as error:
            self._socket.close()
            raise EngineError(
                "bad_remote", f"cannot use the remote engine {remote.address}: {error}",
                "address tcp://HOST:PORT, keys of 40 characters as koed keys prints them",
            ) from error  # fmt: skip
        self.sockets: tuple[Socket, ...] = (self._socket, self._monitor)

    def send(self, identity: bytes, frame: bytes) -> bool:
        return _send(self._socket, [frame])

    def receive(self) -> tuple[bytes, list[bytes]] | None:
        frames = _receive(self._socket)
        return (b"", frames) if frames else None

    def changes(self) -> list[Change]:
        changes: list[Change] = []
        while self._monitor.poll(0):
            event = zmq.utils.monitor.recv_monitor_message(self._monitor)["event"]
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                changes.append("connected")
            elif event == zmq.EVENT_DISCONNECTED:
                changes.append("lost")
            elif event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
                changes.append("refused")
        return changes

    def close(self) -> None:
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.close()


def _open(context: Context, kind: int) -> Socket:
    socket = context.socket(kind)
    socket.linger = 200  # milliseconds, for a last `Bye`
    socket.maxmsgsize = wire.MAX_MESSAGE_BYTES
    socket.sndhwm = socket.rcvhwm = HIGH_WATER
    return socket


def _send(socket: Socket, frames: list[bytes]) -> bool:
    try:
        socket.send_multipart(frames, zmq.NOBLOCK)
    except zmq.ZMQError as error:
        if error.errno in (zmq.EAGAIN, zmq.EHOSTUNREACH):
            return False
        raise
    return True


def _receive(socket: Socket) -> list[bytes]:
    try:
        return socket.recv_multipart(zmq.NOBLOCK)
    except zmq.Again:
        return []
