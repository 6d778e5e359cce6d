"""The loop of ``koe hotkeys``: one thread, one poll over the X server and koed; nothing blocks.

A press is decided (`koe.hotkeys.state`) and sent on a connection that stands: no process is
started, no answer is waited for, and a hung clipboard, daemon or window delays no other key.
"""

from __future__ import annotations

import time
from typing import Any

import zmq

from koe.hotkeys.bindings import Binding
from koe.hotkeys.connection import Connection, News
from koe.hotkeys.file import Settings
from koe.hotkeys.output import Output
from koe.hotkeys.selection import Clipboard, sayable
from koe.hotkeys.state import CLIPBOARD, Machine, Request
from koe.hotkeys.x11 import HELD_S, Keyboard, Unusable
from koe.transport.address import Address
from koe.transport.connection import Refused
from koe.wire.framing import WireError

LOOK_S = 0.5
TAKEN = ("taken", "taken_by_koe")
RETRY_S = 3.0
"""How often a key is tried again that another program has."""
ABSENT_S = 1.0
"""koed has so long to answer before it is said to be missing."""


class Loop:
    """``display``: None = ``$DISPLAY``. ``patience_s``: how long an X server may be gone."""

    def __init__(
        self,
        settings: Settings,
        address: Address,
        tell: Output,
        display: str | None,
        patience_s: float,
    ) -> None:
        self._settings = settings
        self._tell = tell
        self._display = display
        self._patience_s = patience_s
        self._machine = Machine(settings.bindings, settings.tap_s)
        self._connection = Connection(address)
        self._absence_told = False
        self._absent_at = time.monotonic() + ABSENT_S
        self._said: Request = {}
        """The request that waits for the clipboard."""
        self._unusable: list[Unusable] = []
        self._retry_at = 0.0
        self._open()

    def _open(self) -> None:
        """Raises `Refused` without an X server."""
        self._keyboard = Keyboard(self._display)
        self._clipboard = Clipboard(
            self._keyboard.connection, self._keyboard.root, self._settings.clipboard_chars
        )
        self._poller = zmq.Poller()
        self._poller.register(self._keyboard.fileno(), zmq.POLLIN)
        for socket in self._connection.sockets:
            self._poller.register(socket, zmq.POLLIN)
        self._grab()

    def run(self) -> None:
        """Until it is interrupted; raises `Refused` when the X server stays away."""
        try:
            while True:
                try:
                    self._turn()
                except Refused as error:
                    if error.code != "display_gone":
                        raise
                    self._wait_for_display(error)
        finally:
            for request in self._machine.release_all(time.monotonic()):
                self._send(request)
            self._keyboard.close()
            self._connection.close()

    def _turn(self) -> None:
        now = time.monotonic()
        while self._take_keys(now):  # asking for one thing may have brought others
            now = time.monotonic()
        for news in self._connection.news():
            self._take(news)
        self._look_after(now)
        left_s = HELD_S if self._keyboard.holding else LOOK_S
        if self._clipboard.deadline is not None:
            left_s = min(left_s, max(0.0, self._clipboard.deadline - now))
        self._poller.poll(int(left_s * 1000 + 0.999))

    # --- the keyboard ------------------------------------------------------------------------

    def _grab(self) -> None:
        self._unusable = self._keyboard.grab(self._settings.bindings)
        self._keyboard.announce()
        self._retry_at = time.monotonic() + RETRY_S
        bound = len(self._settings.bindings) - len(self._unusable)
        self._tell.ready(bound, len(self._settings.bindings))
        for one in self._unusable:
            self._tell.unusable(self._settings.bindings[one.index], one)

    def _take_keys(self, now: float) -> bool:
        """What the server says; whether it said anything."""
        keys = self._keyboard.released()
        events = self._keyboard.events()
        moved = False
        for event in events:
            keys += self._keyboard.pressed(event)
            moved |= self._keyboard.is_layout_event(event)
            text = self._clipboard.text(event)
            if text is not None:
                self._say(text)
        for key in keys:
            binding = self._settings.bindings[key.index]
            if key.down:
                self._tell.pressed(binding)
            act = self._machine.press if key.down else self._machine.release
            for request in act(key.index, now):
                self._carry_out(request, binding, now)
        if moved and self._keyboard.layout_changed():
            self._grab()
        return bool(events or keys)

    def _look_after(self, now: float) -> None:
        if self._clipboard.expired(now):
            self._tell.problem("clipboard_silent", "the program with the clipboard does not answer")
        if now >= self._retry_at:
            self._retry_at = now + RETRY_S
            taken = [one for one in self._unusable if one.code in TAKEN]
            if taken:
                left = self._keyboard.grab_again([one.index for one in taken])
                self._keyboard.announce()
                for one in taken:
                    if one.index not in {other.index for other in left}:
                        self._unusable.remove(one)
                        self._tell.usable(self._settings.bindings[one.index])
        if not self._connection.up and now >= self._absent_at:
            self._say_absent()

    def _wait_for_display(self, error: Refused) -> None:
        """Until there is an X server again; all keys count as up."""
        self._tell.problem(error.code, f"{error.message}; waiting for it")
        for request in self._machine.release_all(time.monotonic()):
            self._send(request)
        deadline = time.monotonic() + self._patience_s
        while True:
            time.sleep(LOOK_S)
            try:
                self._open()
                return
            except Refused as missing:
                if missing.code not in ("no_display", "display_gone"):
                    raise
                if time.monotonic() >= deadline:
                    raise Refused(
                        "display_gone",
                        f"the X server has been gone for {self._patience_s:.0f} s: no key works",
                        "start koe hotkeys again in the new session",
                    ) from missing

    # --- koed --------------------------------------------------------------------------------

    def _carry_out(self, request: Request, binding: Binding, now: float) -> None:
        if request["op"] != CLIPBOARD:
            self._send(request)
        elif self._clipboard.ask(now):
            self._said = {key: value for key, value in request.items() if key != "op"}

    def _say(self, text: str) -> None:
        line = sayable(text, self._settings.clipboard_chars)
        if line:
            self._send({"op": "say", "text": line} | self._said)
        else:
            self._tell.problem("clipboard_empty", "the clipboard holds no text")

    def _send(self, request: Request) -> None:
        try:
            if not self._connection.send(request):
                self._say_absent()
        except WireError as error:
            self._tell.problem(error.code, error.message, error.hint)

    def _say_absent(self) -> None:
        if not self._absence_told:
            self._absence_told = True
            self._tell.problem(
                "no_daemon",
                "koed is not there: keys do nothing until it is",
                "start it with `make run` or `koed run`",
            )

    def _take(self, news: News) -> None:
        body: dict[str, Any] = news.body
        match news.kind:
            case "up":
                if self._absence_told:
                    self._tell.back()
                self._absence_told = False
                self._send({"op": "status"})
            case "down":
                self._absent_at = time.monotonic() + ABSENT_S
            case "event":
                self._machine.event(body)
            case "reply" if news.request == {"op": "status"}:
                for request in self._machine.status(body):
                    self._send(request)
            case "refused":
                op = (news.request or {}).get("op", "")
                if op == "panic" and body.get("code") == "unknown_op":
                    self._send({"op": "mute"})  # a koed of before it knew panic
                self._tell.problem(
                    str(body.get("code")), f"{op}: {body.get('message')}", str(body.get("hint", ""))
                )
