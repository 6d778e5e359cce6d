"""Both sides of a mixer interleaved at random, held against `lane_model`.

The control side does something between every two steps of the device side (count the orders, read
the list, obey, render), and the device side may render between what the control side writes.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from lane_model import LaneModel

from koed.audio.arrangement import Entry, Joint
from koed.audio.commands import Commands
from koed.audio.mixer import Mixer

RATE = 8000
FADE = 4
SEQUENCES = 2000
BLOCKS = 8


SOUND = np.tile((np.arange(97, dtype=np.float32) + 1) / 1000, 2)
"""A value tells where in a track it was; two tracks together leave the limiter at rest."""


class WatchedCommands(Commands):
    """Tells the stage when it is added to, counted and obeyed."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self._stage = stage

    def add(self, order: Callable[..., Any], *arguments: Any) -> None:
        self._stage.adds(lambda: super(WatchedCommands, self).add(order, *arguments))

    def __len__(self) -> int:
        return self._stage.step("count", super().__len__)

    def run(self, count: int) -> None:
        self._stage.step("obey", lambda: super(WatchedCommands, self).run(count))


class Stage:
    """A mixer with one lane, the model of it, and a control side that is at work all the time."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.model = LaneModel(RATE, FADE)
        self.mixer = Mixer(RATE, fade_ms=0.5, true_peak_db=-1.0, history_s=0.0)
        self.mixer._commands = WatchedCommands(self)
        self.lane = self.mixer._lane(0)
        read, catch_up = self.lane.read, self.mixer._catch_up
        self.lane.read = lambda: self.step("read", read)  # type: ignore[method-assign]
        self.mixer._catch_up = lambda: self._watch(catch_up)  # type: ignore[method-assign]
        self.entries: list[Entry] = []
        self.named = 0
        self.fed = 0
        self.blocks: list[np.ndarray] = []
        self.events: list[tuple[str, int, int, int, int]] = []
        self._open: dict[int, int] = {}  # frames fed by serial, of what may be fed
        self._order: tuple[Any, ...] = ()
        self._inside = False  # a block is being made
        self._adding = False  # in the midst of what the control side does: it does nothing else
        self._catching_up: list[str] | None = None

    # --- the device side ---

    def block(self, frames: int = 0) -> None:
        self._inside = True
        frames = frames or self.rng.randrange(1, 40)
        block = self.mixer.render(frames)
        self.model.play(frames)
        self.blocks.append(block.copy())
        self._inside = False
        assert not self.mixer.fault
        assert self.lane.consumed == self.model.consumed <= self.lane.fed == self.fed

    def _watch(self, catch_up: Callable[[], None]) -> None:
        self._catching_up = []
        catch_up()
        assert self._catching_up in (["count", "read"], ["count", "read", "obey"])
        assert self.model.counted == 0, "all that was counted is obeyed"
        self._catching_up = None
        self.act()

    def step(self, name: str, real: Callable[[], Any]) -> Any:
        """One step of both, and whatever comes to the control side's mind before and after."""
        if self._catching_up is None:
            return real()
        self.act()
        self._catching_up.append(name)
        getattr(self.model, name)()
        result = real()
        self.act()
        return result

    # --- the control side ---

    def adds(self, real: Callable[[], None]) -> None:
        """An order is added; a block may come right before it."""
        order = self._order
        if not self._inside and self.rng.random() < 0.15:
            waits = self.lane.behind
            assert not (waits and self.mixer.idle)
            self._adding = True
            self.block()
            self._adding = False
        self.model.orders.append(order)
        real()

    def act(self) -> None:
        rng, pick = self.rng, self.rng.random()
        if pick < 0.6 or self._adding:
            return
        some = 0
        if self.entries:  # those in front more often
            some = self.entries[int(rng.random() ** 2 * len(self.entries))].serial
        if pick < 0.77:
            self.feed(some, rng.randrange(1, 50))
        elif pick < 0.83:
            self.end(some, rng.choice((0, 0, 7, 30)))
        elif pick < 0.92:
            if len(self.entries) < 5:
                self.insert()
        elif pick < 0.94:
            self.pause(rng.random() < 0.2)
        elif pick < 0.96:
            self.hear()
        elif pick < 0.98:
            self.cut(some)
        else:
            self.rearrange()

    def arrange(self, entries: list[Entry]) -> None:
        kept = {entry.serial for entry in entries}
        self._open = {serial: at for serial, at in self._open.items() if serial in kept}
        for serial in kept - {entry.serial for entry in self.entries}:
            self._open[serial] = 0
        self.entries = self.model.newest = entries
        self._order = ("wake",)
        self.mixer.arrange(0, entries)

    def insert(self) -> None:
        rng, entries = self.rng, list(self.entries)
        at = len(entries) if rng.random() < 0.9 else rng.randrange(len(entries) + 1)
        self.named += 1
        joint = None
        if entries and rng.random() < 0.7:
            old = entries[at - 1 if rng.random() < 0.9 else 0].serial
            joint = Joint(old, rng.randrange(70) / RATE)
        if at and rng.random() < 0.2:  # it goes on in place of the one before it
            entries[at - 1] = replace(entries[at - 1], until_s=self.somewhere())
        until_s = self.somewhere() if rng.random() < 0.2 else None
        entries.insert(at, Entry(self.named, joint=joint, until_s=until_s))
        self.arrange(entries)

    def somewhere(self) -> float:
        """In a track, or beyond its end; often at its beginning."""
        return max(0, self.rng.randrange(-20, 120)) / RATE

    def cut(self, serial: int) -> None:
        """Set, change or take away where a track is cut."""
        until_s = self.somewhere() if self.rng.random() < 0.7 else None
        self.arrange([replace(entry, until_s=until_s) if entry.serial == serial else entry
                      for entry in self.entries])  # fmt: skip

    def rearrange(self) -> None:
        rng, entries = self.rng, list(self.entries)
        pick = rng.random()
        if pick < 0.4:
            entries = [entry for entry in entries if rng.random() < 0.7]
        elif pick < 0.6:
            entries = [replace(e, joint=e.joint if rng.random() < 0.5 else None)
                       for e in entries]  # fmt: skip
        elif pick < 0.75:
            rng.shuffle(entries)
        elif pick < 0.8:
            entries = []
        self.arrange(entries)

    def feed(self, serial: int, frames: int) -> None:
        at = self._open.get(serial)
        begin = (serial * 37 + (at or 0)) % 97
        sound = SOUND[begin : begin + frames]
        self._order = ("feed", serial, sound.tolist())
        if at is not None:
            self.fed += frames
            self._open[serial] = at + frames
        self.mixer.feed(serial, sound, RATE)

    def end(self, serial: int, pause: int) -> None:
        self._order = ("end", serial, pause)
        if self._open.pop(serial, None) is not None:
            self.fed += pause
        self.mixer.end(serial, pause / RATE)

    def pause(self, on: bool) -> None:
        self._order = ("pause", on)
        self.mixer.pause(on)

    def hear(self) -> None:
        """Take the reports; what is over is perhaps named no more."""
        over = set()
        for report in self.mixer.reports():
            frame = report.frame - self.mixer.delay_frames
            played, starved = round(report.played_s * RATE), round(report.starved_s * RATE)
            self.events.append((report.kind, report.serial, frame, played, starved))
            if report.kind in ("ended", "cut"):
                over.add(report.serial)
                self._open.pop(report.serial, None)
        if over and self.rng.random() < 0.5:
            self.arrange([entry for entry in self.entries if entry.serial not in over])

    def finish(self) -> None:
        self.act = lambda: None  # type: ignore[method-assign]
        self.pause(False)
        self.arrange([])
        self.block(60)
        self.hear()
        self.block(60)


def check(stage: Stage) -> None:
    model, mixer = stage.model, stage.mixer
    assert stage.events == model.events
    ends = Counter(serial for kind, serial, *_ in stage.events if kind in ("ended", "cut"))
    assert set(ends) == model.seen, "what no block saw has no report"
    assert set(ends.values()) <= {1}
    assert stage.lane.fed == stage.lane.consumed == stage.fed
    assert not mixer._commands
    assert not stage.lane.busy
    out = np.concatenate(stage.blocks)[mixer.delay_frames :]
    wanted = np.array(model.out[: len(out)], dtype=np.float32)
    steady = np.ones(len(out), dtype=bool)
    steady[[frame for frame in model.fading if frame < len(out)]] = False
    assert np.array_equal(out[steady], wanted[steady])


@pytest.mark.parametrize("part", range(4))
def test_any_interleaving_does_what_the_rules_say(part: int) -> None:
    for seed in range(part, SEQUENCES, 4):
        stage = Stage(seed)
        try:
            for _ in range(BLOCKS):
                stage.act()
                stage.block()
            stage.finish()
            check(stage)
        except AssertionError as error:
            error.add_note(f"seed {seed}")
            raise
