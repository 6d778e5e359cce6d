"""koe.verbs: what people are shown of a verb that is written once and asked in two ways."""

from __future__ import annotations

import inspect

import pytest

from koe.aio import AsyncClient, AsyncLine
from koe.client import Client, Line
from koe.verbs import LineVerbs, Verbs, verb

VERBS = [
    (name, *both)
    for owner, *both in ((Verbs, Client, AsyncClient), (LineVerbs, Line, AsyncLine))
    for name, what in vars(owner).items()
    if isinstance(what, verb)
]


@pytest.mark.parametrize(("name", "blocking", "waiting"), VERBS)
def test_both_ways_of_a_verb_are_shown_alike(name: str, blocking: type, waiting: type) -> None:
    one, other = getattr(blocking, name), getattr(waiting, name)
    assert inspect.iscoroutinefunction(other)
    assert not inspect.iscoroutinefunction(one)
    assert inspect.signature(one) == inspect.signature(other)
    assert "Call" not in str(inspect.signature(one).return_annotation)
    assert (one.__doc__, one.__name__) == (other.__doc__, name)


def test_a_verb_shows_its_parameters_and_what_it_gives() -> None:
    assert str(inspect.signature(Client.clear)) == (
        "(self, output: 'str | None' = None, priority: 'Priority | None' = None) -> 'int'"
    )
    assert "say" in {name for name, *_ in VERBS}
