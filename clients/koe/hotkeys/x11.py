"""Global keys of an X server: grabs, their conflicts, and what goes down and up.

The library is xcffib, the XCB binding that the window manager Qtile is built on: Apache-2.0, typed
and kept up. python-xlib and pynput are LGPL, and pynput only listens (XRecord): it cannot tell a
key that somebody else has, and the program in front gets the key as well.

A grabbed key would take the whole keyboard while it is down, and with a key that is held (a voice
while held) no other key would reach the game in front. Therefore the keyboard is given back at
every press, and when a key goes up is asked of the server (QueryKeymap) while one is down: exact,
deaf to auto-repeat, and no release is missed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from koe.hotkeys.bindings import Binding
from koe.hotkeys.keynames import Layout, keysym, modifier_bits
from koe.transport.connection import Refused

ANNOUNCED = "_KOE_HOTKEYS"
"""A selection that the running `koe hotkeys` owns, and the property of its window with the keys
that it has: pairs of keycode and modifiers."""
MAX_ANNOUNCED = 4096
ALL_LAYOUTS = frozenset(range(4))
HELD_S = 0.01
"""How often a key that is down is looked at."""


@dataclass(frozen=True, slots=True)
class Key:
    """A binding's key went down or up."""

    index: int
    down: bool


@dataclass(frozen=True, slots=True)
class Unusable:
    """A binding that does not work on this keyboard or this screen, and why."""

    index: int
    code: str
    """``taken``, ``taken_by_koe``, ``twice``, ``no_such_key``, ``needs_shift``, ``needs_altgr``,
    ``no_modifier``."""
    what: str
    hint: str = ""


@dataclass(slots=True)
class _Grab:
    index: int
    code: int
    """Keycode."""
    mask: int
    """Modifiers, without the locks."""
    layouts: frozenset[int]
    """Those of the keyboard in which this key is meant."""


