"""The queue, exhaustively: every sequence of a few operations keeps every promise."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest

from koed.playback.queue import PRIORITIES, Limits, Line, Priority, Queue


def line(utterance: int, priority: Priority = "normal", **rest: object) -> Line:
    return Line(utterance, f"text {utterance}", "hana", "main", priority, **rest)  # type: ignore[arg-type]


def empty_queue(**limits: object) -> Queue:
    return Queue(["main", "side"], Limits(**limits))  # type: ignore[arg-type]


def order(queue: Queue, output: str = "main") -> list[int]:
    return [x.utterance for x in queue.waiting(output)]


def test_priorities_first_then_first_come() -> None:
    queue = empty_queue()
    for number, priority in enumerate(("chatter", "normal", "urgent", "normal", "urgent")):
        assert queue.submit(line(number, priority)).refused is None  # type: ignore[arg-type]
    assert order(queue) == [2, 4, 1, 3, 0]
    assert queue.peek("main") == line(2, "urgent")
    assert queue.peek("main", PRIORITIES[1:]) == line(1)
    assert queue.peek("side") is None


def test_position_counts_what_sounds() -> None:
    queue = empty_queue()
    first = line(1)
    queue.submit(first)
    queue.begin(first)
    assert queue.submit(line(2)).position == 1
    assert queue.submit(line(3, "urgent")).position == 1
    assert queue.submit(line(4)).position == 3


def test_key_takes_the_place_of_the_waiting_one() -> None:
    queue = empty_queue()
    for number, key in ((1, "a"), (2, "song"), (3, "b")):
        queue.submit(line(number, key=key))
    admission = queue.submit(line(4, key="song"))
    assert order(queue) == [1, 4, 3]
    assert [(d.line.utterance, d.reason) for d in admission.dropped] == [(2, "replaced")]
    queue.submit(line(5, "urgent", key="b"))
    assert order(queue) == [5, 1, 4]


def test_key_leaves_the_sounding_one_alone() -> None:
    queue = empty_queue()
    first = line(1, key="song")
    queue.submit(first)
    queue.begin(first)
    assert queue.submit(line(2, key="song")).dropped == ()
    assert [x.utterance for x in queue.speaking()] == [1]


def test_refusal_of_a_replacement_keeps_the_old_one() -> None:
    queue = empty_queue(max_per_author=1)
    queue.submit(line(1, key="k", author="eve"))
    queue.submit(line(2, "chatter", author="bob"))
    admission = queue.submit(line(3, key="k", author="bob"))
    assert admission.refused == "author_limit"
    assert order(queue) == [1, 2]


def test_full_drops_the_oldest_chatter_only() -> None:
    queue = empty_queue(max_lines=3, max_chatter=2)
    queue.submit(line(1, "chatter"))
    queue.submit(line(2, "chatter"))
    assert [d.line.utterance for d in queue.submit(line(3, "chatter")).dropped] == [1]
    queue.submit(line(4))
    assert [d.line.utterance for d in queue.submit(line(5)).dropped] == [2]
    assert [d.line.utterance for d in queue.submit(line(6)).dropped] == [3]
    assert queue.submit(line(7)).refused == "queue_full"
    assert [d.line.utterance for d in queue.submit(line(8, "urgent")).dropped] == [4]
    assert order(queue) == [8, 5, 6]


def test_refuse_rule_refuses_the_new_chatter() -> None:
    queue = empty_queue(max_chatter=1, when_full="refuse")
    queue.submit(line(1, "chatter"))
    assert queue.submit(line(2, "chatter")).refused == "queue_full"
    assert order(queue) == [1]


def test_urgent_is_refused_only_by_urgent() -> None:
    queue = empty_queue(max_lines=2)
    for number in (1, 2):
        assert queue.submit(line(number, "urgent")).refused is None
    assert queue.submit(line(3, "urgent")).refused == "queue_full"


def test_author_limit_counts_waiting_lines_of_all_outputs() -> None:
    queue = empty_queue(max_per_author=2)
    first = line(1, author="eve")
    queue.submit(first)
    queue.begin(first)
    assert queue.submit(line(2, author="eve")).refused is None
    elsewhere = Line(3, "x", "hana", "side", author="eve")
    assert queue.submit(elsewhere).refused is None
    assert queue.submit(line(4, author="eve")).refused == "author_limit"
    assert queue.submit(line(5, author="bob")).refused is None
    assert queue.submit(line(6, "urgent", author="eve")).refused is None


def test_expiry_takes_exactly_those_whose_time_has_come() -> None:
    queue = empty_queue()
    queue.submit(line(1, expires_at=5.0))
    queue.submit(line(2))
    queue.submit(line(3, expires_at=4.0))
    assert queue.expire(3.999) == []
    assert [d.line.utterance for d in queue.expire(4.0)] == [3]
    assert [(d.line.utterance, d.reason) for d in queue.expire(9.0)] == [(1, "expired")]
    assert order(queue) == [2]


def test_what_sounds_does_not_expire() -> None:
    queue = empty_queue()
    first = line(1, expires_at=1.0)
    queue.submit(first)
    queue.begin(first)
    assert queue.expire(2.0) == []
    assert queue.speaking() == [first]


def test_cancel_needs_all_that_is_named() -> None:
    queue = empty_queue()
    sounding = line(1, author="eve", key="k")
    queue.submit(sounding)
    queue.begin(sounding)
    queue.submit(line(2, author="eve"))
    queue.submit(line(3, author="bob", key="k2"))
    assert queue.cancel() == ([], [])
    drops, cut = queue.cancel(author="eve")
    assert [d.line.utterance for d in drops] == [2]
    assert cut == [sounding]
    assert queue.cancel(author="bob", key="other") == ([], [])
    assert order(queue) == [3]


def test_hold_keeps_lines_waiting() -> None:
    queue = empty_queue()
    queue.submit(line(1))
    queue.hold("main", True)
    assert queue.peek("main") is None
    assert order(queue) == [1]
    queue.hold("main", False)
    assert queue.peek("main") is not None


def test_what_waits_is_changed_where_it_stands_and_what_sounds_is_not() -> None:
    queue = empty_queue()
    sounding = line(1)
    queue.submit(sounding)
    queue.begin(sounding)
    queue.submit(line(2))
    queue.submit(line(3, "urgent"))
    queue.revise(lambda line: replace(line, voice="rin"), "side")
    assert {x.voice for x in queue.waiting()} == {"hana"}
    queue.revise(lambda line: replace(line, voice=f"rin{line.utterance}"), "main")
    assert [x.voice for x in queue.waiting()] == ["rin3", "rin2"]
    assert queue.speaking()[0].voice == "hana"


def test_begin_finds_a_line_whose_voice_has_changed() -> None:
    queue = empty_queue()
    queue.submit(line(1))
    seen = queue.peek("main")
    assert seen is not None
    queue.revise(lambda line: replace(line, voice="rin"))
    queue.begin(seen)
    assert order(queue) == []


# --- every short history -------------------------------------------------------------------

Step = Callable[[Queue, int], None]


class History:
    """Runs steps and keeps the books: each line that went in came out exactly once or is there."""

    def __init__(self) -> None:
        self.queue = empty_queue(max_lines=3, max_chatter=1, max_per_author=2)
        self.number = 0
        self.inside: set[int] = set()
        self.now = 0.0

    def submit(self, priority: Priority, key: str | None = None) -> None:
        self.number += 1
        new = line(self.number, priority, key=key, author="eve", expires_at=self.now + 2)
        admission = self.queue.submit(new)
        if admission.refused is None:
            self.inside.add(new.utterance)
        for drop in admission.dropped:
            self.inside.remove(drop.line.utterance)

    def begin(self) -> None:
        new = self.queue.peek("main")
        if new is not None and not self.queue.speaking("main"):
            self.queue.begin(new)

    def end(self) -> None:
        for sounding in self.queue.speaking("main"):
            self.queue.end(sounding.utterance)
            self.inside.remove(sounding.utterance)

    def pass_time(self) -> None:
        self.now += 1
        for drop in self.queue.expire(self.now):
            self.inside.remove(drop.line.utterance)

    def clear(self) -> None:
        for drop in self.queue.clear("main"):
            self.inside.remove(drop.line.utterance)

    def cancel(self) -> None:
        drops, _ = self.queue.cancel(author="eve", key="k")
        for drop in drops:
            self.inside.remove(drop.line.utterance)

    def check(self) -> None:
        there = [x.utterance for x in [*self.queue.speaking(), *self.queue.waiting()]]
        assert sorted(there) == sorted(self.inside), "a line was lost or is there twice"
        waiting = list(self.queue.waiting("main"))
        assert len(waiting) == self.queue.count() <= 3
        assert sum(x.priority == "chatter" for x in waiting) <= 1
        ranks = [PRIORITIES.index(x.priority) for x in waiting]
        assert ranks == sorted(ranks)
        keys = [x.key for x in waiting if x.key]
        assert len(keys) == len(set(keys)), "one key waits twice"
        assert all(x.expires_at is not None and x.expires_at > self.now for x in waiting)


STEPS: dict[str, Callable[[History], None]] = {
    "urgent": lambda h: h.submit("urgent"),
    "normal": lambda h: h.submit("normal"),
    "normal k": lambda h: h.submit("normal", "k"),
    "chatter": lambda h: h.submit("chatter"),
    "chatter k": lambda h: h.submit("chatter", "k"),
    "begin": History.begin,
    "end": History.end,
    "time": History.pass_time,
    "clear": History.clear,
    "cancel": History.cancel,
}


@pytest.mark.parametrize("first", STEPS)
def test_every_history_of_five_steps(first: str) -> None:
    for rest in itertools.product(STEPS, repeat=4):
        history = History()
        for step in (first, *rest):
            STEPS[step](history)
            history.check()
