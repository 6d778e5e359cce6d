"""The names of the engines that are installed: no more is known of them here."""

from __future__ import annotations

import functools
import logging
from importlib.metadata import Distribution, EntryPoint, EntryPoints, distributions
from typing import Any

from koed.errors import did_you_mean

log = logging.getLogger(__name__)

GROUP = "koed.engines"

OWN = {
    "embedded": "koed.engine.embedded:ENGINE",
    "gpt_sovits": "koed.engine.gpt_sovits:ENGINE",
    "kokoro": "koed.engine.kokoro:ENGINE",
    "tone": "koed.engine.tone:ENGINE",
}
"""koed's own. Not among the entry points: those are as old as the last installation, and the code
of a checkout may be newer."""


@functools.cache
def installed() -> dict[str, EntryPoint]:
    """By name: koed's own, and those of other packages, none of which replaces another."""
    found = {name: EntryPoint(name, value, GROUP) for name, value in OWN.items()}
    for package in distributions():
        for entry in _offered(package):
            found.setdefault(entry.name, entry)
    return found


def _offered(package: Distribution) -> EntryPoints:
    try:
        return package.entry_points.select(group=GROUP)
    except Exception as error:  # noqa: BLE001 - a damaged file of any package is not our trouble
        log.warning("the entry points of a package cannot be read: %r", error)
        return EntryPoints()


def unknown(name: str) -> tuple[str, str]:
    """What is said of an engine that is not installed, and a hint."""
    return f"there is no engine {name[:40]!r}", did_you_mean(name, installed())


class Installed:
    """Marks a setting that is the name of an engine, see `koed.config.schema`."""

    def problem(self, value: Any) -> str:
        return "" if value in installed() else "; ".join(unknown(value))
