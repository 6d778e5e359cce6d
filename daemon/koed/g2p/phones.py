"""Text of one segment to the phones that a model reads."""

from __future__ import annotations

import importlib
import itertools
import re
import threading
from dataclasses import dataclass

from koed.errors import EngineError
from koed.g2p.converted import Converted, Pinyin
from koed.g2p.marks import SILENT
from koed.g2p.split import SETTINGS, Part, split
from koed.g2p.symbol_table import SymbolTable

_MODULES = {
    "zh": "chinese",
    "ja": "japanese",
    "en": "english",
    "ko": "korean",
    "yue": "cantonese",
}
_TURNS = {lang: threading.Lock() for lang in _MODULES}
"""The libraries of a language serve one thread at a time, and are loaded once."""
_SHORTEST = 6  # phones; below, models stumble or repeat the reference

_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f\ud800-\udfff\ufeff]")
_FULL_WIDTH_LETTERS = (*range(0xFF10, 0xFF1A), *range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B))
_HALF_WIDTH = {code: code - 0xFEE0 for code in _FULL_WIDTH_LETTERS}


@dataclass(frozen=True)
class PhonePiece:
    """A part of one language. Chinese ones carry what the BERT features need."""

    lang: str
    text: str
    norm_text: str
    phones: tuple[str, ...]
    word2ph: tuple[int, ...] | None
    """Phones per character of ``norm_text``; Chinese and Cantonese only."""
    starts: tuple[tuple[int, int], ...] = ()
    """Of tokens, as character of ``norm_text`` and phone; empty: not known."""


@dataclass(frozen=True)
class Reading:
    """A segment ready for the text model."""

    ids: tuple[int, ...]
    phones: tuple[str, ...]
    norm_text: str
    pieces: tuple[PhonePiece, ...]


def phones(
    text: str, lang: str, table: SymbolTable, official_quirks: bool = False,
    readings: Pinyin | None = None,
) -> Reading:  # fmt: skip
    """Phones of one segment, for a model with that ``table``. ``readings`` are asked for Chinese.

    ``lang`` is one of `split.SETTINGS`. With ``official_quirks`` the official front end's accidents
    are repeated, as the recorded fixtures have them; without, text that holds nothing to speak or a
    language that the model does not know is refused.

    Raises `EngineError`: ``unknown_language``, ``unsupported_language``, ``nothing_to_speak``,
    ``library_missing``.
    """
    if lang not in SETTINGS:
        hint = f"one of {', '.join(SETTINGS)}"
        raise EngineError("unknown_language", f"no language setting {lang!r}", hint)
    text = _clean(text, official_quirks)
    pieces = _pieces(text, lang, table, official_quirks, readings)
    if sum(len(piece.phones) for piece in pieces) < _SHORTEST:
        # An ASCII full stop would make ".5" of "5", as it does officially.
        text = ("." if official_quirks else "。") + text
        pieces = _pieces(text, lang, table, official_quirks, readings)
    names = tuple(phone for piece in pieces for phone in piece.phones)
    if not names or not (official_quirks or any(name not in SILENT for name in names)):
        raise EngineError(
            "nothing_to_speak",
            f"{_shown(text)} holds nothing that can be spoken as {lang}",
            "write it in words, or set the voice's language to that of the text",
        )
    return Reading(
        ids=table.ids(names),
        phones=names,
        norm_text="".join(piece.norm_text for piece in pieces),
        pieces=tuple(pieces),
    )


def _pieces(
    text: str, lang: str, table: SymbolTable, quirks: bool, readings: Pinyin | None
) -> list[PhonePiece]:
    parts = split(text, lang, quirks)
    return [_piece(part, table, quirks, readings) for part in parts]


def _piece(part: Part, table: SymbolTable, quirks: bool, readings: Pinyin | None) -> PhonePiece:
    converted = _converted(part, table, quirks, readings)
    return PhonePiece(
        lang=part.lang,
        text=part.text,
        norm_text=converted.norm_text,
        phones=table.known(converted.phones),
        word2ph=None if converted.word2ph is None else tuple(converted.word2ph),
        starts=_starts(converted),
    )


def _starts(converted: Converted) -> tuple[tuple[int, int], ...]:
    if converted.word2ph is None:
        return converted.starts
    begins = itertools.accumulate(converted.word2ph, initial=0)
    return tuple(zip(range(len(converted.word2ph)), begins, strict=False))


def _converted(part: Part, table: SymbolTable, quirks: bool, readings: Pinyin | None) -> Converted:
    if part.lang not in table.languages:
        if quirks:  # the official front end reads such a piece as an English space
            return Converted(" ", [","])
        raise EngineError(
            "unsupported_language",
            f"{table.name} cannot speak {part.lang}: {_shown(part.text)}",
            table.hint,
        )
    module = importlib.import_module(f"{__package__}.{_MODULES[part.lang]}")
    asked: dict[str, object] = {}
    if part.lang == "zh":
        plain = table.plain_mandarin
        asked = {"erhua": not plain, "readings": None if plain else readings}
    with _TURNS[part.lang]:
        result: Converted = module.convert(part.text, quirks, **asked)
    return result


def _clean(text: str, quirks: bool) -> str:
    """Without what no library takes (lone surrogates, control characters); letters half-width."""
    text = _CONTROL.sub("", text).strip("\n")
    return text if quirks else text.translate(_HALF_WIDTH)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:39] + "…")
