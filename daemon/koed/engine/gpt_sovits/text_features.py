"""A segment of text as the models take it: ids of phones, BERT features, and where words begin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from koed.engine import visemes
from koed.engine.base import Shape
from koed.engine.gpt_sovits.symbols import Version, table
from koed.engine.gpt_sovits.timing import durations
from koed.engine.gpt_sovits.timing import words as places
from koed.errors import EngineError
from koed.g2p.converted import Pinyin
from koed.g2p.phones import PhonePiece, phones
from koed.g2p.split import SETTINGS, split

BERT_WIDTH = 1024
_CANTONESE = ("zh-hk", "zh-yue", "zh-mo")


@dataclass(frozen=True, slots=True)
class TextFeatures:
    """A text, read and ready for the models."""

    phones: Tensor
    """[N] int64"""
    bert: Tensor | None
    """[1024, N] float32, zero where a phone is not Chinese; None: none is."""
    words: tuple[places.Place, ...]
    """First and one past the last character of a word, and the phone with which it begins."""
    shapes: tuple[tuple[Shape, float], ...] = ()
    """Of the mouth, and the phone with which each begins."""
    weights: NDArray[np.float64] | None = None
    """[N] how long phones last, as of `durations.weights`; None: all the same."""


class Features(Protocol):
    """What `koed.engine.gpt_sovits.model.bert.Bert` offers."""

    def features(self, pieces: Sequence[tuple[str, Sequence[int]]]) -> list[Tensor]:
        """(text, word2ph) of each piece -> [1024, N] float32 of each, N = sum of word2ph"""


def read(
    text: str, lang: str, version: Version, bert: Callable[[], Features | None],
    readings: Pinyin | None = None,
) -> TextFeatures:  # fmt: skip
    """Raises `EngineError` as `phones` does. ``bert`` and ``readings`` are asked for only if there
    is Chinese."""
    found = phones(text, setting(lang), table(version), readings=readings)
    return TextFeatures(
        torch.tensor(found.ids, dtype=torch.int64),
        _bert(found.pieces, bert),
        places.words(text, found.pieces),
        _shapes(found.pieces),
        durations.weights([(piece.phones, piece.lang) for piece in found.pieces]),
    )


def languages(text: str, lang: str) -> list[str]:
    """Of which there is something in the text, each once; raises as `setting`."""
    return list(dict.fromkeys(part.lang for part in split(text, setting(lang))))


def languages_of(lang: str, version: Version) -> list[str]:
    """Of a voice that is told no other, its own first; raises as `setting`."""
    plain = setting(lang).removeprefix("all_")
    mixed: dict[str, list[str]] = {
        "en": [],
        "auto": ["zh", "ja", "ko"],
        "auto_yue": ["yue", "ja", "ko"],
    }
    known = [*mixed.get(plain, [plain]), "en"]
    return [each for each in known if each in table(version).languages]


def setting(lang: str) -> str:
    """The front end's for a profile's or a job's language; `EngineError` ``unknown_language``."""
    plain = "yue" if lang.lower() in _CANTONESE else lang.split("-")[0]
    if lang in SETTINGS or plain in SETTINGS:
        return lang if lang in SETTINGS else plain
    raise EngineError(
        "unknown_language", f"this engine has no phones for {lang!r}", "it speaks zh ja en ko yue"
    )


def _shapes(pieces: Sequence[PhonePiece]) -> tuple[tuple[Shape, float], ...]:
    out: list[tuple[Shape, float]] = []
    before = 0
    for piece in pieces:
        out += [(shape, before + at) for shape, at in visemes.along(piece.phones, piece.lang)]
        before += len(piece.phones)
    return tuple(out)


def _bert(pieces: Sequence[PhonePiece], bert: Callable[[], Features | None]) -> Tensor | None:
    chinese = [(p.norm_text, p.word2ph) for p in pieces if p.lang == "zh" and p.word2ph]
    model = bert() if chinese else None
    if model is None:
        return None
    made = iter(model.features(chinese))
    parts = [
        next(made) if piece.lang == "zh" and piece.word2ph
        else torch.zeros(BERT_WIDTH, len(piece.phones))
        for piece in pieces
    ]  # fmt: skip
    return torch.cat([part.cpu() for part in parts], dim=1)
