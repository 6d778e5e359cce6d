"""What a text model can say wrongly, told from the codes alone, before anybody hears it.

A model of this kind sometimes says nothing, stops in the middle, never stops, hangs on one sound,
or repeats its reference before a short line. Nothing here touches the model: codes in, a verdict
out, so that the same codes are always judged alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["empty", "early_end", "runaway", "stuck", "leak"]

WORDS: dict[Verdict, str] = {
    "empty": "nothing was said",
    "early_end": "it stopped long before the end of the text",
    "runaway": "it did not stop",
    "stuck": "it hangs on one sound",
    "leak": "it repeats the words of the reference",
}

USUAL_PACE = 2.2
"""Codes (of 40 ms) a phone, where there is no prompt to count them in. English, read: 2.4 in the
median, 2.0 to 2.8 between fast and slow lines; languages with shorter phones take less."""
PACES = (1.0, 4.0)
"""What a prompt may make of it: outside, its transcript is not what is said."""
SLOWEST, SLOWEST_CODES = 3.0, 30
"""More than so many times the usual pace, and so many codes, is no speech of the text. A line of a
fluent reader takes 0.70 to 1.43 of what another of the same reader lets expect, one of somebody who
learns the language 0.60 to 3.43: `pace_survey` in the tests measures it on recordings."""
FASTEST = 0.45
"""Less than so much of the usual pace is no speech of the text. Below what was ever measured, for a
reference may be of another language, whose phones are longer or shorter."""
FEW_PHONES = 8
"""With fewer, nothing can be told from a small number of codes."""
SHORT_CODES = 25
"""A line that should take no more is judged as a whole, before its first sample leaves."""
STUCK_CODES, STUCK_KINDS = 38, 2
LEAK_RUN = 12
"""Codes in a row as in the prompt, half a second: no chance does that."""
LEAK_SHARE, LEAK_GRAM, LEAK_LEAST = 0.5, 3, 5
"""In a short line: this share of its runs of three codes are from the prompt, and so many at
least."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many codes a text may take."""

    fewest: int
    most: int
    usual: int

    @property
    def hold(self) -> int:
        """Codes to be judged before the first sample leaves; 0 = those of the first chunk do."""
        return self.most if self.usual <= SHORT_CODES else 0


def pace(prompt_phones: int, prompt_codes: int) -> float:
    """Codes a phone of a voice, from what its reference says; kept within `PACES`."""
    if not prompt_phones or not prompt_codes:
        return USUAL_PACE
    return min(max(prompt_codes / prompt_phones, PACES[0]), PACES[1])


def limits(phones: int, codes_per_phone: float) -> Limits:
    """For a text of ``phones`` in a voice of that pace."""
    usual = math.ceil(phones * codes_per_phone)
    fewest = math.floor(FASTEST * usual) if phones >= FEW_PHONES else 1
    return Limits(fewest, math.ceil(SLOWEST * usual) + SLOWEST_CODES, usual)


def judge(
    codes: Sequence[int], ended: bool, bounds: Limits, prompt: Sequence[int] = ()
) -> Verdict | None:
    """What is wrong with the codes so far; None = nothing that could be told.

    ``prompt`` are the codes of the reference, empty where repeating it would be right.
    """
    if ended and not codes:
        return "empty"
    if len(codes) >= bounds.most:
        return "runaway"
    if len(codes) >= STUCK_CODES and len(set(codes[-STUCK_CODES:])) <= STUCK_KINDS:
        return "stuck"
    if leaks(codes, prompt, bounds):
        return "leak"
    return "early_end" if ended and len(codes) < bounds.fewest else None


def leaks(codes: Sequence[int], prompt: Sequence[int], bounds: Limits) -> bool:
    """Whether the reference is said again.

    Runs of one code or two are not counted: silence is one code again and again, and no leak.
    """
    if _shared(codes, prompt, LEAK_RUN):
        return True
    if bounds.usual > SHORT_CODES:
        return False
    shared = _shared(codes, prompt, LEAK_GRAM)
    return shared >= max(LEAK_LEAST, LEAK_SHARE * (len(codes) - LEAK_GRAM + 1))


def _shared(codes: Sequence[int], prompt: Sequence[int], length: int) -> int:
    """How many runs of ``length`` codes are in the prompt, too."""
    known = set(_runs(prompt, length))
    return sum(run in known for run in _runs(codes, length) if len(set(run)) > STUCK_KINDS)


def _runs(codes: Sequence[int], length: int) -> list[tuple[int, ...]]:
    return list(zip(*(codes[i:] for i in range(length)), strict=False))
