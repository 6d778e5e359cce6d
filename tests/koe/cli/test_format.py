"""koe.cli.format: what people read."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from koe import protocol
from koe.cli import format


def sample(cls: type[protocol.Event]) -> dict[str, Any]:
    """An event with a value of the right kind in every field."""
    by_type = {"str": "some text", "int": 3, "float": 1.5, "bool": True}
    values = {f.name: by_type.get(str(f.type), "now") for f in dataclasses.fields(cls)}
    return {"event": cls.event} | values


@pytest.mark.parametrize("name", protocol.EVENTS)
def test_every_event_has_its_own_words(name: str) -> None:
    line = format.event(sample(protocol.EVENTS[name]))
    assert line.startswith(name)
    assert "heard_t" not in line
    assert ": 1.5, " not in line, "it fell back to listing the fields"
    assert name in format.EVENTS


def test_an_unknown_event_is_shown_as_it_came() -> None:
    message = {"event": "brand.new", "seq": 1, "t": 2.0, "x": 1, "y": "a\nb"}
    assert format.event(message) == "brand.new            x: 1, y: a\\nb"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain 声 ü", "plain 声 ü"),
        ("👩\u200d🎤", "👩\u200d🎤"),
        ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
        ("a\u202eb", "a\\u202eb"),
        ("\x9b2J", "\\x9b2J"),
    ],
)
def test_no_terminal_obeys_a_chat(text: str, shown: str) -> None:
    assert format.plain(text) == shown
