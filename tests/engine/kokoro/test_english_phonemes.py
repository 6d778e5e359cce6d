"""English for the natural voice: what the model was trained to read."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koed.engine.kokoro.phonemes import read
from koed.engine.kokoro.phonemes.arpabet import symbols
from koed.engine.kokoro.phonemes.dictionary import dictionaries
from koed.engine.kokoro.phonemes.pronunciation import LONGEST
from koed.engine.kokoro.symbols import IDS
from koed.g2p.english_words import lexicon


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Hello everyone, welcome to the stream!", "həlˈO ˈɛvɹiwən, wˈɛlkəm tə ðə stɹˈim!"),
        # weak and full forms, by what comes next
        ("The apple and the pear: to eat, to pay, to.",
         "ði ˈæpᵊl ænd ðə pˈɛɹ: tʊ ˈit, tə pˈA, tu."),
        ("I am in. I used to live here.", "ˌI ɐm ˈɪn. ˌI jˈust tə lˈɪv hˈɪɹ."),
        # by part of speech
        ("That dog reads; I said that I read it.", "ðˈæt dˈɔɡ ɹˈidz; ˌI sˈɛd ðæt ˌI ɹˈɛd ɪt."),
        # names of letters, shouting, letters beside digits
        ("GPU and NASA, U.S.A., GPUs, gg", "ʤˌipˌijˈu ænd nˈæsə, jˌuˌɛsˈA, ʤˌipˌijˈuz, ʤˌiʤˈi"),
        ("WHY IS THIS SO GOOD, CHAT?", "wˌI ɪz ðɪs sˌO ɡˈʊd, ʧˈæt?"),
        ("GPT-4 3D 60fps", "ʤˌipˌitˈi fˈɔɹ θɹˈi dˈi sˈɪksti ˌɛfpˌiˈɛs"),
        # compounds, endings, words that no dictionary has
        ("well-known T-shirt YouTube", "wˌɛlnˈOn tˈiʃˌɜɹt jˈutˌub"),
        ("a speedrunner's sooooo streaming", "ɐ spˈidɹˌʌnəɹz sˌO stɹˈimɪŋ"),
        # as chat writes them
        ("gg lol wp brb, GG! LOL OMG",
         "ʤˌiʤˈi lˈɔl dˌʌbᵊljupˈi bˌiˌɑɹbˈi, ʤˌiʤˈi! ˌɛlˌOˈɛl ˌOˌɛmʤˈi"),
        ("hii pls thx ty, UWU kek noo", "hˈI plˈiz θˈæŋks tˌiwˈI, ˈuwu kˈɛk nˈO"),
        ("vtubers, AT&T and R&B's", "vˌitˈubəɹz, ˌAtˈi ænd tˈi ænd ˈɑɹ ænd bˈiz"),
        # numbers and signs
        ("$5 million, 1980s & -5°", "fˈIv mˈɪljᵊn dˈɑləɹz, nˌIntˈin ˈATiz ænd mˈInəs fˈIv dəɡɹˈiz"),
        ("1.2.3, 9/10, 24/7, ½, 3GHz, C#", "wˈʌn pˈYnt tˈu pˈYnt θɹˈi, nˈIn ˈWt ʌv tˈɛn, "
         "twˈɛnti fˈɔɹ sˈɛvən, wˈʌn hˈæf, θɹˈi ɡˈɪɡəhəɹts, sˈi ʃˈɑɹp"),
        # not the pronouns; an order is no noun
        ("US and IT. Use it!", "jˌuˈɛs ænd ˌItˈi. jˈuz ɪt!"),
        # marks
        ('"Oh" (yes) - no... no!!!', "“ˈO” (jˈɛs) — nˈO… nˈO!"),
        ("café naïve", "kæfˈA nɑˈiv"),
        ("A", "ˈA"),
        ("7", "sˈɛvən"),
        ("...", "…"),
        ("", ""),
    ],
)  # fmt: skip
def test_as_the_model_was_taught(text: str, said: str) -> None:
    assert read(text, "en").symbols == said
    assert read(text, "en").unsaid == ()


def test_british_is_another_dictionary_and_ends_without_r() -> None:
    assert read("The car's nearer, Zorgarth.", "en-GB").symbols == "ðə kˈɑːz nˈɪəɹə, zˈɔːɡɑːθ."


def test_a_word_spans_the_characters_that_it_was_written_with() -> None:
    text = "Café: 2026 GPT-4, $1.50."
    said = read(text, "en")
    spans = [text[start:end] for start, end, _ in said.words]
    assert spans == ["Café", "2026", "2026", "2026", "GPT", "4", *["$1.50"] * 5]


def test_what_has_no_sound_is_told() -> None:
    assert read("hi 😀 you 😀", "en").symbols == "hˈI ju"
    assert read("hi 😀 you 😀", "en").unsaid == ("😀", "😀")


def without_stress(symbols: str) -> str:
    return symbols.replace("ˈ", "").replace("ˌ", "")


@pytest.mark.parametrize("main", ["en", "en-GB", "ja"])
def test_a_word_longer_than_any_is_said_to_its_end(main: str) -> None:
    word = "wertyuiopa" * (LONGEST // 10) + "sunflower"
    said = read(word, main)
    assert said.unsaid == ()
    assert said.words == ((0, len(word), 0),)
    stressed = read("sunflower", main).symbols
    assert without_stress(said.symbols).endswith(without_stress(stressed))
    assert read("n" + "o" * 500, main).symbols == read("nooo", main).symbols


def test_both_dictionaries_agree_on_most_words() -> None:
    """Vowels of words without stress differ from speaker to speaker."""
    checked = dictionaries(False)[0]
    both = [(word, entry) for word in sorted(lexicon())[::40]
            if isinstance(entry := checked.find(word), str)]  # fmt: skip

    def plain(said: str) -> str:
        said = said.replace("ɾ", "T").replace("ʔ", "t").replace("ˈ", "").replace("ˌ", "")
        return said.replace("ᵊ", "ə").replace("ɪ", "ə").replace("ᵻ", "ə")

    same = sum(plain(symbols(lexicon()[word].split())) == plain(entry) for word, entry in both)
    assert len(both) > 500
    assert same / len(both) > 0.8


@pytest.mark.parametrize("british", [False, True])
def test_every_symbol_that_can_come_is_one_of_the_models(british: bool) -> None:
    for name in ("AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY",
                 "UH", "UW", "B", "CH", "D", "DH", "F", "G", "HH", "JH", "K", "L", "M", "N", "NG",
                 "P", "R", "S", "SH", "T", "TH", "V", "W", "Y", "Z", "ZH"):  # fmt: skip
        for around in ([], ["T"], ["AA1"], ["R"]):
            said = symbols([*around, name, *around], british)
            assert set(said) <= set(IDS), (name, said)


WORDS = st.sampled_from(
    ["The ", "Zorgarth", "é", "42", "GPU", "'", "-", " ", "\n", "$5", "…", "x.", "♥"]
)


@given(
    st.lists(WORDS | st.characters(codec="utf-8", max_codepoint=0x24F), max_size=12).map("".join)
)
@settings(max_examples=60, deadline=None)
def test_any_text_keeps_its_words_in_order(text: str) -> None:
    said = read(text, "en-us")
    assert set(said.symbols) <= set(IDS)
    ats = [at for _, _, at in said.words]
    assert ats == sorted(set(ats))
    starts = [start for start, _, _ in said.words]
    assert starts == sorted(starts)
    assert all(0 <= start < end <= len(text) for start, end, _ in said.words)
    assert all(said.symbols[at : at + 1].strip() for at in ats)


@pytest.mark.parametrize(
    "text", ["a" * 4000, "qwertyuiop" * 400, "A.b" * 300, "1" * 1000, "-'" * 2000, "aB" * 2000]
)
def test_a_word_of_4000_characters_is_answered_soon(text: str) -> None:
    read("Zorgarth", "en")
    began = time.process_time()
    read(text, "en")
    assert time.process_time() - began < 2.0
