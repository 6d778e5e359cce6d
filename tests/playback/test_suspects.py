"""A line that ends its engine whenever it is spoken costs itself, never another line."""

from __future__ import annotations

import pytest

from tests.playback.air import BLOCK, TEXTS, Air

POISON = "Well then, boom it goes and that was all of it. And more."


class Poisoned(Air):
    """An engine is lost over a text after so much of its sound as ``after_s``, and never else."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, outputs=2, urgent=["interrupt", "duck", "overlap"][seed % 3])
        self.after_s = self.random.choice([0.0, 0.05, 0.2, 0.3])
        self.poison: set[int] = set()
        self.lost = 0

    def say_something(self) -> None:
        r = self.random
        bad = not self.queued or r.random() < 0.25
        number = self.say(
            POISON if bad else r.choice(TEXTS[:-1]), voice=r.choice(["low", "high", "high"]),
            priority=r.choice(["urgent", "normal", "normal"]), output=r.choice(["main", "side"]),
        )  # fmt: skip
        if bad:
            self.poison.add(number)

    def work(self) -> None:
        for host in self.hosts.values():
            host.state = "up"
        self.dispatch.advance()
        for host in self.hosts.values():
            for serial in host.next_jobs():
                work = host.works.get(serial)
                if work is None:
                    continue
                if (
                    host is self.hosts["a"]
                    and "boom" in work.job.text
                    and work.at_s >= self.after_s
                ):
                    self.lost += 1
                    self.lose(host)
                    break
                self.chunk(host, serial, 0.05)
        self.render(self.random.choice([BLOCK, 5 * BLOCK]))
        self.dispatch.advance()


@pytest.mark.parametrize("seed", range(24))
def test_only_what_ends_its_engine_fails(seed: int) -> None:
    world = Poisoned(seed)
    for _ in range(300):
        if world.random.random() < 0.03:
            world.say_something()
        world.work()
    quiet = 0
    while quiet < 10:
        world.work()
        quiet = 0 if world.lineup._utterances else quiet + 1
    world.check_end()
    failed = {number for number, kind in world.ended.items() if kind == "utterance.failed"}
    assert failed <= world.poison
    assert 0 < world.lost <= 4 * len(world.poison)
