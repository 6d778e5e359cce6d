"""The policy: what becomes of each line of the chat. Pure, O(1) per line, bounded memory.

    deleted? blocked, bot, command? reader? ── the same again? ── rate, raid? ── wording ── voice

`Policy.decide` gives every line exactly one `Verdict`. It knows nothing of the queue: whoever
speaks the line tells it by `Policy.release` if nothing came of it, so that a copy is spoken.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from koe.protocol import Chat, ChatDelete, Priority
from koed.config.chat import ChatConfig
from koed.config.daemon import TextConfig
from koed.integrations.chat import names, pace, wording
from koed.integrations.chat.raid import Surge
from koed.integrations.chat.recent import Recent
from koed.integrations.chat.viewers import Viewers
from koed.text.language import first_language
from koed.text.normalize import clip, normalize

Action = Literal["say", "merge", "drop"]
Screen = Callable[[str, Chat], str | None]

AUTHORS = 10_000
TEXTS = 2_000
DELETIONS = 2_000
"""So many authors, recent texts and deletions are remembered; beyond, the oldest is forgotten."""
AUTHOR_DELETED_S = 5.0
"""A time-out silences what its author wrote before it, not what the author writes next."""
RAW_FACTOR = 2
"""Of a line, so many times ``text.chatter_max_chars`` are looked at."""

READERS: Mapping[str, frozenset[str]] = {
    "subs": frozenset({"sub", "member", "vip", "mod", "broadcaster"}),
    "vips": frozenset({"vip", "mod", "broadcaster"}),
    "mods": frozenset({"mod", "broadcaster"}),
    "listed": frozenset(),
}


@dataclass(frozen=True, slots=True)
class Scene:
    """What of the running daemon matters for a line."""

    voice: str = ""
    """The current one."""
    langs: Mapping[str, str] = field(default_factory=dict)
    """Language of every voice that can be used."""
    output: str = ""
    """The one for lines that name none."""
    muted: frozenset[str] = frozenset()
    """Outputs on which no chat is to be heard."""


@dataclass(frozen=True, slots=True)
class Verdict:
    action: Action
    reason: str = ""
    """Of a drop: chat_muted, deleted, blocked, bot, command, not_a_reader, kind, rate, raid,
    filtered, nothing_to_say. Of a merge: repeat."""
    text: str = ""
    """As it is to be spoken, normalised."""
    plain: str = ""
    """The same without a name."""
    voice: str | None = None
    """None = the current one."""
    lang: str | None = None
    priority: Priority = "chatter"
    ticket: int = 0
    """Number of the line that is said; of a merge, of the line that it is merged into."""
    copies: int = 1
    """How often the text came by now."""


@dataclass(slots=True)
class _Author:
    read_at: deque[float]
    """The last times when a line was read; as many as the rate allows."""
    named_at: float = float("-inf")


@dataclass(slots=True)
class _Text:
    ticket: int
    said_at: float
    copies: int = 1


def pass_all(text: str, line: Chat) -> str | None:
    """The screen where there is none."""
    return text


class Policy:
    """``screen``: the place of a content filter: what to say in place of a normalised text, or
    None to drop it (reason ``filtered``)."""

    def __init__(self, config: ChatConfig, text: TextConfig, screen: Screen = pass_all) -> None:
        self._config = config
        self._text = text
        self._screen = screen
        self.viewers = Viewers(config.voices)
        self.scene = Scene()
        self._allowed = names.people(config.allow)
        self._blocked = names.people(config.block)
        self._bots = names.people(config.bots)
        self._exempt = frozenset(config.exempt)
        self._surge = Surge(config.raid)
        self._authors: Recent[str, _Author] = Recent(AUTHORS)
        self._texts: Recent[str, _Text] = Recent(TEXTS)
        self._keys: dict[int, str] = {}
        """Of the texts in `_texts`, by ticket."""
        self._deleted: Recent[str, float] = Recent(DELETIONS)
        self._ticket = 0

    # --- one line ----------------------------------------------------------------------------

    def decide(self, line: Chat, now: float) -> Verdict:
        """What becomes of ``line``; ``now`` in seconds of one monotonic clock."""
        roles = frozenset(line.roles)
        first = wording.is_large(line.donation, line.currency, self._config.donations)
        refused = self._refused(line, now, roles, first)
        if refused:
            return Verdict("drop", refused)
        raid = self._surge.count(now)
        raw = wording.without_mention(line.text, line.reply_to)
        copy = None if first else self._copy_of(line, raw, now)
        if copy is not None:
            copy.copies += 1
            return Verdict("merge", "repeat", ticket=copy.ticket, copies=copy.copies)
        author = self._author(line)
        if not first and roles.isdisjoint(self._exempt):
            if self._too_often(author, now):
                return Verdict("drop", "rate")
            if raid and not self._surge.passes(roles):
                return Verdict("drop", "raid")
        return self._say(line, raw, now, author, first)

    def _refused(self, line: Chat, now: float, roles: frozenset[str], first: bool) -> str:
        """Why the line is not read at all, whatever stands in it; "" if it may be."""
        config = self._config
        who = (line.platform, line.author)
        if (line.output or self.scene.output) in self.scene.muted:
            return "chat_muted"
        if self._is_deleted(line, now):
            return "deleted"
        if names.is_among(self._blocked, *who):
            return "blocked"
        if "bot" in roles or names.is_among(self._bots, *who):
            return "bot"
        if config.announce.get(line.kind) == "":
            return "kind"
        if first or config.announce.get(line.kind):
            return ""
        if _is_command(line.text, config.commands):
            return "command"
        readers = READERS.get(config.read)
        if readers is None or not roles.isdisjoint(readers):
            return ""
        return "" if names.is_among(self._allowed, *who) else "not_a_reader"

    def _copy_of(self, line: Chat, raw: str, now: float) -> _Text | None:
        """The line of the same text that is, or was just, to be spoken."""
        window_s = self._config.repeats.window_s
        if not window_s:
            return None
        same = self._texts.get(self._text_key(line, raw))
        return same if same is not None and now - same.said_at < window_s else None

    def _text_key(self, line: Chat, raw: str) -> str:
        # the kind too: "A subscribed" of two people is not the same line
        who = "" if line.kind == "message" else names.author_key(line.platform, line.author)
        key = wording.same_text(raw[: RAW_FACTOR * self._text.chatter_max_chars])
        return f"{line.output or ''}\0{line.kind}\0{who}\0{key}"

    def _author(self, line: Chat) -> _Author:
        key = names.author_key(line.platform, line.author)
        author = self._authors.get(key)
        if author is None:
            author = _Author(deque(maxlen=max(1, self._config.rate.lines)))
            self._authors.put(key, author)
        return author

    def _too_often(self, author: _Author, now: float) -> bool:
        rate = self._config.rate
        full = rate.lines and len(author.read_at) >= rate.lines
        return bool(full and now - author.read_at[0] < rate.window_s)

    # --- its words ---------------------------------------------------------------------------

    def _say(self, line: Chat, raw: str, now: float, author: _Author, first: bool) -> Verdict:
        voice = self.viewers.voice(line.platform, line.author, self.scene.langs)
        lang = line.lang or self.scene.langs.get(voice or self.scene.voice)
        limit = self._text.max_chars if first else RAW_FACTOR * self._text.chatter_max_chars
        head, truncated = clip(raw, limit)
        plain = normalize(
            wording.with_emotes(head, line.emotes, self._text.emotes), self._text, lang
        )
        screened = self._screen(plain, line) if plain else plain
        if screened is None:
            return Verdict("drop", "filtered")
        plain, shortened = self._shortened(screened, first)
        if plain and (truncated or shortened):
            plain += self._config.cut_mark
        text = self._introduced(line, plain, now, author, lang)
        if not text:
            return Verdict("drop", "nothing_to_say")
        author.read_at.append(now)
        self._ticket += 1
        self._note_text(line, raw, now)
        return Verdict(
            "say",
            text=text,
            plain=plain or text,
            voice=voice,
            lang=line.lang,
            priority=self._config.donations.priority if first else "chatter",
            ticket=self._ticket,
        )

    def _shortened(self, text: str, first: bool) -> tuple[str, bool]:
        config = self._config
        seconds = config.donations.max_s if first else config.max_s
        cut = False
        if not first:
            text, cut = clip(text, self._text.chatter_max_chars)
        if seconds:
            text, also = pace.cut(text, seconds, self._text)
            cut = cut or also
        return text, cut

    def _introduced(
        self, line: Chat, plain: str, now: float, author: _Author, lang: str | None
    ) -> str:
        """``plain`` with what is said before it; "" if there is nothing to say."""
        config = self._config.names
        template = self._config.announce.get(line.kind)
        large = wording.is_large(line.donation, line.currency, self._config.donations)
        if large and line.kind == "message":
            template = self._config.announce.get("donation")
        name = names.spoken_name(line.name or line.author, config.max_chars, config.digits == "say")
        amount = wording.amount(line.donation, line.currency, self._config.donations)
        if template and name and (amount or "{amount}" not in template):
            author.named_at = now
            return wording.filled(template, name=name, amount=amount, text=plain)
        again = now - author.named_at >= config.again_s or not config.again_s
        if not (plain and name and config.say and again):
            return plain
        author.named_at = now
        spoken = first_language(plain, lang or "en") or lang or "en"
        chosen = config.templates.get(spoken) or config.templates.get("other") or "{text}"
        return wording.filled(chosen, name=name, text=plain)

    def _note_text(self, line: Chat, raw: str, now: float) -> None:
        if not self._config.repeats.window_s:
            return
        key = self._text_key(line, raw)
        before = self._texts.get(key)
        if before is not None:
            self._keys.pop(before.ticket, None)
        elif len(self._texts) >= TEXTS:
            self._keys.pop(self._texts.oldest()[1].ticket, None)
        self._texts.put(key, _Text(self._ticket, now))
        self._keys[self._ticket] = key

    # --- what came of it ---------------------------------------------------------------------

    def release(self, ticket: int) -> None:
        """The line of ``ticket`` was not spoken (to its end) after all: a copy of it may be."""
        key = self._keys.pop(ticket, None)
        if key is not None:
            self._texts.pop(key)

    def delete(self, request: ChatDelete, now: float) -> None:
        """For a while, lines that are deleted already are dropped when they come."""
        if request.line is not None:
            key = names.line_key(request.platform, request.line)
            self._deleted.put(f"line {key}", now + self._config.deleted_s)
        if request.author is not None:
            key = names.author_key(request.platform, request.author)
            self._deleted.put(f"author {key}", now + AUTHOR_DELETED_S)

    def _is_deleted(self, line: Chat, now: float) -> bool:
        if not len(self._deleted):
            return False
        keys = [f"author {names.author_key(line.platform, line.author)}"]
        if line.line is not None:
            keys.append(f"line {names.line_key(line.platform, line.line)}")
        return any((self._deleted.get(key) or float("-inf")) > now for key in keys)

    def sizes(self) -> dict[str, int]:
        """What is remembered: for tests of the bounds, and for the status."""
        return {
            "authors": len(self._authors),
            "texts": len(self._texts),
            "tickets": len(self._keys),
            "deletions": len(self._deleted),
        }


def _is_command(text: str, prefixes: tuple[str, ...]) -> bool:
    text = text[:100].lstrip()
    return any(
        text.startswith(prefix) and text[len(prefix) : len(prefix) + 1].isalnum()
        for prefix in prefixes
    )
