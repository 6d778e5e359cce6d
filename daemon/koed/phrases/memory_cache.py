"""Takes in memory under a budget; of more, the longest unused go. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection

from koed.playback.takes import Take


class MemoryCache:
    """Takes by key, in order of use."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._takes: OrderedDict[str, Take] = OrderedDict()
        self.size_bytes = 0

    def __contains__(self, key: str) -> bool:
        return key in self._takes

    def has_room(self, size_bytes: int) -> bool:
        return self.size_bytes + size_bytes <= self._max_bytes

    def get(self, key: str) -> Take | None:
        """The take, which is now the most recently used."""
        take = self._takes.get(key)
        if take is not None:
            self._takes.move_to_end(key)
        return take

    def peek(self, key: str) -> Take | None:
        """The take, which is not used by that."""
        return self._takes.get(key)

    def put(self, take: Take) -> bool:
        """Keep a take, at the cost of the longest unused. False = it is larger than the budget."""
        if take.size_bytes > self._max_bytes:
            return False
        self.remove(take.key)
        while not self.has_room(take.size_bytes):
            self.remove(next(iter(self._takes)))
        self._takes[take.key] = take
        self.size_bytes += take.size_bytes
        return True

    def remove(self, key: str) -> None:
        take = self._takes.pop(key, None)
        if take is not None:
            self.size_bytes -= take.size_bytes

    def retain(self, keys: Collection[str]) -> None:
        """Forget what is not among ``keys``."""
        for key in [key for key in self._takes if key not in keys]:
            self.remove(key)
