"""Is this a raid? Counts lines in two buckets of a second: O(1) in time and memory."""

from __future__ import annotations

from koed.config.chat import RaidConfig


class Surge:
    """Times are seconds of one monotonic clock."""

    def __init__(self, config: RaidConfig) -> None:
        self._config = config
        self._second = 0
        self._now = 0
        self._before = 0
        self._calm_at = float("-inf")
        self._passed = 0
        self.on = False

    def count(self, now: float) -> bool:
        """One more line; whether it is part of a raid."""
        if not self._config.over_per_s:
            return False
        second = int(now)
        if second != self._second:
            self._before = self._now if second == self._second + 1 else 0
            self._second, self._now = second, 0
        self._now += 1
        # the last second: all of the running one, and the part of the one before that is in it
        per_s = self._now + self._before * (1 - (now - second))
        if per_s > self._config.over_per_s:
            if not self.on:
                self._passed = 0
            self.on = True
            self._calm_at = now + self._config.calm_s
        elif now >= self._calm_at:
            self.on = False
        return self.on

    def passes(self, roles: frozenset[str]) -> bool:
        """Whether this line of a raid is read."""
        if self._config.keep == "roles":
            return not roles.isdisjoint(self._config.roles)
        self._passed += 1
        return self._passed % self._config.every == 1 or self._config.every == 1
