"""Opens OBS's captures of koed's microphone again after koed made the microphone anew, and looks
whether OBS can hear it.

A capture whose microphone goes away stays deaf: OBS does not look for it again, and does nothing
when it is told the same device once more. So it is told another one, which there is not, and then
the right one. Its settings are what they were, and a capture of anything else is left alone.

If the sound server itself was restarted, that does not help. All captures of OBS share one
connection to the server, which OBS does not make anew while one of them is there, and there is no
request for it. Such an OBS lists no devices: by that it is known, and told with the cure. Nothing
is told to be repaired before OBS lists the microphone.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from koe.protocol import DeviceBack, DeviceLost, Event, ObsDown, ObsHears, StateChanged, Trouble
from koed.integrations.obs import setup
from koed.integrations.obs.link import Link, ObsRefused
from koed.integrations.obs.prompter import Doer
from koed.integrations.obs.setup import CAPTURE

log = logging.getLogger(__name__)

DETOUR = ".away"
"""Behind the microphone's name. Should koed end between the two requests, the next one knows it."""
LOOK_S = 1.0
"""Between looks at an OBS that does not hear koed, and before the look at one that was changed."""
OBS = "OBS"
"""What it calls itself at the sound server."""
LOOKS = 2
"""So many in a row show that it is deaf: the microphone may go again while it is looked for."""

NO_SERVER = (
    "OBS is deaf: it lost its sound server and does not look for it again",
    "in OBS switch to another scene collection and back, or restart OBS",
)
NO_MICROPHONE = (
    "OBS does not see koed's microphone",
    "do OBS and koed use the same sound server, as the same user? koed devices tells koed's",
)


@dataclass(frozen=True, slots=True)
class Sight:
    """What a look at OBS found."""

    opened: frozenset[str]
    """Microphones of which no capture is left to be opened."""
    reopened: tuple[str, ...]
    """Captures that were opened again."""
    hearing: tuple[str, ...]
    """Captures of which OBS lists the microphone."""
    deaf: tuple[str, ...]
    """The others."""
    serverless: bool
    """OBS lists no device at all for one of those."""


class Captures:
    """A part of the OBS companion (see `companion.ObsPart`) that hears the bus.

    ``microphones``: output -> the name of its microphone; ``recorders``: of an output, the names of
    the programs that record it; ``publish``: onto the bus."""

    def __init__(
        self,
        microphones: Mapping[str, str],
        recorders: Callable[[str], Collection[str]],
        session: Doer,
        publish: Callable[[Event], None],
    ) -> None:
        self._microphones = dict(microphones)
        self._recorders = recorders
        self._session = session
        self._publish = publish
        self._new: set[str] = set()
        """Microphones that were made, and OBS's captures of them not opened since."""
        self._ready = False
        """koed has made its microphones."""
        self._reopened = 0
        self._hears: bool | None = None
        """None: not known, or OBS has no capture of ours."""
        self._told: bool | None = None
        """What was told of that last."""
        self._deaf_looks = 0
        self._again = False
        """Another look is wanted, in a while..."""
        self._look_at: float | None = None
        """... which is then."""

    def hear(self, event: Event) -> None:
        """An event of koed's bus."""
        match event:
            case StateChanged(state="ready"):
                self._ready = True
                # one that outlived the koed before, and that OBS records, is not new: opening a
                # capture again costs what is said meanwhile
                self._new = {
                    microphone
                    for output, microphone in self._microphones.items()
                    if OBS not in self._recorders(output)
                }
                self._look()
            case DeviceLost(output=output) if output in self._microphones:
                self._hears = None
                # it is deaf until its captures are opened again, which is told: what koed says
                # between this event and that one, OBS may not hear
                self._told = self._told and None
            case DeviceBack(output=output) if output in self._microphones:
                self._new.add(self._microphones[output])
                self._look()
            case ObsDown():
                self._hears = None

    def connected(self) -> None:
        self._look()

    def moved(self) -> None:
        self._again = True

    def live(self, live: bool) -> None:
        pass

    def turn(self, now: float) -> None:
        if self._again:
            self._again = False
            self._look_at = self._look_at or now + LOOK_S
        if self._look_at is not None and now >= self._look_at:
            self._look_at = None
            self._look()

    def due(self) -> float | None:
        return self._look_at

    def close(self) -> None:
        pass

    def status(self) -> dict[str, Any]:
        return {"hears": self._hears, "reopened": self._reopened}

    def _look(self) -> None:
        """Now, if OBS is there, else when it comes."""
        if self._ready:
            ours, new = frozenset(self._microphones.values()), frozenset(self._new)
            self._session.do(lambda link: look(link, ours, new), "captures", self._seen)

    def _seen(self, sight: Any) -> None:
        if not isinstance(sight, Sight):  # OBS is not ready to tell
            self._again = True
            return
        self._new -= sight.opened
        self._reopened += len(sight.reopened)
        self._deaf_looks = self._deaf_looks + 1 if sight.deaf else 0
        self._again |= bool(sight.deaf)
        if sight.deaf and self._deaf_looks < LOOKS:
            return
        self._hears = not sight.deaf if sight.deaf or sight.hearing else None
        if self._hears and (sight.reopened or self._told is False):
            log.info("OBS hears koed's microphone again: %s", ", ".join(sight.hearing))
        if self._hears not in (None, self._told):
            self._told = self._hears
            self._publish(
                ObsHears(hears=self._hears is True, captures=list(sight.deaf or sight.hearing))
            )
            if sight.deaf:
                self._complain(sight)

    def _complain(self, sight: Sight) -> None:
        message, hint = NO_SERVER if sight.serverless else NO_MICROPHONE
        message = f"{message} ({', '.join(sight.deaf)})"
        log.warning("%s; %s", message, hint)
        self._publish(Trouble(code="obs_deaf", message=message, hint=hint))


def look(link: Link, ours: frozenset[str], new: frozenset[str]) -> Sight:
    """Which captures of ``ours`` hear; those of the ``new`` ones are opened again if they can.
    Raises `KoedError`."""
    left, reopened, hearing, deaf = set(), [], [], []
    serverless = False
    for one in link.call("GetInputList")["inputs"]:
        name = one["inputName"]
        with contextlib.suppress(ObsRefused):  # it went meanwhile
            microphone = _microphone(link, name) if one["inputKind"] == CAPTURE else ""
            if microphone not in ours:
                continue
            devices = setup.devices(link, name)
            if microphone not in devices:
                left.add(microphone)
                deaf.append(name)
                serverless |= not devices
                continue
            if microphone in new:
                _reopen(link, name, microphone)
                reopened.append(name)
            hearing.append(name)
    return Sight(new - left, tuple(reopened), tuple(hearing), tuple(deaf), serverless)


def _microphone(link: Link, capture: str) -> str:
    settings = link.call("GetInputSettings", inputName=capture)["inputSettings"]
    return str(settings.get("device_id", "")).removesuffix(DETOUR)


def _reopen(link: Link, capture: str, microphone: str) -> None:
    for told in (microphone + DETOUR, microphone):
        link.call(
            "SetInputSettings",
            inputName=capture, inputSettings={"device_id": told}, overlay=True,
        )  # fmt: skip
