"""CURVE keys: who may talk to koed from another machine.

A folder (0700) holds ``server.key`` and ``server.key_secret``, the daemon's own pair, and
``clients/NAME.key``, the public key of each admitted client. ``clients/NAME.key_secret`` is the
one file to carry to that client: its pair, and the daemon's public key as ``server-key``. The form
is that of ZeroMQ certificates (CURVE is RFC 26, the question of admission RFC 27).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import zmq
from zmq.auth.certs import create_certificates

from koed.errors import KoedError

SERVER = "server"
_LINE = re.compile(r'^\s*((?:public|secret|server)-key)\s*=\s*"([^"\s]*)"\s*$', re.MULTILINE)
_Z85 = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")
_MAX_BYTES = 65536


@dataclass(frozen=True, slots=True)
class NewKey:
    """What a client needs to get in; the keys are Z85 text of 40 characters."""

    name: str
    public: str
    secret: str = field(repr=False)
    server: str
    """Public key of the daemon."""
    secret_path: Path
    """The file to carry to the client: all three keys are in it."""


@dataclass(frozen=True, slots=True)
class ClientKeys:
    public: str
    secret: str = field(repr=False)
    server: str


def server_pair(folder: Path) -> tuple[bytes, bytes]:
    """(public, secret) of the daemon, made on first need. Raises `KoedError`: ``bad_keys``,
    ``unsafe_keys`` if others may read the secret, ``keys_unwritable``."""
    secret_path = folder / f"{SERVER}.key_secret"
    if not secret_path.exists():
        with contextlib.suppress(FileExistsError):  # another koed was faster: its pair is as good
            _make(folder, SERVER, {})
    found = _read(secret_path, secret=True)
    return found["public-key"].encode(), found["secret-key"].encode()


def clients_folder(folder: Path) -> Path:
    """Where the public keys of the admitted clients lie; made if there is none."""
    clients = folder / "clients"
    _private_folder(folder)
    _private_folder(clients)
    return clients


def new(folder: Path, name: str) -> NewKey:
    """Make a pair for a client and admit it. Raises `KoedError`: ``bad_key_name``,
    ``key_exists``, and as `server_pair`."""
    _check_name(name)
    server, _ = server_pair(folder)
    clients = clients_folder(folder)
    try:
        secret_path = _make(clients, name, {"server-key": f'"{server.decode()}"'})
    except FileExistsError as error:
        hint = f"koed keys remove {name}, or choose another name"
        raise KoedError("key_exists", f"there is a key of {name} already", hint) from error
    found = _read(secret_path, secret=True)
    return NewKey(name, found["public-key"], found["secret-key"], server.decode(), secret_path)


def names(folder: Path) -> list[str]:
    """The admitted clients."""
    return sorted(path.stem for path in (folder / "clients").glob("*.key"))


def of_worker(folder: Path) -> Path:
    """The folder of a worker that was told none: the one where `koed keys` writes, unless there
    is one of older days, when a worker read ``keys`` where it was started."""
    old = Path("keys")
    return old.resolve() if names(old) else folder


def admitted(folder: Path) -> dict[str, str]:
    """Name -> public key of every admitted client; raises `KoedError` ``bad_keys``."""
    files = {name: folder / "clients" / f"{name}.key" for name in names(folder)}
    return {name: _read(path, secret=False)["public-key"] for name, path in files.items()}


def remove(folder: Path, name: str) -> None:
    """Admit a client no longer; raises `KoedError` ``unknown_key``."""
    _check_name(name)
    clients = folder / "clients"
    gone = 0
    try:
        for path in (clients / f"{name}.key", clients / f"{name}.key_secret"):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
                gone += 1
    except OSError as error:
        raise KoedError("keys_unwritable", f"cannot remove {path}: {error.strerror}") from error
    if not gone:
        hint = f"there are: {', '.join(names(folder)) or 'none'}"
        raise KoedError("unknown_key", f"there is no key of {name}", hint)


def client_keys(path: Path) -> ClientKeys:
    """The file that `new` made for a client; raises `KoedError` as `server_pair`."""
    found = _read(path, secret=True)
    if "server-key" not in found:
        hint = "`koed keys new NAME` on the other machine writes a file with all three keys"
        raise KoedError("bad_keys", f"{path} has no server-key", hint)
    return ClientKeys(found["public-key"], found["secret-key"], found["server-key"])


def command(folder: Path, args: argparse.Namespace) -> int:
    """`koed keys new|list|remove`: ``args`` has ``action``, ``name`` and ``json``."""
    if args.action == "list":
        clients = admitted(folder)
        rows = [f"{name:32} {public}" for name, public in clients.items()]
        print(json.dumps(clients) if args.json else "\n".join(rows) or "no client is admitted")
        return 0
    if args.action == "remove":
        remove(folder, args.name)
        print(json.dumps({"removed": args.name}) if args.json else f"{args.name} is out")
        return 0
    made = new(folder, args.name)
    found = {"server-key": made.server, "public-key": made.public, "secret-key": made.secret}
    if args.json:
        print(json.dumps({"name": made.name, "file": str(made.secret_path)} | found))
        return 0
    print(
        f"# {made.name} is admitted after `koe reload`, by a worker at once."
        " Carry this file to it, and to nobody else:"
    )
    print(f"#   {made.secret_path}")
    file = made.secret_path.name
    print(f"# there: koe --endpoint tcp://THIS-MACHINE:PORT --keys {file} status")
    print(f'# or in a profile: engine: {{remote: "tcp://THIS-MACHINE:PORT", key: {file}}}')
    print("\n".join(f'{key} = "{value}"' for key, value in found.items()))
    return 0


# --- files -----------------------------------------------------------------------------------


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", name):
        hint = "1 to 32 letters, digits, _ and -"
        raise KoedError("bad_key_name", f"{name[:40]!r} cannot be the name of a key", hint)


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        raise KoedError(
            "keys_unwritable", f"cannot write keys in {folder}: {error.strerror}"
        ) from error


def _private_folder(folder: Path) -> None:
    with _writing(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = folder.stat().st_mode
    if mode & 0o022:  # whoever may write here may admit clients
        raise KoedError("unsafe_keys", f"others may write in {folder}", f"chmod 700 {folder}")


def _make(folder: Path, name: str, metadata: dict[str, str]) -> Path:
    """Make NAME.key and NAME.key_secret whole or not at all; FileExistsError if there is one. The
    path of the secret one."""
    _private_folder(folder)
    public_path, secret_path = folder / f"{name}.key", folder / f"{name}.key_secret"
    if public_path.exists():
        raise FileExistsError(public_path)
    with _writing(folder), tempfile.TemporaryDirectory(prefix=".new-", dir=folder) as fresh:
        public, secret = create_certificates(fresh, name, metadata)
        os.chmod(secret, 0o600)
        os.chmod(public, 0o600)
        # A link, unlike a rename, never replaces a file. The secret comes first: while only it is
        # there, nobody is admitted.
        os.link(secret, secret_path)
        os.link(public, public_path)
    return secret_path


def _read(path: Path, secret: bool) -> dict[str, str]:
    """The keys of a certificate file, checked."""
    try:
        # non-blocking: opening a FIFO must not hang the daemon
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            text = file.read(_MAX_BYTES).decode("utf-8", "replace")
    except OSError as error:
        raise KoedError("bad_keys", f"cannot read {path}: {error.strerror}") from error
    if secret and stat.S_IMODE(status.st_mode) & 0o077:
        raise KoedError("unsafe_keys", f"others may read the secret {path}", f"chmod 600 {path}")
    found = dict(_LINE.findall(text))
    wanted = ["public-key", "secret-key"] if secret else ["public-key"]
    for key in {*wanted, *found}:
        if not _Z85.fullmatch(found.get(key, "")):
            raise KoedError("bad_keys", f"{path} has no usable {key}", 'it is 40 characters in ""')
    if secret and zmq.curve_public(found["secret-key"].encode()).decode() != found["public-key"]:
        raise KoedError("bad_keys", f"the two keys in {path} do not belong together")
    return found
