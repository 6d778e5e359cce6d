"""Text to lines of a width in cells, as a terminal counts them: a wide character takes two.

Pure. Breaks stand after a space or beside a wide character, and never where East Asian printing
forbids them (a line does not begin with 。 nor end with 「). What fits nowhere is cut hard, but
never between a character and its marks.
"""

from __future__ import annotations

import unicodedata

Span = tuple[int, int]
"""(start, end) of one line within the text, spaces at its ends left out."""

_NO_START = (
    "、。，．,.・:;：；!?！？)]}）］｝」』】〕〉》”’…〜%％"
    "ーっッゃゅょャュョぁぃぅぇぉァィゥェォ々ゝゞヽヾ"
)
_NO_END = "([{（［｛「『【〔〈《“‘"
_JOINER = "\u200d"
_KEPT = _JOINER + "\u200c"
"""Invisible, but emoji and Persian are written with them."""


def cells(cluster: str) -> int:
    """Width of one character with its marks."""
    char = cluster[0]
    if unicodedata.category(char) in ("Mn", "Me", "Cf", "Cc"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _clusters(text: str) -> list[str]:
    """Characters with the marks, joined emoji and skin tones that belong to them."""
    found: list[str] = []
    for char in text:
        joins = unicodedata.category(char) in ("Mn", "Me", "Cf") or "\U0001f3fb" <= char <= (
            "\U0001f3ff"
        )
        if found and not found[-1].isspace() and (joins or found[-1].endswith(_JOINER)):
            found[-1] += char
        else:
            found.append(char)
    return found


def _may_break(before: str, after: str) -> bool:
    if before.isspace():
        return True
    wide = cells(before) == 2 or cells(after) == 2
    return wide and after[0] not in _NO_START and before[0] not in _NO_END


def spans(text: str, width: int) -> list[Span]:
    """The lines of ``text``, each at most ``width`` (at least 2) cells wide."""
    lines: list[Span] = []
    clusters = _clusters(text)
    starts = [0]
    for cluster in clusters:
        starts.append(starts[-1] + len(cluster))
    first, used, break_at = 0, 0, 0  # indices into clusters; no break yet = first
    at = 0
    while at < len(clusters):
        cluster = clusters[at]
        if at > first and _may_break(clusters[at - 1], cluster):
            break_at = at
        if used + cells(cluster) > width and not cluster.isspace() and at > first:
            end = break_at if break_at > first else at
            lines.append(_trimmed(text, starts[first], starts[end]))
            first = at = break_at = end
            used = 0
            continue
        if at == first and cluster.isspace():  # a line does not begin with a space
            first = break_at = at + 1
        else:
            used += cells(cluster)
        at += 1
    if first < len(clusters):
        lines.append(_trimmed(text, starts[first], len(text)))
    return lines


def _trimmed(text: str, start: int, end: int) -> Span:
    return start, start + len(text[start:end].rstrip())


def revealed(text: str, lines: list[Span], upto: int, keep: int) -> list[str]:
    """The last ``keep`` lines of ``text[:upto]``, in the layout that the whole text has: what
    stands there does not move when more is shown."""
    shown = [clean(text[start : min(end, upto)]) for start, end in lines if start < upto]
    return shown[-keep:]


def word_end(text: str, end: int) -> int:
    """Behind the marks that belong to a word: in ``hello, you`` the comma comes with hello."""
    while end < len(text):
        kind = unicodedata.category(text[end])
        if not kind.startswith(("P", "M")) or kind in ("Ps", "Pi"):
            break
        end += 1
    return end


def clean(text: str) -> str:
    """Without what a stranger could use to disturb a picture: control characters, marks that turn
    the direction of writing, halves of characters. White space becomes a space."""
    return "".join(
        " " if char.isspace() else char
        for char in text
        if char.isspace()
        or char in _KEPT
        or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn")
    )
