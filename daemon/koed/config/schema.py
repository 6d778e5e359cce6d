"""Strict and kind: YAML text -> frozen dataclass, every problem in one report with its line.

Knows nothing about koed's settings. The dataclass is the schema: its annotations say which keys
there are and of what type, `typing.Annotated` adds a check (`Range`, `Match`), a field annotated
with `NotAKey` is no key of the file. Fields may be str, int, float, bool, Literal, another
dataclass, ``dict[str, X]``, ``Mapping[str, Any]``, ``tuple[X, ...]`` and unions of these.
"""

from __future__ import annotations

import ast
import collections.abc
import dataclasses
import inspect
import itertools
import math
import re
import textwrap
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar, Union, get_args, get_origin

import yaml

from koed.config.yaml_nodes import (
    MAX_PROBLEMS,
    TAG,
    Problem,
    bad_config,
    compose,
    read_bytes,
)
from koed.errors import did_you_mean

_BAD: Any = object()

T = TypeVar("T")

Hook = Callable[[Any], Iterable[tuple[str, str, str]]]
"""What annotations cannot say about one dataclass: value -> (key within it, what, hint)."""


@dataclass(frozen=True, slots=True)
class Range:
    low: float
    high: float = math.inf
    above: bool = False
    """``low`` itself is not allowed."""

    def problem(self, value: Any) -> str:
        """What is wrong with a value of the right type; empty = nothing."""
        if (value > self.low or (value == self.low and not self.above)) and value <= self.high:
            return ""
        if math.isinf(self.high):
            return f"{value} is not {'above' if self.above else 'at least'} {self.low:g}"
        return f"{value} is not between {self.low:g} and {self.high:g}"


@dataclass(frozen=True, slots=True)
class Match:
    pattern: str
    says: str
    """The pattern in words: "... is not <says>"."""

    def problem(self, value: Any) -> str:
        return "" if re.fullmatch(self.pattern, value) else f"{_short(value)} is not {self.says}"


class NotAKey:
    """Marks a field that code sets and no file."""


@dataclass(frozen=True, slots=True)
class Document(Generic[T]):
    """A file that was read: the value and where each key stands."""

    value: T
    source: str
    lines: Mapping[str, int]


def read(path: Path, cls: type[T], hooks: Mapping[type, Hook] | None = None) -> Document[T]:
    """A YAML file as a value of ``cls``; raises `ConfigError` ``bad_config`` with all problems."""
    return parse(read_bytes(path), cls, str(path), hooks)


def parse(
    data: bytes, cls: type[T], source: str, hooks: Mapping[type, Hook] | None = None
) -> Document[T]:
    """YAML bytes as a value of ``cls``; raises `ConfigError` ``bad_config`` with all problems."""
    root = compose(data, source)
    reader = _Reader(hooks or {})
    value = reader.value(root, cls, "")
    if reader.problems:
        raise bad_config(source, reader.problems)
    return Document(value, source, reader.lines)


# --- nodes -> values -------------------------------------------------------------------------

_KINDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a map"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    names = {"int": "a whole number", "float": "a number", "bool": "true or false",
             "null": "nothing", "str": "text", "timestamp": "text"}  # fmt: skip
    return names.get(node.tag.removeprefix(TAG), f"a value of type {node.tag}")


def describe(want: Any) -> str:
    """An annotation in words."""
    origin = get_origin(want)
    if origin is Annotated:
        return describe(get_args(want)[0])
    if origin is Literal:
        return "one of " + ", ".join(map(str, get_args(want)))
    if origin in (Union, types.UnionType):
        return " or ".join(describe(a) for a in get_args(want) if a is not type(None))
    if origin is tuple:
        return "a list"
    return _KINDS.get(want, "a map")


