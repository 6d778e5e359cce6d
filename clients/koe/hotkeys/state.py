"""What a key press means now: bindings, keys held and the daemon's state in, requests out. Pure.

Time is an argument: seconds of one monotonic clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from koe.hotkeys.bindings import Binding

Request = dict[str, Any]
BY = "hotkey"
"""Who caused a panic, as koed tells it."""
CLIPBOARD = "clipboard"
"""The ``op`` of a request that the clipboard is to be said; it never reaches the wire."""


@dataclass(slots=True)
class View:
    """What is known of the daemon."""

    voice: str = ""
    muted: bool = False
    paused: bool = False
    mode: str = "speak"


@dataclass(slots=True)
class _Hold:
    index: int
    name: str
    since: float
    """When the key went down."""


@dataclass(slots=True)
class Machine:
    """``tap_s``: a voice key that is held no longer is a tap: the voice stays."""

    bindings: Sequence[Binding]
    tap_s: float = 0.25
    view: View = field(default_factory=View)
    panicked: bool = False
    """Latched, by the panic key or by whomever; only a release ends it."""
    _down: set[int] = field(default_factory=set)
    """The keys that are down."""
    _holds: list[_Hold] = field(default_factory=list)
    """Voice keys that are down, in the order of pressing."""
    _base: str = ""
    """The voice under all holds."""
    _before: dict[str, str] = field(default_factory=dict)
    """The voice that a tap on this voice's key goes back to."""

    def press(self, index: int, now: float) -> list[Request]:
        """A key goes down. One that is down already repeats itself: nothing."""
        if index in self._down:
            return []
        self._down.add(index)
        binding = self.bindings[index]
        if binding.action.verb == "voice":
            return self._press_voice(index, binding, now)
        return self.act(binding)

    def release(self, index: int, now: float) -> list[Request]:
        """A key goes up."""
        self._down.discard(index)
        hold = next((hold for hold in self._holds if hold.index == index), None)
        if hold is None:
            return []
        top = self._holds[-1] is hold
        self._holds.remove(hold)
        binding = self.bindings[index]
        if binding.how == "tap" or (binding.how == "auto" and now - hold.since < self.tap_s):
            self._before[hold.name] = self._base
            self._base = hold.name
            return []
        if not top or self.view.voice != hold.name:  # another key or somebody else has decided
            return []
        return self._speak_as(binding, self._holds[-1].name if self._holds else self._base)

    def release_all(self, now: float) -> list[Request]:
        """The keyboard is gone: every key counts as up, and no hold as a tap."""
        requests = [r for i in sorted(self._down) for r in self.release(i, now + self.tap_s)]
        self._down.clear()
        return requests

    def _press_voice(self, index: int, binding: Binding, now: float) -> list[Request]:
        name = binding.action.argument
        if binding.how != "hold" and self.view.voice == name and not self._holds:
            back = self._before.pop(name, "")
            return self._speak_as(binding, back) if back else []
        if not self._holds:
            self._base = self.view.voice
        self._holds.append(_Hold(index, name, now))
        return self._speak_as(binding, name)

    def _speak_as(self, binding: Binding, name: str) -> list[Request]:
        if not name or name == self.view.voice:
            return []
        self.view.voice = name  # until the daemon tells otherwise
        return [_request("voice", binding, name=name, when=binding.when)]

    def act(self, binding: Binding) -> list[Request]:
        """What an action asks for, but for a voice that is held."""
        verb, argument = binding.action.verb, binding.action.argument
        if self.panicked and verb in ("phrase", "say", CLIPBOARD, "mute"):
            return []  # nothing that sounds later, and no key beside the panic key undoes it
        match verb:
            case "voice":
                return [_request("voice", binding, name=argument, when=binding.when)]
            case "phrase":
                return [_request("phrase", binding, name=argument, priority=binding.priority)]
            case "say":
                return [_request("say", binding, text=argument, priority=binding.priority)]
            case "clipboard":
                return [_request(CLIPBOARD, binding, priority=binding.priority)]
            case "mode":
                on = self.view.mode == argument
                return [_request("mode", binding, mode="speak" if on else argument)]
            case "pause":
                return [_request("resume" if self.view.paused else "pause", binding)]
            case "mute":
                return [_request("unmute" if self.view.muted else "mute", binding)]
            case "panic":
                self.panicked = True
                return self.panic()
            case "release":
                forget = [{"op": "clear"}] if self.panicked else []
                self.panicked = False
                return [*forget, {"op": "release"}, {"op": "unmute"}]
            case _:
                return [_request(verb, binding)]

    def panic(self) -> list[Request]:
        """Silence on all outputs, latched, and nothing that comes back."""
        return [{"op": "panic", "by": BY}, {"op": "stop"}]

    # --- what the daemon tells ---------------------------------------------------------------

    def status(self, status: dict[str, Any]) -> list[Request]:
        """The daemon is there (again): its state, and what it must be reminded of."""
        outputs = [o for o in (status.get("outputs") or {}).values() if isinstance(o, dict)]
        self.view.voice = str(status.get("voice") or "")
        self.view.muted = any(output.get("muted") for output in outputs)
        self.view.paused = any(output.get("paused") for output in outputs)
        self.view.mode = str(next((o["mode"] for o in outputs if "mode" in o), "speak"))
        there = any(output.get("held") == "panic" for output in outputs)
        forgotten = self.panicked and not there
        self.panicked = self.panicked or there
        return self.panic() if forgotten else []

    def event(self, event: dict[str, Any]) -> None:
        match event.get("event"):
            case "voice.changed" if not event.get("output"):
                self.view.voice = str(event.get("voice"))
            case "mode.changed":
                self.view.mode = str(event.get("mode"))
            case "state":
                self._state(str(event.get("state")))

    def _state(self, state: str) -> None:
        match state:
            case "muted" | "unmuted":
                self.view.muted = state == "muted"
            case "panic" | "released":  # by whomever
                self.panicked = state == "panic"
            case "paused" | "resumed":
                self.view.paused = state == "paused"


def _request(op: str, binding: Binding, **fields: Any) -> Request:
    output = {"output": binding.output} if binding.output else {}
    return {"op": op} | fields | output
