"""Wayland lets no program take global keys; its desktops run a command for a key instead.

Here are the commands and the lines that tell each desktop. `koe hotkeys --do ACTION` is one press.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence

from koe.hotkeys.bindings import Binding, Combo

_GTK = {"ctrl": "<Control>", "alt": "<Alt>", "shift": "<Shift>", "super": "<Super>", "altgr": ""}
_QT = {"ctrl": "Ctrl", "alt": "Alt", "shift": "Shift", "super": "Meta", "altgr": ""}
_SWAY = {"ctrl": "Ctrl", "alt": "Mod1", "shift": "Shift", "super": "Mod4", "altgr": "Mod5"}
_GNOME = "org.gnome.settings-daemon.plugins.media-keys"
_FOLDER = "/org/gnome/settings-daemon/plugins/media-keys/custom-keybindings/koed"


def is_wayland(environ: Mapping[str, str]) -> bool:
    """A Wayland session, perhaps with an X server inside it whose grabs reach X windows only."""
    return environ.get("XDG_SESSION_TYPE") == "wayland" or bool(environ.get("WAYLAND_DISPLAY"))


def command(binding: Binding) -> str:
    """The shell command that does what a press of the key does."""
    words = ["koe", "hotkeys", "--do", str(binding.action)]
    if binding.output:
        words += ["--output", binding.output]
    return shlex.join(words)


def lines(desktop: str, bindings: Sequence[Binding], voice: str) -> Iterator[str]:
    """What to type or to put into a file; ``voice``: what a held key goes back to."""
    yield from {"gnome": _gnome, "kde": _kde, "sway": _sway}[desktop](bindings, voice)


def _key(combo: Combo) -> str:
    return combo.key.removeprefix("code:")


def _gnome(bindings: Sequence[Binding], _: str) -> Iterator[str]:
    places = [f"{_FOLDER}{number}/" for number in range(len(bindings))]
    yield "# Shortcuts of your own? Print them, and put their paths into the list below:"
    yield f"#   gsettings get {_GNOME} custom-keybindings"
    for place, binding in zip(places, bindings, strict=True):
        key = "".join(_GTK[name] for name in binding.combo.modifiers) + _key(binding.combo)
        for name, value in (
            ("name", f"koed: {binding.action}"),
            ("command", command(binding)),
            ("binding", key),
        ):
            schema = f"{_GNOME}.custom-keybinding:{place}"
            yield f"gsettings set {schema} {name} {shlex.quote(value)}"
    paths = "[" + ", ".join(f"'{place}'" for place in places) + "]"
    yield f"gsettings set {_GNOME} custom-keybindings {shlex.quote(paths)}"


def _kde(bindings: Sequence[Binding], _: str) -> Iterator[str]:
    yield "# System Settings > Keyboard > Shortcuts > Add New > Command; then give each its key:"
    for binding in bindings:
        names = [_QT[name] for name in binding.combo.modifiers if _QT[name]]
        key = _key(binding.combo)
        yield f"{'+'.join([*names, key.upper() if len(key) == 1 else key]):24} {command(binding)}"


def _sway(bindings: Sequence[Binding], voice: str) -> Iterator[str]:
    yield "# ~/.config/sway/config; then: swaymsg reload"
    for binding in bindings:
        by_code = binding.combo.key.startswith("code:")
        verb = "bindcode" if by_code else "bindsym"
        names = [_SWAY[name] for name in binding.combo.modifiers]
        key = "+".join([*names, _key(binding.combo)])
        if binding.action.verb == "voice" and binding.how == "hold":
            name = shlex.quote(binding.action.argument)
            yield f"{verb} --no-repeat {key} exec koe voice {name} --when {binding.when}"
            back = shlex.quote(voice)
            yield f"{verb} --release {key} exec koe voice {back} --when {binding.when}"
        else:
            yield f"{verb} --no-repeat {key} exec {command(binding)}"
