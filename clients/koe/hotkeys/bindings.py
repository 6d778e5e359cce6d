"""What the keys mean: ``hotkeys:`` of koed.yaml as frozen values. Pure; the daemon checks with it.

A binding is a key and an action in words: ``ctrl+alt+1: voice hana``. See docs/hotkeys.md.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

MODIFIERS = ("ctrl", "alt", "shift", "super", "altgr")
"""In the order in which they are written."""
ALIASES = {"control": "ctrl", "win": "super", "windows": "super", "meta": "super", "mod4": "super"}
SIGNS = {
    " ": "space", "!": "exclam", '"': "quotedbl", "#": "numbersign", "$": "dollar",
    "%": "percent", "&": "ampersand", "'": "apostrophe", "(": "parenleft", ")": "parenright",
    "*": "asterisk", "+": "plus", ",": "comma", "-": "minus", ".": "period", "/": "slash",
    ":": "colon", ";": "semicolon", "<": "less", "=": "equal", ">": "greater", "?": "question",
    "@": "at", "[": "bracketleft", "\\": "backslash", "]": "bracketright", "^": "asciicircum",
    "_": "underscore", "`": "grave", "{": "braceleft", "|": "bar", "}": "braceright",
    "~": "asciitilde",
}  # fmt: skip
"""Signs by their X names, so that ``ctrl+,`` may be written."""

How = Literal["auto", "hold", "tap"]
When = Literal["next", "line", "now"]
Priority = Literal["urgent", "normal", "chatter"]

ARGUMENTS: dict[str, str] = {
    "voice": "the name of a voice",
    "phrase": "the name of a phrase",
    "say": "what to say",
    "mode": "speak, chat_muted or all_muted",
    "clipboard": "",
    "stop": "",
    "skip": "",
    "pause": "",
    "mute": "",
    "panic": "",
    "release": "",
}
"""Each action, and what must follow it."""
MODES = ("speak", "chat_muted", "all_muted")
_NAME = re.compile(r"[a-z0-9_-]{1,32}")
_VOICE = re.compile(rf"{_NAME.pattern}(/{_NAME.pattern})?")
"""Or a style of one, as hana/happy."""
_KEY = re.compile(r"[A-Za-z0-9_]{1,40}|code:\d{1,3}")
MAX_BINDINGS = 200


@dataclass(frozen=True, slots=True)
class Combo:
    """A key with modifiers. ``key``: an X key name as it was written, or code:NUMBER."""

    modifiers: tuple[str, ...]
    key: str

    def __str__(self) -> str:
        return "+".join((*self.modifiers, self.key))

    @property
    def identity(self) -> str:
        """Equal for two ways to write the same key."""
        return str(self).lower()


@dataclass(frozen=True, slots=True)
class Action:
    verb: str
    argument: str = ""

    def __str__(self) -> str:
        return f"{self.verb} {self.argument}".rstrip()


@dataclass(frozen=True, slots=True)
class Binding:
    combo: Combo
    action: Action
    how: How = "auto"
    """Of a voice: hold = while held, then back; tap = it stays, the next tap goes back; auto = by
    how long the key is held."""
    when: When = "now"
    """Of a voice: as in `koe.protocol.Voice`."""
    output: str | None = None
    priority: Priority = "urgent"
    """Of what is said."""
    line: int = 0
    """In the file; 0 = none."""


@dataclass(frozen=True, slots=True)
class Problem:
    line: int
    key: str
    """As it was written."""
    what: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.key}: {self.what}" + (f"; {self.hint}" if self.hint else "")


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the file: ``value`` is the action, or a map with ``do`` and options."""

    line: int
    key: str
    value: str | Mapping[str, Any]


