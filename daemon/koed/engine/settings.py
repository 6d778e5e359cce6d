"""Reading an engine's settings of a profile: strict, with all problems in one error."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from koe.wire import fields
from koed.errors import EngineError, did_you_mean

_HEAVIEST = 1e6
"""Sum of the weights of a `Mix`."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number from ``low`` to ``high``; whole if its default is whole."""

    default: float
    low: float
    high: float

    def check(self, value: Any) -> Any:
        """The value as it is used; raises `ValueError` if it may not be."""
        number = fields.read(type(self.default), value)
        if not self.low <= number <= self.high:
            raise ValueError
        return number

    def allowed(self, value: Any) -> str:
        kind = "a whole number" if isinstance(self.default, int) else "a number"
        return f"{kind} from {self.low:g} to {self.high:g}"


@dataclass(frozen=True, slots=True)
class Choice:
    default: str
    values: tuple[str, ...]
    removed: tuple[str, ...] = field(default=(), repr=False)
    """Those of ``values`` that are refused by now. Not in the `fingerprint`: what was prepared with
    another one is still as it was."""

    def check(self, value: Any) -> str:
        if value not in self.values or value in self.removed:
            raise ValueError
        return str(value)

    def allowed(self, value: Any) -> str:
        left = [other for other in self.values if other not in self.removed]
        meant = did_you_mean(str(value), left, "")
        if value in self.removed:
            meant = f"{value!r} was removed"
        return "one of " + ", ".join(map(repr, left)) + (meant and f"; {meant}")


@dataclass(frozen=True, slots=True)
class Text:
    default: str = ""
    max_chars: int = 200

    def check(self, value: Any) -> str:
        if not isinstance(value, str) or len(value) > self.max_chars:
            raise ValueError
        return value

    def allowed(self, value: Any) -> str:
        return f"text of at most {self.max_chars} characters"


@dataclass(frozen=True, slots=True)
class Mix:
    """One of ``names``, or a map of several to their weights, which become shares of 1."""

    default: Mapping[str, float]
    names: tuple[str, ...] = field(repr=False)
    """Not in the `fingerprint`: with one more the others are as they were."""
    most: int = 8

    def check(self, value: Any) -> dict[str, float]:
        """Shares by name, in the order of the alphabet; raises `ValueError`."""
        given = {value: 1.0} if isinstance(value, str) else value
        if not isinstance(given, Mapping) or not 0 < len(given) <= self.most:
            raise ValueError
        weights = {name: fields.read(float, weight) for name, weight in given.items()}
        total = sum(weights.values())
        if not weights.keys() <= set(self.names) or not 0 < total <= _HEAVIEST:
            raise ValueError
        if not all(weight > 0 for weight in weights.values()):
            raise ValueError
        return {name: weights[name] / total for name in sorted(weights)}

    def allowed(self, value: Any) -> str:
        given = value if isinstance(value, Mapping) else [value]
        wrong = [str(name) for name in given if name not in self.names]
        meant = did_you_mean(wrong[0], self.names) if wrong else ""
        many = f"a name, or a map of at most {self.most} names to weights above 0"
        return many + (meant and f"; {meant}")


Schema = Mapping[str, Number | Choice | Text | Mix]


def fingerprint(schema: Schema, revision: int = 1) -> str:
    """A version for `Engine.version`: another one for any change of the settings, and for a
    ``revision`` that is raised when the same settings come to mean another sound."""
    return f"{revision}-{zlib.crc32(repr(sorted(schema.items())).encode()):08x}"


def replaced(
    schema: Schema, values: Mapping[str, Any], by: Mapping[str, Any], allowed: Collection[str]
) -> dict[str, Any]:
    """``values`` of a voice with those of one job in their place, as far as they are ``allowed``.

    Raises `EngineError` ``bad_setting``.
    """
    return read(schema, {**values, **{n: v for n, v in by.items() if n in allowed}}, "a line")


def read(schema: Schema, given: Mapping[str, Any], engine: str) -> dict[str, Any]:
    """``given`` checked against ``schema`` and completed with its defaults.

    Raises `EngineError` ``bad_setting`` whose message lists every problem.
    """
    problems: list[str] = []
    values = {name: spec.default for name, spec in schema.items()}
    for name, value in given.items():
        if name not in schema:
            hint = did_you_mean(str(name), schema, "it has") or "it has none"
            problems.append(f"{engine} has no setting {str(name)[:40]!r}: {hint}")
            continue
        try:
            values[name] = schema[name].check(value)
        except ValueError:
            allowed = schema[name].allowed(value)
            problems.append(f"{name} may not be {value!r:.40}: it is {allowed}")
    if problems:
        raise EngineError("bad_setting", "; ".join(problems))
    return values
