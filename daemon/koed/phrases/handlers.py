"""The operations ``phrase`` and ``phrases``: asked of the phrases, spoken as any line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from koe import protocol
from koed.phrases.book import PhraseBook

Say = Callable[[protocol.Say], dict[str, Any]]


class PhraseHandlers:
    """``say`` queues a line, as for anybody."""

    def __init__(self, book: PhraseBook, say: Say) -> None:
        self._book = book
        self._say = say

    def phrase(self, request: protocol.Phrase) -> dict[str, Any]:
        """Raises `KoedError` ``unknown_phrase``, and what ``say`` raises."""
        wanted = self._book.check(request.name)
        said = self._say(
            protocol.Say(
                text=wanted.text,
                voice=request.voice,
                lang=wanted.lang,
                priority=request.priority,
                ttl_s=request.ttl_s,
                key=request.key,
                author=request.author,
                output=request.output,
            )
        )
        return said | {"canned": self._book.is_ready(request.name, said["voice"])}

    def phrases(self, _: protocol.Phrases) -> dict[str, Any]:
        return {"phrases": self._book.describe()}
