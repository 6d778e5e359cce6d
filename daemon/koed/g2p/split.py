"""Parts of a text by language, from the scripts it is written in and from the voice's setting.

Settings: ``en`` (no parting); ``zh ja ko yue`` (English words apart, all else that language);
``all_zh all_ja all_ko all_yue`` (the same, and numbers are never English); ``auto auto_yue`` (each
clause by its script; Chinese characters alone are Chinese or Cantonese).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

LANGUAGES = ("zh", "ja", "en", "ko", "yue")
SETTINGS = (*LANGUAGES, "auto", "auto_yue", "all_zh", "all_ja", "all_ko", "all_yue")

_SPACES = re.compile(r" {2,}")
_LATIN = r"A-Za-zÀ-ÖØ-öø-ɏ"
_HAN = r"々〇\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_KANA = r"\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\uff66-\uff9f"
_HANGUL = r"\u1100-\u11ff\u3131-\u318e\uac00-\ud7a3"
_DIGIT = r"0-9０-９"
# A run of one kind with the digits and marks that follow it.
_RUN = re.compile(rf"(?P<en>[{_LATIN}])|(?P<digits>[{_DIGIT}])|(?P<other>[^\W\d_])")
_LETTER = re.compile(r"[^\W\d_]")
_CLAUSE = re.compile(r"[^\w]*[\w]+[^\w]*|[^\w]+", re.UNICODE)
_KANA_RUN = re.compile(rf"[{_KANA}]+")
_HAN_OR_KANA = re.compile(rf"[{_HAN}{_KANA}]")
_HANGUL_RUN = re.compile(rf"[{_HANGUL}][{_HANGUL}\s]*")
_PERCENT_FIRST = re.compile(rf"\s*[{_DIGIT}.]+[%％]")
_FRACTION_LAST = re.compile(rf"(?<=[{_DIGIT}])/[{_DIGIT}]+\W*$")


class Part(NamedTuple):
    lang: str
    text: str


def split(text: str, setting: str, official_quirks: bool = False) -> list[Part]:
    """``text`` in order, whole, in parts of one language each. Neighbours differ in language."""
    text = _SPACES.sub(" ", text)
    if setting == "en":
        return [Part("en", text)]
    whole = setting.startswith("all_")
    default = setting.removeprefix("all_").replace("auto_yue", "yue").replace("auto", "zh")
    parts = list(_apart_from_english(text, default, whole, official_quirks))
    if setting.startswith("auto"):
        has_kana = _KANA_RUN.search(text) is not None
        parts = [p for part in parts for p in _by_script(part, default, has_kana)]
    return _merged(parts)


def _apart_from_english(text: str, default: str, whole: bool, quirks: bool) -> Iterator[Part]:
    """Runs of English and of anything else. Digits and marks stay with what stands before."""
    percent = _PERCENT_FIRST.match(text) if quirks and not whole else None
    if percent and percent.end() < len(text):
        # The segmenter that the fixtures were made with takes a leading percentage for English.
        yield Part("en", percent[0])
        text = text[percent.end() :]
    tail = _FRACTION_LAST.search(text) if quirks and not whole else None
    end = tail.start() if tail else len(text)
    start, lang = 0, ""
    for match in _RUN.finditer(text, 0, end):
        kind = match.lastgroup
        if kind == "digits":
            kind = "other" if whole else lang or ""
        now = "en" if kind == "en" else default if kind == "other" else lang
        if lang and now != lang:
            yield Part(lang, text[start : match.start()])
            start = match.start()
        lang = now or lang
    yield Part(lang or default, text[start:end])
    if tail:
        yield Part("en", tail[0])


def _by_script(part: Part, default: str, has_kana: bool) -> Iterator[Part]:
    """Clause by clause: Korean, Japanese, or Chinese with what it holds of the others.

    Where the text ``has_kana``, a clause that could be Japanese is.
    """
    if part.lang == "en":
        yield part
        return
    for clause in _CLAUSE.findall(part.text):
        if _HANGUL_RUN.search(clause) and not _HAN_OR_KANA.search(clause):
            yield Part("ko", clause)
            continue
        lang = ""
        for run, korean in _runs(clause, _HANGUL_RUN, "ko"):
            found = list(_of_clause(run, korean, default, has_kana))
            for piece, piece_lang in found:
                # Marks and numbers belong to what stands before them, within a clause.
                lang = piece_lang if _LETTER.search(piece) else lang or piece_lang
                yield Part(lang, piece)


def _of_clause(run: str, korean: str, default: str, has_kana: bool) -> Iterator[tuple[str, str]]:
    if korean or not has_kana:
        yield run, korean or default
    elif all(_in_japanese(c) for c in run):
        yield run, "ja"
    else:
        yield from ((piece, kana or default) for piece, kana in _kana_runs(run))


def _runs(text: str, pattern: re.Pattern[str], lang: str) -> Iterator[tuple[str, str]]:
    """Matches of ``pattern`` with ``lang``, the rest with an empty one."""
    at = 0
    for match in pattern.finditer(text):
        if text[at : match.start()]:
            yield text[at : match.start()], ""
        yield match[0], lang
        at = match.end()
    if text[at:]:
        yield text[at:], ""


def _kana_runs(text: str) -> Iterator[tuple[str, str]]:
    """Japanese within Chinese. A single character after it is heard as its end."""
    pieces = list(_runs(text, _KANA_RUN, "ja"))
    for position, (piece, lang) in enumerate(pieces):
        single = sum(c.isalnum() for c in piece) < 2
        follows = position > 0 and pieces[position - 1][1] == "ja"
        yield piece, "ja" if single and follows else lang


def _in_japanese(character: str) -> bool:
    """Whether Japanese is written with it: simplified and many Chinese characters are not."""
    try:
        character.encode("shift_jis")
    except UnicodeEncodeError:
        return not character.isalpha()
    return True


def _merged(parts: list[Part]) -> list[Part]:
    """Without neighbours of one language and without empty parts."""
    merged: list[Part] = []
    for part in parts:
        if merged and merged[-1].lang == part.lang:
            merged[-1] = Part(part.lang, merged[-1].text + part.text)
        elif part.text:
            merged.append(part)
    return merged
