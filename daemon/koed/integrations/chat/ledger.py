"""Which lines of the chat are in the queue, under which utterance, and whose copies they carry.

Pure. Bounded by the queue: an entry goes when its utterance is over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from koe.protocol import Chat, ChatDelete
from koed.integrations.chat.names import author_key, line_key

MAX_COPIES = 64
"""Copies of one line that are known by name; further ones are only counted."""


@dataclass(frozen=True, slots=True)
class Copy:
    """One viewer's line. ``key`` is ``platform:line`` (None: it has no id)."""

    author: str
    """``platform:author``."""
    key: str | None
    platform: str = ""


@dataclass(slots=True)
class LedgerEntry:
    """A line that waits or sounds."""

    ticket: int
    utterance: int
    text: str
    """As it is spoken."""
    plain: str
    """The same without a name."""
    copies: list[Copy] = field(default_factory=list)
    uncounted: int = 0
    """Copies by others that are not in ``copies``."""

    @property
    def orphaned(self) -> bool:
        """Everybody's copy was taken back."""
        return not self.copies and not self.uncounted


def copy_of(line: Chat) -> Copy:
    key = None if line.line is None else line_key(line.platform, line.line)
    return Copy(author_key(line.platform, line.author), key, line.platform.lower())


class Ledger:
    def __init__(self) -> None:
        self._by_ticket: dict[int, LedgerEntry] = {}
        self._by_utterance: dict[int, LedgerEntry] = {}

    def __len__(self) -> int:
        return len(self._by_ticket)

    def add(self, entry: LedgerEntry) -> None:
        self._by_ticket[entry.ticket] = entry
        self._by_utterance[entry.utterance] = entry

    def join(self, ticket: int, copy: Copy) -> LedgerEntry | None:
        """Note a copy; None if the line is over."""
        entry = self._by_ticket.get(ticket)
        if entry is None:
            return None
        if len(entry.copies) < MAX_COPIES:
            entry.copies.append(copy)
        elif all(copy.author != other.author for other in entry.copies):
            entry.uncounted += 1
        return entry

    def end(self, utterance: int) -> LedgerEntry | None:
        """The line is over."""
        entry = self._by_utterance.pop(utterance, None)
        if entry is not None:
            del self._by_ticket[entry.ticket]
        return entry

    def __iter__(self) -> Iterator[LedgerEntry]:
        return iter(list(self._by_ticket.values()))

    def strike(self, request: ChatDelete) -> list[LedgerEntry]:
        """Take out the copies that are deleted; the entries that lost one. What their authors wrote
        besides goes with them: the text of a line that was deleted is not spoken because its author
        sent it twice."""
        struck = []
        gone = _gone_by(request)
        for entry in self:
            authors = {copy.author for copy in entry.copies if gone(copy)}
            if authors:
                entry.copies = [
                    copy for copy in entry.copies if copy.author not in authors and not gone(copy)
                ]
                entry.uncounted *= not request.everything
                struck.append(entry)
        return struck


def _gone_by(request: ChatDelete) -> Callable[[Copy], bool]:
    platform = request.platform
    key = None if request.line is None else line_key(platform, request.line)
    author = None if request.author is None else author_key(platform, request.author)

    def gone(copy: Copy) -> bool:
        if request.everything:
            return not platform or copy.platform == platform.lower()
        return (key is not None and copy.key == key) or copy.author == author

    return gone
