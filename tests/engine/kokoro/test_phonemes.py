"""Symbols of the natural voice's model, and the words that they stand for."""

from __future__ import annotations

from koed.engine.kokoro.phonemes.values import Phonemes, SpokenWord
from koed.engine.kokoro.symbols import IDS, ids


def test_the_table_has_the_models_114_symbols() -> None:
    assert len(IDS) == 114
    assert len(set(IDS.values())) == 114
    assert ids("ə\u0303 ᵻ.") == [83, 17, 16, 177, 4]


def test_a_word_is_found_where_its_sound_begins() -> None:
    hello = SpokenWord(0, 5, "həlˈO", ", ")
    you = SpokenWord(7, 10, "ju", "!")
    said = Phonemes.of([hello, you])
    assert said.symbols == "həlˈO, ju!"
    assert said.words == ((0, 5, 0), (7, 10, 7))


def test_what_the_model_cannot_say_is_told_and_the_rest_is_said() -> None:
    said = Phonemes.of([SpokenWord(0, 3, "a7b", " "), SpokenWord(4, 5, "7")])
    assert said == Phonemes("ab ", ((0, 3, 0),), ("7", "7"))
