"""What ``koe hotkeys`` tells, to people or as JSON lines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from koe.cli.format import plain
from koe.hotkeys.bindings import Binding

if TYPE_CHECKING:
    from koe.hotkeys.x11 import Unusable


class Output:
    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json

    def _say(self, event: str, text: str, **fields: Any) -> None:
        if self._as_json:
            print(json.dumps({"event": event} | fields), flush=True)
        else:
            print(f"koe hotkeys: {plain(text)}", flush=True)

    def ready(self, bound: int, wanted: int) -> None:
        self._say("ready", f"{bound} of {wanted} keys are bound", bound=bound, wanted=wanted)

    def pressed(self, binding: Binding) -> None:
        self._say(
            "pressed",
            f"{binding.combo}: {binding.action}",
            key=str(binding.combo),
            action=str(binding.action),
        )

    def unusable(self, binding: Binding, one: Unusable) -> None:
        where = f" (line {binding.line})" if binding.line else ""
        text = f"{binding.combo}{where}: {one.what}" + (f"; {one.hint}" if one.hint else "")
        self._say(
            "unusable",
            text,
            key=str(binding.combo),
            line=binding.line,
            code=one.code,
            message=one.what,
            hint=one.hint,
        )

    def usable(self, binding: Binding) -> None:
        self._say("usable", f"{binding.combo}: free now, and bound", key=str(binding.combo))

    def back(self) -> None:
        self._say("back", "koed is there again")

    def problem(self, code: str, message: str, hint: str = "") -> None:
        text = message + (f"; {hint}" if hint else "")
        self._say("problem", text, code=code, message=message, hint=hint)
