"""Who may talk to a worker that listens on the network: ZeroMQ asks here about each client (ZAP,
RFC 27). The keys and their folder are `koed.keys`'.
"""

from __future__ import annotations

import logging
from pathlib import Path

import zmq
import zmq.utils.z85

from koed import keys
from koed.errors import KoedError

log = logging.getLogger(__name__)

ZAP_ENDPOINT = "inproc://zeromq.zap.01"


class Gate:
    """Answers for all sockets of one context: in with an admitted key, else refused.

    Raises `KoedError` as `koed.keys.server_pair`.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], folder: Path) -> None:
        self._folder = folder
        self.public, self.secret = keys.server_pair(folder)
        self.socket = context.socket(zmq.REP)
        self.socket.linger = 0
        self.socket.bind(ZAP_ENDPOINT)

    def guard(self, socket: zmq.Socket[bytes]) -> None:
        """Make a socket, not yet bound, admit nobody else."""
        socket.curve_server = True
        socket.curve_publickey = self.public
        socket.curve_secretkey = self.secret
        socket.zap_domain = b"koed"

    def answer(self) -> None:
        """Answer what has come; call when `socket` is readable.

        The folder is read for every connection, so that a client is let in or shut out without
        a restart.
        """
        while True:
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            version, request = frames[0], frames[1] if len(frames) > 1 else b""
            name = self._name_of(frames[6]) if len(frames) == 7 and frames[5] == b"CURVE" else None
            status = (b"200", b"") if name is not None else (b"400", b"")
            self.socket.send_multipart([version, request, *status, (name or "").encode(), b""])

    def _name_of(self, key: bytes) -> str | None:
        wanted = zmq.utils.z85.encode(key).decode()
        try:
            clients = keys.admitted(self._folder)
        except KoedError as error:
            log.warning("nobody is let in: %s", error)
            return None
        return next((name for name, public in clients.items() if public == wanted), None)

    def close(self) -> None:
        self.socket.close()
