"""The symbols that the model reads, and their numbers.

They are the input layer of Kokoro-82M (Apache-2.0, hexgrad): IPA, with capitals for the diphthongs
of English, as `misaki` writes it.
"""

from __future__ import annotations

from collections.abc import Iterable

_RUNS = (
    (1, ";:,.!?"),
    (9, '—…"()“” \u0303ʣʥʦʨᵝꭧAI'),
    (31, "O"),
    (33, "Q"),
    (35, "ST"),
    (39, "W"),
    (41, "Yᵊabcdef"),
    (50, "hijklmnopqrstuvwxyzɑɐɒæ"),
    (75, "βɔɕç"),
    (80, "ɖðʤə"),
    (85, "ɚɛɜ"),
    (90, "ɟ"),
    (92, "ɡ"),
    (99, "ɥ"),
    (101, "ɨɪʝ"),
    (110, "ɯɰŋɳɲɴø"),
    (118, "ɸθœ"),
    (123, "ɹ"),
    (125, "ɾɻ"),
    (128, "ʁɽʂʃʈʧ"),
    (135, "ʊʋ"),
    (138, "ʌɣɤ"),
    (142, "χʎ"),
    (147, "ʒʔ"),
    (156, "ˈˌː"),
    (162, "ʰ"),
    (164, "ʲ"),
    (169, "↓"),
    (171, "→↗↘"),
    (177, "ᵻ"),
)
"""Symbols that follow each other, and the number of the first."""

IDS = {symbol: first + at for first, run in _RUNS for at, symbol in enumerate(run)}
EDGE = 0
"""Stands before the first and after the last symbol."""
MOST = 510
"""Symbols that the model takes at once, the edges not counted."""


def ids(symbols: Iterable[str]) -> list[int]:
    """Of symbols that it knows; raises `KeyError` for any other."""
    return [IDS[symbol] for symbol in symbols]
