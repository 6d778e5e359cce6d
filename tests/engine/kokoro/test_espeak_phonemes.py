"""Languages that the espeak-ng program reads, with the program and without it."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koed.engine.kokoro.phonemes import espeak, read
from koed.engine.kokoro.symbols import IDS
from koed.errors import EngineError
from koed.g2p import espeak as program

TEXTS = {
    "fr": ("Bonjour tout le monde « chez moi » ! J'ai 42 amis, 3,5 %...",
           "bɔ̃ʒˈuʁ tulmˈɔ̃d “ʃe mwˈa”! ʒe kaʁɑ̃tdˈøz amˈi, tʁwa viʁɡyl sˈɛ̃k puʁsˈɑ̃…",
           ["Bonjour", "tout le monde", "chez", "moi", "J'ai", "42", "amis", "3,5", "%"]),
    "es": ("¡Hola chicos! ¿Qué tal, Yolanda?", "ˈola ʧˈikos! kˈe tˈal, ʝolˈanda?",
           ["Hola", "chicos", "Qué", "tal", "Yolanda"]),
    "it": ("Ciao ragazzi: gli amici.", "ʧˈao raɡˈaʦːɪ: ʎɪ amˈiʧɪ.",
           ["Ciao", "ragazzi", "gli", "amici"]),
    "pt-br": ("Não, mãe - meu coração", "nˈɐ̃ʊ̃, mˈɐ̃y — meʊ kˌoɾasˈɐ̃ʊ̃",
              ["Não", "mãe", "meu", "coração"]),
    "hi": ("नमस्ते दोस्तों, OK chat?", "nəmˈʌsteː dˈoːstõ, ˌOkˈA ʧˈæt?",
           ["नमस्ते", "दोस्तों", "OK", "chat"]),
}  # fmt: skip


@pytest.mark.parametrize("lang", TEXTS)
def test_the_programs_sounds_in_the_models_symbols(lang: str) -> None:
    text, symbols, spans = TEXTS[lang]
    said = read(text, lang)
    assert said.symbols == unicodedata.normalize("NFD", symbols)
    assert [text[start:end] for start, end, _ in said.words] == spans
    assert said.unsaid == ()


def test_a_text_of_marks_asks_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "_PROGRAM", "/nowhere/espeak-ng")
    assert read("... !", "fr").symbols == "…!"


def test_without_the_program_its_languages_cannot_be_spoken_and_others_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(program, "_PROGRAM", "/nowhere/espeak-ng")
    with pytest.raises(EngineError, match="install the package espeak-ng") as told:
        read("Bonjour", "fr")
    assert told.value.code == "library_missing"
    said = read("the word नमस्ते", "en")
    assert said.symbols == "ðə wˈɜɹd"
    assert "".join(said.unsaid) == "नमस्ते"


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(EngineError, match="does not speak 'ko'") as told:
        read("안녕", "ko")
    assert told.value.code == "unknown_language"


SOUNDS = st.lists(
    st.sampled_from(["a", "t^ʃˈi", "bɔ̃", "ˈola", "(en)x(fr)", "ʦ^q", "é"]), max_size=9
)


@given(st.text(st.sampled_from(" ab1é.,!?-«»'\n्म"), max_size=40), SOUNDS)
@settings(max_examples=100, deadline=None)
def test_whatever_the_program_says_words_are_in_order(text: str, sounds: list[str]) -> None:
    def said(clauses: Sequence[str], voice: str) -> list[str]:
        return [" ".join(sounds)] * len(clauses)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(espeak, "ipa", said)
        phonemes = espeak.read(text, "fr")
    assert set(phonemes.symbols) <= set(IDS)
    last = 0
    for start, end, at in phonemes.words:
        assert last <= start < end <= len(text)
        assert phonemes.symbols[at].strip()
        last = start