class _Reader:
    """One pass over the nodes of one file; collects problems instead of raising them."""

    def __init__(self, hooks: Mapping[type, Hook]) -> None:
        self.problems: list[Problem] = []
        self.lines: dict[str, int] = {}
        self._places: dict[str, yaml.Node] = {}
        """The value of each key."""
        self._hooks = hooks

    def _report(self, node: yaml.Node, key: str, what: str, hint: str = "") -> Any:
        if len(self.problems) <= MAX_PROBLEMS:  # one more than is shown
            mark = node.start_mark
            self.problems.append(Problem(mark.line + 1, mark.column + 1, key, what, hint))
        return _BAD

    def value(self, node: yaml.Node, want: Any, key: str) -> Any:
        """The node as a ``want``, or _BAD after a report."""
        origin = get_origin(want)
        if origin is Annotated:
            inner, *marks = get_args(want)
            return self._checked(node, self.value(node, inner, key), marks, key)
        if want is Any:
            return self._plain(node, key)
        if dataclasses.is_dataclass(want):
            return self._object(node, typing.cast(type, want), key)
        if origin in (Union, types.UnionType):
            return self._either(node, get_args(want), want, key)
        if origin in (dict, collections.abc.Mapping):
            return self._table(node, get_args(want), key)
        if origin is tuple:
            return self._list(node, get_args(want)[0], key)
        return self._scalar(node, want, key)

    def _checked(self, node: yaml.Node, value: Any, marks: list[Any], key: str) -> Any:
        if value is _BAD:
            return _BAD
        for mark in marks:
            what = mark.problem(value) if hasattr(mark, "problem") else ""
            if what:
                return self._report(node, key, what)
        return value

    def _either(self, node: yaml.Node, choices: tuple[Any, ...], want: Any, key: str) -> Any:
        if type(None) in choices and node.tag == TAG + "null":
            return None
        fitting = [c for c in choices if c is not type(None)]
        if len(fitting) > 1:  # text, list and map are told apart by their shape
            shape = type(node)
            fitting = [c for c in fitting if _shape(c) is shape]
        if len(fitting) != 1:
            return self._report(node, key, f"{describe(want)} expected, not {_kind(node)}")
        return self.value(node, fitting[0], key)

    def _pairs(self, node: yaml.Node, key: str) -> Iterable[tuple[str, yaml.Node, yaml.Node]]:
        """(name, key node, value node) of a map, each name once."""
        if not isinstance(node, yaml.MappingNode) or node.tag != TAG + "map":
            self._report(node, key, f"a map expected, not {_kind(node)}")
            return
        seen: dict[str, int] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._report(key_node, key, f"a key must be text, not {_kind(key_node)}")
                continue
            name = key_node.value
            if name in seen:
                self._report(key_node, _join(key, name), "this key stands twice",
                             f"the first one is in line {seen[name]}")  # fmt: skip
                continue
            seen[name] = key_node.start_mark.line + 1
            self.lines[_join(key, name)] = seen[name]
            self._places[_join(key, name)] = value_node
            yield name, key_node, value_node

    def _object(self, node: yaml.Node, cls: type, key: str) -> Any:
        before = len(self.problems)
        wants, values, wrong = keys_of(cls), {}, set()
        for name, key_node, value_node in self._pairs(node, key):
            if name not in wants:
                if len(self.problems) <= MAX_PROBLEMS:  # guessing costs time
                    hint = did_you_mean(name, wants)
                    self._report(key_node, _join(key, name[:80]), "there is no such key", hint)
                continue
            values[name] = self.value(value_node, wants[name], _join(key, name))
        if not isinstance(node, yaml.MappingNode):
            return _BAD
        wrong = {name for name, value in values.items() if value is _BAD}
        for field in dataclasses.fields(cls):
            if field.name in wants and _required(field) and field.name not in values:
                self._report(node, _join(key, field.name), "this key is needed",
                             f"it is {describe(wants[field.name])}")  # fmt: skip
                wrong.add(field.name)
        if any(_required(field) and field.name in wrong for field in dataclasses.fields(cls)):
            return _BAD
        # Wrong keys count as not given, so that what concerns the others is reported as well.
        result = cls(**{name: value for name, value in values.items() if name not in wrong})
        for name, what, hint in self._hooks.get(cls, lambda _: ())(result):
            if name.split(".")[0] not in wrong:
                whole = _join(key, name)
                self._report(self._places.get(whole, node), whole, what, hint)
        return result if len(self.problems) == before else _BAD

    def _table(self, node: yaml.Node, of: tuple[Any, ...], key: str) -> Any:
        result = {}
        for name, key_node, value_node in self._pairs(node, key):
            marks = list(get_args(of[0])[1:])
            path = _join(key, name[:80])
            checked = self._checked(key_node, name, marks, path)
            result[name] = _BAD if checked is _BAD else self.value(value_node, of[1], path)
        bad = not isinstance(node, yaml.MappingNode) or _BAD in result.values()
        return _BAD if bad else result

    def _list(self, node: yaml.Node, want: Any, key: str) -> Any:
        if not isinstance(node, yaml.SequenceNode):
            return self._report(node, key, f"a list expected, not {_kind(node)}",
                                "write [one, two]")  # fmt: skip
        items = tuple(self.value(item, want, f"{key}[{i}]") for i, item in enumerate(node.value))
        return _BAD if _BAD in items else items

    def _plain(self, node: yaml.Node, key: str) -> Any:
        if isinstance(node, yaml.MappingNode):
            return self._table(node, (str, Any), key)
        if isinstance(node, yaml.SequenceNode):
            items = self._list(node, Any, key)
            return _BAD if items is _BAD else list(items)
        return self._resolve(node, key)

    def _resolve(self, node: yaml.Node, key: str) -> Any:
        """A scalar as YAML 1.1 reads it; dates stay text, since nothing of ours is a date."""
        if node.tag == TAG + "timestamp":
            return node.value
        if node.tag not in {TAG + t for t in ("str", "int", "float", "bool", "null")}:
            return self._report(node, key, f"the tag {node.tag} is not allowed here")
        try:
            return yaml.SafeLoader("").construct_object(node)
        except (yaml.YAMLError, ValueError, KeyError):
            return self._report(node, key, f"{_short(node.value)} is not {_kind(node)}")

    def _scalar(self, node: yaml.Node, want: Any, key: str) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            return self._report(node, key, f"{describe(want)} expected, not {_kind(node)}")
        value = self._resolve(node, key)
        if value is _BAD:
            return _BAD
        if want is float:
            value = _number(node, value)
        if _is_a(value, want):
            return value
        is_text = want is str or get_origin(want) is Literal
        if is_text and not isinstance(value, str):
            return self._report(
                node, key, f"text expected, but YAML reads {_short(node.value)} as {_kind(node)}",
                f"write it in quotes: '{node.value[:40]}'" if node.value else "",
            )  # fmt: skip
        hint = did_you_mean(str(value), map(str, get_args(want))) if is_text else ""
        return self._report(node, key, f"{_short(value)} is not {describe(want)}", hint)


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def _shape(want: Any) -> type[yaml.Node]:
    if get_origin(want) is tuple:
        return yaml.SequenceNode
    is_map = dataclasses.is_dataclass(want) or get_origin(want) in (dict, collections.abc.Mapping)
    return yaml.MappingNode if is_map else yaml.ScalarNode


