"""Every way out of each state of a line that stands behind a living one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from koe import protocol
from koed.playback import inputs
from tests.playback.rig_player import TWO, Rig, sounding


def _expire(rig: Rig) -> None:
    rig.tick(5)


def _clear(rig: Rig) -> None:
    rig.step(protocol.Clear())


def _cancel(rig: Rig) -> None:
    rig.step(protocol.Cancel(utterance=2))


def _withdraw(rig: Rig) -> None:
    rig.step(inputs.Withdraw(2, "deleted"))


def _key(rig: Rig) -> None:
    rig.say(3, "Other words.", key="k")


def _empty(rig: Rig) -> None:
    rig.step(inputs.Empty("main", None, "shutdown"))


def _fail(rig: Rig) -> None:
    rig.fail(rig.parts(2)[0], "internal")


def _amend(rig: Rig) -> None:
    rig.step(inputs.Amend(2, "Other words.", None, "k"))


def _lose(rig: Rig) -> None:
    rig.lose(*rig.parts(2), state="starting")


WAYS: dict[str, tuple[Callable[[Rig], None], str]] = {
    "expired": (_expire, "dropped expired"),
    "clear": (_clear, "dropped clear"),
    "cancel": (_cancel, "dropped cancel"),
    "withdraw": (_withdraw, "dropped deleted"),
    "replaced": (_key, "dropped replaced"),
    "empty": (_empty, "dropped shutdown"),
    "failed": (_fail, "failed internal"),
    "amended": (_amend, ""),
    "lost": (_lose, ""),
}


def _prepare(rig: Rig, state: str) -> None:
    """Line 1 sounds; line 2 is behind it, in ``state``."""
    if state == "queued":
        rig.say(1, TWO)
        rig.make(1)
        rig.start(1)
    else:
        sounding(rig)
    rig.say(2, TWO, "alone", expires_at=3.0, key="k")
    if state == "first chunk":
        rig.receive(rig.listed()[1], 0.3)
    elif state == "complete":
        rig.make(rig.listed()[1])
        rig.make(rig.listed()[2])


CASES = [
    (state, way)
    for state in ("queued", "prepared", "first chunk", "complete")
    for way in WAYS
    if way != "failed" or state in ("prepared", "first chunk")  # else no job could fail
]


@pytest.mark.parametrize(("state", "way"), CASES)
def test_what_ends_behind_a_living_line_does_not_touch_it(state: str, way: str) -> None:
    rig = Rig()
    _prepare(rig, state)
    event, outcome = WAYS[way]
    living = rig.parts(1)
    event(rig)
    assert (rig.over(1), rig.over(2)) == ("", outcome)
    assert rig.listed()[: len(living)] == rig.parts(1) == living
    assert set(living) <= rig.kept["a"]
    rig.engine("a", restyle=True)
    rig.say(9, "The next one.", "alone")
    while rig.parts(1) or rig.parts(2) or rig.parts(3) or rig.parts(9):
        number = next(n for n in (1, 2, 3, 9) if rig.parts(n))
        rig.hear(rig.parts(number)[0])
    assert (rig.over(1), rig.over(9)) == ("finished", "finished")
    assert rig.over(2) == (outcome or "finished")
    assert rig.kept["a"] == set()
    assert len(rig.listed()) == 1  # its pause
