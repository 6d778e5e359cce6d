"""Which language a piece of text is in, judged by its script.

Kana is Japanese, Hangul Korean; Chinese characters follow the kana beside them, else the default
language, else they are Chinese; Latin letters are English unless the default language is written
in them. Digits and marks belong to their neighbours.
"""

from __future__ import annotations

import re
from typing import NamedTuple

CJK = frozenset({"ja", "zh", "yue", "ko"})
HAN_LANGUAGES = frozenset({"ja", "zh", "yue"})

_SCRIPT_LANGUAGES: dict[str, tuple[str, ...]] = {
    # script: its language, then others that use it and may be the default instead
    "cyrillic": ("ru", "uk", "bg", "sr", "be", "mk", "kk", "ky", "mn", "tt"),
    "greek": ("el",),
    "arabic": ("ar", "fa", "ur", "ku", "ug"),
    "hebrew": ("he", "yi"),
    "thai": ("th",),
    "devanagari": ("hi", "mr", "ne", "sa"),
    "bengali": ("bn", "as"),
    "tamil": ("ta",),
    "georgian": ("ka",),
    "armenian": ("hy",),
}
_NOT_LATIN = CJK | {lang for langs in _SCRIPT_LANGUAGES.values() for lang in langs}

_STRONG = re.compile(
    r"(?P<latin>[A-Za-z\xc0-\xd6\xd8-\xf6\xf8-\u024f\u1e00-\u1eff]+)"
    r"|(?P<kana>[\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fd-\u30ff\u31f0-\u31ff\uff66-\uff9d]+)"
    r"|(?P<han>[\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+)"
    r"|(?P<hangul>[\u1100-\u11ff\u3131-\u318e\uac00-\ud7a3]+)"
    r"|(?P<cyrillic>[\u0400-\u052f]+)|(?P<greek>[\u0370-\u03ff\u1f00-\u1fff]+)"
    r"|(?P<arabic>[\u0620-\u064a\u066e-\u06d3\u0750-\u077f]+)|(?P<hebrew>[\u05d0-\u05f2]+)"
    r"|(?P<thai>[\u0e01-\u0e4e]+)|(?P<devanagari>[\u0904-\u0963]+)"
    r"|(?P<bengali>[\u0985-\u09e3]+)|(?P<tamil>[\u0b83-\u0be3]+)"
    r"|(?P<georgian>[\u10a0-\u10ff]+)|(?P<armenian>[\u0531-\u0587]+)"
)
_KANA = re.compile(r"[\u3041-\u3096\u30a1-\u30fa]")
_OPENING = "([{<\"'“‘«「『（【《〈［｛〔"

_SHORT_WORD = 3
_SHORT_CAPITALS = 5


class Span(NamedTuple):
    lang: str
    """Empty if the text has no letters."""
    start: int
    end: int


def has_kana(text: str, start: int = 0, end: int | None = None) -> bool:
    return _KANA.search(text, start, len(text) if end is None else end) is not None


def first_language(text: str, default: str, start: int = 0, end: int | None = None) -> str | None:
    """The language of the first letters of ``text[start:end]``; None if there are none."""
    run = _STRONG.search(text, start, len(text) if end is None else end)
    return _language(run.lastgroup or "", default, kana=False) if run else None


def last_language(text: str, default: str) -> str | None:
    """The language of the last letters of a short ``text``; None if there are none."""
    script = ""
    for run in _STRONG.finditer(text):
        script = run.lastgroup or ""
    return _language(script, default, has_kana(text)) if script else None


def language_spans(text: str, default: str, kana: bool = False) -> list[Span]:
    """The spans of one language each, without gaps, of one line. ``kana``: it has kana elsewhere.

    A short Latin word between Chinese, Japanese or Korean letters stays with them ("Tシャツ",
    "新しいPCを"): their voices read it, and three segments would sound chopped.
    """
    if not text:
        return []
    kana = kana or has_kana(text)
    runs = _absorb(text, _merge(_runs(text, default, kana)))
    if not runs:
        return [Span("", 0, len(text))]
    spans: list[Span] = []
    start = 0
    for here, after in zip(runs, [*runs[1:], None], strict=True):
        end = len(text) if after is None else _border(text, here.end, after.start)
        spans.append(Span(here.lang, start, end))
        start = end
    return spans


def _language(script: str, default: str, kana: bool) -> str:
    if script == "latin":
        return "en" if default in _NOT_LATIN else default
    if script == "han":
        if kana:
            return "ja"
        return default if default in HAN_LANGUAGES else "zh"
    if script in ("kana", "hangul"):
        return "ja" if script == "kana" else "ko"
    languages = _SCRIPT_LANGUAGES[script]
    return default if default in languages else languages[0]


def _runs(text: str, default: str, kana: bool) -> list[Span]:
    runs: list[Span] = []
    for match in _STRONG.finditer(text):
        script = match.lastgroup or ""
        stray = script in _SCRIPT_LANGUAGES and match.end() - match.start() == 1
        if stray and _language(script, default, kana) != default:
            continue  # one Greek or Cyrillic letter: a formula or a face, not a language
        runs.append(Span(_language(script, default, kana), match.start(), match.end()))
    return runs


def _merge(runs: list[Span]) -> list[Span]:
    merged: list[Span] = []
    for run in runs:
        if merged and merged[-1].lang == run.lang:
            merged[-1] = merged[-1]._replace(end=run.end)
        else:
            merged.append(run)
    return merged


def _absorb(text: str, runs: list[Span]) -> list[Span]:
    """``runs`` with short Latin words given to the CJK text around them or attached to them."""
    if len(runs) < 2:
        return runs
    kept: list[Span] = []
    for i, run in enumerate(runs):
        before = kept[-1] if kept else None
        after = runs[i + 1] if i + 1 < len(runs) else None
        home = _home(run, before, after) if _is_short(text[run.start : run.end]) else None
        kept.append(run if home is None else run._replace(lang=home))
    return _merge(kept)


def _home(run: Span, before: Span | None, after: Span | None) -> str | None:
    if run.lang in CJK:
        return None
    if before and after and before.lang == after.lang:
        return before.lang if before.lang in CJK else None
    for side in (before, after):
        attached = side is not None and (side.end == run.start or run.end == side.start)
        if side is not None and attached and side.lang in CJK:
            return side.lang
    return None


def _is_short(word: str) -> bool:
    return word.isascii() and (
        len(word) <= _SHORT_WORD or (len(word) <= _SHORT_CAPITALS and word.isupper())
    )


def _border(text: str, end: int, start: int) -> int:
    """Where between two runs the second span begins: before its opening marks."""
    border = start
    while border > end and text[border - 1] in _OPENING:
        border -= 1
    return border
