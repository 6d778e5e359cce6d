"""``[happy]`` in a text: from there on in another style of the voice. Pure.

Only names of styles are taken for tags; whatever else stands in brackets is text as ever.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from koed.config.daemon import TextConfig
from koed.text.normalize import normalize

Marks = tuple[tuple[int, str], ...]
"""(first character, style) of each stretch of a text that has a style of its own, in order."""


class TagReader:
    """Takes the tags out of a text that comes in pieces of any size."""

    def __init__(self, styles: Collection[str]) -> None:
        self._tags = [f"[{style}]" for style in styles]
        names = "|".join(map(re.escape, styles))
        self._tag = re.compile(rf"\[({names})\]", re.IGNORECASE) if names else None
        self._held = ""
        """May be the beginning of a tag."""

    def feed(self, text: str, *, final: bool = False) -> Iterator[tuple[str, str]]:
        """(style, text): what is to be said from now on in this style; "" = as before."""
        text, self._held = self._held + text, ""
        style, at = "", 0
        for tag in self._tag.finditer(text) if self._tag else ():
            yield style, text[at : tag.start()]
            style, at = tag[1].lower(), tag.end()
        end = len(text) if final else self._certain(text, at)
        self._held = text[end:]
        yield style, text[at:end]

    def _certain(self, text: str, at: int) -> int:
        """Where a tag may begin that has not come whole."""
        bracket = text.rfind("[", at)
        begun = text[bracket:].lower()
        return (
            bracket if bracket >= 0 and any(t.startswith(begun) for t in self._tags) else len(text)
        )


def normalize_tagged(
    text: str, styles: Collection[str], config: TextConfig, lang: str | None
) -> tuple[str, Marks]:
    """As `normalize`, and where which style begins."""
    said, marks, length = [], [], 0
    for style, piece in TagReader(styles).feed(text, final=True):
        if style:
            marks.append((length, style))
        words = normalize(piece, config, lang)
        if words:
            said.append(words)
            length += len(words) + 1
    return " ".join(said), tuple(marks)