class Keyboard:
    """A connection to an X server. ``display``: None = ``$DISPLAY``.

    Raises `Refused` ``no_library``, ``no_display``; every method ``display_gone``.
    """

    def __init__(self, display: str | None = None) -> None:
        self._bindings: Sequence[Binding] = ()
        self._grabs: list[_Grab] = []
        self._down: dict[int, int] = {}
        """Keycode by the index of each key that is down."""
        self._layout: Layout | None = None
        self._x = _library()
        try:
            self._connection = self._x.connect(display)
            self._setup = self._connection.get_setup()
        except self._x.ConnectionException as error:
            raise Refused(
                "no_display",
                f"there is no X server at {display or '$DISPLAY'}",
                "start koe hotkeys in the desktop session, or set DISPLAY",
            ) from error
        self._roots = [screen.root for screen in self._setup.roots]
        self._window = 0
        """Ours, where the keys are announced; 0 = they are not."""

    # --- for the loop ------------------------------------------------------------------------

    @property
    def connection(self) -> Any:
        """xcffib's, for others who talk to the same server."""
        return self._connection

    @property
    def root(self) -> int:
        return int(self._roots[0])

    def fileno(self) -> int:
        return int(self._connection.get_file_descriptor())

    @property
    def holding(self) -> bool:
        """A key is down: `released` is to be asked every `HELD_S`."""
        return bool(self._down)

    def close(self) -> None:
        with contextlib.suppress(self._x.ConnectionException):
            self._connection.disconnect()

    @contextlib.contextmanager
    def _watching(self) -> Iterator[None]:
        try:
            yield
        except self._x.ConnectionException as error:
            raise Refused("display_gone", "the X server has ended the connection") from error

    # --- grabs -------------------------------------------------------------------------------

    def grab(self, bindings: Sequence[Binding]) -> list[Unusable]:
        """Take the keys of all bindings; those that cannot be had are told, the others work."""
        with self._watching():
            for grab in self._grabs:
                self._ungrab(grab)
            self._grabs.clear()
            self._bindings = bindings
            self._layout = self._read_layout()
            unusable = [self._take(i, binding) for i, binding in enumerate(bindings)]
            return [one for one in unusable if one is not None]

    def grab_again(self, indices: Sequence[int]) -> list[Unusable]:
        """Try those again that somebody else had; the ones that still cannot be had."""
        with self._watching():
            unusable = [self._take(index, self._bindings[index]) for index in indices]
            return [one for one in unusable if one is not None]

    def layout_changed(self) -> bool:
        """Whether keys lie elsewhere than when they were grabbed."""
        with self._watching():
            return self._layout != self._read_layout()

    def _take(self, index: int, binding: Binding) -> Unusable | None:
        found = self._places(index, binding)
        if isinstance(found, Unusable):
            return found
        same = self._same(found)
        if same is not None:
            what = f"this is the same key as {self._bindings[same].combo}"
            return Unusable(index, "twice", what, "take one of the two out")
        for grab in found:
            if not self._grab(grab):
                kept = {(own.code, own.mask) for own in self._grabs}
                for other in found:
                    if (other.code, other.mask) not in kept:
                        self._ungrab(other)
                return self._taken(index, grab)
        self._grabs += found
        return None

    def _same(self, places: list[_Grab]) -> int | None:
        """The binding that has all these keys already, under another name; or None."""

        def has(grabs: list[_Grab], place: _Grab) -> bool:
            alike = (g for g in grabs if (g.code, g.mask) == (place.code, place.mask))
            return any(grab.layouts & place.layouts for grab in alike)

        for index in dict.fromkeys(grab.index for grab in self._grabs):
            grabs = [grab for grab in self._grabs if grab.index == index]
            if all(has(grabs, place) for place in places):
                return index
        return None

    def _taken(self, index: int, grab: _Grab) -> Unusable:
        if (grab.code, grab.mask) in self._announced():
            return Unusable(
                index,
                "taken_by_koe",
                "the koe hotkeys that is running has this key",
                "it works there; end that one to have it here",
            )
        return Unusable(
            index,
            "taken",
            "another program has this key",
            "choose another one, or free it there (desktop shortcuts, an overlay)",
        )

    def _places(self, index: int, binding: Binding) -> list[_Grab] | Unusable:
        """Keycodes and modifiers of a binding on this keyboard."""
        layout, key = self._layout, binding.combo.key
        assert layout is not None, "it is read before keys are taken"
        mask = 0
        for name in binding.combo.modifiers:
            if not layout.bit(name):
                return Unusable(index, "no_modifier", f"this keyboard has no {name}")
            mask |= layout.bit(name)
        if key.startswith("code:"):
            code = int(key.removeprefix("code:"))
            if not self._setup.min_keycode <= code <= self._setup.max_keycode:
                return Unusable(index, "no_such_key", f"there is no key {key}", "xev tells codes")
            return [_Grab(index, code, mask, ALL_LAYOUTS)]
        symbol = keysym(key)
        if symbol is None:
            return Unusable(
                index, "no_such_key", f"X knows no key {key!r}", "xev tells the name of a key"
            )
        places = layout.places(symbol)
        if not places:
            return Unusable(index, *layout.advice(binding.combo, symbol))
        return [_Grab(index, code, mask, layouts) for code, layouts in places.items()]

    def _grab(self, grab: _Grab) -> bool:
        """On every screen, with every state of the locks. False = somebody else has it."""
        assert self._layout is not None, "it is read before keys are taken"
        mode = self._x.xproto.GrabMode.Async
        asked = [
            self._connection.core.GrabKeyChecked(
                False, root, grab.mask | locks, grab.code, mode, mode
            )
            for root in self._roots
            for locks in self._layout.locks
        ]
        granted = True
        for cookie in asked:
            try:
                cookie.check()
            except self._x.xproto.AccessError:
                granted = False
        return granted

    def _ungrab(self, grab: _Grab) -> None:
        assert self._layout is not None, "it was read before keys were taken"
        for root in self._roots:
            for locks in self._layout.locks:
                self._connection.core.UngrabKey(grab.code, root, grab.mask | locks)

    # --- what others should know -------------------------------------------------------------

    def announce(self) -> None:
        """Let another `koe hotkeys` on this screen know which keys are ours. Only one can: while it
        runs, nobody else is heard."""
        with self._watching():
            core, atom = self._connection.core, self._atom()
            owner = core.GetSelectionOwner(atom).reply().owner
            if not self._window:
                self._window = self._connection.generate_id()
                core.CreateWindow(
                    0, self._window, self.root, 0, 0, 1, 1, 0,
                    self._x.xproto.WindowClass.InputOnly, 0, 0, [],
                )  # fmt: skip
            pairs = [number for grab in self._grabs for number in (grab.code, grab.mask)]
            core.ChangeProperty(
                self._x.xproto.PropMode.Replace, self._window, atom,
                self._x.xproto.Atom.CARDINAL, 32, len(pairs), pairs,
            )  # fmt: skip
            if owner == 0:
                core.SetSelectionOwner(self._window, atom, self._x.CurrentTime)
            self._connection.flush()

    def _announced(self) -> set[tuple[int, int]]:
        """Keycodes and modifiers that another `koe hotkeys` has."""
        core, atom = self._connection.core, self._atom()
        owner = core.GetSelectionOwner(atom).reply().owner
        if owner in (0, self._window):
            return set()
        try:
            told = core.GetProperty(
                False, owner, atom, self._x.xproto.Atom.CARDINAL, 0, MAX_ANNOUNCED
            ).reply()
        except self._x.ProtocolException:  # it has just ended
            return set()
        numbers = told.value.to_atoms()
        return set(zip(numbers[::2], numbers[1::2], strict=False))

    def _atom(self) -> int:
        name = ANNOUNCED
        return int(self._connection.core.InternAtom(False, len(name), name).reply().atom)

    def _read_layout(self) -> Layout:
        first = self._setup.min_keycode
        core = self._connection.core
        wanted = core.GetKeyboardMapping(first, self._setup.max_keycode - first + 1)
        bits = core.GetModifierMapping().reply()
        keys = wanted.reply()
        per = keys.keysyms_per_keycode
        plain = Layout(first, per, tuple(keys.keysyms), ())
        codes = list(bits.keycodes)
        rows = {code: plain.row(code) for code in codes if code}
        modifiers = modifier_bits(codes, bits.keycodes_per_modifier, rows)
        return Layout(first, per, plain.keysyms, modifiers, self._layouts())

    def _layouts(self) -> int:
        """How many the keyboard can be switched to, as setxkbmap and desktops write it down."""
        core, name = self._connection.core, "_XKB_RULES_NAMES"
        atom = core.InternAtom(False, len(name), name).reply().atom
        told = core.GetProperty(False, self.root, atom, self._x.xproto.Atom.STRING, 0, 256).reply()
        rules = bytes(told.value.buf()).split(b"\0")  # rules, model, layouts, variants, options
        return 1 + rules[2].count(b",") if len(rules) > 2 else 1

    # --- events ------------------------------------------------------------------------------

    def events(self) -> list[Any]:
        """What has come from the server, as xcffib's events; does not wait."""
        found: list[Any] = []
        with self._watching():
            while True:
                try:
                    event = self._connection.poll_for_event()
                except self._x.ProtocolException:  # somebody's window went away meanwhile
                    continue
                if event is None:
                    return found
                found.append(event)

    def pressed(self, event: Any) -> list[Key]:
        """The binding that a key event means, if any; gives the keyboard back."""
        if not isinstance(event, self._x.xproto.KeyPressEvent):
            return []
        with self._watching():
            self._connection.core.UngrabKeyboard(self._x.CurrentTime)
            self._connection.flush()
        assert self._layout is not None, "no key comes before it is taken"
        mask = event.state & 0xFF & ~max(self._layout.locks)
        layout = event.state >> 13 & 3
        meant = [grab for grab in self._grabs if (grab.code, grab.mask) == (event.detail, mask)]
        meant.sort(key=lambda grab: layout not in grab.layouts)
        if not meant or meant[0].index in self._down:
            return []
        self._down[meant[0].index] = meant[0].code
        return [Key(meant[0].index, True)]

    def released(self) -> list[Key]:
        """The keys that have gone up since the last look."""
        if not self._down:
            return []
        with self._watching():
            keys = self._connection.core.QueryKeymap().reply().keys
        up = [i for i, code in self._down.items() if not keys[code // 8] >> (code % 8) & 1]
        for index in up:
            del self._down[index]
        return [Key(index, False) for index in up]

    def is_layout_event(self, event: Any) -> bool:
        return isinstance(event, self._x.xproto.MappingNotifyEvent)


def _library() -> Any:
    try:
        import xcffib
        import xcffib.xproto
    except ImportError as error:
        raise Refused(
            "no_library", f"the library for X is not there: {error}",
            "pip install 'koed[hotkeys]', and the system's libxcb1",
        ) from error  # fmt: skip
    except OSError as error:  # cffi found no libxcb
        raise Refused(
            "no_library", f"libxcb cannot be loaded: {error}", "sudo apt install libxcb1"
        ) from error
    return xcffib
