"""Names of X keys -> keysyms, and keysyms -> keycodes of the keyboard as it is laid out now."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

SHIFT, LOCK, CONTROL = 1, 2, 4
_MODIFIER_KEYS = {
    "alt": ("Alt_L", "Alt_R", "Meta_L"),
    "super": ("Super_L", "Super_R"),
    "altgr": ("ISO_Level3_Shift", "Mode_switch"),
    "numlock": ("Num_Lock",),
    "scrolllock": ("Scroll_Lock",),
}
"""Which keys make a modifier what it is called; their bits are the server's choice."""


@functools.cache
def _names() -> dict[str, int]:
    """Keysyms by name; those that differ by case alone also by their lower-case name."""
    from xcffib import keysymdef, xf86keysym

    exact: dict[str, int] = {}
    for module, prefix in ((keysymdef, "XK_"), (xf86keysym, "XF86XK_")):
        for name, value in vars(module).items():
            if name.startswith(prefix) and isinstance(value, int):
                exact[("XF86" if prefix == "XF86XK_" else "") + name.removeprefix(prefix)] = value
    folded: dict[str, int] = {}
    for name, value in exact.items():
        folded.setdefault(name.lower(), value)
    return folded | exact


def keysym(name: str) -> int | None:
    """The keysym of a name, in whatever case unless it is a single letter; None if unknown."""
    names = _names()
    return names.get(name, names.get(name.lower()))


@dataclass(frozen=True, slots=True)
class Layout:
    """The keyboard: ``keysyms[code - first]`` are those of a key, ``per`` of them: without and with
    Shift, the same of the second layout, and more. ``modifiers``: name -> bit."""

    first: int
    per: int
    keysyms: tuple[int, ...]
    modifiers: tuple[tuple[str, int], ...]

    def row(self, code: int) -> Sequence[int]:
        at = (code - self.first) * self.per
        return self.keysyms[at : at + self.per]

    def codes(self, symbol: int) -> tuple[int, ...]:
        """The keys that give ``symbol`` without Shift, in any layout."""
        last = self.first + len(self.keysyms) // max(1, self.per)
        return tuple(code for code in range(self.first, last) if symbol in self.row(code)[::2])

    def shifted(self, symbol: int) -> str:
        """``shift+1`` for a symbol that is only there with Shift; else ``""``."""
        for code in range(self.first, self.first + len(self.keysyms) // max(1, self.per)):
            row = self.row(code)
            if symbol in row[1:2]:
                named = next((n for n, v in _names().items() if v == row[0]), "")
                return f"shift+{named}"
        return ""

    def bit(self, name: str) -> int:
        """Of a modifier as bindings call it; 0 = this keyboard has none."""
        return {"shift": SHIFT, "ctrl": CONTROL}.get(name) or dict(self.modifiers).get(name, 0)

    @property
    def locks(self) -> tuple[int, ...]:
        """Every combination of the locks, none included: a binding works in all of them."""
        bits = [LOCK, *(b for n in ("numlock", "scrolllock") if (b := self.bit(n)))]
        masks = [0]
        for bit in dict.fromkeys(bits):
            masks += [mask | bit for mask in masks]
        return tuple(masks)


def modifier_bits(
    keycodes: Sequence[int], per: int, row: dict[int, Sequence[int]]
) -> tuple[tuple[str, int], ...]:
    """Name -> bit from X's modifier mapping: ``keycodes`` has ``per`` keys for each of 8 bits."""
    found: dict[str, int] = {}
    for name, keys in _MODIFIER_KEYS.items():
        wanted = {keysym(key) for key in keys}
        for place, code in enumerate(keycodes):
            if code and wanted & set(row.get(code, ())):
                found.setdefault(name, 1 << (place // per))
    return tuple(found.items())
