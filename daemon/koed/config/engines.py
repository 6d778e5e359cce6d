"""The names of the engines that are installed: no more is known of them here."""

from __future__ import annotations

import functools
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from koed.errors import did_you_mean

GROUP = "koed.engines"


@functools.cache
def installed() -> dict[str, EntryPoint]:
    """By name, koed's own and those of other packages."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def unknown(name: str) -> tuple[str, str]:
    """What is said of an engine that is not installed, and a hint."""
    return f"there is no engine {name[:40]!r}", did_you_mean(name, installed())


class Installed:
    """Marks a setting that is the name of an engine, see `koed.config.schema`."""

    def problem(self, value: Any) -> str:
        if value in installed():
            return ""
        return "; ".join(filter(None, unknown(value)))
