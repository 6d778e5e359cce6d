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
from koe.link import Refused

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
    """``taken``, ``no_such_key``, ``needs_shift``, ``no_modifier``."""
    what: str
    hint: str = ""


@dataclass(slots=True)
class _Grab:
    index: int
    code: int
    """Keycode."""
    mask: int
    """Modifiers, without the locks."""


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
        for grab in found:
            if not self._grab(grab):
                for other in found:
                    self._ungrab(other)
                return Unusable(
                    index,
                    "taken",
                    "another program has this key",
                    "choose another one, or free it there (desktop shortcuts, an overlay)",
                )
        self._grabs += found
        return None

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
            return [_Grab(index, code, mask)]
        symbol = keysym(key)
        if symbol is None:
            return Unusable(
                index, "no_such_key", f"X knows no key {key!r}", "xev tells the name of a key"
            )
        codes = layout.codes(symbol)
        if not codes and layout.shifted(symbol):
            hint = f"write it as {layout.shifted(symbol)}"
            return Unusable(index, "needs_shift", f"{key} is not a key of its own here", hint)
        if not codes:
            return Unusable(index, "no_such_key", f"no key of this keyboard gives {key}")
        return [_Grab(index, code, mask) for code in codes]

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
        return Layout(first, per, plain.keysyms, modifiers)

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
        for grab in self._grabs:
            if (grab.code, grab.mask) == (event.detail, mask) and grab.index not in self._down:
                self._down[grab.index] = grab.code
                return [Key(grab.index, True)]
        return []

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
