"""One base error, and the hint that most have.

Library errors become a `KoedError` with a code where they enter.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class KoedError(Exception):
    """``code`` for programs, ``message`` for what happened, ``hint`` for what to do now."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class ConfigError(KoedError):
    """The configuration or a profile cannot be used. ``message`` lists every problem."""


class EngineError(KoedError):
    """An engine cannot prepare or speak."""


class DeviceError(KoedError):
    """An audio device or server cannot be used."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint: the known word that is meant, or else all of them."""
    names = list(known)
    close = difflib.get_close_matches(word[:80], names, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"there are: {', '.join(names)}" if names else ""
