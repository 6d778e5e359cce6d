"""One base error, and the hint that most have.

Library errors become a `KoedError` with a code where they enter.
"""

from __future__ import annotations

from koe.wire.fields import did_you_mean as did_you_mean


class KoedError(Exception):
    """``code`` for programs, ``message`` for what happened, ``hint`` for what to do now."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint

    def to_map(self) -> dict[str, str]:
        return {"code": self.code, "message": self.message, "hint": self.hint}

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class ConfigError(KoedError):
    """The configuration or a profile cannot be used. ``message`` lists every problem."""


class EngineError(KoedError):
    """An engine cannot prepare or speak."""


class DeviceError(KoedError):
    """An audio device or server cannot be used."""
