"""A file of a pack, what every source of them offers, and the limits that all keep."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from koed.errors import EngineError
from koed.voices.packs import names

MOST_FILES = 100_000
DEEPEST = 16
WEIGHTS_BYTES = 4 << 30
CLIP_BYTES, TEXT_BYTES = 64 << 20, 1 << 20
LEFT_OUT = {"__MACOSX", "__pycache__", ".git", "node_modules", "runtime", ".venv", "site-packages"}
WEIGHTS = (".ckpt", ".pth", ".pt", ".safetensors")


@dataclass(frozen=True, slots=True)
class Item:
    """A file of a pack."""

    path: PurePosixPath
    """Within the pack, as people may read it."""
    size: int
    place: Any = None
    """Of the source that it comes from."""


class PackSource(Protocol):
    @property
    def name(self) -> str:
        """Of the pack, for people."""

    @property
    def items(self) -> Sequence[Item]: ...

    @property
    def notes(self) -> Sequence[str]:
        """What was passed over, and why."""

    def read(self, item: Item, most: int) -> bytes:
        """All of a small file. Raises `EngineError` ``pack_*``."""

    def file(self, item: Item) -> Path:
        """The file on the disk, unpacked if need be. Raises `EngineError` ``pack_*``."""


def wanted(path: PurePosixPath) -> bool:
    return not any(part in LEFT_OUT or part.startswith(".") for part in path.parts)


def is_weights(path: PurePosixPath) -> bool:
    return path.suffix.lower() in WEIGHTS


def written(parts: list[bytes]) -> PurePosixPath:
    """``parts`` of a path on the disk, for people: unzip leaves them as they were in the zip."""
    encoding = names.encoding_of(parts)
    return PurePosixPath(*(names.shown(part.decode(encoding, "replace")) for part in parts))


def bounded(item: Item, data: bytes, most: int, size: int = 0) -> bytes:
    """``data``, unless it or the ``size`` that is told is more than ``most``."""
    if max(len(data), size) > most:
        raise unsafe(f"{item.path} is larger than {most >> 20} MB")
    return data


@contextlib.contextmanager
def readable(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = f"{name} cannot be read: {error.strerror or error}"
        raise EngineError("pack_unreadable", what, "look at its rights and at the disk") from error


def damaged(name: str, what: str) -> EngineError:
    return EngineError("pack_damaged", f"{name}: {what}", "download it again")


def unsafe(what: str) -> EngineError:
    return EngineError("pack_unsafe", f"refused: {what}", "get the pack from its author again")
