"""The token with which VTube Studio knows us again: one per address, in a file of mode 0600."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from koe.transport.connection import Refused

MAX_BYTES = 65536


def default_path() -> Path:
    """``$XDG_STATE_HOME/koed/vts-tokens.json``."""
    base = Path(os.environ.get("XDG_STATE_HOME", ""))
    folder = base if base.is_absolute() else Path.home() / ".local" / "state"
    return folder / "koed" / "vts-tokens.json"


class Tokens:
    def __init__(self, path: Path) -> None:
        self.path = path

    def get(self, address: str) -> str | None:
        """Raises `Refused` ``open_token`` if others may read the file."""
        try:
            if self.path.stat().st_mode & 0o077:
                raise Refused(
                    "open_token", f"others may read {self.path}", f"chmod 600 {self.path}"
                )
            token = json.loads(self.path.read_bytes()[:MAX_BYTES]).get(address)
        except (OSError, ValueError, AttributeError):
            return None  # none yet, or broken: the user is asked again
        return token if isinstance(token, str) else None

    def set(self, address: str, token: str | None) -> None:
        """Keep a token, or forget it. Raises `Refused` ``cannot_write``."""
        tokens: dict[str, str] = {}
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(self.path.read_bytes()[:MAX_BYTES])
            tokens = found if isinstance(found, dict) else {}
        tokens.pop(address, None)
        if token is not None:
            tokens[address] = token
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh = self.path.with_suffix(f".{os.getpid()}")
            with os.fdopen(
                os.open(fresh, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "w"
            ) as file:
                json.dump(tokens, file)
            fresh.replace(self.path)
        except OSError as error:
            raise Refused(
                "cannot_write", f"cannot keep the token in {self.path}: {error}",
                "VTube Studio would ask at every start; give another --token-file",
            ) from error  # fmt: skip
