"""Words of OpenJTalk 1.11's dictionary as the voice models learnt them.

The dictionary inside pyopenjtalk-plus has better readings and accents for some six thousand words
and particles, which a model trained on version 1.11 has never heard. The table restores them.
"""

from __future__ import annotations

import functools

from koed.g2p.tables import lines

_SURFACE, _BASE = 0, 7  # fields of an entry: surface, six of word class, base ... rules


def corrected(fields: list[str]) -> list[str]:
    """The fields of an entry, from the base form on as version 1.11 has them."""
    if len(fields) <= _BASE:
        return fields
    classes = (fields[1], fields[2], fields[5], fields[6])
    old = _table().get((fields[_SURFACE], ",".join((*classes, *fields[_BASE:]))))
    return fields if old is None else [*fields[:_BASE], *old.split(",")]


@functools.cache
def _table() -> dict[tuple[str, str], str]:
    """Surface and entry of the newer dictionary -> base form, reading, ..., rules of the older."""
    rows = (line.split("\t") for line in lines("naist_jdic.txt.xz"))
    return {(surface, new): old for surface, new, old in rows}
