"""Who may use an HTTP door of this machine. Pure.

Every web page that the user visits can send requests to 127.0.0.1. What tells them from a
program's: ``Host`` (the only sign of a name that was rebound to this address), ``Origin``, and
``Sec-Fetch-Site``, which a page cannot change and no program sends. A page on another port of this
machine is ``same-site``: a stranger like any other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from koe.transport.connection import Refused

NAMES = ("localhost", "127.0.0.1", "[::1]")
HARMLESS_SITES = ("none", "same-origin")
"""``none``: typed by the user, or asked by a browser extension that was given the right."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks, by his headers."""

    origin: str | None
    """Only one that is allowed."""
    browser: bool


def admit(headers: Iterable[tuple[str, str]], port: int, allowed: Collection[str]) -> Visitor:
    """The visitor, if he may enter. ``headers``: lower-case names and values; ``allowed``: lower-
    case origins. Raises `Refused` with the codes ``bad_host`` and ``not_allowed``."""
    values: dict[str, list[str]] = {}
    for name, value in headers:
        values.setdefault(name, []).append(value.strip().lower())
    _check_host(values.get("host", []), port)
    origins, sites = values.get("origin", []), values.get("sec-fetch-site", [])
    if origins:
        if len(origins) > 1 or origins[0] not in allowed:
            raise _stranger(f"the web page or extension {origins[0][:100]}")
        return Visitor(origins[0], browser=True)
    if any(site not in HARMLESS_SITES for site in sites):
        raise _stranger("a web page that does not say its name")
    if not sites and any(agent.startswith("mozilla/") for agent in values.get("user-agent", [])):
        raise _stranger("a browser that does not say where its request comes from")
    browser = any(name.startswith("sec-fetch-") for name in values)
    return Visitor(None, browser)


def _check_host(hosts: list[str], port: int) -> None:
    if len(hosts) != 1 or hosts[0] not in {f"{name}:{port}" for name in NAMES}:
        raise Refused(
            "bad_host", f"this door is not {' and '.join(hosts)[:100] or 'without a name'}",
            f"it answers to {', '.join(f'{name}:{port}' for name in NAMES)}",
        )  # fmt: skip


def _stranger(who: str) -> Refused:
    return Refused(
        "not_allowed", f"{who} may not use this door",
        "if you want it to: koe bridge bouyomi --allow-origin ORIGIN",
    )  # fmt: skip
