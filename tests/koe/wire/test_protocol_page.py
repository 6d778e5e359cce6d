"""docs/protocol.md says of every operation and event, and of each of their fields, what it is."""

from __future__ import annotations

from koe.wire.events import EVENTS
from koe.wire.requests import REQUESTS
from tools.protocol_page import PAGE, page


def test_the_page_is_what_the_classes_say() -> None:
    """``python -m tools.protocol_page`` writes it anew."""
    text = PAGE.read_text(encoding="utf-8")
    assert page(text) == text


def test_each_operation_and_event_has_a_line() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name in (*REQUESTS, *EVENTS):
        said = text.partition(f"### `{name}`\n\n")[2].splitlines()[0]
        assert said
        assert not said.startswith("|"), f"{name} has no docstring"