class BindingError(ValueError):
    """``hint`` says what would be right."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.hint = hint


def combo(text: str) -> Combo:
    """``ctrl+alt+F9`` as a value; raises `BindingError`."""
    stripped = text.strip()
    if stripped == "+" or stripped.endswith("++"):
        head, key = stripped[:-2], "+"
    else:
        head, _, key = stripped.rpartition("+")
    key = SIGNS.get(key, key.strip())
    modifiers = []
    for part in [part.strip().lower() for part in head.split("+")] if head else []:
        name = ALIASES.get(part, part)
        if name not in MODIFIERS:
            raise BindingError(f"{part!r} is no modifier", f"there are: {', '.join(MODIFIERS)}")
        if name in modifiers:
            raise BindingError(f"{name} stands twice")
        modifiers.append(name)
    if not _KEY.fullmatch(key):
        hint = "write it like F9, ctrl+alt+1, super+KP_Add or code:191 (xev tells names and codes)"
        raise BindingError(f"{text.strip()[:40]!r} names no key", hint)
    if ALIASES.get(key.lower(), key.lower()) in MODIFIERS:
        raise BindingError(f"{key!r} alone is a modifier", "add a key, as in ctrl+alt+1")
    if len(key) == 1:
        key = key.lower()
    return Combo(tuple(name for name in MODIFIERS if name in modifiers), key)


def action(text: str) -> Action:
    """``voice hana`` as a value; raises `BindingError`."""
    verb, _, argument = text.strip().partition(" ")
    argument = argument.strip()
    if verb not in ARGUMENTS:
        close = difflib.get_close_matches(verb[:40], ARGUMENTS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(ARGUMENTS)}"
        raise BindingError(f"there is no action {verb[:40]!r}", hint)
    wanted = ARGUMENTS[verb]
    if wanted and not argument:
        raise BindingError(f"{verb} needs {wanted}", f"write it like: {verb} NAME")
    if argument and not wanted:
        raise BindingError(f"{verb} takes nothing more, and {argument[:40]!r} follows it")
    named = {"voice": _VOICE, "phrase": _NAME}.get(verb)
    if named and not named.fullmatch(argument):
        raise BindingError(f"{argument[:40]!r} is not {wanted}", "1 to 32 of a-z, 0-9, _ and -")
    if verb == "mode" and argument not in MODES:
        raise BindingError(f"there is no mode {argument[:40]!r}", f"there are: {', '.join(MODES)}")
    return Action(verb, argument)


def parse(entries: Iterable[Entry]) -> tuple[tuple[Binding, ...], tuple[Problem, ...]]:
    """The bindings that are right, and what is wrong with the others."""
    bindings: list[Binding] = []
    problems: list[Problem] = []
    seen: dict[str, int] = {}
    """Line of each key."""
    for entry in entries:
        if len(bindings) >= MAX_BINDINGS:
            problems.append(Problem(entry.line, entry.key, f"more than {MAX_BINDINGS} keys"))
            break
        try:
            binding = _binding(entry)
            first = seen.get(binding.combo.identity)
            if first is not None:
                where = f"the first one is in line {first}" if first else "it is there already"
                raise BindingError("this key stands twice", where)
        except BindingError as error:
            problems.append(Problem(entry.line, entry.key[:60], str(error), error.hint))
            continue
        bindings.append(binding)
        seen[binding.combo.identity] = entry.line
    return tuple(bindings), tuple(problems)


_OPTIONS: dict[str, tuple[str, ...]] = {
    "how": get_args(How),
    "when": get_args(When),
    "priority": get_args(Priority),
}


def _binding(entry: Entry) -> Binding:
    """Raises `BindingError`."""
    place = combo(entry.key)
    if isinstance(entry.value, str):
        return Binding(place, action(entry.value), line=entry.line)
    values = {name: value for name, value in entry.value.items() if value is not None}
    for name, value in values.items():
        if name not in ("do", "output", *_OPTIONS):
            close = difflib.get_close_matches(name[:40], ("do", "output", *_OPTIONS), n=1)
            raise BindingError(
                f"there is no option {name[:40]!r}", f"did you mean {close[0]!r}?" if close else ""
            )
        if not isinstance(value, str):
            raise BindingError(f"{name} is text", "put it in quotes")
        if value not in _OPTIONS.get(name, (value,)):
            raise BindingError(
                f"{name} is {value[:40]!r}", f"there are: {', '.join(_OPTIONS[name])}"
            )
    if "do" not in values:
        raise BindingError("do: is needed", "it says what the key does, as in do: voice hana")
    return Binding(
        place,
        action(values["do"]),
        how=cast(How, values.get("how", "auto")),
        when=cast(When, values.get("when", "now")),
        output=values.get("output"),
        priority=cast(Priority, values.get("priority", "urgent")),
        line=entry.line,
    )
