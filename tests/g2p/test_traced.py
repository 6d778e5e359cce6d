"""The way back from a text with its numbers in words."""

from __future__ import annotations

import re

from koed.g2p.english_numbers import spoken, traced
from koed.g2p.traced import Traced


def test_each_character_knows_what_it_was_made_of() -> None:
    text = "Pay $1.50 at 10:30, e.g. 1,000 times"
    said = traced(Traced.of(text))
    assert said.text == spoken(text)
    dollar, thousand = said.text.index("dollar"), said.text.index("thousand")
    assert text[slice(*said.span(dollar, dollar + 6))] == "$1.50"
    assert text[slice(*said.span(thousand, thousand + 8))] == "1,000"
    assert text[slice(*said.span(0, 3))] == "Pay"


def test_replacing_twice_leads_back_to_the_first_text() -> None:
    said = Traced.of("a-b").replace(re.compile("-"), lambda m: " to ")
    said = said.replace(re.compile("to b"), lambda m: "2c").replace(re.compile("a"), lambda m: "")
    assert said == Traced(" 2c", ((1, 2), (1, 3), (1, 3)))
    assert said.part(1, 2) == Traced("2", ((1, 3),))
