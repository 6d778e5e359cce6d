"""Joining pieces of sound that overlap but were not rendered from the same context.

Synchronous overlap and add (Roucos and Wilgus 1985) as the official engine does it. koed's own
chunks need no joining, they are parts of one sound: this is for parity with official streams.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

SEARCH_SAMPLES = 320
TINY = 1e-8


def offset(before: Tensor, after: Tensor, overlap: int, search: int = SEARCH_SAMPLES) -> int:
    """before, after [S] -> by how many samples, up to ``search``, ``after`` begins too early.

    Where its beginning is most like the last ``overlap`` samples of ``before``. Only the energy of
    the candidate is divided by, as that of ``before`` is the same for all.
    """
    candidates = after[None, None, : overlap + search]
    likeness = functional.conv1d(candidates, before[None, None, -overlap:])
    ones = torch.ones(1, 1, overlap, dtype=after.dtype, device=after.device)
    energy = functional.conv1d(candidates.square(), ones)
    return int((likeness / (energy + TINY).sqrt()).argmax())


def crossfade(before: Tensor, after: Tensor, overlap: int) -> Tensor:
    """before, after [S] -> ``after`` [S], its first ``overlap`` samples faded in over ``before``"""
    fade = torch.hann_window(2 * overlap, dtype=after.dtype, device=after.device)
    faded = after.clone()
    faded[:overlap] = after[:overlap] * fade[:overlap] + before[-overlap:] * fade[overlap:]
    return faded


def join(
    fragments: list[Tensor], overlap: int, search: int = SEARCH_SAMPLES
) -> tuple[Tensor, list[int]]:
    """fragments, each [S] -> the sound [S] and the offset found at each join"""
    offsets, pieces, last = [], [], fragments[0]
    for fragment in fragments[1:]:
        offsets.append(offset(last, fragment, overlap, search))
        pieces.append(last[:-overlap])
        last = crossfade(last, fragment[offsets[-1] :], overlap)
    return torch.cat([*pieces, last]), offsets
