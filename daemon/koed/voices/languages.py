"""Languages of a transcript: as people write them, and as the text itself shows. Pure."""

from __future__ import annotations

from collections import Counter

from koed.text.language import language_spans

LANGUAGES = {
    **{code: code for code in ("zh", "ja", "en", "ko", "yue")},
    **{"cn": "zh", "zho": "zh", "jp": "ja", "jpn": "ja", "eng": "en", "kr": "ko", "kor": "ko"},
}
"""What people write, and the code."""


def named(given: str) -> str:
    """The code of a language as people write it, or as GPT-SoVITS has it ("all_ja"); or empty."""
    return LANGUAGES.get(given.strip().lower().removeprefix("all_"), "")


def of_text(text: str, default: str = "en") -> str:
    """That of most of the text, by its letters, or empty. ``default`` where they leave it open."""
    sizes: Counter[str] = Counter()
    for span in language_spans(text, default):
        sizes[span.lang] += span.end - span.start
    return max(sizes, key=sizes.__getitem__, default="")
