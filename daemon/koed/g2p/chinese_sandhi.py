"""Tones in context: 不 and 一, neutral tones, third tones in a row, and 儿.

The rules are PaddleSpeech's (Apache 2.0), which the voice models' training text went through,
written anew. Words come as (characters, part of speech as jieba tags it), tones as the last digit
of a final ("ao3"); finals are changed in place.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

from koed.g2p.tables import lines, words

NEUTRAL = "5"

_PARTICLES = "吧呢啊呐噻嘛吖嗨哦哒额滴哩哟喽啰耶喔诶"
_BEFORE_GE = "几有两半多各整每做是"
_DIRECTIONS = "上下进出回过起开"
_NOT_ERHUA = frozenset(
    words(
        "虐儿 为儿 护儿 瞒儿 救儿 替儿 有儿 一儿 我儿 俺儿 妻儿 拐儿 聋儿 乞儿 患儿 幼儿 孤儿 "
        "婴儿 婴幼儿 连体儿 脑瘫儿 流浪儿 体弱儿 混血儿 蜜雪儿 舫儿 祖儿 美儿 应采儿 可儿 侄儿 "
        "孙儿 侄孙儿 女儿 男儿 红孩儿 花儿 虫儿 马儿 鸟儿 猪儿 猫儿 狗儿"
    )
)
_ALWAYS_ERHUA = frozenset(words("小院儿 胡同儿 范儿 老汉儿 撒欢儿 寻老礼儿 妥妥儿 媳妇儿"))


class Token(NamedTuple):
    word: str
    pos: str


FinalsOf = Callable[[str], list[str]]
SplitWord = Callable[[str], Sequence[str]]


def merged(tokens: Sequence[Token], finals_of: FinalsOf) -> list[Token]:
    """``tokens`` with those joined that take their tones together."""
    joined = _merge_bu(tokens)
    joined = _merge_yi(joined)
    joined = _merge_repeated(joined)
    joined = _merge_third_tones(joined, finals_of, whole=True)
    joined = _merge_third_tones(joined, finals_of, whole=False)
    return _merge_er(joined)


def apply(token: Token, finals: list[str], subwords: SplitWord) -> None:
    """Change the tones of ``finals``, one per character of the word."""
    if len(finals) != len(token.word):
        return
    _bu(token.word, finals)
    _yi(token.word, finals)
    _neutral(token, finals, subwords)
    _third(token.word, finals, subwords)


def erhua(token: Token, finals: list[str]) -> None:
    """A final 儿 that colours the syllable before takes that one's tone."""
    word = token.word
    if len(finals) != len(word) or not word.endswith("儿"):
        return
    if finals[-1] == "er1":
        finals[-1] = "er2"
    if word not in _ALWAYS_ERHUA and (word in _NOT_ERHUA or token.pos in ("a", "j", "nr")):
        return
    if len(word) > 1 and finals[-1] in ("er2", "er5") and word[-2:] not in _NOT_ERHUA:
        finals[-1] = "er" + finals[-2][-1]


# --- joining ---------------------------------------------------------------------------------


def _merge_bu(tokens: Sequence[Token]) -> list[Token]:
    """不 with the word after."""
    found: list[Token] = []
    pending = ""
    for token in tokens:
        word = pending + token.word
        pending = "不" if word == "不" else ""
        if not pending:
            found.append(Token(word, token.pos))
    return [*found, Token(pending, "d")] if pending else found


def _merge_yi(tokens: Sequence[Token]) -> list[Token]:
    """看+一+看 into one word, then any other 一 with the word after."""
    found: list[Token] = []
    position = 0
    while position < len(tokens):
        token = tokens[position]
        around = [*tokens[position - 1 : position], *tokens[position + 1 : position + 2]]
        verb = len(around) == 2 and around[0].word == around[1].word and around[0].pos == "v"
        if token.word == "一" and position and verb and around[1].pos == "v":
            found[-1] = Token(f"{found[-1].word}一{found[-1].word}", found[-1].pos)
            position += 1
        elif found and found[-1].word == "一":
            found[-1] = Token("一" + token.word, found[-1].pos)
        else:
            found.append(token)
        position += 1
    return found


def _merge_repeated(tokens: Sequence[Token]) -> list[Token]:
    found: list[Token] = []
    for token in tokens:
        if found and found[-1].word == token.word:
            found[-1] = Token(found[-1].word * 2, found[-1].pos)
        else:
            found.append(token)
    return found


def _merge_third_tones(tokens: Sequence[Token], finals_of: FinalsOf, whole: bool) -> list[Token]:
    """Neighbours of third tone (``whole``: in every syllable), up to three characters together."""
    finals = [finals_of(token.word) for token in tokens]
    found: list[Token] = []
    after_merge = False
    for position, token in enumerate(tokens):
        merge = False
        if position and not after_merge and finals[position - 1] and finals[position]:
            left, right = finals[position - 1], finals[position]
            pair = [*left, *right] if whole else [left[-1], right[0]]
            last = tokens[position - 1].word
            short = len(last) + len(token.word) <= 3
            repeated = len(last) == 2 and last[0] == last[1]
            merge = _all_third(pair) and short and not repeated
        if merge:
            found[-1] = Token(found[-1].word + token.word, found[-1].pos)
        else:
            found.append(token)
        after_merge = merge
    return found


