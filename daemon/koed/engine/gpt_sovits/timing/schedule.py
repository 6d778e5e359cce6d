"""When words and shapes of the mouth begin in an utterance, told chunk by chunk.

Where the encoder's attention tells which phone a frame speaks (`alignment`), that counts; where it
does not, phones share the time as they usually last (`durations`): at the pace of the reference
while the end is unknown, and so that they end with the sound as soon as it is. What has been told
stays.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from koed.engine.base import Mouth, Shape, Word
from koed.engine.gpt_sovits.timing import alignment

Array = NDArray[np.float64]
Cues = tuple[tuple[Word, ...], tuple[Mouth, ...]]


@dataclass(frozen=True, slots=True)
class Cue:
    """A word or a shape, and the phone that it begins with (1.5 = half through the second)."""

    phone: float
    word: tuple[int, int] | None = None
    """First and one past the last character."""
    shape: Shape | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """What an utterance shows, along its phones."""

    cues: tuple[Cue, ...]
    """By phone, rising."""
    edges: Array
    """[N + 1]: where phones begin and the last one ends, in means of a phone."""
    seconds: float
    """That a mean phone takes, until the end is known."""


def score(
    words: tuple[tuple[int, int, float], ...],
    shapes: tuple[tuple[Shape, float], ...],
    weights: NDArray[np.float64],
    seconds: float,
) -> Score:
    """``weights`` [N], as of `durations.weights`."""
    cues = [Cue(phone, word=(first, last)) for first, last, phone in words]
    cues += [Cue(phone, shape=shape) for shape, phone in shapes]
    edges = np.concatenate([[0.0], np.cumsum(np.maximum(weights, 1e-3))])
    return Score(tuple(sorted(cues, key=lambda cue: cue.phone)), edges, seconds)


@dataclass
class Times:
    """A score on its way."""

    score: Score
    place: float = 0.0
    """On `Score.edges`, reached at ``at_s`` of the sound, its leading silence included."""
    at_s: float = 0.0
    number: int = 0
    """Of the next cue."""
    waiting: list[tuple[float, Cue]] = field(default_factory=list)
    told: list[tuple[float, Cue]] = field(default_factory=list)
    floor_s: float = 0.0
    """Nothing begins before: that is where a restyled stream sets in."""

    def again(self, start_s: float) -> Times:
        """For the same text from ``start_s`` on: what began before is not told again, but the shape
        that the mouth has there."""
        before = [cue for at_s, cue in self.told if at_s < start_s]
        held = [cue for cue in before if cue.shape][-1:]
        kept = tuple(cue for cue in self.score.cues if cue not in before or cue in held)
        left = Score(kept, self.score.edges, self.score.seconds)
        return Times(left, floor_s=start_s)

    def reached(
        self, end_s: float, ended: bool, shares: Array | None = None, row_s: float = 0.02
    ) -> None:
        """Sound is made up to ``end_s``; ``shares`` [F, N] of all rows known, ``row_s`` each."""
        if end_s <= self.at_s and not ended:
            return
        edges, clocks = self._durations(end_s, ended)
        if shares is not None:
            found = self._attention(end_s, ended, shares, row_s)
            edges, clocks = found if found is not None else (edges, clocks)
        after = float(edges[-1])
        cues = self.score.cues
        while self.number < len(cues):
            place = self._place(cues[self.number].phone)
            if place >= after and not ended:
                break
            at_s = min(max(float(np.interp(place, edges, clocks)), self.at_s), end_s)
            self.waiting.append((at_s, cues[self.number]))
            self.number += 1
        self.place, self.at_s = after, end_s

    def take(self, until_s: float, lead_s: float, ended: bool) -> Cues:
        """What begins before ``until_s``; times without the leading silence."""
        if until_s <= lead_s and not ended:
            return (), ()
        ready = [cue for cue in self.waiting if ended or cue[0] < until_s]
        self.waiting = self.waiting[len(ready) :]
        latest = max(self.floor_s, until_s - lead_s)
        now = [(min(max(self.floor_s, at_s - lead_s), latest), cue) for at_s, cue in ready]
        self.told += now
        words = tuple(Word(*cue.word, at_s) for at_s, cue in now if cue.word)
        mouths = [Mouth(cue.shape, at_s) for at_s, cue in now if cue.shape]
        early = sum(mouth.at_s <= self.floor_s for mouth in mouths)  # the last of these holds
        return words, tuple(mouths[max(0, early - 1) :])

    def _durations(self, end_s: float, ended: bool) -> tuple[Array, Array]:
        """Places and when they are reached, from here to ``end_s``."""
        total = float(self.score.edges[-1])
        after = total
        if not ended:
            after = min(total, self.place + (end_s - self.at_s) / self.score.seconds)
        return np.array([self.place, after]), np.array([self.at_s, end_s])

    def _attention(
        self, end_s: float, ended: bool, shares: Array, row_s: float
    ) -> tuple[Array, Array] | None:
        """As `_durations`, if attention tells."""
        edges, first = self.score.edges, round(self.at_s / row_s)
        left = len(shares) - first
        if left <= 0:
            return None
        pace = row_s / self.score.seconds
        if ended:
            pace = max(edges[-1] - self.place, 1e-3) / left
        section = alignment.Section(shares, edges, first, self.place, pace, ended)
        path = alignment.follow(section)
        if path is None:
            return None
        decided = path[: max(1, round(end_s / row_s) - first)]
        phones, rows = np.unique(decided, return_index=True)
        places = np.maximum(edges[phones], self.place)
        after = max(float(edges[-1] if ended else edges[decided[-1] + 1]), self.place)
        if not ended and len(path) > len(decided) and path[len(decided)] == decided[-1]:
            after = self._within(path, len(decided))
        return np.append(places, after), np.append(self.at_s + rows * row_s, end_s)

    def _within(self, path: NDArray[np.int64], row: int) -> float:
        """The place at ``row``, in the midst of a phone: as far as its rows are gone."""
        rows = np.flatnonzero(path == path[row])
        first, last = self.score.edges[path[row]], self.score.edges[path[row] + 1]
        share = (row - rows[0]) / len(rows)
        return max(self.place, float(first + share * (last - first)))

    def _place(self, phone: float) -> float:
        """On the edges."""
        return float(np.interp(phone, np.arange(len(self.score.edges)), self.score.edges))
