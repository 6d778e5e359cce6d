"""What a bridge has to say to whoever started it: on standard error, each thing once."""

from __future__ import annotations

import sys

from koe.cli.format import plain

MOST = 100
"""Strangers may cause notes; so many different ones are told and no more."""


class Notes:
    def __init__(self, name: str) -> None:
        self._name = name
        self._told: set[str] = set()

    def tell(self, text: str) -> None:
        print(f"koe {self._name}: {plain(text)}", file=sys.stderr, flush=True)

    def once(self, text: str, kind: str = "") -> None:
        """Tell what would otherwise be told again and again; of a ``kind`` only the first."""
        key = kind or text
        if key not in self._told and len(self._told) < MOST:
            self._told.add(key)
            self.tell(text)
