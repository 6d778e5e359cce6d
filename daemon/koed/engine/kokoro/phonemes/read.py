"""Text in any language of the model: its parts by script, and each part by its own reader."""

from __future__ import annotations

import importlib
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any

from koed.engine.kokoro.phonemes.values import Mora, Phonemes
from koed.errors import EngineError
from koed.g2p.split import split
from koed.g2p.traced import Traced

LANGUAGES = ("en", "ja", "zh", "es", "fr", "it", "pt", "hi")
BRITISH = frozenset({"gb", "uk", "au", "nz", "ie", "in", "za"})
"""Regions whose English is nearer to the British dictionary than to the American."""

_READERS: dict[str, tuple[Any, ...]] = {
    "en-us": ("english", False),
    "en-gb": ("english", True),
    "ja": ("japanese",),
    "zh": ("chinese",),
    **{tag: ("espeak", tag) for tag in ("es", "fr", "it", "pt", "hi")},
}
"""Module, and what its ``read`` takes after the text. A module is imported when it is needed."""
_CLUSTER = re.compile(r"[^\W\d_ -~][\u0300-\u036f\u3099\u309aﾞﾟ]*|[a-zA-Z][\u0300-\u036f]+|[^ -~]")
_BLANK = re.compile(r"\s+")
_DEVANAGARI = re.compile(r"[\u0900-\u097f]")
_HAN_OR_KANA = re.compile(
    r"[\u3041-\u30ff\uff66-\uff9f々〇\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_LETTER = re.compile(r"[^\W\d_]")


def read(text: str, lang: str) -> Phonemes:
    """``lang`` is a tag: ``en-gb``, ``pt``; words of another script are read in their own language.

    Spans are those of ``text``. Raises `EngineError`: ``unknown_language``, ``library_missing``.
    """
    clean = Traced.of(text).replace(_CLUSTER, _plain).replace(_BLANK, lambda m: " ")
    readings: list[tuple[Phonemes, Traced]] = []
    at = 0
    main = tag_of(lang)
    for tag, part in _parts(clean.text, main):
        where = clean.part(at, at + len(part))
        readings.append((_read(part, tag, main), where))
        at += len(part)
    return _joined(readings)


def tag_of(lang: str) -> str:
    """``en-us``, ``en-gb`` or one of `LANGUAGES`; raises `EngineError` ``unknown_language``."""
    primary, _, region = lang.lower().replace("_", "-").partition("-")
    if primary not in LANGUAGES:
        raise EngineError(
            "unknown_language",
            f"the natural voice does not speak {lang[:20]!r}",
            f"give one of {', '.join(LANGUAGES)}, or a voice of another engine",
        )
    if primary != "en":
        return primary
    return "en-gb" if region in BRITISH else "en-us"


def _plain(match: re.Match[str]) -> str:
    """Letters, digits and marks of full width and their like as they are usually written."""
    cluster = match[0]
    if cluster == "…":
        return cluster
    category = unicodedata.category(cluster[0])
    if category in ("Cf", "Cs", "Co", "Cn"):
        return ""
    return unicodedata.normalize("NFKC", cluster).replace("\u2044", "/")  # of fractions


def _parts(text: str, tag: str) -> Iterator[tuple[str, str]]:
    """``(tag, text)``, whole and in order; no tag for a script that the model cannot say."""
    latin = tag if tag not in ("ja", "zh", "hi") else "en-us"
    for lang, part in split(text, "ja" if tag == "ja" else "auto"):
        if lang == "en" or not _LETTER.search(part):
            yield latin if lang == "en" else tag, part
        elif lang in ("ja", "zh") and _HAN_OR_KANA.search(part):
            yield lang, part
        else:
            yield "hi" if _DEVANAGARI.search(part) else "", part


def _read(text: str, tag: str, main: str) -> Phonemes:
    """A part in another language than the ``main`` one is left out where that needs a library."""
    if not tag:
        return _unsaid(text)
    module, *setting = _READERS[tag]
    try:
        reader = importlib.import_module(f"{__package__}.{module}")
        phonemes: Phonemes = reader.read(text, *setting)
    except EngineError as error:
        if error.code != "library_missing" or tag == main:
            raise
        return _unsaid(text)
    return phonemes


def _unsaid(text: str) -> Phonemes:
    return Phonemes("", (), tuple(c for c in text if not c.isspace()))


def _joined(readings: Iterable[tuple[Phonemes, Traced]]) -> Phonemes:
    symbols = ""
    words: list[tuple[int, int, int]] = []
    unsaid: list[str] = []
    morae: list[Mora] = []
    for phonemes, where in readings:
        if phonemes.symbols and symbols and symbols[-1] != " ":
            symbols += " " if phonemes.symbols[0] not in " ;:,.!?…”)" else ""
        for start, end, at in phonemes.words:
            words.append((*where.span(start, end), len(symbols) + at))
        morae += (mora.moved(len(symbols)) for mora in phonemes.morae)
        symbols += phonemes.symbols
        unsaid += phonemes.unsaid
    return Phonemes(symbols.rstrip(), tuple(words), tuple(unsaid), tuple(morae))
