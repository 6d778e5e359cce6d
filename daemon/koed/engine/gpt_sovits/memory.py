"""Memory of models, counted: what they hold, and how much of a device they may take."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from torch import Tensor, nn

from koed.engine.gpt_sovits import cards
from koed.engine.gpt_sovits.cards import Card

CPU_BYTES = 4 << 30
CPU_SHARE = 0.5
"""Of what is available: the swap file is no place for a voice."""
CARD_SHARE = 0.8
"""Of what is free: a game's next scene wants some too."""
BESIDE_BYTES = 1 << 30
"""On a GPU beside base models: BERT in half precision (0.6 GB), HuBERT while a voice is prepared,
and the workspaces of libraries."""


def allowed_bytes(card: Card | None, used_bytes: int) -> int:
    """What base models may take, if ``used_bytes`` of it are theirs already."""
    if card is None:
        return min(CPU_BYTES, int(CPU_SHARE * (used_bytes + _available_bytes())))
    return max(0, int(CARD_SHARE * (used_bytes + cards.free_bytes(card) - BESIDE_BYTES)))


def _available_bytes() -> int:
    """Of main memory, as Linux estimates it; all of it where it does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            found = dict(line.split(":", 1) for line in file)
        return int(found["MemAvailable"].split()[0]) << 10
    except (OSError, KeyError, ValueError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def held_bytes(*things: object) -> int:
    """Of all tensors that can be reached from there through our own objects, each storage once."""
    seen: set[int] = set()
    total, todo = 0, list(things)
    while todo:
        thing = todo.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, Tensor):
            key, size = _storage(thing)
            total += 0 if key in seen else size
            seen.add(key)
        else:
            total += getattr(thing, "packed_bytes", 0)
            todo += _within(thing)
    return total


def _storage(tensor: Tensor) -> tuple[int, int]:
    """An address and bytes; oneDNN's tensors have an order of their own and no storage."""
    if tensor.is_mkldnn:
        return -id(tensor), tensor.numel() * tensor.element_size()
    storage = tensor.untyped_storage()
    return -storage.data_ptr(), storage.nbytes()


def _within(thing: object) -> Iterator[object]:
    if isinstance(thing, Mapping):
        yield from thing.values()
    elif isinstance(thing, (list, tuple)):
        yield from thing
    elif isinstance(thing, nn.Module) or type(thing).__module__.startswith("koed."):
        yield from getattr(thing, "__dict__", {}).values()
        for name in getattr(type(thing), "__slots__", ()):
            yield getattr(thing, name, None)
