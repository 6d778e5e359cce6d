"""Where koed listens, the keys to get in, and whether somebody is there at all."""

from __future__ import annotations

import errno
import os
import re
import socket
from typing import NamedTuple

from koe.wire import framing
from koe.wire.framing import WireError

MAX_SOCKET_PATH = 107
"""Bytes of a Unix socket's path, without its final zero (``sun_path`` of unix(7))."""


class Keys(NamedTuple):
    """CURVE keys as Z85 text: this client's pair and the daemon's public one."""

    public: bytes
    secret: bytes
    server: bytes


class Address(NamedTuple):
    """Endpoints of the three sockets, and the keys that they want."""

    control: str
    events: str
    text: str
    keys: Keys | None = None


def find(
    directory: str | os.PathLike[str] | None = None,
    endpoint: str | None = None,
    keys: str | os.PathLike[str] | None = None,
    events: str | None = None,
) -> Address:
    """The sockets of one daemon.

    ``directory`` is its runtime folder (None = `framing.runtime_dir`). ``endpoint`` is the
    control socket instead: ``tcp://HOST:PORT`` (events are expected at PORT + 1 and text at
    PORT + 2, or events where ``events`` says) or ``ipc://PATH``. Raises `WireError`
    ``bad_endpoint`` or ``bad_keys``.
    """
    pair = read_keys(keys) if keys is not None else None
    if endpoint is None or endpoint.startswith("ipc://"):
        if endpoint is not None:
            directory = os.path.dirname(endpoint.removeprefix("ipc://"))
        folder = os.fspath(directory) if directory is not None else framing.runtime_dir()
        if len(os.fsencode(os.path.join(folder, "control"))) > MAX_SOCKET_PATH:
            raise WireError(
                "bad_endpoint", f"the path of the folder {folder} is too long for a socket",
                f"choose one of fewer than {MAX_SOCKET_PATH - 8} bytes",
            )  # fmt: skip
        control = endpoint or framing.endpoint(folder, "control")
        text = framing.endpoint(folder, "text")
        return Address(control, events or framing.endpoint(folder, "events"), text, pair)
    match = re.fullmatch(r"(tcp://.+):(\d{1,5})", endpoint)
    if match is None or not 0 < int(match[2]) < 65534:
        raise WireError(
            "bad_endpoint", f"{endpoint!r} is not an address of koed",
            "it looks like tcp://192.168.0.20:7510 or ipc:///run/user/1000/koed/control",
        )  # fmt: skip
    if pair is None:
        raise WireError(
            "bad_keys", "koed talks over tcp:// only with keys, and none were given",
            "`koed keys new NAME` makes a pair; give its file with --keys",
        )  # fmt: skip
    host, port = match[1], int(match[2])
    return Address(endpoint, events or f"{host}:{port + 1}", f"{host}:{port + 2}", pair)


def read_keys(path: str | os.PathLike[str]) -> Keys:
    """Read ``public-key``, ``secret-key`` and ``server-key`` from a file of ``name = "value"``
    lines, the form of ZeroMQ certificates. Raises `WireError` ``bad_keys``."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read(65536)
    except OSError as error:
        raise WireError(
            "bad_keys", f"cannot read the keys in {os.fspath(path)}: {error.strerror}",
            "`koed keys new NAME` makes them",
        ) from error  # fmt: skip
    found = dict(re.findall(r'^\s*([a-z]+-key)\s*=\s*"(\S{40})"\s*$', text, re.MULTILINE))
    names = ("public-key", "secret-key", "server-key")
    missing = [name for name in names if name not in found]
    if missing:
        raise WireError(
            "bad_keys", f"{os.fspath(path)} has no {' and no '.join(missing)}",
            'each is a line such as  public-key = "40 characters"; `koed keys new NAME` writes it',
        )  # fmt: skip
    public, secret, server = (
        found[name].encode("ascii", "replace")
        for name in ("public-key", "secret-key", "server-key")
    )
    return Keys(public, secret, server)


def absence(endpoint: str) -> str:
    """Why nobody can be listening at ``endpoint``, or ``""`` if somebody may be.

    A bare connect to a Unix socket costs microseconds and ZeroMQ's listener shrugs it off, so that
    "no daemon" need not be found out by waiting. Says nothing about ``tcp://``.
    """
    if not endpoint.startswith("ipc://"):
        return ""
    path = endpoint.removeprefix("ipc://")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a full backlog is somebody busy, not nobody
        try:
            probe.connect(path)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return f"there is no socket {path}"
            if error.errno == errno.ECONNREFUSED:
                return f"nobody listens at {path} any more"
            if error.errno in (errno.EACCES, errno.EPERM):
                return f"{path} belongs to another user"
            if error.errno in (errno.ENOTDIR, errno.ENOTSOCK):
                return f"{path} is not a socket"
    return ""
