"""The keys ``hotkeys:`` of koed.yaml. The daemon only checks them; ``koe hotkeys`` reads them."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal

from koe.hotkeys.bindings import Binding, Entry, Problem, parse
from koed.config.schema import Match, Range

_Name = Annotated[str, Match(r"[a-z0-9_-]{1,32}", "1 to 32 of a-z, 0-9, _ and -")]


@dataclass(frozen=True, slots=True)
class HotkeyConfig:
    do: str
    """voice NAME, phrase NAME, say TEXT, clipboard, stop, skip, pause, mute, panic, release,
    mode NAME."""
    how: Literal["auto", "hold", "tap"] = "auto"
    """Of a voice: hold = while held; tap = until the next tap; auto = by how long it is held."""
    when: Literal["next", "line", "now"] = "now"
    output: _Name | None = None
    priority: Literal["urgent", "normal", "chatter"] = "urgent"


@dataclass(frozen=True, slots=True)
class HotkeysConfig:
    keys: dict[str, str | HotkeyConfig] = field(default_factory=dict)
    """``KEY: ACTION``, for instance ``ctrl+alt+1: voice hana``; see docs/hotkeys.md."""
    tap_ms: Annotated[float, Range(0, 5000)] = 250.0
    """A voice key that is held no longer is a tap."""
    clipboard_chars: Annotated[int, Range(1, 5000)] = 500
    """So much of the clipboard is said."""


def bindings(config: HotkeysConfig) -> tuple[tuple[Binding, ...], tuple[Problem, ...]]:
    """What `koe hotkeys` would make of it, and what is wrong; lines are not known here."""
    return parse(
        Entry(0, key, value if isinstance(value, str) else dataclasses.asdict(value))
        for key, value in config.keys.items()
    )


def problems(config: HotkeysConfig) -> Iterator[tuple[str, str, str]]:
    """As a hook of `koed.config.schema`."""
    for problem in bindings(config)[1]:
        yield "keys", f"{problem.key}: {problem.what}", problem.hint


def missing(
    config: HotkeysConfig,
    voices: Collection[str],
    phrases: Collection[str],
    outputs: Collection[str],
) -> Iterator[str]:
    """What keys ask for by a name that is not there."""
    for binding in bindings(config)[0]:
        known = {"voice": voices, "phrase": phrases}.get(binding.action.verb)
        if known is not None and binding.action.argument not in known:
            yield f"{binding.combo}: there is no {binding.action}"
        if binding.output is not None and binding.output not in outputs:
            yield f"{binding.combo}: there is no output {binding.output}"
