"""Values from outside into Python ones: types are checked, and a refusal says what would do.

`read` takes a value by its annotation. A message between koed and its clients is a map
(`fields_from_map`), one between koed and an engine an array: the fields of a dataclass, in order.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import functools
import reprlib
import types
import typing
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NewType, TypeVar, Union, get_args, get_origin

from koe.wire.framing import WireError

T = TypeVar("T")

AnyFloat = NewType("AnyFloat", float)
"""A number that may be none (NaN): whoever gets it has more to say of it than that."""


class Misfit(ValueError):
    """A value that is not what its annotation says; arguments: annotation and value."""

    def __str__(self) -> str:
        annotation, value = self.args
        return f"{reprlib.repr(value)[:40]} instead of {describe(annotation)}"


def read(annotation: Any, value: Any) -> Any:
    """``value`` as Python has it; raises `Misfit`.

    Whole numbers are numbers, too; an array becomes a tuple or a dataclass where one is wanted.
    """
    return _reader(annotation)(value)


@functools.cache
def _reader(annotation: Any) -> Callable[[Any], Any]:
    """Made once: messages of an engine are read for every chunk of sound."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation is Any:
        return lambda value: value
    if annotation in (float, AnyFloat):
        return functools.partial(_number, annotation)
    if origin is Literal:
        return functools.partial(_one_of, annotation, inner)
    if origin in (Union, types.UnionType):
        return functools.partial(_either, annotation, [_reader(each) for each in inner])
    if origin in (list, tuple, Sequence):
        make = list if origin is list else tuple
        return functools.partial(_items, annotation, make, _reader(inner[0]))
    if dataclasses.is_dataclass(annotation):
        readers = [_reader(each) for each in hints(annotation).values()]
        older = sum("since" not in field.metadata for field in dataclasses.fields(annotation))
        return functools.partial(_in_order, annotation, readers, older)
    return functools.partial(_instance, origin or annotation)


def _number(annotation: Any, value: Any) -> float:
    real = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not real or (value != value and annotation is float):
        raise Misfit(annotation, value)
    try:
        return float(value)
    except OverflowError:  # JSON has whole numbers of any length
        raise Misfit(annotation, value) from None


def _one_of(annotation: Any, values: tuple[Any, ...], value: Any) -> Any:
    if value not in values:
        raise Misfit(annotation, value)
    return value


def _either(annotation: Any, readers: list[Callable[[Any], Any]], value: Any) -> Any:
    for reader in readers:
        with contextlib.suppress(Misfit):
            return reader(value)
    raise Misfit(annotation, value)


def _items(annotation: Any, make: type, reader: Callable[[Any], Any], value: Any) -> Any:
    if not isinstance(value, list):
        raise Misfit(annotation, value)
    return make(map(reader, value))


def _in_order(cls: Any, readers: list[Callable[[Any], Any]], older: int, value: Any) -> Any:
    """What one of an older version does not know, after its ``older`` fields, has its default."""
    if not isinstance(value, list) or not older <= len(value) <= len(readers):
        raise Misfit(cls, value)
    return cls(*(reader(item) for reader, item in zip(readers, value, strict=False)))


def _instance(cls: type, value: Any) -> Any:
    if not isinstance(value, cls) or (cls is int and isinstance(value, bool)):
        raise Misfit(cls, value)
    return value


def _annotations(cls: Any) -> dict[str, Any]:
    known = typing.get_type_hints(cls)
    return {field.name: known[field.name] for field in dataclasses.fields(cls)}


hints: Callable[[Any], dict[str, Any]] = functools.cache(_annotations)
"""The fields of a dataclass and what they are."""


def describe(annotation: Any) -> str:
    """What an annotation allows, for people."""
    if get_origin(annotation) is Literal:
        return " | ".join(map(str, get_args(annotation)))
    if get_origin(annotation) in (Union, types.UnionType):
        return " or ".join(describe(a) for a in get_args(annotation) if a is not type(None))
    if get_origin(annotation) is list:
        return f"a list of {describe(get_args(annotation)[0])}"
    return {str: "text", int: "whole number", float: "number", bool: "true or false"}.get(
        annotation, getattr(annotation, "__name__", str(annotation))
    )


def did_you_mean(word: str, known: Iterable[str], there_are: str = "there are") -> str:
    """A hint: the known word that is meant, or else all of them after ``there_are``.

    A hostile word may be megabytes: it is not compared whole.
    """
    names = list(known)
    close = difflib.get_close_matches(word[:80], names, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"{there_are}: {', '.join(names)}" if names and there_are else ""


def fields_from_map(cls: type[T], values: dict[str, Any], what: str) -> T:
    """Build a dataclass from wire values, checking names and types; raises `WireError`."""
    known = hints(cls)
    for name, value in values.items():
        if name not in known:
            raise WireError(
                "unknown_field",
                f"{what} has no field {name[:40]!r}",
                did_you_mean(name, known, "it knows"),
            )
        try:
            read(known[name], value)
        except Misfit:
            shown = f"{type(value).__name__} {reprlib.repr(value)[:40]}"
            raise WireError(
                "bad_field",
                f"{what}: {name} may not be {shown}",
                f"{name} is {describe(known[name])}",
            ) from None
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        required = field.default is field.default_factory is dataclasses.MISSING
        if required and field.name not in values:
            raise WireError(
                "missing_field",
                f"{what} needs the field {field.name!r}",
                f"{field.name} is {describe(known[field.name])}",
            )
    return cls(**values)
