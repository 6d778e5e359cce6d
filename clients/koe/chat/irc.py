"""Lines of Twitch's IRC as what koed reads: messages, subscriptions, raids, deletions.

The protocol: RFC 1459, IRCv3 message tags (https://ircv3.net/specs/extensions/message-tags), and
https://dev.twitch.tv/docs/chat/irc for what Twitch makes of them. The grammar is a few lines, and a
reader of one channel needs none of what IRC libraries are made for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from koe.chat.record import Record
from koe.wire.requests import Chat, ChatDelete

PLATFORM = "twitch"
_ESCAPED = {"s": " ", ":": ";", "\\": "\\", "r": "\r", "n": "\n"}
_ESCAPE = re.compile(r"\\(.?)")
_ACTION = re.compile(r"\x01ACTION (.*?)\x01?", re.DOTALL)
_CHEER = re.compile(r"[A-Za-z]+(\d{1,7})")
_PLACE = re.compile(r"(\d{1,4})-(\d{1,4})")
_ROLES = {
    "broadcaster": "broadcaster",
    "moderator": "mod",
    "lead_moderator": "mod",
    "vip": "vip",
    "subscriber": "sub",
    "founder": "sub",
    "bot-badge": "bot",
}
_KINDS = {
    "sub": "sub",
    "resub": "sub",
    "subgift": "gift",
    "submysterygift": "gift",
    "raid": "raid",
    "announcement": "message",
}
"""What a USERNOTICE is to koed; any other goes by its own name, for the policy to know or drop."""


@dataclass(frozen=True, slots=True)
class Message:
    """One line of IRC, taken apart."""

    command: str
    params: tuple[str, ...] = ()
    source: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def login(self) -> str:
        """Who sent it."""
        return self.source.partition("!")[0]

    @property
    def channel(self) -> str:
        return self.params[0].removeprefix("#") if self.params else ""


def parse_message(line: str) -> Message | None:
    """A line without its end; None for what is none."""
    tags: dict[str, str] = {}
    rest = line
    if rest.startswith("@"):
        head, _, rest = rest.partition(" ")
        pairs = (pair.partition("=") for pair in head[1:].split(";"))
        tags = {name: _unescaped(value) for name, _, value in pairs if name}
    rest = rest.lstrip(" ")
    source = ""
    if rest.startswith(":"):
        source, _, rest = rest[1:].partition(" ")
    rest, colon, last = rest.lstrip(" ").partition(" :")
    command, *params = rest.split() or [""]
    if colon:
        params.append(last)
    if not (command.isascii() and command.isalnum()):
        return None
    return Message(command.upper(), tuple(params), source, tags)


def _unescaped(value: str) -> str:
    return _ESCAPE.sub(lambda found: _ESCAPED.get(found[1], found[1]), value)


def request_of(message: Message, shared: bool = True) -> Chat | ChatDelete | None:
    """What a message means for koed; None if nothing. Without ``shared`` the lines that another
    channel's viewers wrote in a shared chat mean nothing."""
    here, origin = message.tags.get("room-id"), message.tags.get("source-room-id")
    if not shared and origin and origin != here:
        return None
    match message.command:
        case "PRIVMSG" if len(message.params) == 2 and message.login:
            return _written(message)
        case "USERNOTICE" if message.params:
            return _notice(message)
        case "CLEARMSG" if message.tags.get("target-msg-id"):
            return ChatDelete(line=message.tags["target-msg-id"], platform=PLATFORM)
        case "CLEARCHAT" if len(message.params) >= 2 and message.params[1].strip():
            return ChatDelete(author=message.params[1].strip(), platform=PLATFORM)
        case "CLEARCHAT":
            return ChatDelete(everything=True, platform=PLATFORM)
    return None


def _written(message: Message) -> Chat:
    tags = message.tags
    text = message.params[1]
    action = _ACTION.fullmatch(text)
    text = action[1] if action else text
    bits = _number(tags.get("bits"))
    return Chat(
        text=_without_cheers(text, bits) if bits else text,
        author=message.login,
        name=tags.get("display-name") or None,
        platform=PLATFORM,
        line=tags.get("id") or None,
        roles=_roles(tags),
        donation=float(bits) if bits else None,
        currency="BITS" if bits else None,
        emotes=_emotes(text, tags.get("emotes", "")),
        reply_to=tags.get("reply-parent-display-name") or None,
    )


def _notice(message: Message) -> Chat | None:
    tags = message.tags
    what = tags.get("msg-id", "")
    text = message.params[1] if len(message.params) > 1 else ""
    author = tags.get("login") or tags.get("msg-param-login") or ""
    if not what or not author:
        return None
    return Chat(
        text=text,
        author=author,
        name=tags.get("msg-param-displayName") or tags.get("display-name") or None,
        platform=PLATFORM,
        line=tags.get("id") or None,
        roles=_roles(tags),
        kind=_KINDS.get(what, what[:32]),
        emotes=_emotes(text, tags.get("emotes", "")),
    )


def _roles(tags: Mapping[str, str]) -> list[str]:
    badges = (badge.partition("/")[0] for badge in tags.get("badges", "").split(","))
    found = [_ROLES[badge] for badge in badges if badge in _ROLES]
    flags = {"mod": "mod", "subscriber": "sub", "vip": "vip", "first-msg": "first"}
    found += [role for flag, role in flags.items() if tags.get(flag) == "1"]
    return list(dict.fromkeys(found))


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 10 else 0


def _emotes(text: str, places: str) -> list[str]:
    """The words at ``25:0-4,12-16/1902:6-10``; positions count characters, and ends count."""
    found = []
    for start, end in _PLACE.findall(places):
        word = text[int(start) : int(end) + 1]
        if word and not any(char.isspace() for char in word):
            found.append(word)
    return list(dict.fromkeys(found))


def _without_cheers(text: str, bits: int) -> str:
    """Without the words that paid the bits ("Cheer100"): those that add up to them, the largest
    first, else all stay. A name may end in digits, too."""
    words = text.split(" ")
    paid = [
        (int(found[1]), at) for at, word in enumerate(words) if (found := _CHEER.fullmatch(word))
    ]
    cheers: set[int] = set()
    for value, at in sorted(paid, reverse=True):
        if value <= bits:
            bits -= value
            cheers.add(at)
    if bits:
        return text
    return " ".join(word for at, word in enumerate(words) if at not in cheers)


def parse_record(data: bytes) -> Record | None:
    """A line of a raw log, for `koe.chat.logs`; the time is Twitch's own."""
    text = data.decode(errors="replace").strip("\r\n")
    start = re.search(r"[@:]|PRIVMSG|CLEARCHAT|CLEARMSG|USERNOTICE", text)
    message = parse_message(text[start.start() :]) if start else None
    request = request_of(message) if message else None
    if message is None or request is None:
        return None
    sent_ms = message.tags.get("tmi-sent-ts", "")
    at = int(sent_ms) / 1000 if sent_ms.isdecimal() and len(sent_ms) < 16 else None
    return Record(request, at)
