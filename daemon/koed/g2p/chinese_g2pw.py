"""Readings of Chinese characters that have several, by the g2pW model where it is installed.

g2pW (Chen et al. 2022, "A Conditional Weighted Softmax BERT for Polyphone Disambiguation in
Mandarin") is a BERT that looks at one character of a sentence at a time. It comes as a folder with
``g2pW.onnx``, ``POLYPHONIC_CHARS.txt`` and ``MONOPHONIC_CHARS.txt`` (character, tab, bopomofo with
tone digit) and ``bopomofo_to_pinyin_wo_tune_dict.json``; the vocabulary is that of Chinese BERTs.
It knows traditional characters only, so simplified text is converted first, character by character.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from koed.errors import EngineError
from koed.g2p.library import load
from koed.g2p.vocabulary import read_vocabulary

MODEL = "g2pW.onnx"
_POLYPHONIC, _MONOPHONIC = "POLYPHONIC_CHARS.txt", "MONOPHONIC_CHARS.txt"
_PINYIN = "bopomofo_to_pinyin_wo_tune_dict.json"
_INPUTS = frozenset(
    ("input_ids", "token_type_ids", "attention_mask", "phoneme_mask", "char_ids", "position_ids")
)
_TONES = frozenset("12345")
MOST_CHARACTERS = 510
"""Of a sentence; the model has positions for two marks more."""
MOST_ROWS = 16
"""Asked for in one run: its memory grows with them."""
THREADS = 2
# Of these the official front end asks pypinyin, in spite of the tables: the training text was read
# so.
_ASK_NEITHER = frozenset("一不和咋嗲剖差攢倒難奔勁拗肖瘙誒泊听噢")
_SEVERAL_AFTER_ALL = frozenset("似攢")


class Polyphones:
    """A loaded model. A call runs it on the sentence once for each character asked for."""

    def __init__(self, folder: Path, vocabulary: Mapping[str, int]) -> None:
        """Raises `EngineError` ``library_missing``, ``polyphones_unusable``."""
        pairs = _pairs(folder / _POLYPHONIC)
        self._chars = sorted({char for char, _ in pairs})
        self._positions = {char: at for at, char in enumerate(self._chars)}
        self._single = dict(_pairs(folder / _MONOPHONIC))
        self._pinyin = _table(folder / _PINYIN)
        self._vocabulary = _with_marks(vocabulary)
        self._session = _session(folder / MODEL)
        self._labels = _labels(pairs, self._session)
        self._allowed = _allowed(pairs, self._labels)
        self._traditional = load("opencc", "Chinese").OpenCC("s2tw").convert

    @classmethod
    def of(cls, folder: Path, vocabulary: Path) -> Polyphones:
        """``vocabulary``: a folder with that of a Chinese BERT, used if ``folder`` has none."""
        try:
            words = read_vocabulary(folder)
        except EngineError:
            words = read_vocabulary(vocabulary)
        return cls(folder, words)

    def __call__(self, text: str) -> list[str | None]:
        """Pinyin with tone digit (``lv4``) of each character of a sentence without marks; None
        where the model has nothing to say.

        Raises `EngineError` ``polyphones_failed``.
        """
        found: list[str | None] = [None] * len(text)
        written = self._traditional(text)
        if len(written) != len(text) or len(text) > MOST_CHARACTERS:
            return found
        asked = []
        for at, char in enumerate(written):
            if char in self._positions and char not in _ASK_NEITHER:
                asked.append(at)
            elif char in self._single and char not in _SEVERAL_AFTER_ALL:
                found[at] = self._spelled(self._single[char])
        for first in range(0, len(asked), MOST_ROWS):
            some = asked[first : first + MOST_ROWS]
            for at, label in zip(some, self._ask(written, some), strict=True):
                found[at] = self._spelled(label.rpartition(" ")[2])
        return found

    def inputs(self, text: str, asked: Sequence[int]) -> dict[str, Any]:
        """What the model is fed: a row for each of the characters ``asked`` for.

        ``input_ids``, ``token_type_ids`` and ``attention_mask`` int64 [B, T + 2]: the whole
        sentence between [CLS] and [SEP]; ``phoneme_mask`` float32 [B, L]: 1 where the character has
        that reading; ``char_ids`` int64 [B]: its number among the polyphonic ones, sorted;
        ``position_ids`` int64 [B]: where it stands, [CLS] counted.
        """
        known, rows = self._vocabulary, len(asked)
        ids = [known["[CLS]"], *(known.get(c, known["[UNK]"]) for c in text), known["[SEP]"]]
        return {
            "input_ids": np.tile(np.array(ids, np.int64), (rows, 1)),
            "token_type_ids": np.zeros((rows, len(ids)), np.int64),
            "attention_mask": np.ones((rows, len(ids)), np.int64),
            "phoneme_mask": np.stack([self._allowed[text[at]] for at in asked]),
            "char_ids": np.array([self._positions[text[at]] for at in asked], np.int64),
            "position_ids": np.array([at + 1 for at in asked], np.int64),
        }

    def _ask(self, text: str, asked: Sequence[int]) -> list[str]:
        """The best label for each character."""
        fed = self.inputs(text, asked)
        try:
            shares = np.asarray(self._session.run(None, fed)[0])
        except Exception as error:  # onnxruntime has no class for all of its errors
            raise EngineError("polyphones_failed", f"g2pW: {error}") from error
        if shares.shape != fed["phoneme_mask"].shape:
            raise EngineError("polyphones_failed", f"g2pW answers in shape {shares.shape}")
        best = np.where(fed["phoneme_mask"] > 0, shares, -np.inf).argmax(1)
        return [self._labels[number] for number in best]

    def _spelled(self, bopomofo: str) -> str | None:
        sound = self._pinyin.get(bopomofo[:-1])
        return sound + bopomofo[-1] if sound and bopomofo[-1] in _TONES else None


def _unusable(path: Path, what: str) -> EngineError:
    return EngineError(
        "polyphones_unusable", f"{path}: {what}", "unpack the folder G2PWModel into models again"
    )


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _unusable(path, str(error)) from error


def _pairs(path: Path) -> list[tuple[str, str]]:
    """Character and bopomofo of each line."""
    rows = [line.split("\t") for line in _read(path).splitlines() if line.strip()]
    if not rows or any(len(row) != 2 or not row[0] or not row[1] for row in rows):
        raise _unusable(path, "not lines of a character, a tab and a reading")
    return [(char, reading) for char, reading in rows]


def _table(path: Path) -> dict[str, str]:
    try:
        table = json.loads(_read(path))
    except ValueError as error:
        raise _unusable(path, str(error)) from error
    if not isinstance(table, dict) or not all(isinstance(v, str) for v in table.values()):
        raise _unusable(path, "not a table of spellings")
    return table


def _with_marks(vocabulary: Mapping[str, int]) -> Mapping[str, int]:
    for mark in ("[CLS]", "[SEP]", "[UNK]"):
        if mark not in vocabulary:
            raise EngineError("polyphones_unusable", f"the vocabulary lacks {mark}")
    return vocabulary


def _session(path: Path) -> Any:
    """Nothing in an ONNX file is executed but its arithmetic."""
    try:
        library = importlib.import_module("onnxruntime")
    except ImportError as error:
        raise EngineError(
            "library_missing", f"g2pW needs onnxruntime: {error}", "pip install 'koed[g2pw]'"
        ) from error
    options = library.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.log_severity_level = 3  # it warns of what it optimises away
    try:
        session = library.InferenceSession(
            str(path), sess_options=options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # as in `Polyphones._ask`
        raise _unusable(path, str(error)) from error
    absent = _INPUTS ^ {given.name for given in session.get_inputs()}
    if absent:
        raise _unusable(path, f"its inputs are not those of g2pW: {', '.join(sorted(absent))}")
    return session


def _labels(pairs: Sequence[tuple[str, str]], session: Any) -> list[str]:
    """What the columns of the answer mean: readings, or in older models character and reading,
    sorted; the width of the mask tells which."""
    readings = sorted({reading for _, reading in pairs})
    both = sorted({f"{char} {reading}" for char, reading in pairs})
    mask = next(given for given in session.get_inputs() if given.name == "phoneme_mask")
    width = mask.shape[-1] if mask.shape else None
    if not isinstance(width, int) or width == len(readings):
        return readings
    if width == len(both):
        return both
    raise EngineError(
        "polyphones_unusable", f"g2pW has {width} readings, its tables {len(readings)}"
    )


def _allowed(pairs: Sequence[tuple[str, str]], labels: Sequence[str]) -> dict[str, Any]:
    """Character -> [L] float32, 1 where a label is a reading of it."""
    numbers = {label: at for at, label in enumerate(labels)}
    masks: dict[str, Any] = {}
    for char, reading in pairs:
        mask = masks.setdefault(char, np.zeros(len(labels), np.float32))
        mask[numbers.get(reading, numbers.get(f"{char} {reading}", -1))] = 1.0
    return masks
