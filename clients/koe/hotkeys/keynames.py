"""Names of X keys -> keysyms, and keysyms -> keycodes of the keyboard as it is laid out now."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from koe.hotkeys.bindings import MODIFIERS, Combo

SHIFT, LOCK, CONTROL = 1, 2, 4
_MODIFIER_KEYS = {
    "alt": ("Alt_L", "Alt_R", "Meta_L"),
    "super": ("Super_L", "Super_R"),
    "altgr": ("ISO_Level3_Shift", "Mode_switch"),
    "numlock": ("Num_Lock",),
    "scrolllock": ("Scroll_Lock",),
}
"""Which keys make a modifier what it is called; their bits are the server's choice."""
_KEYPAD = range(0xFF80, 0xFFBE)
"""Keysyms of the keypad. There NumLock does what Shift does elsewhere: ``KP_1`` and ``KP_End`` are
one key, and neither needs Shift."""
_KEYPAD_POINTS = (0xFFAE, 0xFFAC)
"""``KP_Decimal`` and ``KP_Separator``: one key as well, and a layout has one of the two names."""
_FIRST_SHIFT, _SECOND_SHIFT, _ALTGR, _ALTGR_SHIFT = 1, 3, 4, 5
"""Places in the row of a key, as X lists them: without and with Shift in the first layout, then in
the second (the same again, if there is one only), then with AltGr in the first."""
_HIDDEN = (
    (_FIRST_SHIFT, 0, ("shift",)),
    (_SECOND_SHIFT, 2, ("shift",)),
    (_ALTGR, 0, ("altgr",)),
    (_ALTGR_SHIFT, 0, ("shift", "altgr")),
)
"""Where a symbol may be that no key gives by itself, where that key says what it gives so, and
what else is pressed."""
_ROWS = {24: "qwertyuiop", 38: "asdfghjkl", 52: "zxcvbnm"}
"""Where Latin letters lie on most keyboards, from these keycodes on."""


@functools.cache
def _exact() -> dict[str, int]:
    """Keysyms by name, as X writes it."""
    from xcffib import keysymdef, xf86keysym

    found: dict[str, int] = {}
    for module, prefix in ((keysymdef, "XK_"), (xf86keysym, "XF86XK_")):
        for name, value in vars(module).items():
            if name.startswith(prefix) and isinstance(value, int):
                found[("XF86" if prefix == "XF86XK_" else "") + name.removeprefix(prefix)] = value
    return found


@functools.cache
def _names() -> dict[str, int]:
    """Keysyms by name, and by lower-case name: of those that differ by case alone it is that of
    the small letter."""
    exact = _exact()
    folded: dict[str, int] = {}
    for name in sorted(exact, key=lambda name: sum(map(str.isupper, name))):
        folded.setdefault(name.lower(), exact[name])
    return folded | exact


@functools.cache
def _by_value() -> dict[int, str]:
    """The name of each keysym; of several the one that X lists first."""
    found: dict[int, str] = {}
    for name, value in _exact().items():
        found.setdefault(value, name)
    return found


def keysym(name: str) -> int | None:
    """The keysym of a name, in whatever case unless it is a single letter; None if unknown."""
    names = _names()
    return names.get(name, names.get(name.lower()))


@dataclass(frozen=True, slots=True)
class Layout:
    """The keyboard: ``keysyms[code - first]`` are those of a key, ``per`` of them: without and with
    Shift, the same of the second layout, and more, where only the first two layouts are looked at.
    ``modifiers``: name -> bit."""

    first: int
    per: int
    keysyms: tuple[int, ...]
    modifiers: tuple[tuple[str, int], ...]
    layouts: int = 1
    """From three on X does not tell what AltGr gives from what the third layout does."""

    def row(self, code: int) -> Sequence[int]:
        at = (code - self.first) * self.per
        return self.keysyms[at : at + self.per]

    def _codes(self) -> range:
        return range(self.first, self.first + len(self.keysyms) // max(1, self.per))

    def places(self, symbol: int) -> dict[int, frozenset[int]]:
        """The keys that give ``symbol`` by themselves, and in which layouts (0, 1) each does."""
        columns = {0: 0, 2: 1}
        if symbol in _KEYPAD:
            columns |= {1: 0, 3: 1}
        wanted = _KEYPAD_POINTS if symbol in _KEYPAD_POINTS else (symbol,)
        found = {}
        for code in self._codes():
            row = self.row(code)
            layouts = {at for c, at in columns.items() if c < len(row) and row[c] in wanted}
            if layouts:
                found[code] = frozenset(layouts)
        return found

    def advice(self, combo: Combo, symbol: int) -> tuple[str, str, str]:
        """Why no key gives ``symbol`` by itself: code, words, and what to write instead."""
        for column, base, more in _HIDDEN[: 2 if self.layouts > 2 else None]:
            for code in self._codes():
                row = self.row(code)
                if column < len(row) and row[column] == symbol and self._has(more):
                    hint = _instead(combo, _called(row[base], code), more)
                    return f"needs_{more[-1]}", f"{combo.key} is not a key of its own here", hint
        what = f"no key of this keyboard gives {combo.key}"
        return "no_such_key", what, self._elsewhere(combo)

    def _has(self, modifiers: Iterable[str]) -> bool:
        return all(self.bit(name) for name in modifiers)

    def _elsewhere(self, combo: Combo) -> str:
        """A Latin letter on a keyboard without any, or anything else that it lacks."""
        for start, letters in _ROWS.items():
            if len(combo.key) == 1 and combo.key in letters:
                code = start + letters.index(combo.key)
                row = self.row(code)
                if row and row[0]:
                    there = Combo(combo.modifiers, _called(row[0], code))
                    return (
                        f"write it as {there}, which lies where {combo.key} is on most keyboards;"
                        " or add a layout with Latin letters to the keyboard"
                    )
        return "xev tells what a key is called here, and its number for code:NUMBER"

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


def _called(symbol: int, code: int) -> str:
    """How a binding may name a key."""
    return _by_value().get(symbol, f"code:{code}")


def _instead(combo: Combo, base: str, more: Iterable[str]) -> str:
    """What to write for a symbol that is on the key ``base`` with ``more`` modifiers."""
    alone = Combo(combo.modifiers, base)
    wanted = {*combo.modifiers, *more}
    whole = Combo(tuple(name for name in MODIFIERS if name in wanted), base)
    if alone == whole:
        return f"write it as {whole}"
    if combo.key.isdecimal():  # a French 1: who binds it means the key, and presses no Shift
        return f"write it as {alone}, which is its key, or as {whole} to press it like the sign"
    return f"write it as {whole}, or as {alone} for its key alone"


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
