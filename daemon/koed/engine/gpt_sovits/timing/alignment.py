"""Which phone a frame of the sound model speaks, read from its attention.

Speech says its phones in order, so a path through the attention is sought that only goes forward
(dynamic programming, as Viterbi 1967), between what attention tells and what durations expect: the
place after x means of a phone is x with a spread that grows as of a random walk. Attention that
tells nothing (flat, or on the same phones all the time) leaves durations alone. Pure numpy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

TELLING = 0.7
"""Nats a frame; see `gain`. Attention that is nothing but noise reaches 0.68 on its best path, as
made up by `koed bench words` with noise from 0.2 to 2 on its logits."""
FRAMES_LEAST = 10
"""Fewer frames prove nothing."""
SKIPPED_MOST = 4
_SKIP_COST = 0.7  # for each mean length of a phone left out
_SPREAD_FIRST, _SPREAD_WALK, _SPREAD_PACE = 2.0, 2.0, 0.4
"""Squares and a share of what is gone: wider than speech is, as each frame asks again."""
_EVIDENCE_MOST = 3.0
_FLOOR = 1e-4


@dataclass(frozen=True, slots=True)
class Section:
    """The frames that are not yet decided."""

    shares: Array
    """[F, N] of all frames known: how much each attends to each phone."""
    edges: Array
    """[N + 1]: where phones begin and the last one ends, in means of a phone."""
    first_frame: int
    """Before it all is decided."""
    place: float
    """On ``edges``, at the first frame."""
    pace: float
    """Means of a phone in a frame."""
    ended: bool
    """The last frame known is the last of all."""


def evidence(shares: Array) -> Array:
    """shares [F, N] -> nats [F, N]: how much more a frame attends to a phone than frames do on
    average."""
    usual = shares.mean(0, keepdims=True)
    told = np.log((shares + _FLOOR) / (usual + _FLOOR))
    return np.asarray(np.clip(told, -_EVIDENCE_MOST, _EVIDENCE_MOST))


def gain(told: Array, path: NDArray[np.int64]) -> float:
    """told [F, N] nats, path [F] phones -> mean `evidence` on the path: 0 if attention knows
    nothing, log N if it knows all."""
    return float(told[np.arange(len(path)), path].mean())


def follow(section: Section) -> NDArray[np.int64] | None:
    """[F - first_frame]: the phone of each undecided frame, or None if attention tells nothing."""
    if len(section.shares) < FRAMES_LEAST or section.first_frame >= len(section.shares):
        return None
    told = evidence(section.shares)
    if told.max(1).mean() < TELLING:  # no path can be better
        return None
    # Judged over all frames: the undecided may be few.
    whole = Section(section.shares, section.edges, 0, 0.0, _pace(section), section.ended)
    path = _best(told, whole)
    if gain(told, path) < TELLING:
        return None
    return _best(told[section.first_frame :], section) if section.first_frame else path


def _pace(section: Section) -> float:
    """From the first frame of all to the last known."""
    left = len(section.shares) - section.first_frame
    return (section.place + section.pace * left) / len(section.shares)


def _best(told: Array, section: Section) -> NDArray[np.int64]:
    """The path with the most evidence and the least surprise about durations."""
    frames, phones = told.shape
    edges = section.edges
    scores = told + _expected(frames, section)
    costs = [
        _SKIP_COST * (edges[ahead:phones] - edges[1 : phones - ahead + 1])
        for ahead in range(1, min(SKIPPED_MOST + 1, phones - 1) + 1)
    ]  # of going so many phones forward: what lies between is left out
    came = np.zeros((frames, phones), np.int64)
    best = np.full(phones, -np.inf)
    start = int(np.clip(np.searchsorted(edges, section.place, "right") - 1, 0, phones - 1))
    best[start : start + 2] = scores[0, start : start + 2]
    for frame in range(1, frames):
        step = best.copy()
        for ahead, cost in enumerate(costs, start=1):
            moved = best[:-ahead] - cost
            better = moved > step[ahead:]
            step[ahead:][better] = moved[better]
            came[frame, ahead:][better] = ahead
        best = step + scores[frame]
    path = np.empty(frames, np.int64)
    path[-1] = int(best.argmax())
    for frame in range(frames - 1, 0, -1):
        path[frame - 1] = path[frame] - came[frame, path[frame]]
    return path


def _expected(frames: int, section: Section) -> Array:
    """[frames, N] log probability, up to a constant, of each phone from durations alone."""
    middles = (section.edges[:-1] + section.edges[1:]) / 2
    gone = section.pace * (np.arange(frames) + 0.5)
    free = np.minimum(gone, gone[::-1]) if section.ended else gone  # both ends are known
    spread = _SPREAD_FIRST + _SPREAD_WALK * free + (_SPREAD_PACE * free) ** 2
    off = middles[None, :] - (section.place + gone)[:, None]
    return np.asarray(-(off**2) / (2 * spread[:, None]))
