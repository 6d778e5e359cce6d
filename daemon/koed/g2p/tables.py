"""Tables kept as plain text."""

from __future__ import annotations

import lzma
from collections.abc import Iterator
from importlib import resources


def words(text: str) -> tuple[str, ...]:
    """The words of a table written as text."""
    return tuple(text.split())


def lines(name: str) -> Iterator[str]:
    """Lines of ``data/NAME``, without those that begin with ``#``. An ``.xz`` is unpacked."""
    packed = (resources.files(__package__) / "data" / name).read_bytes()
    text = (lzma.decompress(packed) if name.endswith(".xz") else packed).decode()
    return (line for line in text.splitlines() if line and not line.startswith("#"))
