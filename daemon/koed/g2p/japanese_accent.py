"""Accent phrases of Japanese and where each falls, by the rules of OpenJTalk 1.11.

The voice models learnt their pitch marks from that version. Newer builds of the library join and
accent words otherwise, so koed takes only words and readings from the library and applies the
eighteen joining rules and Sagisaka's accent combination rules (F1-F5, C1-C5, P1-P14) here.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

_NUMERAL_UNITS = frozenset("十百千万億兆")
_ALONE = frozenset({"副詞", "接続詞", "連体詞"})
_DEPENDENT = frozenset({"助詞", "助動詞"})
_RULE = re.compile(r"(?:(?P<pos>[^%]+)%)?(?P<name>[FCP]\d+)(?:@(?P<add>-?\d+))?")


NUMERAL_ACCENTS = dict(
    zip("一二三四五六七八九十百千万億兆", map(int, "210112121121111"), strict=True)
)


@dataclass
class Word:
    """One morpheme, as accent rules see it."""

    string: str
    pos: str
    group1: str
    group3: str
    form: str
    """Conjugated form, ``*`` if it has none."""
    rules: str
    """Accent combination rules of the dictionary, parted by ``/``; ``*`` if it has none."""
    morae: int
    accent: int
    """Mora after which the pitch falls, from 1; 0 if it does not. Of a phrase's first word: the
    whole phrase's."""
    joined: bool
    """Whether it belongs to the accent phrase of the word before."""
    fixed: bool = False
    """Whether ``joined`` is already decided (the later parts of a compound)."""
    by_digit: bool = False
    """A digit of a number that is read digit by digit: its accent is already right."""

    @property
    def numeral(self) -> bool:
        return self.group1 == "数"


def set_phrases(words: list[Word]) -> None:
    """Decide ``joined`` of each word that is not fixed, then ``accent`` of each phrase."""
    for left, right in itertools.pairwise(words):
        if left.numeral and right.numeral:
            right.joined &= right.by_digit or left.string not in _NUMERAL_UNITS
        elif right.numeral:
            right.joined = False
        elif not right.fixed and not (left.numeral and right.joined):
            right.joined = joins(left, right)
    head, morae = None, 0
    for position, word in enumerate(words):
        if head is None or not word.joined:
            head, morae = word, 0
        else:
            _combine(head, words[position - 1], word, morae)
        morae += word.morae
        if word.numeral and not word.by_digit:
            _accent_numeral(words, position)


def joins(left: Word, right: Word) -> bool:
    """Whether ``right`` continues the accent phrase of ``left``. The strongest rule comes first."""
    if right.group1 == "接尾":
        return True
    if right.pos == "接頭詞" or "記号" in (left.pos, right.pos):
        return False
    if left.pos == "名詞" and (right.group3 == "名" or right.pos in ("動詞", "形容詞")):
        return False
    if right.pos == "名詞" and (left.group3 == "姓" or left.group1 == "接尾"):
        return False
    if left.pos == "名詞" and right.group1 == "形容動詞語幹":
        return False
    return _joins_by_class(left, right)


def _joins_by_class(left: Word, right: Word) -> bool:
    if right.group1 == "非自立" and right.pos in ("動詞", "形容詞"):
        if (
            left.form.startswith("連用")
            and left.pos in ("動詞", "形容詞")[: 1 + (right.pos != "動詞")]
        ):
            return True
        if right.pos == "形容詞" and left.group1 == "接続助詞" and left.string in ("て", "で"):
            return True
    if right.pos in _DEPENDENT:
        return True
    if left.pos in _DEPENDENT:
        return False
    if "副詞可能" in (left.group1, right.group1) or left.pos in _ALONE or right.pos in _ALONE:
        return False
    if left.pos == "動詞":
        return right.pos not in ("形容詞", "名詞")
    if right.pos == "名詞":
        return left.pos != "形容詞" and left.group1 != "形容動詞語幹"
    return True


def _combine(head: Word, left: Word, word: Word, morae: int) -> None:
    """Move the phrase's accent as ``word`` joins after ``morae``."""
    name, add = _rule(word.rules, left.pos)
    if name == "F4" or (name == "F2" and not head.accent) or (name == "F3" and head.accent):
        head.accent = morae + add
    elif name in ("F5", "C4", "P6"):
        head.accent = 0
    elif name == "C1":
        head.accent = morae + word.accent
    elif name == "C2":
        head.accent = morae + 1
    elif name == "C3":
        head.accent = morae
    elif name == "P1":
        head.accent = morae + word.accent if word.accent else 0
    elif name == "P2":
        head.accent = morae + (word.accent or 1)
    elif name == "P14" and word.accent:
        head.accent = morae + word.accent


def _accent_numeral(words: list[Word], position: int) -> None:
    """Accents within a number, which no combination rule gives."""
    word, left = words[position], words[position - 1] if position else None
    after_numeral = position + 1 < len(words) and words[position + 1].numeral
    if word.string == "十" and after_numeral and not (left and left.numeral):
        word.accent = 0
    if left is None or not left.numeral or not word.joined or left.by_digit:
        return
    digit, unit = left.string, word.string
    if unit == "十":
        left.accent = 0 if digit in "五六八" and after_numeral else 1
    elif unit == "百":
        alone = {"七": 2, "三": 1, "四": 1, "九": 1, "何": 1}
        left.accent = alone.get(digit, left.morae + word.morae)
    elif unit in ("千", "万"):
        left.accent = left.morae + 1
    elif unit == "億":
        left.accent = 2 if digit in "一六七八" else 1
    elif unit == "兆":
        left.accent = 2 if digit in "六七" else 1


def _rule(rules: str, pos: str) -> tuple[str, int]:
    """The first rule for a word that follows one of class ``pos``: its name and added morae."""
    for rule in rules.split("/"):
        match = _RULE.fullmatch(rule)
        if match and (match["pos"] is None or match["pos"] in pos):
            return match["name"], int(match["add"] or 0)
    return "*", 0
