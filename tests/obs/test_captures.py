"""Captures of the microphone are opened again when it was made anew, and no others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from koe.protocol import DeviceBack, StateChanged
from koed.obs.captures import DETOUR, Captures
from koed.obs.link import Refused


class Obs:
    """A session and its link in one, with three sources."""

    def __init__(self) -> None:
        self.there = True
        self.devices = {"mine": "headset", "koed voice": "koed_mic", "half": "koed_mic" + DETOUR}
        self.told: list[tuple[str, str]] = []

    def do(
        self,
        job: Callable[[Any], Any],
        key: object = None,
        then: Callable[[Any], None] | None = None,
    ) -> bool:
        if self.there and then is not None:
            then(job(self))
        return self.there

    def call(self, request: str, **data: Any) -> dict[str, Any]:
        if request == "GetInputList":
            kinds = dict.fromkeys([*self.devices, "gone"], "pulse_input_capture")
            kinds["text"] = "text_ft2_source_v2"
            return {"inputs": [{"inputName": n, "inputKind": k} for n, k in kinds.items()]}
        name = data["inputName"]
        if name not in self.devices:
            raise Refused(request, 600, "")
        if request == "SetInputSettings":
            self.devices[name] = data["inputSettings"]["device_id"]
            self.told.append((name, self.devices[name]))
        return {"inputSettings": {"device_id": self.devices[name]}}


def test_each_making_of_the_microphone_opens_its_captures_once() -> None:
    obs = Obs()
    captures = Captures({"main": "koed_mic"}, obs)
    captures.connected()
    assert obs.told == [], "koed is not ready: there may be no microphone yet"
    captures.hear(StateChanged(state="ready"))
    there_and_back = [
        (name, told) for name in ("koed voice", "half") for told in ("koed_mic.away", "koed_mic")
    ]
    assert obs.told == there_and_back
    captures.connected()
    assert obs.told == there_and_back, "an OBS that comes again finds it by itself"
    captures.hear(DeviceBack(output="another", device="x"))
    assert obs.told == there_and_back
    obs.there = False
    captures.hear(DeviceBack(output="main", device="x"))
    obs.there = True
    captures.connected()
    assert obs.told == 2 * there_and_back, "not before OBS is there"
    assert obs.devices == {"mine": "headset", "koed voice": "koed_mic", "half": "koed_mic"}
    assert captures.status() == {"reopened": 4}
