"""Whether a transcript is written in the language that it is said to be in. Scripts tell, roughly:
Chinese has no kana, Japanese of some length does; Korean is written in hangul."""

from __future__ import annotations

import re
from collections.abc import Mapping

SCRIPTS = {
    "kana": re.compile(r"[\u3041-\u30fa\u30fc-\u30ff]"),
    "ideographs": re.compile(r"[\u3400-\u9fff々]"),
    "hangul": re.compile(r"[\uac00-\ud7a3\u3131-\u318e]"),
    "Latin": re.compile(r"[^\W\d_\u0370-\U0010ffff]"),
}
OWN: Mapping[str, tuple[str, ...]] = {
    "en": ("Latin",),
    "ja": ("kana", "ideographs"),
    "zh": ("ideographs",),
    "yue": ("ideographs",),
    "ko": ("hangul",),
}
"""One of these must be there; Latin letters may stand in any language."""
FOREIGN: Mapping[str, tuple[str, ...]] = {
    "en": ("kana", "ideographs", "hangul"),
    "ja": ("hangul",),
    "zh": ("kana", "hangul"),
    "yue": ("kana", "hangul"),
    "ko": ("kana",),
}
FOREIGN_SHARE = 0.2
"""Of the letters; a name may be left as it is written at home."""
KANA_AFTER = 10
"""So many ideographs without any kana are not Japanese."""


def foreign_to(text: str, lang: str) -> str:
    """What in ``text`` speaks against ``lang`` (zh, ja, en, ko, yue), or "".

    A language that is not known here is believed.
    """
    if lang not in OWN:
        return ""
    counts = {name: len(pattern.findall(text)) for name, pattern in SCRIPTS.items()}
    letters = sum(counts.values())
    if not letters:
        return ""
    found = [name for name in FOREIGN[lang] if counts[name]]
    if sum(counts[name] for name in found) > FOREIGN_SHARE * letters:
        return " and ".join(found)
    if lang == "ja" and not counts["kana"] and counts["ideographs"] >= KANA_AFTER:
        return "ideographs without any kana"
    if not any(counts[name] for name in OWN[lang]):
        return " and ".join(name for name in counts if counts[name]) + " alone"
    return ""
