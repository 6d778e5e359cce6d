"""The official program's ways to cut a text into segments, for parity only.

koed's own segmentation is `koed.text.segment`. These six cuts and what is done around them decide
which segments the official models were seen to speak, quirks included.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from koed.errors import EngineError

_ENDS = "，。？！,.?!~:：—…"  # a clause ends at any of these
_CUT5_ENDS = frozenset(",.;?!、，。？！：…")
_ASCII_MARKS = frozenset("!?…,.- ")
_SHORT_HEAD = 4  # characters
_SHORT_SEGMENT = 5
_LONGEST = 510  # characters that BERT takes
_GROUP = 4  # clauses of a cut1 segment
_CUT2_LENGTH = 50


def pre_segment(text: str, lang: str, method: str) -> list[str]:
    """Segments of ``text``, cut by ``method``, each ending in a mark. Empty if it is marks alone.

    Raises `EngineError` ``nothing_to_speak`` where cutting leaves nothing.
    """
    stop = "." if lang == "en" else "。"
    text = text.strip("\n")
    if not text:
        return []
    if text[0] not in _ENDS and len(_first_clause(text)) < _SHORT_HEAD:
        text = stop + text
    lines = [line for line in cut(text, method).split("\n") if line not in ("", " ")]
    if not lines:
        raise EngineError("nothing_to_speak", "the text holds nothing but marks", "write words")
    segments = []
    for segment in _merge_short(lines):
        if re.search(r"\w", segment):
            ended = segment if segment[-1] in _ENDS else segment + stop
            segments += _within_limit(ended)
    return segments


def cut(text: str, method: str) -> str:
    """``text`` with a newline at each cut. ``method`` is one of `CUTS`."""
    return CUTS[method](text)


def collapse_ascii(text: str) -> str:
    """Of each run of ASCII marks (and ``…``) only the first."""
    return re.sub(r"([!?…,.\-])[!?…,.\-]+", r"\1", text)


def _cut0(text: str) -> str:
    return "\n" if set(text) <= _ASCII_MARKS else text


def _cut1(text: str) -> str:
    """Groups of four clauses; the last takes what is left."""
    clauses = _clauses(text)
    starts = list(range(0, len(clauses), _GROUP))
    if len(starts) < 2:
        return _join([text])
    starts.pop()  # the official end of the last group
    groups = [clauses[start : start + _GROUP] for start in starts[:-1]]
    return _join("".join(group) for group in [*groups, clauses[starts[-1] :]])


def _cut2(text: str) -> str:
    """Segments of a little over fifty characters."""
    clauses = _clauses(text)
    if len(clauses) < 2:
        return text
    segments = [""]
    for clause in clauses:
        if len(segments[-1]) > _CUT2_LENGTH:
            segments.append("")
        segments[-1] += clause
    if len(segments) > 1 and len(segments[-1]) < _CUT2_LENGTH:
        last = segments.pop()
        segments[-1] += last
    return _join(segments)


def _cut3(text: str) -> str:
    return _join(text.strip("\n").strip("。").split("。"))


def _cut4(text: str) -> str:
    return _join(re.split(r"(?<!\d)\.(?!\d)", text.strip("\n").strip(".")))


def _cut5(text: str) -> str:
    """At every mark but a full stop between digits."""
    text = text.strip("\n")
    segments = [""]
    for position, character in enumerate(text):
        segments[-1] += character
        inner = text[position - 1 : position] + text[position + 1 : position + 2]
        decimal = character == "." and len(inner) == 2 and inner.isdigit()
        if character in _CUT5_ENDS and not decimal:
            segments.append("")
    return "\n".join(segment for segment in segments if not set(segment) <= _CUT5_ENDS)


CUTS: dict[str, Callable[[str], str]] = {
    "cut0": _cut0,
    "cut1": _cut1,
    "cut2": _cut2,
    "cut3": _cut3,
    "cut4": _cut4,
    "cut5": _cut5,
}


def _clauses(text: str) -> list[str]:
    """Clauses with the mark that ends each; one is put where the text ends without."""
    text = text.strip("\n").replace("……", "。").replace("——", "，")
    if text[-1:] not in _ENDS:
        text += "。"
    return re.findall(rf"[^{_ENDS}]*[{_ENDS}]", text)


def _first_clause(text: str) -> str:
    return re.split(f"[{_ENDS}]", text, maxsplit=1)[0].strip()


def _join(segments: Any) -> str:
    return "\n".join(segment for segment in segments if not set(segment) <= _ASCII_MARKS)


def _merge_short(segments: list[str]) -> list[str]:
    merged: list[str] = []
    text = ""
    for segment in segments:
        text += segment
        if len(text) >= _SHORT_SEGMENT:
            merged.append(text)
            text = ""
    if text and merged:
        merged[-1] += text
    elif text:
        merged.append(text)
    return merged


def _within_limit(segment: str) -> list[str]:
    if len(segment) <= _LONGEST:
        return [segment]
    parts = [""]
    for piece in re.split(f"([{_ENDS}])", segment):
        if len(parts[-1] + piece) > _LONGEST:
            parts.append("")
        parts[-1] += piece
    return [part for part in parts if part]
