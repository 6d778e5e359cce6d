"""Tags in a text: found however it is cut, and only where a style has the name."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koed.config.daemon import TextConfig
from koed.text.style_tags import TagReader, normalize_tagged

STYLES = ("happy", "sad", "hap")
TEXT = "Well, [happy] hi! [sigh][SAD]no [ [hap] x [happ"


def read(pieces: list[str], styles: tuple[str, ...] = STYLES) -> list[tuple[str, str]]:
    """(style, what is said in it)"""
    reader, found = TagReader(styles), [("", "")]
    for last, piece in [*((False, p) for p in pieces), (True, "")]:
        for style, text in reader.feed(piece, final=last):
            if style:
                found.append((style, ""))
            found[-1] = (found[-1][0], found[-1][1] + text)
    return found


def test_a_tag_that_is_no_style_is_text() -> None:
    assert read([TEXT]) == [
        ("", "Well, "), ("happy", " hi! [sigh]"), ("sad", "no [ "), ("hap", " x [happ"),
    ]  # fmt: skip
    assert read([TEXT], ()) == [("", TEXT)]


@given(st.lists(st.integers(0, len(TEXT)), max_size=8))
def test_a_text_may_come_cut_anywhere(cuts: list[int]) -> None:
    at = [0, *sorted(cuts), len(TEXT)]
    assert read([TEXT[a:b] for a, b in itertools.pairwise(at)]) == read([TEXT])


def test_what_may_be_a_tag_is_held_back_and_no_more() -> None:
    reader = TagReader(STYLES)
    assert list(reader.feed("on and on [ha")) == [("", "on and on ")]
    assert list(reader.feed("t] and on")) == [("", "[hat] and on")]
    assert list(reader.feed("[" * 10**5)) == [("", "[" * (10**5 - 1))]


@pytest.mark.parametrize(
    ("text", "said", "marks"),
    [
        ("[happy] Hi there! [sad] It rains.", "Hi there! It rains.", ((0, "happy"), (10, "sad"))),
        ("Well [happy][sad] no.", "Well no.", ((5, "happy"), (5, "sad"))),
        ("Bye. [happy]", "Bye.", ((5, "happy"),)),
        ("[happy] [sad]", "", ((0, "happy"), (0, "sad"))),
    ],
)
def test_marks_stand_where_the_words_do(
    text: str, said: str, marks: tuple[tuple[int, str], ...]
) -> None:
    assert normalize_tagged(text, STYLES, TextConfig(), "en") == (said, marks)
