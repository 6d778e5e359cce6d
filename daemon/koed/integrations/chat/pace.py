"""How long a text will take to speak, before any engine has seen it.

Seconds per character by script, from the embedded voices that come with koed (English by flite,
Japanese by OpenJTalk, Korean and Russian by espeak-ng); Chinese lies between espeak-ng (0.39) and
the neural voices. An estimate: within a third for ordinary lines.
"""

from __future__ import annotations

import itertools
import re

from koed.config.daemon import TextConfig
from koed.text.language import has_kana
from koed.text.normalize import clip

START_S = 0.2
LATIN_S, DIGIT_S, KANA_S, HANGUL_S = 0.063, 0.26, 0.115, 0.16
HAN_JA_S, HAN_S = 0.19, 0.27

_CLASSES = re.compile(
    r"(?P<digit>[0-9０-９]+)|(?P<kana>[\u3041-\u30ff\uff66-\uff9d]+)"
    r"|(?P<han>[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+)"
    r"|(?P<hangul>[\uac00-\ud7a3]+)|(?P<sentence>[.!?。！？…\n]+)|(?P<comma>[,;:、，；：]+)"
    r"|(?P<latin>[^0-9０-９\u3041-\u30ff\uff66-\uff9d\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    r"\U00020000-\U0003ffff\uac00-\ud7a3.!?。！？…\n,;:、，；：]+)"
)


def _pieces(text: str, config: TextConfig) -> list[tuple[int, float]]:
    """``(characters, seconds per character)`` of each run; a run of marks is one pause."""
    each = {
        "digit": DIGIT_S,
        "kana": KANA_S,
        "han": HAN_JA_S if has_kana(text) else HAN_S,
        "hangul": HANGUL_S,
        "latin": LATIN_S,
    }
    pause = {"sentence": config.sentence_pause_s, "comma": config.comma_pause_s}
    pieces = []
    for run in _CLASSES.finditer(text):
        kind = run.lastgroup or "latin"
        size = run.end() - run.start()
        inner = run.end() < len(text)
        cost = each[kind] if kind in each else pause[kind] / size if inner else 0.0
        pieces.append((size, cost))
    return pieces


def speaking_s(text: str, config: TextConfig) -> float:
    """Seconds that ``text`` (normalised) is likely to take at speed 1."""
    return START_S + sum(size * cost for size, cost in _pieces(text, config))


def cut(text: str, seconds: float, config: TextConfig) -> tuple[str, bool]:
    """``text`` cut at a word so that it takes about ``seconds``, and whether it was cut."""
    pieces = _pieces(text, config)
    if START_S + sum(size * cost for size, cost in pieces) <= seconds:
        return text, False
    costs = itertools.chain.from_iterable(itertools.repeat(cost, size) for size, cost in pieces)
    room, so_far = 0, START_S
    for cost in costs:
        so_far += cost
        if so_far > seconds:
            break
        room += 1
    return clip(text, max(1, room))
