"""``hotkeys:`` of koed.yaml, with the line of each key; found as the daemon finds it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from koe.hotkeys.bindings import Binding, Entry, Problem, parse
from koe.transport.connection import Refused

FILE_NAME = "koed.yaml"
MAX_BYTES = 1024 * 1024
MAX_DEPTH = 20
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Settings:
    source: str
    bindings: tuple[Binding, ...] = ()
    problems: tuple[Problem, ...] = ()
    tap_s: float = 0.25
    clipboard_chars: int = 500
    voice: str = ""
    """The daemon's voice at start, if the file names one."""


def find(path: str | None) -> Path | None:
    """``path``, else koed.yaml here, else in ``$XDG_CONFIG_HOME/koed``; None if there is none."""
    if path is not None:
        return Path(path)
    base = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    folder = (base if base.is_absolute() else Path.home() / ".config") / "koed"
    candidates = (Path(FILE_NAME), folder / FILE_NAME)
    return next((candidate for candidate in candidates if candidate.exists()), None)


def read(path: Path) -> Settings:
    """Raises `Refused` ``bad_config`` for a file that cannot be read at all."""
    return settings(_compose(path), str(path))


def _compose(path: Path) -> yaml.Node | None:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise Refused("bad_config", f"{path} is not a plain file")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Refused("bad_config", f"{path} cannot be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise Refused("bad_config", f"{path} is larger than {MAX_BYTES} bytes")
    try:
        text = data.decode("utf-8-sig")
        _judge(text, path)
        return yaml.compose(text, Loader=_LOADER)
    except UnicodeDecodeError as error:
        raise Refused("bad_config", f"{path} is not UTF-8: {error.reason}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark else ""
        what = getattr(error, "problem", None) or "a character that YAML does not know"
        raise Refused("bad_config", f"{path}{where}: not YAML: {what}", "koed check") from error


def _judge(text: str, path: Path) -> None:
    """Before anything is built: no aliases, no depth. Raises `Refused` and what YAML raises."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.AliasEvent):
            name = f"*{event.anchor}"
            raise Refused("bad_config", f"{path}: aliases ({name[:40]}) are not allowed")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise Refused("bad_config", f"{path}: nested deeper than {MAX_DEPTH} levels")


def settings(root: yaml.Node | None, source: str) -> Settings:
    top = {key.value: value for key, value in _pairs(root)}
    section = {key.value: value for key, value in _pairs(top.get("hotkeys"))}
    entries = [
        Entry(key.start_mark.line + 1, str(key.value), _plain(value))
        for key, value in _pairs(section.get("keys"))
    ]
    bindings, problems = parse(entries)
    wrong = list(problems)
    for name, node in section.items():
        if name not in ("keys", "tap_ms", "clipboard_chars"):
            hint = "keys stand under keys:" if "+" in name or name[:1] == "F" else ""
            wrong.append(Problem(node.start_mark.line + 1, name, "there is no such key", hint))
    tap_ms = _number(section.get("tap_ms"), 250.0, 0.0, 5000.0, wrong)
    clipboard_chars = int(_number(section.get("clipboard_chars"), 500, 1, 5000, wrong))
    voice = top.get("voice")
    return Settings(
        source,
        bindings,
        tuple(wrong),
        tap_ms / 1000,
        clipboard_chars,
        str(voice.value) if isinstance(voice, yaml.ScalarNode) else "hana",
    )


def _pairs(node: yaml.Node | None) -> Iterator[tuple[Any, Any]]:
    if isinstance(node, yaml.MappingNode):
        yield from ((k, v) for k, v in node.value if isinstance(k, yaml.ScalarNode))


def _plain(node: Any) -> str | dict[str, Any]:
    """Text as it stands (``stop``, ``1``), or a map of it."""
    if isinstance(node, yaml.ScalarNode):
        return str(node.value)
    values = {key.value: value for key, value in _pairs(node)}
    return {
        name: value.value if isinstance(value, yaml.ScalarNode) else value
        for name, value in values.items()
        if not (isinstance(value, yaml.ScalarNode) and value.tag == _TAG + "null")
    }


def _number(node: Any, default: float, low: float, high: float, wrong: list[Problem]) -> float:
    if node is None:
        return default
    try:
        value = float(node.value)
        if low <= value <= high:
            return value
    except (AttributeError, TypeError, ValueError):
        pass  # told below
    line = node.start_mark.line + 1
    wrong.append(Problem(line, "hotkeys", f"a number from {low:g} to {high:g} is expected here"))
    return default
