"""Wire values into dataclasses: names and types are checked, and a refusal says what would do."""

from __future__ import annotations

import dataclasses
import difflib
import reprlib
import types
import typing
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from koe.wire.framing import WireError

T = TypeVar("T")


def _hints(cls: type) -> dict[str, Any]:
    cached = cls.__dict__.get("_koe_hints")
    if cached is None:
        cached = typing.get_type_hints(cls)
        cls._koe_hints = cached  # type: ignore[attr-defined]
    return typing.cast(dict[str, Any], cached)


def _describe(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return " | ".join(map(str, get_args(annotation)))
    if get_origin(annotation) in (Union, types.UnionType):
        return " or ".join(_describe(a) for a in get_args(annotation) if a is not type(None))
    if get_origin(annotation) is list:
        return f"a list of {_describe(get_args(annotation)[0])}"
    return {str: "text", int: "whole number", float: "number", bool: "true or false"}.get(
        annotation, getattr(annotation, "__name__", str(annotation))
    )


def _fits(value: Any, annotation: Any) -> bool:
    origin = get_origin(annotation)
    if annotation is Any:
        return True
    if origin is Literal:
        return value in get_args(annotation)
    if origin in (Union, types.UnionType):
        return any(_fits(value, a) for a in get_args(annotation))
    if annotation is type(None):
        return value is None
    if annotation is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if origin is list:
        return isinstance(value, list) and all(_fits(v, get_args(annotation)[0]) for v in value)
    return isinstance(value, origin or annotation)


def fields_from_map(cls: type[T], values: dict[str, Any], what: str) -> T:
    """Build a dataclass from wire values, checking names and types; raises `WireError`."""
    hints = _hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for name, value in values.items():
        if name not in fields:
            # A hostile name may be megabytes: it is neither compared nor sent back whole.
            close = difflib.get_close_matches(name[:40], fields, n=1)
            raise WireError(
                "unknown_field",
                f"{what} has no field {name[:40]!r}",
                f"did you mean {close[0]!r}?" if close else f"it knows: {', '.join(fields)}",
            )
        if not _fits(value, hints[name]):
            shown = f"{type(value).__name__} {reprlib.repr(value)[:40]}"
            raise WireError(
                "bad_field",
                f"{what}: {name} may not be {shown}",
                f"{name} is {_describe(hints[name])}",
            )
    for name, spec in fields.items():
        required = (
            spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING
        )
        if required and name not in values:
            raise WireError(
                "missing_field",
                f"{what} needs the field {name!r}",
                f"{name} is {_describe(hints[name])}",
            )
    return cls(**values)
