"""Parts of a reading and pieces of a part."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from koed.engine.kokoro.passages import (
    CONTEXT,
    FIRST,
    LEAST,
    MOST,
    SCRAP,
    Passage,
    passages,
    pieces,
)
from koed.engine.kokoro.phonemes import Phonemes
from koed.engine.kokoro.phonemes.values import Mora


def reading(symbols: str) -> Phonemes:
    """Every letter is a word of its own."""
    words = tuple((at, at + 1, at) for at, symbol in enumerate(symbols) if symbol.isalpha())
    return Phonemes(symbols, words)


def test_a_short_reading_is_one_part() -> None:
    assert list(passages(reading("a b."), most=10)) == [Passage("a b.", ((0, 1, 0), (2, 3, 2)))]


def test_a_bare_sound_or_two_end_with_a_full_stop() -> None:
    assert list(passages(reading("a"))) == [Passage("a.", ((0, 1, 0),))]
    assert [part.symbols for part in passages(reading("ˈA"))] == ["ˈA."]
    assert [part.symbols for part in passages(reading("a!"))] == ["a!"]
    assert [part.symbols for part in passages(reading("hai"))] == ["hai"]
    assert not list(passages(reading("")))


def test_the_best_mark_is_chosen_and_words_are_counted_anew() -> None:
    assert [part.symbols for part in passages(reading("ab, cd. ef, gh"), most=10)] == [
        "ab, cd.", " ef, gh",
    ]  # fmt: skip
    assert list(passages(reading("ab, cd. ef, gh"), most=10))[1].words[0] == (8, 9, 1)


@given(st.text("ab ,.", max_size=60), st.integers(5, 30))
def test_morae_stay_with_their_symbols(symbols: str, most: int) -> None:
    beats = tuple(
        Mora(at, at + 1, symbol == "a", begins=False) for at, symbol in enumerate(symbols) if
        symbol.isalpha()
    )  # fmt: skip
    words = reading(symbols).words
    found = list(passages(Phonemes(symbols, words, morae=beats), most))
    told = [(part.symbols[m.at : m.end], m.high) for part in found for m in part.morae]
    assert told == [(symbol, symbol == "a") for symbol in symbols if symbol.isalpha()]


@given(st.text("ab ,.", max_size=60), st.integers(5, 30))
def test_nothing_is_lost_and_nothing_is_too_long(symbols: str, most: int) -> None:
    found = list(passages(reading(symbols), most))
    spoken = "".join(part.symbols[at] for part in found for _, _, at in part.words)
    assert spoken == "".join(symbol for symbol in symbols if symbol.isalpha())
    assert all(len(part.symbols) <= most and part.words for part in found)


@given(
    st.lists(st.tuples(st.integers(1, 40), st.sampled_from(["", " ", ", ", "!? "])), max_size=20),
    st.integers(5, 30),
)
def test_a_word_is_cut_only_if_it_is_longer_than_a_part(
    spoken: list[tuple[int, str]], most: int
) -> None:
    symbols, words = "", list[tuple[int, int, int]]()
    for length, after in spoken:
        words.append((len(words), len(words) + 1, len(symbols)))
        symbols += "a" * length + after
    found = list(passages(Phonemes(symbols, tuple(words)), most))
    assert "".join(part.symbols for part in found).count("a") == symbols.count("a")
    assert [word[0] for part in found for word in part.words] == list(range(len(words)))
    if all(length <= most for length, _ in spoken):
        assert all(part.symbols.index("a") == part.words[0][2] for part in found)


@given(st.integers(0, 50), st.integers(0, 2000), st.floats(0.01, 5.0))
def test_pieces_follow_each_other(start: int, frames: int, pace: float) -> None:
    found = list(pieces(start, start + frames, pace))
    assert [end for _, end in found[:-1]] == [begin for begin, _ in found[1:]]
    assert sum(end - begin for begin, end in found) == frames
    sizes = [end - begin for begin, end in found]
    assert all(LEAST <= size <= MOST for size in sizes[1:-2])
    assert all(FIRST <= size <= MOST for size in sizes[:-1])
    assert not sizes[1:] or SCRAP <= sizes[-1] <= MOST
    if frames:
        assert found[0][0] == start


@given(st.integers(1, 2000), st.floats(0.01, 0.7))
def test_each_piece_is_made_while_those_before_it_sound(frames: int, pace: float) -> None:
    made_at, heard_until = 0.0, 0.0
    for number, (start, end) in enumerate(pieces(0, frames, pace)):
        made_at += pace * (end - start + 2 * CONTEXT)
        if number:
            assert made_at <= heard_until
        heard_until = max(heard_until, made_at) + end - start


def test_the_faster_the_machine_the_sooner_the_first_piece() -> None:
    firsts = [next(pieces(0, 200, pace)) for pace in (0.1, 0.4, 0.6, 1.0, 9.0)]
    assert firsts[0] == (0, FIRST)
    assert firsts == sorted(firsts)
    assert firsts[-1] == (0, MOST)
