"""A Hub on loopback: what huggingface_hub asks for, as the real one answers, and its bad days.

Large files (LFS) are redirected to a "CDN" of another port, with the SHA-256 as linked ETag; small
ones are sent at once, with git's hash. Ranges are honoured.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" + "0" * 34
LARGE = 10_000
BLOCK = 8192


@dataclass
class Hub:
    """``files`` by their path in the repository; the rest tells what to do wrong, and what was."""

    files: dict[str, bytes]
    endpoint: str = ""
    cdn: str = ""
    cut_after: list[int] = field(default_factory=list)
    """Each GET takes one: the connection breaks after so many bytes."""
    stall_after: int | None = None
    """After so many bytes nothing more comes, but the line stays open."""
    corrupt: bool = False
    """Send other bytes than promised."""
    ignores_ranges: bool = False
    hides_checksum: bool = False
    status: int = 200
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    """(method, path, Range) of every request."""
    headers: list[dict[str, str]] = field(default_factory=list)
    sent: int = 0
    """Bytes of files, in all."""
    stalled: threading.Event = field(default_factory=threading.Event)
    closing: threading.Event = field(default_factory=threading.Event)

    def gets(self, name: str) -> list[str]:
        """Ranges of the GETs for a file."""
        return [r for method, path, r in self.asked if method == "GET" and path.endswith(name)]


def git_hash(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        hub, path = self.hub, unquote(urlsplit(self.path).path)
        name = path.partition("/resolve/main/")[2] or path.removeprefix("/cdn/")
        self.hub.asked.append((self.command, path, self.headers.get("Range", "")))
        self.hub.headers.append(dict(self.headers.items()))
        data = hub.files.get(name)
        if hub.status != 200 or data is None:
            code = "EntryNotFound" if hub.status == 200 else ""
            self._head(404 if hub.status == 200 else hub.status, {"X-Error-Code": code})
            return
        if path.startswith("/cdn/"):
            self._send(data, with_body)
            return
        small = len(data) < LARGE
        digest = git_hash(data) if small else hashlib.sha256(data).hexdigest()
        etag = 'W/"abc"' if hub.hides_checksum else f'"{digest}"'
        about = {"X-Repo-Commit": COMMIT, "ETag": etag, "Accept-Ranges": "bytes"}
        if small:
            self._send(data, with_body, about)
            return
        linked = {"X-Linked-Etag": etag, "X-Linked-Size": str(len(data))}
        self._head(302, {**about, **linked, "Location": f"{hub.cdn}/cdn/{name}"})

    def _head(self, status: int, headers: dict[str, str], length: int = 0) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def _send(self, data: bytes, with_body: bool, headers: dict[str, str] | None = None) -> None:
        hub, total, start = self.hub, len(data), 0
        asked = self.headers.get("Range", "")
        about = dict(headers or {})
        if asked and not hub.ignores_ranges:
            start = int(asked.removeprefix("bytes=").partition("-")[0])
            about["Content-Range"] = f"bytes {start}-{total - 1}/{total}"
        body = data[start:]
        if hub.corrupt:
            body = bytes(byte ^ 1 for byte in body)
        self._head(206 if "Content-Range" in about else 200, about, len(body))
        if with_body:
            self._body(body)

    def _body(self, body: bytes) -> None:
        hub = self.hub
        end = hub.cut_after.pop(0) if hub.cut_after else hub.stall_after
        part = body if end is None else body[:end]
        for at in range(0, len(part), BLOCK):
            hub.sent += len(part[at : at + BLOCK])  # before whoever reads it looks
            self.wfile.write(part[at : at + BLOCK])
        self.wfile.flush()
        if hub.stall_after is not None and len(part) < len(body):
            hub.stalled.set()
            hub.closing.wait(60)
        if len(part) < len(body):
            self.close_connection = True


@contextlib.contextmanager
def serving(files: dict[str, bytes]) -> Iterator[Hub]:
    hub = Hub(files)
    handler = type("Handler", (_Handler,), {"hub": hub})
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), handler) for _ in range(2)]
    hub.endpoint, hub.cdn = (f"http://127.0.0.1:{s.server_address[1]}" for s in servers)
    threads = [threading.Thread(target=s.serve_forever, args=(0.02,)) for s in servers]
    for thread in threads:
        thread.start()
    try:
        yield hub
    finally:
        hub.closing.set()
        for server in servers:
            server.shutdown()
            server.server_close()
        for thread in threads:
            thread.join()


def official(folder: Path) -> dict[str, bytes]:
    """The files of a tree by their paths."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
