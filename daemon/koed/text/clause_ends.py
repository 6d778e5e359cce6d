"""Where clauses end: marks, judged with what stands before and right after them.

Everything here is decided by the text up to a mark and a little after it. If that little has not
come yet, the answer has the strength `UNDECIDED`; a decision once given never changes.
"""

from __future__ import annotations

import re
from typing import NamedTuple

UNDECIDED = 0
CLAUSE = 1
SENTENCE = 2
LINE = 3


class Break(NamedTuple):
    end: int
    """One past the mark and the closing quotes and brackets that belong to it."""
    strength: int
    """`UNDECIDED`: the clause ends there or goes on, more text will tell."""


_FULL = "!?。！？．｡؟।॥"
_HALF = ",;:、，､；：،"
_CLOSERS = "\"'”’」』）)]】》〉»｝}〕］"

_MARK = re.compile(rf"\n|[.{_FULL}…]+|・{{2,}}|—+|[{_HALF}]")
_CLOSING_RUN = re.compile(f"[{re.escape(_CLOSERS)}]{{0,8}}")
_WORD_BEFORE = re.compile(r"[A-Za-z.]+$")

# fmt: off
_NEVER_END = frozenset(
    [
        "mr", "mrs", "ms", "dr", "prof", "st", "mt", "rev", "hon", "gen", "sgt", "capt", "lt",
        "col", "vs", "v.s", "e.g", "i.e", "cf", "approx", "ca", "feat", "ft", "esp", "incl",
        "bzw", "z.b",
    ]
)
_BEFORE_NUMBER = frozenset(
    [
        "no", "nos", "nr", "vol", "fig", "figs", "ch", "sec", "art", "p", "pp", "pg", "ep", "eq",
    ]
)
_END_BEFORE_CAPITAL = frozenset(
    [
        "etc", "inc", "ltd", "co", "corp", "jr", "sr", "a.m", "p.m", "dept", "est", "min", "max",
        "al",
    ]
)
# fmt: on
_MAX_SPACE = 32
"""White space that is looked across for the next letter."""


def is_wide(char: str) -> bool:
    """A character of Chinese, Japanese or Korean writing, its marks included."""
    return "\u1100" <= char <= "\u11ff" or "\u2e80" <= char <= "\ud7ff" or char >= "\uf900"


def next_break(text: str, start: int, scan: int, final: bool) -> tuple[Break | None, int]:
    """The first clause end of ``text[start:]`` at or after ``scan``, and where to scan on.

    None: there is no mark that ends a clause yet. `UNDECIDED`: there is one that may, scan again
    from the returned position when there is more text. ``final``: there will be none.
    """
    while mark := _MARK.search(text, scan):
        found = _judge(text, start, mark, final)
        if found is not None:
            return found, found.end if found.strength else mark.start()
        scan = mark.end()
    if not final and text.endswith(("・", "—"), start):
        return None, max(start, len(text) - 1)  # the first of two, perhaps
    return None, len(text)


def _judge(text: str, start: int, mark: re.Match[str], final: bool) -> Break | None:
    """None: the clause goes on after this mark."""
    if mark[0] == "\n":
        return Break(mark.end(), LINE)
    end = _CLOSING_RUN.match(text, mark.end()).end()  # type: ignore[union-attr]
    if end == len(text):
        return Break(end, SENTENCE if final else UNDECIDED)
    before = text[mark.start() - 1] if mark.start() > start else " "
    after = text[end]
    if mark[0][0] in _HALF:
        return _half(text, mark, before, after)
    closed = end > mark.end()
    if "…" in mark[0] or mark[0][0] in "・—" or mark[0].endswith(("..", "。。")):
        return _trailing_off(text, mark[0], end, before, final)
    if mark[0] == ".":
        return _full_stop(text, start, mark, end, final)
    if _is_ascii_word(before) and _is_ascii_word(after):
        return None  # Yahoo!Japan, ?a=b
    quoted = closed and after in "とっ"  # 「…。」と言った goes on
    return Break(end, CLAUSE if quoted else SENTENCE)


def _half(text: str, mark: re.Match[str], before: str, after: str) -> Break | None:
    """Commas, colons and semicolons."""
    end = mark.end()
    if mark[0] in "、，､；：،":
        if before.isdigit() and after.isdigit():
            return None
        return Break(end, CLAUSE)
    next_char = text[end] if end < len(text) else " "
    if next_char.isspace() or is_wide(next_char):
        return Break(end, CLAUSE)
    if is_wide(before) and (next_char.isalnum() or next_char in "“‘"):
        return Break(end, CLAUSE)
    if next_char in "\"'”’」』" and mark[0] == ",":
        return Break(_CLOSING_RUN.match(text, end).end(), CLAUSE)  # type: ignore[union-attr]
    return None  # 1,000 12:30 :) a,b


def _trailing_off(text: str, mark: str, end: int, before: str, final: bool) -> Break | None:
    """An ellipsis or a dash: a clause, or a sentence if the next one begins like one."""
    after = text[end]
    if before.isdigit() and after.isdigit():
        return None
    if mark[0] == "—" or not after.isspace():
        return Break(end, CLAUSE)
    follower = _next_letter(text, end, final)
    if follower is None:
        return Break(end, UNDECIDED)
    begins = not follower.islower()
    return Break(end, SENTENCE if begins else CLAUSE)


def _full_stop(text: str, start: int, mark: re.Match[str], end: int, final: bool) -> Break | None:
    after = text[end]
    before = text[mark.start() - 1] if mark.start() > start else " "
    if is_wide(after):
        return None if before.isdigit() and after.isdigit() else Break(end, SENTENCE)
    if not after.isspace():
        # 3.14, example.com, U.S.; but "次.Next" and '."' with more after it
        return Break(end, SENTENCE) if is_wide(before) and after.isalpha() else None
    head = text[start : mark.start()].strip() if mark.start() - start < 8 else ""
    if head.isdigit() and len(head) <= 3:
        return None  # "1. First"
    word = _WORD_BEFORE.search(text[max(start, mark.start() - 24) : mark.start()])
    if word is None or end > mark.end():
        return Break(end, SENTENCE)
    return _after_word(word[0], text, end, final)


def _after_word(word: str, text: str, end: int, final: bool) -> Break | None:
    """A full stop and a space after ``word``: an abbreviation or the end?"""
    low = word.lower().strip(".")
    initials = (len(low) == 1 and word.isupper() and word != "I") or (
        "." in low and all(len(part) == 1 for part in low.split("."))
    )
    if low in _NEVER_END or (initials and low not in _END_BEFORE_CAPITAL):
        return None
    if low not in _BEFORE_NUMBER and low not in _END_BEFORE_CAPITAL:
        return Break(end, SENTENCE)
    follower = _next_letter(text, end, final)
    if follower is None:
        return Break(end, UNDECIDED)
    if low in _BEFORE_NUMBER:
        return None if follower.isdigit() else Break(end, SENTENCE)
    return None if follower.islower() else Break(end, SENTENCE)


def _next_letter(text: str, start: int, final: bool) -> str | None:
    """The first character after white space; a newline counts; None: it has not come yet."""
    for char in text[start : start + _MAX_SPACE]:
        if char == "\n" or not char.isspace():
            return char
    return "\n" if final or len(text) >= start + _MAX_SPACE else None


def _is_ascii_word(char: str) -> bool:
    return char.isascii() and char.isalnum()
