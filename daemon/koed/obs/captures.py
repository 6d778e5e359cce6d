"""Opens OBS's captures of koed's microphone again after koed made the microphone anew.

A capture whose microphone goes away (koed or the sound server was restarted) stays deaf: OBS does
not look for it again, and does nothing when it is told the same device once more. So it is told
another one, which there is not, and then the right one. Its settings are what they were, and a
capture of anything else is left alone.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from koe.protocol import DeviceBack, Event, StateChanged
from koed.obs.link import Link, Refused
from koed.obs.prompter import Doer

log = logging.getLogger(__name__)

CAPTURE = "pulse_input_capture"
DETOUR = ".away"
"""Behind the microphone's name. Should koed end between the two requests, the next one knows it."""


class Captures:
    """A part of the OBS companion (see `koed.obs.companion.Part`) that hears the bus.

    ``microphones``: output -> the name of its microphone."""

    def __init__(self, microphones: Mapping[str, str], session: Doer) -> None:
        self._microphones = dict(microphones)
        self._session = session
        self._new: set[str] = set()
        """Microphones that were made, and OBS's captures of them not opened since."""
        self._reopened = 0

    def hear(self, event: Event) -> None:
        """An event of koed's bus."""
        if isinstance(event, StateChanged) and event.state == "ready":
            self._new = set(self._microphones.values())
            self._reopen()
        elif isinstance(event, DeviceBack) and event.output in self._microphones:
            self._new.add(self._microphones[event.output])
            self._reopen()

    def connected(self) -> None:
        self._reopen()

    def moved(self) -> None:
        pass

    def live(self, live: bool) -> None:
        pass

    def turn(self, now: float) -> None:
        pass

    def due(self) -> float | None:
        return None

    def close(self) -> None:
        pass

    def status(self) -> dict[str, Any]:
        return {"reopened": self._reopened}

    def _reopen(self) -> None:
        """Now, if OBS is there, else when it comes."""
        if self._new:
            new = frozenset(self._new)
            self._session.do(lambda link: reopen(link, new), "captures", self._done)

    def _done(self, result: Any) -> None:
        if isinstance(result, tuple):
            microphones, names = result
            self._new -= microphones
            self._reopened += len(names)
            if names:
                log.info("OBS hears koed's microphone again: %s", ", ".join(names))


def reopen(link: Link, microphones: Iterable[str]) -> tuple[frozenset[str], list[str]]:
    """Which microphones that was done for, and the names of the captures. Raises `KoedError`."""
    wanted = frozenset(microphones)
    names = []
    for one in link.call("GetInputList")["inputs"]:
        name = one["inputName"]
        with contextlib.suppress(Refused):  # it went meanwhile
            if one["inputKind"] != CAPTURE:
                continue
            settings = link.call("GetInputSettings", inputName=name)["inputSettings"]
            device = str(settings.get("device_id", "")).removesuffix(DETOUR)
            if device in wanted:
                for told in (device + DETOUR, device):
                    link.call(
                        "SetInputSettings",
                        inputName=name, inputSettings={"device_id": told}, overlay=True,
                    )  # fmt: skip
                names.append(name)
    return wanted, names
