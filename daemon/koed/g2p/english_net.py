"""Spelling to phones for words that no dictionary knows: a small recurrent network.

One GRU reads the letters, another writes ARPAbet phones until it writes the end. The weights in
``data/english_net.npz`` are those of g2p_en 2.1.0 in half precision (see ``data/README.md``).
"""

from __future__ import annotations

import functools
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from koed.g2p.tables import words

Vector = npt.NDArray[np.float32]
Weights = dict[str, npt.NDArray[np.float32]]

_UNKNOWN_LETTER, _END_OF_WORD, _FIRST_LETTER = 1, 2, 3
_START, _END, _FIRST_PHONE = 2, 3, 4
_MOST_PHONES = 20
_MOST_LETTERS = 40  # what follows is noise that would cost a second

_VOWELS = words("AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW")
_CONSONANTS = words("B CH D DH F G HH JH K L M N NG P R S SH T TH V W Y Z ZH")
PHONES = sorted([*(v + stress for v in _VOWELS for stress in "012"), *_CONSONANTS, "UW"])


def predict(word: str) -> list[str]:
    """ARPAbet phones with stress digits for a lower-case ``word``; may be empty."""
    weights = _weights()
    state = np.zeros(weights["enc_w_hh"].shape[1], np.float32)
    for letter in word[:_MOST_LETTERS]:
        known = "a" <= letter <= "z"
        row = ord(letter) - ord("a") + _FIRST_LETTER if known else _UNKNOWN_LETTER
        state = _step(weights, "enc", row, state)
    state = _step(weights, "enc", _END_OF_WORD, state)

    phones: list[str] = []
    row = _START
    while len(phones) < _MOST_PHONES:
        state = _step(weights, "dec", row, state)
        row = int((weights["fc_w"] @ state + weights["fc_b"]).argmax())
        if row == _END:
            break
        if row >= _FIRST_PHONE:
            phones.append(PHONES[row - _FIRST_PHONE])
    return phones


def _step(weights: Weights, side: str, row: int, state: Vector) -> Vector:
    """One GRU step. state [C], row of the embedding -> state [C]."""
    entered = weights[f"{side}_w_ih"] @ weights[f"{side}_emb"][row] + weights[f"{side}_b_ih"]
    kept = weights[f"{side}_w_hh"] @ state + weights[f"{side}_b_hh"]
    width = len(state)
    gates = 1 / (1 + np.exp(-(entered[: 2 * width] + kept[: 2 * width])))
    reset, update = gates[:width], gates[width:]
    candidate = np.tanh(entered[2 * width :] + reset * kept[2 * width :])
    new: Vector = (1 - update) * candidate + update * state
    return new


@functools.cache
def _weights() -> Weights:
    path = resources.files(__package__) / "data" / "english_net.npz"
    with resources.as_file(path) as file, np.load(file) as arrays:
        loaded: dict[str, Any] = {name: arrays[name].astype(np.float32) for name in arrays.files}
    return loaded
