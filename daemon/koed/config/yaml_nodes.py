"""YAML bytes -> nodes that know their lines, and problems -> one report.

Safe tags only, no aliases (so no "billion laughs"), bounded size and depth.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from koed.errors import ConfigError

MAX_BYTES = 1024 * 1024
MAX_PROBLEMS = 40
"""More than these are not listed."""
TAG = "tag:yaml.org,2002:"
"""How the names of YAML's own types begin."""
_MAX_DEPTH = 20
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Problem:
    line: int
    """From 1."""
    column: int
    key: str
    """Path of the key, for instance ``audio.rate_hz``; empty = the file as a whole."""
    what: str
    hint: str = ""

    def text(self, source: str) -> str:
        where = f"{source}:{self.line}: " + (f"{self.key}: " if self.key else "")
        return where + self.what + (f"; {self.hint}" if self.hint else "")


def bad_config(source: str, problems: Iterable[Problem]) -> ConfigError:
    """All problems of one file as one error, a line each."""
    ordered = sorted(problems, key=lambda p: (p.line, p.column))
    lines = [problem.text(source) for problem in ordered[:MAX_PROBLEMS]]
    if len(ordered) > MAX_PROBLEMS:
        lines.append(f"{source}: and more problems")
    return ConfigError("bad_config", "\n".join(lines))


def read_bytes(path: Path) -> bytes:
    """The bytes of a plain file of at most `MAX_BYTES`; raises `ConfigError`."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a FIFO would block the daemon
            raise ConfigError("bad_config", f"{path} is not a plain file")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError("bad_config", f"{path} cannot be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise ConfigError("bad_config", f"{path} is larger than {MAX_BYTES} bytes")
    return data


def compose(data: bytes, source: str) -> yaml.Node:
    """YAML bytes as nodes, which unlike plain values know their lines; raises `ConfigError`."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problem = Problem(line, 1, "", f"not UTF-8: {error.reason}", "save the file as UTF-8")
        raise bad_config(source, [problem]) from error
    try:
        depth = 0
        # Events come one at a time, so nothing is built (or recursed into) before it is judged.
        for event in yaml.parse(text, Loader=_LOADER):
            if isinstance(event, yaml.AliasEvent):
                raise bad_config(source, [_at(event, "aliases (*name) are not allowed here",
                                              "write the value out")])  # fmt: skip
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth > _MAX_DEPTH:
                raise bad_config(source, [_at(event, f"nested deeper than {_MAX_DEPTH} levels")])
        root: yaml.Node | None = yaml.compose(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        raise bad_config(source, [_broken(error, text)]) from error
    return root or yaml.MappingNode(TAG + "map", [], *_start_of_file())


def _start_of_file() -> tuple[yaml.Mark, yaml.Mark]:
    mark = yaml.Mark("", 0, 0, 0, None, 0)
    return mark, mark


def _at(where: Any, what: str, hint: str = "") -> Problem:
    mark = where.start_mark
    return Problem(mark.line + 1, mark.column + 1, "", what, hint)


def _broken(error: yaml.YAMLError, text: str) -> Problem:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        what = f"not YAML: {error.problem or error.context}"
        hint = "indent with spaces" if "tab" in what or "\\t" in what else ""
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        return Problem(line, column, "", what, hint)
    position = getattr(error, "position", 0)
    line = text.count("\n", 0, position) + 1
    return Problem(line, 1, "", f"not YAML: {getattr(error, 'reason', error)}")
