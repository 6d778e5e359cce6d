"""Part-of-speech tags (Penn Treebank) of English words, for words that sound by their class.

An averaged perceptron with the features and weights of Matthew Honnibal's tagger ("A Good
Part-of-Speech Tagger in about 200 Lines of Python", 2013), from which the one in NLTK comes.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from koed.g2p.tables import lines

_BEFORE = ("-START-", "-START2-")
_AFTER = ("-END-", "-END2-")


@dataclass(frozen=True, slots=True)
class _Model:
    tags: tuple[str, ...]
    weights: dict[str, str]
    """Feature -> pairs "tag weight" as text: 94,000 of them, of which a sentence needs few."""
    fixed: dict[str, str]
    """Words that always have one tag."""


@functools.cache
def _model() -> _Model:
    rows = lines("english_tags.txt.xz")
    tags = tuple(next(rows).split()[1:])
    weights: dict[str, str] = {}
    for row in rows:
        if row == "==":
            break
        feature, _, values = row.partition("\t")
        weights[feature] = values
    fixed = (row.split() for row in rows)
    return _Model(tags, weights, {word: tags[int(tag)] for tag, word in fixed})


def tags(words: Sequence[str]) -> list[str]:
    """The tag of each word or mark of a sentence, from left to right."""
    model = _model()
    context = [*_BEFORE, *map(_normal, words), *_AFTER]
    found: list[str] = []
    before, second = _BEFORE
    for position, word in enumerate(words):
        tag = model.fixed.get(word) or _best(model, word, context, position + 2, before, second)
        found.append(tag)
        before, second = tag, before
    return found


def _normal(word: str) -> str:
    if "-" in word and word[0] != "-":
        return "!HYPHEN"
    if word.isdigit() and len(word) == 4:
        return "!YEAR"
    return "!DIGITS" if word[0].isdigit() else word.lower()


def _best(
    model: _Model, word: str, context: Sequence[str], position: int, before: str, second: str
) -> str:
    scores = [0.0] * len(model.tags)
    for feature in _features(word, context, position, before, second):
        pairs = model.weights.get(feature, "").split()
        for tag, weight in zip(pairs[::2], pairs[1::2], strict=True):
            scores[int(tag)] += float(weight)
    return max(zip(scores, model.tags, strict=True))[1]


def _features(
    word: str, context: Sequence[str], position: int, before: str, second: str
) -> Iterator[str]:
    yield "b"
    yield f"s0 {word[-3:]}"
    yield f"p0 {word[0]}"
    yield f"t1 {before}"
    yield f"t2 {second}"
    yield f"t12 {before} {second}"
    yield f"w0 {context[position]}"
    yield f"tw {before} {context[position]}"
    yield f"w1 {context[position - 1]}"
    yield f"s1 {context[position - 1][-3:]}"
    yield f"w2 {context[position - 2]}"
    yield f"n1 {context[position + 1]}"
    yield f"m1 {context[position + 1][-3:]}"
    yield f"n2 {context[position + 2]}"
