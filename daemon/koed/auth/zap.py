"""Who may come in over the network: ZeroMQ asks here about each client (ZAP, RFC 27)."""

from __future__ import annotations

from collections.abc import Callable

import zmq
import zmq.utils.z85

ENDPOINT = "inproc://zeromq.zap.01"
ADMITTED, NOT_NOW = b"200", b"300"
"""The denial of RFC 27 is 400. A ZeroMQ client that is told so never tries again: one that was
there before its key was admitted would stay out until it is restarted. After 300 it hears nothing
at all, and tries again."""


class ZapHandler:
    """Answers for all sockets of one context. ``admits`` is asked with a public key (Z85) whenever
    somebody connects, so that a client is let in or shut out without a restart."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        pair: tuple[bytes, bytes],
        admits: Callable[[str], bool],
    ) -> None:
        """``pair``: our own public and secret key (Z85)."""
        self._public, self._secret = pair
        self._admits = admits
        self.socket = context.socket(zmq.REP)
        self.socket.linger = 0
        self.socket.bind(ENDPOINT)

    def guard(self, socket: zmq.Socket[bytes]) -> None:
        """Make a socket, not yet bound, admit nobody else."""
        socket.curve_server = True
        socket.curve_publickey = self._public
        socket.curve_secretkey = self._secret
        socket.zap_domain = b"koed"

    def answer(self) -> None:
        """Answer what has come; call when `socket` is readable."""
        while True:
            try:
                version, number, *asked = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            code = ADMITTED if self._may_come_in(asked) else NOT_NOW
            self.socket.send_multipart([version, number, code, b"", b"", b""])

    def _may_come_in(self, asked: list[bytes]) -> bool:
        """``asked``: domain, address, routing id, mechanism and what that has to show."""
        if len(asked) != 5 or asked[3] != b"CURVE":
            return False
        return self._admits(zmq.utils.z85.encode(asked[4]).decode())

    def close(self) -> None:
        self.socket.close()
