"""Parts of a reading and pieces of a part."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from koed.engine.kokoro.passages import FIRST, MOST, Passage, passages, pieces
from koed.engine.kokoro.phonemes import Phonemes


def reading(symbols: str) -> Phonemes:
    """Every letter is a word of its own."""
    words = tuple((at, at + 1, at) for at, symbol in enumerate(symbols) if symbol.isalpha())
    return Phonemes(symbols, words)


def test_a_short_reading_is_one_part() -> None:
    assert list(passages(reading("a b."), most=10)) == [Passage("a b.", ((0, 1, 0), (2, 3, 2)))]


def test_the_best_mark_is_chosen_and_words_are_counted_anew() -> None:
    assert [part.symbols for part in passages(reading("ab, cd. ef, gh"), most=10)] == [
        "ab, cd.", " ef, gh",
    ]  # fmt: skip
    assert list(passages(reading("ab, cd. ef, gh"), most=10))[1].words[0] == (8, 9, 1)


@given(st.text("ab ,.", max_size=60), st.integers(5, 30))
def test_nothing_is_lost_and_nothing_is_too_long(symbols: str, most: int) -> None:
    found = list(passages(reading(symbols), most))
    spoken = "".join(part.symbols[at] for part in found for _, _, at in part.words)
    assert spoken == "".join(symbol for symbol in symbols if symbol.isalpha())
    assert all(len(part.symbols) <= most and part.words for part in found)


@given(st.integers(0, 50), st.integers(0, 2000))
def test_pieces_follow_each_other_and_grow(start: int, frames: int) -> None:
    found = list(pieces(start, start + frames))
    assert [end for _, end in found[:-1]] == [begin for begin, _ in found[1:]]
    assert sum(end - begin for begin, end in found) == frames
    sizes = [end - begin for begin, end in found]
    assert max(sizes, default=0) <= MOST + FIRST // 2
    assert sizes[:-1] == sorted(sizes[:-1])
    if frames:
        assert found[0][0] == start
        assert sizes[0] < FIRST * 1.5