def _required(field: dataclasses.Field[Any]) -> bool:
    missing = dataclasses.MISSING
    return field.default is missing and field.default_factory is missing


def _number(node: yaml.ScalarNode, value: Any) -> Any:
    """A float from what YAML took for a whole number, or (1e3, without a point) for text."""
    if isinstance(value, bool) or node.style in ("'", '"'):
        return value
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return value


def _is_a(value: Any, want: Any) -> bool:
    if get_origin(want) is Literal:
        return isinstance(value, str) and value in get_args(want)
    if want is float:
        return isinstance(value, float) and math.isfinite(value)
    return type(value) is want


def keys_of(cls: type) -> dict[str, Any]:
    """The keys that a file may have for this dataclass, with their annotations."""
    hints = typing.get_type_hints(cls, include_extras=True)
    names = [field.name for field in dataclasses.fields(cls)]
    return {name: hints[name] for name in names if NotAKey not in get_args(hints[name])}


# --- values -> YAML --------------------------------------------------------------------------


def to_yaml(value: Any, indent: str = "") -> str:
    """A dataclass as the YAML that `parse` reads back as an equal value, with its docstrings."""
    docs = _field_docs(type(value))
    lines: list[str] = []
    for name, want in keys_of(type(value)).items():
        comment = docs.get(name, "").replace("``", "").splitlines()
        if get_origin(want) is Literal and not comment:
            comment = [describe(want)]
        lines += [f"{indent}# {line.strip()}" for line in comment]
        lines += _entry(name, getattr(value, name), indent)
    return "\n".join(lines) + "\n"


def _entry(name: str, value: Any, indent: str) -> list[str]:
    inner = indent + "  "
    if dataclasses.is_dataclass(value):
        return [f"{indent}{name}:", to_yaml(value, inner).rstrip("\n")]
    if isinstance(value, Mapping) and any(map(dataclasses.is_dataclass, value.values())):
        entries = [line for key, item in value.items() for line in _entry(_key(key), item, inner)]
        return [f"{indent}{name}:", *entries]
    plain = list(value) if isinstance(value, tuple) else value
    dumped = yaml.safe_dump({name: plain}, allow_unicode=True, width=math.inf, sort_keys=False)
    return [indent + line for line in dumped.splitlines()]


def _key(name: str) -> str:
    """In quotes where YAML would take it for something else."""
    return yaml.safe_dump(name, allow_unicode=True, width=math.inf).splitlines()[0]


def _field_docs(cls: type) -> dict[str, str]:
    """The string under each field, from the source: Python keeps no docstrings of fields."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except (OSError, TypeError, SyntaxError):  # no source at hand: no comments
        return {}
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    docs = {}
    for above, below in itertools.pairwise(body):
        if isinstance(above, ast.AnnAssign) and isinstance(above.target, ast.Name):
            match below:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    docs[above.target.id] = inspect.cleandoc(text)
    return docs