def _merge_er(tokens: Sequence[Token]) -> list[Token]:
    found: list[Token] = []
    for token in tokens:
        if found and token.word == "儿":
            found[-1] = Token(found[-1].word + "儿", found[-1].pos)
        else:
            found.append(token)
    return found


# --- tones -----------------------------------------------------------------------------------


def _set(finals: list[str], position: int, tone: str) -> None:
    finals[position] = finals[position][:-1] + tone


def _all_third(finals: Sequence[str]) -> bool:
    return all(final.endswith("3") for final in finals)


def _bu(word: str, finals: list[str]) -> None:
    if len(word) == 3 and word[1] == "不":  # 看不懂
        _set(finals, 1, NEUTRAL)
        return
    for position, character in enumerate(word[:-1]):
        if character == "不" and finals[position + 1].endswith("4"):
            _set(finals, position, "2")


def _yi(word: str, finals: list[str]) -> None:
    if "一" not in word or all(c.isnumeric() for c in word if c != "一"):
        return
    if len(word) == 3 and word[1] == "一" and word[0] == word[2]:  # 看一看
        _set(finals, 1, NEUTRAL)
    elif word.startswith("第一"):
        _set(finals, 1, "1")
    else:
        for position, character in enumerate(word[:-1]):
            if character == "一":
                falling = finals[position + 1][-1] in "45"
                if falling or word[position + 1].isalnum():
                    _set(finals, position, "2" if falling else "4")


def _neutral(token: Token, finals: list[str], subwords: SplitWord) -> None:
    word, pos = token
    neutral, never = neutral_words()
    for position in range(1, len(word)):
        repeated = word[position] == word[position - 1] and pos[:1] in ("n", "v", "a")
        if repeated and word not in never:
            _set(finals, position, NEUTRAL)
    ge = word.find("个")
    if _ends_neutral(word, pos, word in never):
        _set(finals, -1, NEUTRAL)
    elif word == "个" or (ge > 0 and (word[ge - 1].isnumeric() or word[ge - 1] in _BEFORE_GE)):
        _set(finals, ge, NEUTRAL)
    elif word in neutral or word[-2:] in neutral:
        _set(finals, -1, NEUTRAL)
    first, _ = _halves(word, subwords)
    for part, last in ((first, len(first) - 1), (word[len(first) :], len(word) - 1)):
        if part and (part in neutral or part[-2:] in neutral):
            _set(finals, last, NEUTRAL)


def _ends_neutral(word: str, pos: str, never: bool) -> bool:
    last, long = word[-1], len(word) > 1
    if last in _PARTICLES or last in "的地得":
        return not (never and long)
    if not long:
        return word in "了着过" and pos in ("ul", "uz", "ug")
    return (
        (last in "们子" and pos in ("r", "n") and not never)
        or (last in "上下里" and pos in ("s", "l", "f"))
        or (last in "来去" and word[-2] in _DIRECTIONS)
    )


def _third(word: str, finals: list[str], subwords: SplitWord) -> None:
    if len(word) == 2 and _all_third(finals):
        _set(finals, 0, "2")
    elif len(word) == 3:
        _third_of_three(word, finals, subwords)
    elif len(word) == 4:
        for start in (0, 2):
            if _all_third(finals[start : start + 2]):
                _set(finals, start, "2")


def _third_of_three(word: str, finals: list[str], subwords: SplitWord) -> None:
    first, second = _halves(word, subwords)
    if _all_third(finals):
        _set(finals, 1, "2")
        if len(first) == 2:  # 蒙古+包, not 纸+老虎
            _set(finals, 0, "2")
    elif second:
        border = len(first)
        for start, end in ((0, border), (border, 3)):
            if end - start == 2 and _all_third(finals[start:end]):
                _set(finals, start, "2")
                return
        meet = finals[border].endswith("3") and finals[border - 1].endswith("3")
        if meet and not _all_third(finals[border:]):  # 我+喜欢, not 这里+有
            _set(finals, border - 1, "2")


def _halves(word: str, subwords: SplitWord) -> tuple[str, str]:
    """The word parted at its shortest subword."""
    shortest = min(subwords(word), key=len, default=word)
    if word.startswith(shortest):
        return shortest, word[len(shortest) :]
    return word[: -len(shortest)], shortest


@functools.cache
def neutral_words() -> tuple[frozenset[str], frozenset[str]]:
    """Words whose last syllable is neutral, and words where no rule may make one so."""
    rows = list(lines("neutral_tone.txt"))
    never = {word for row in rows if row.startswith("!") for word in row[1:].split()}
    return frozenset(w for r in rows if not r.startswith("!") for w in r.split()), frozenset(never)
