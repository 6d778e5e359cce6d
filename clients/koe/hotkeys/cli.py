"""``koe hotkeys``: take the keys, or look at them, or do what one of them does."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from koe.hotkeys import wayland
from koe.hotkeys.bindings import Binding, BindingError, Combo, action
from koe.hotkeys.state import CLIPBOARD, Machine
from koe.transport.connection import Refused

PASTE_S = 1.0
EXAMPLE = "hotkeys: {keys: {ctrl+alt+1: voice hana, F12: panic, shift+F12: release}}"


def run(args: Namespace, place: dict[str, Any]) -> int:
    """The exit code. Raises `koe.wire.framing.WireError`."""
    if args.action is not None:
        return _do(args, place)
    settings = _settings(args)
    if args.desktop is not None:
        for line in wayland.lines(args.desktop, settings.bindings, settings.voice):
            print(line)
        return 0
    if args.check:
        return _check(args, settings)
    if settings.problems:
        raise Refused(
            "bad_config",
            "\n     ".join(f"{settings.source}:{p.line}: {p}" for p in settings.problems),
            "koe hotkeys --check shows all keys",
        )
    if not settings.bindings:
        raise Refused("no_keys", f"{settings.source} binds no key", f"for instance: {EXAMPLE}")
    _refuse_wayland(args, os.environ)
    return _run(args, place, settings)


def _settings(args: Namespace) -> Any:
    try:
        from koe.hotkeys import file
    except ImportError as error:
        raise Refused(
            "no_library", f"PyYAML is not there: {error}", "pip install 'koed[hotkeys]'"
        ) from error
    path = file.find(args.config)
    if path is None:
        raise Refused(
            "no_config", f"there is no {file.FILE_NAME} here or in the configuration folder",
            f"make one with, for instance: {EXAMPLE}",
        )  # fmt: skip
    return file.read(path)


def _refuse_wayland(args: Namespace, environ: Mapping[str, str]) -> None:
    if args.display is None and not args.force and wayland.is_wayland(environ):
        raise Refused(
            "wayland",
            "Wayland lets no program take keys; its desktop can run a command for each instead",
            "koe hotkeys --print gnome (or kde, sway) prints what to set; --force takes keys that"
            " work in X windows only",
        )


def _run(args: Namespace, place: dict[str, Any], settings: Any) -> int:
    from koe.hotkeys.loop import Loop
    from koe.hotkeys.output import Output
    from koe.transport.address import find

    def leave(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    tell = Output(getattr(args, "json", False))
    address = find(place["directory"], place["endpoint"], place["keys"], place["events"])
    before = signal.signal(signal.SIGTERM, leave)
    try:
        Loop(settings, address, tell, args.display, args.patience_s).run()
    except KeyboardInterrupt:
        return 0
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


# --- looking ---------------------------------------------------------------------------------


def _check(args: Namespace, settings: Any) -> int:
    from koe.cli.format import plain
    from koe.hotkeys.x11 import Keyboard, Unusable

    unusable: dict[int, Unusable] = {}
    bound: set[int] = set()
    """By the `koe hotkeys` that is running: as it should be."""
    display = ""
    try:
        keyboard = Keyboard(args.display)
        found = {one.index: one for one in keyboard.grab(settings.bindings)}
        bound = {index for index, one in found.items() if one.code == "taken_by_koe"}
        unusable = {index: one for index, one in found.items() if index not in bound}
        keyboard.close()
    except Refused as error:
        display = f"{error.message}; {error.hint}"
    for index, binding in enumerate(settings.bindings):
        one = unusable.get(index)
        state = "not tried" if display else one.what if one else "ok"
        state = "ok: bound by the koe hotkeys that is running" if index in bound else state
        if getattr(args, "json", False):
            row = {"key": str(binding.combo), "action": str(binding.action), "how": binding.how,
                   "line": binding.line, "state": state,
                   "code": one.code if one else "", "hint": one.hint if one else ""}  # fmt: skip
            print(json.dumps(row, ensure_ascii=False))
        else:
            hint = f"; {one.hint}" if one and one.hint else ""
            row_text = f"{binding.combo!s:20} {binding.action!s:28} {state}{hint}"
            print(plain(row_text).rstrip())
    for problem in settings.problems:
        if getattr(args, "json", False):
            row = {"key": problem.key, "line": problem.line, "code": "bad_binding",
                   "message": problem.what, "hint": problem.hint}  # fmt: skip
            print(json.dumps(row, ensure_ascii=False))
        else:
            print(f"{settings.source}:{problem.line}: {plain(problem)}", file=sys.stderr)
    if display:
        print(f"koe hotkeys: {display}", file=sys.stderr)
    _advise(settings)
    return int(bool(unusable or settings.problems or display))


def _advise(settings: Any) -> None:
    verbs = {binding.action.verb for binding in settings.bindings}
    if "panic" in verbs and "release" not in verbs:
        print("koe hotkeys: no key releases the panic key; koe release does", file=sys.stderr)


# --- one press -------------------------------------------------------------------------------


def _do(args: Namespace, place: dict[str, Any]) -> int:
    """What a key with this action does, once. A held voice cannot be had: nobody lets go."""
    from koe.transport.blocking import Caller

    try:
        wanted = action(args.action)
    except BindingError as error:
        raise Refused("bad_argument", str(error), error.hint) from error
    binding = Binding(Combo((), "F1"), wanted, output=args.output)
    with Caller(**place) as caller:
        machine = Machine((binding,))
        machine.status(caller.call({"op": "status"}))
        for request in machine.act(binding):
            if request["op"] == CLIPBOARD:
                request = request | {"op": "say", "text": _clipboard_text(args)}
            caller.call(request)
    return 0


def _clipboard_text(args: Namespace) -> str:
    """The clipboard of this session; raises `Refused`."""
    from koe.hotkeys.selection import sayable

    limit = 500
    if args.display is None and wayland.is_wayland(os.environ) and shutil.which("wl-paste"):
        text = _pasted(limit)
    else:
        text = _selected(args.display, limit)
    line = sayable(text, limit)
    if not line:
        raise Refused("clipboard_empty", "the clipboard holds no text")
    return line


def _pasted(max_chars: int) -> str:
    with subprocess.Popen(
        ["wl-paste", "--no-newline", "--type", "text"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as paste:  # fmt: skip
        try:
            data, _ = paste.communicate(timeout=PASTE_S)
        except subprocess.TimeoutExpired:
            paste.kill()
            data = b""
    return data[: 4 * max_chars].decode("utf-8", "ignore")


def _selected(display: str | None, max_chars: int) -> str:
    from koe.hotkeys.selection import Clipboard
    from koe.hotkeys.x11 import Keyboard

    keyboard = Keyboard(display)
    try:
        clipboard = Clipboard(keyboard.connection, keyboard.root, max_chars)
        clipboard.ask(time.monotonic())
        while not clipboard.expired(time.monotonic()):
            for event in keyboard.events():
                text = clipboard.text(event)
                if text is not None:
                    return text
            time.sleep(0.002)
        raise Refused("clipboard_silent", "the program with the clipboard does not answer")
    finally:
        keyboard.close()
