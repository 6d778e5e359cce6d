"""A text made of another, and the way back to that one's characters."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Traced:
    """``spans[i]``: first and one past the last character that ``text[i]`` was made of."""

    text: str
    spans: tuple[tuple[int, int], ...]

    @staticmethod
    def of(text: str) -> Traced:
        return Traced(text, tuple((at, at + 1) for at in range(len(text))))

    def span(self, start: int, end: int) -> tuple[int, int]:
        """What ``text[start:end]``, not empty, was made of."""
        return self.spans[start][0], self.spans[end - 1][1]

    def part(self, start: int, end: int) -> Traced:
        return Traced(self.text[start:end], self.spans[start:end])

    def replace(self, pattern: re.Pattern[str], words_of: Callable[[re.Match[str]], str]) -> Traced:
        """As ``pattern.sub`` does, which must not match the empty text."""
        texts: list[str] = []
        spans: list[tuple[int, int]] = []
        at = 0
        for match in pattern.finditer(self.text):
            words = words_of(match)
            texts += (self.text[at : match.start()], words)
            spans += self.spans[at : match.start()]
            spans += [self.span(match.start(), match.end())] * len(words)
            at = match.end()
        if not at:
            return self
        return Traced("".join((*texts, self.text[at:])), (*spans, *self.spans[at:]))
