"""The dictionaries of the package `misaki` (Apache-2.0), read as data; none of its code is run.

They are JSON with one sorted word a line, so a word is found by halving the file's bytes: 6 MB
stay in memory where parsed they would be 35, and nothing is parsed before it is asked for.
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
import re
from array import array
from pathlib import Path

from koed.errors import EngineError

HINT = "pip install 'koed[natural]', or speak with a voice of another engine"
Entry = str | dict[str, str | None]
"""Symbols; or by class: Penn tags, ``NOUN VERB ADJ ADV``, ``None`` (before a pause),
``DEFAULT``; nothing for a word that is spelled out."""

_KEY = re.compile(rb'^  "([^"\\]+)": ', re.MULTILINE)
_VALUE = json.JSONDecoder()
_FEWEST = 50_000
"""Words; the four files hold 87,000 to 110,000."""
_LONGEST_ENTRY = 1000
"""Bytes."""


class Dictionary:
    """One file of it. Raises `EngineError` ``dictionary_broken``."""

    def __init__(self, path: Path) -> None:
        try:
            self._text = path.read_bytes()
        except OSError as error:
            raise EngineError("library_missing", f"{path.name}: {error}", HINT) from error
        self._starts = array("I", (match.start() for match in _KEY.finditer(self._text)))
        if len(self._starts) < _FEWEST:
            raise EngineError(
                "dictionary_broken", f"{path} is not the dictionary that koed knows", HINT
            )

    def find(self, word: str) -> Entry | None:
        """The word as it is written, or with its first letter large where it is small and back."""
        found = self._entry(word)
        if found is None and len(word) > 1 and word in (word.lower(), word.capitalize()):
            found = self._entry(word.capitalize() if word == word.lower() else word.lower())
        return found

    def _entry(self, word: str) -> Entry | None:
        key = word.encode()
        low, high = 0, len(self._starts)
        while low < high:
            middle = (low + high) // 2
            if self._key(middle) < key:
                low = middle + 1
            else:
                high = middle
        return self._value(low) if low < len(self._starts) and self._key(low) == key else None

    def _key(self, index: int) -> bytes:
        match = _KEY.match(self._text, self._starts[index])
        return match[1] if match else b""

    def _value(self, index: int) -> Entry | None:
        match = _KEY.match(self._text, self._starts[index])
        if match is None:
            return None
        end = match.end() + _LONGEST_ENTRY
        try:
            value, _ = _VALUE.raw_decode(self._text[match.end() : end].decode(errors="ignore"))
        except ValueError:
            return None
        return value if isinstance(value, str | dict) else None


@functools.cache
def dictionaries(british: bool) -> tuple[Dictionary, Dictionary]:
    """What was checked by hand, and what was made from rules."""
    region = "gb" if british else "us"
    return Dictionary(_file(f"{region}_gold.json")), Dictionary(_file(f"{region}_silver.json"))


def _file(name: str) -> Path:
    try:
        files = importlib.metadata.files("misaki") or []
    except importlib.metadata.PackageNotFoundError as error:
        raise EngineError(
            "library_missing", "English of the natural voice needs the package misaki", HINT
        ) from error
    for file in files:
        if file.as_posix() == f"misaki/data/{name}":
            return Path(str(file.locate()))
    raise EngineError("library_missing", f"the package misaki holds no {name}", HINT)
