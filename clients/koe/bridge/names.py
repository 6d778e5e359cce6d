"""Names that a bridge was given on its command line, against those that koed has."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from koe.aio import AsyncClient
from koe.bridge.notes import Notes
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
            close = difflib.get_close_matches(name, has[kind], n=1)
            there = (
                f"did you mean {close[0]!r}?"
                if close
                else f"it has: {', '.join(sorted(has[kind]))}"
            )
            notes.tell(f"koed has no {kind} {name!r}; {there}")
