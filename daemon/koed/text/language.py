"""Which language a piece of text is in, judged by its script.

Kana is Japanese, Hangul Korean; Chinese characters follow the kana beside them, else the default
language, else they are Chinese; Latin letters are English unless the default language is written
in them. Digits and marks belong to their neighbours.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from koed.errors import KoedError

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

_ISO_639_1 = (
    "aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy"
    " da de dv dz ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu"
    " hy hz ia id ie ig ii ik io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb"
    " lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om"
    " or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg sh si sk sl sm sn so sq sr ss st su sv"
    " sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu"
)
_COUNTRIES = {"cn": "zh", "gb": "en", "hk": "yue", "jp": "ja", "tw": "zh-TW", "us": "en"}
"""Written for the language now and then."""
_CODE = re.compile(r"(auto_|all_)?(?P<plain>[a-z]{2,3})([-_][a-z0-9]{2,8})*|auto")
"""Of ISO 639, perhaps with script or country; some engines know ``auto`` and ``all_``."""


def check(lang: str | None) -> None:
    """Raises `KoedError` ``unknown_language`` for what can be none; None is by voice and script.

    Whether anybody here speaks it is another question.
    """
    found = _CODE.fullmatch(lang.lower()) if lang is not None else None
    plain = found["plain"] if found else None
    if lang is None or (
        found and (plain is None or len(plain) == 3 or plain in _ISO_639_1.split())
    ):
        return
    meant = _COUNTRIES.get(plain or "")
    raise KoedError(
        "unknown_language",
        f"{lang[:40]!r} is no language",
        f"did you mean {meant!r}?" if meant else "a code such as en, ja, zh, ko, yue, fr",
    )


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
