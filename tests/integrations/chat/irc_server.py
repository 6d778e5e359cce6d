"""A server that speaks Twitch's IRC over TLS, at the pace and with the faults that a test wants."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from pathlib import Path

CHANNEL = "dallas"


def certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1 that signs itself, with its key; one file."""
    path = folder / "server.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    key = folder / "key.pem"
    subprocess.run(
        [*command, *names, "-keyout", str(key), "-out", str(path)], check=True, capture_output=True
    )
    path.write_bytes(path.read_bytes() + key.read_bytes())
    return path


class IrcServer:
    """``welcome=False``: it says nothing when somebody joins."""

    def __init__(self, pem: Path, welcome: bool = True) -> None:
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(pem)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.welcome = welcome
        self.heard: list[str] = []
        """Lines from clients, of all connections."""
        self.connections = 0
        """Clients that have joined."""
        self.refused = 0
        """Clients that did not like the certificate."""
        self._client: ssl.SSLSocket | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            try:
                client = self._tls.wrap_socket(plain, server_side=True)
                self._converse(client)
            except OSError:
                self.refused += self._client is None

    def _converse(self, client: ssl.SSLSocket) -> None:
        rest = b""
        while True:
            data = client.recv(4096)
            if not data:
                self._client = None
                return
            *lines, rest = (rest + data).split(b"\r\n")
            for line in lines:
                self.heard.append(line.decode())
                if line.startswith(b"JOIN ") and self.welcome:
                    client.sendall(_WELCOME)
                if line.startswith(b"JOIN "):
                    self._client = client
                    self.connections += 1

    def send(self, data: bytes | str) -> None:
        assert self._client is not None
        self._client.sendall(data.encode() if isinstance(data, str) else data)

    def cut(self) -> None:
        """End the connection without a word."""
        client, self._client = self._client, None
        if client is not None:
            client.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        if self._client is not None:
            self.cut()


_WELCOME = "".join(
    f"{line}\r\n" for line in (Path(__file__).parent / "captures.irc").read_text().splitlines()[:5]
).encode()


def privmsg(text: str, author: str = "ann", line: str = "m", **tags: str) -> str:
    """One line of chat as Twitch sends it."""
    fields = {"badges": "", "display-name": author.title(), "emotes": "", "id": line} | tags
    head = ";".join(f"{name.replace('_', '-')}={value}" for name, value in fields.items())
    return f"@{head} :{author}!{author}@{author}.tmi.twitch.tv PRIVMSG #{CHANNEL} :{text}\r\n"
