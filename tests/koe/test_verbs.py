"""koe.verbs: what people are shown of a verb that is written once and asked in two ways."""

from __future__ import annotations

import inspect
import pydoc
from unittest import mock

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


@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_a_client_can_be_replaced_in_the_test_of_a_bot(client: type) -> None:
    stand_in = mock.create_autospec(client, instance=True)
    given = stand_in.say("hello", voice="hana")
    if inspect.iscoroutine(given):
        given.close()
    stand_in.say.assert_called_once_with("hello", voice="hana")
    with pytest.raises(TypeError):
        stand_in.say("hello", vioce="hana")


def test_who_changes_a_verb_keeps_the_change() -> None:
    class Quiet(Client):
        def stop(self, output: str | None = None) -> int:
            return 0

    assert inspect.getattr_static(Quiet, "stop") is not inspect.getattr_static(Client, "stop")
    assert Quiet.say is Client.say


@pytest.mark.parametrize("shown", [Client, AsyncClient, Line, AsyncLine, "koe.client", "koe.aio"])
def test_help_shows_the_verbs(shown: object) -> None:
    told = pydoc.plain(pydoc.render_doc(shown))
    assert "More text, cut anywhere" in told or "Speak ``text``" in told
