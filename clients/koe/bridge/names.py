"""Names that a bridge was given on its command line, against those that koed has."""

from __future__ import annotations

from collections.abc import Iterable

from koe.aio import AsyncClient
from koe.bridge.notes import Notes
from koe.wire.fields import did_you_mean
from koe.wire.framing import WireError


async def tell_unknown(
    koed: AsyncClient, notes: Notes, voices: Iterable[str | None], output: str | None
) -> None:
    """A note for each that koed does not have: otherwise the bridge would be silent without a word.

    None = not given. Without a koed nothing is told: what it has is not known.
    """
    try:
        has = {
            "voice": {voice.name for voice in await koed.voices()},
            "output": set((await koed.status()).get("outputs") or ()),
        }
    except WireError:
        return
    for kind, names in (("voice", voices), ("output", [output])):
        for name in sorted({name for name in names if name} - has[kind]):
            there = did_you_mean(name, sorted(has[kind]), "it has") or "it has none"
            notes.tell(f"koed has no {kind} {name!r}; {there}")
