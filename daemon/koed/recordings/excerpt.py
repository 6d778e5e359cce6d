"""Which part of a recording becomes the reference: silence off both ends, and 3 to 10 s of it.

A part begins and ends in pauses. Where it is not all that is said, its transcript is guessed: marks
in the text and pauses in the sound are matched by time, and a part whose ends match nothing is not
taken. Without torch.

Shapes: F frames of 20 ms, S samples.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from koed.errors import EngineError
from koed.recordings.quality import FRAME_S, SILENCE_BELOW_DB, framed, levels_db
from koed.recordings.recording import PROMPT_S, Recording

LEAD_S, TAIL_S = 0.1, 0.2
"""Left standing around speech: soft consonants begin and end below the threshold."""
CLICK_S = 0.06
"""Sound that is shorter is no speech."""
PAUSE_S = 0.16
BEST_S = 7.0
OFF_S = 0.5
"""A mark in the text and a pause may lie so far apart."""
SILENT_DBFS = -65.0
_MARKS = re.compile(r"[^.。．!?！？,，、;；:：…\n]*[.。．!?！？,，、;；:：…\n]*\s*")
_WIDE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]")

Stretch = tuple[int, int]
"""First frame, and one past the last."""


@dataclass(frozen=True, slots=True)
class Take:
    """What is taken of a recording."""

    start_s: float
    end_s: float
    text: str
    """What is said in it."""
    guessed: bool
    """``text`` is a part of what was given, found by time."""


def take(recording: Recording, text: str, keep_silence: bool = False) -> Take:
    """All that is said, or the best part of it if that is more than 10 s.

    Raises `EngineError` ``reference_silent``, ``reference_short`` or ``reference_long``.
    """
    spoken = stretches(recording)
    whole = (0.0, recording.duration_s) if keep_silence else _around(spoken[0], spoken[-1])
    start_s, end_s = max(0.0, whole[0]), min(recording.duration_s, whole[1])
    length_s = end_s - start_s
    if length_s < PROMPT_S[0]:
        raise EngineError(
            "reference_short",
            f"{length_s:.1f} s of the reference are speech, too short",
            f"record {PROMPT_S[0]:g} to {PROMPT_S[1]:g} s in one go",
        )
    if length_s <= PROMPT_S[1]:
        return Take(start_s, end_s, text, guessed=False)
    return _best(recording, spoken, text)


def cut(recording: Recording, start_s: float, end_s: float) -> Recording:
    """The part from ``start_s`` to ``end_s``."""
    first, end = (round(at_s * recording.rate_hz) for at_s in (start_s, end_s))
    return Recording(recording.samples[max(0, first) : end], recording.rate_hz)


def stretches(recording: Recording) -> list[Stretch]:
    """Where there is speech without a pause; at least one. Raises ``reference_silent``."""
    levels = levels_db(framed(recording))
    top = float(np.percentile(levels, 98)) if len(levels) else -200.0
    floor = float(np.percentile(levels, 5)) if len(levels) else -200.0
    # In a noisy room the noise is louder than what counts as silence elsewhere.
    threshold = max(top - SILENCE_BELOW_DB, min(floor + 6.0, top - 20.0))
    found = [run for run in _runs(levels > threshold) if _length_s(run) >= CLICK_S]
    if top < SILENT_DBFS or not found:
        raise EngineError(
            "reference_silent",
            "nobody is heard in the reference audio",
            "look whether the right microphone was recorded",
        )
    joined = [found[0]]
    for run in found[1:]:
        if (run[0] - joined[-1][1]) * FRAME_S < PAUSE_S:
            joined[-1] = (joined[-1][0], run[1])
        else:
            joined.append(run)
    return joined


def _runs(mask: NDArray[np.bool_]) -> list[Stretch]:
    edges = np.flatnonzero(np.diff(np.concatenate(([0], mask.astype(np.int8), [0]))))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def _length_s(run: Stretch) -> float:
    return (run[1] - run[0]) * FRAME_S


def _around(first: Stretch, last: Stretch) -> tuple[float, float]:
    return first[0] * FRAME_S - LEAD_S, last[1] * FRAME_S + TAIL_S


# --- the best part ---------------------------------------------------------------------------


def _best(recording: Recording, spoken: list[Stretch], text: str) -> Take:
    """The candidate with the lowest cost. Raises ``reference_long`` if there is none."""
    levels = levels_db(framed(recording))
    borders, marks = _borders(spoken), list(_text_borders(text))
    best: tuple[float, Take] | None = None
    for i, j in _candidates(spoken):
        start, end = _nearest(marks, borders[i]), _nearest(marks, borders[j + 1])
        off_s = max(abs(start[0] - borders[i]), abs(end[0] - borders[j + 1])) * _total_s(spoken)
        if off_s > OFF_S or end[1] <= start[1]:
            continue
        start_s, end_s = _around(spoken[i], spoken[j])
        said = text[start[1] : end[1]].strip()
        found = Take(max(0.0, start_s), min(recording.duration_s, end_s), said, guessed=True)
        cost = _cost(levels, spoken[i : j + 1]) + 2.0 * off_s
        if best is None or cost < best[0]:
            best = cost, found
    if best is None:
        raise EngineError(
            "reference_long",
            f"{_total_s(spoken):.1f} s are said, and no part could be matched with the text",
            "take 3 to 10 s yourself, for instance --part 2.1:9.8, and give the text of these only",
        )
    return best[1]


def _candidates(spoken: list[Stretch]) -> Iterator[tuple[int, int]]:
    """First and last stretch of every part that lasts 3 to 10 s."""
    for i, first in enumerate(spoken):
        for j in range(i, len(spoken)):
            start_s, end_s = _around(first, spoken[j])
            if end_s - start_s > PROMPT_S[1]:
                break
            if end_s - max(0.0, start_s) >= PROMPT_S[0]:
                yield i, j


def _cost(levels: NDArray[np.float64], spoken: list[Stretch]) -> float:
    """Of a part: about 1 for each thing that one would rather not have."""
    length = spoken[-1][1] - spoken[0][0]
    silence = 1.0 - sum(b - a for a, b in spoken) / length
    loud = np.concatenate([levels[a:b] for a, b in spoken])
    return abs(length * FRAME_S - BEST_S) / 4.0 + 2.0 * silence + float(np.std(loud)) / 20.0


def _total_s(spoken: list[Stretch]) -> float:
    return sum(map(_length_s, spoken))


def _borders(spoken: list[Stretch]) -> list[float]:
    """Share of all speech that lies before each stretch, and 1."""
    shares = np.cumsum([0.0] + [_length_s(run) for run in spoken])
    return [float(share) for share in shares / shares[-1]]


def _text_borders(text: str) -> Iterator[tuple[float, int]]:
    """Share of the text before each mark, and the character after it; beginning and end as well.

    An ideograph, a kana or a syllable of Hangul takes as long as two letters.
    """
    weights = [2.0 if _WIDE.match(c) else float(c.isalnum()) for c in text]
    before = np.concatenate(([0.0], np.cumsum(weights)))
    for at in sorted({0, len(text)} | {match.end() for match in _MARKS.finditer(text)}):
        yield float(before[at] / max(before[-1], 1.0)), at


def _nearest(marks: list[tuple[float, int]], share: float) -> tuple[float, int]:
    return min(marks, key=lambda mark: abs(mark[0] - share))
