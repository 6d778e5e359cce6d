"""What `koed.yaml` may say under ``chat:``."""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from koed.config.schema import Hook, Match, Range

NotNegative = Annotated[float, Range(0)]
Many = Annotated[int, Range(0, 1000)]
VoiceName = Annotated[str, Match(r"[a-z0-9_-]{1,32}", "1 to 32 of a-z, 0-9, _ and -")]
Lang = Annotated[str, Match(r"[a-z]{2,3}|other", "a language such as en or ja, or other")]
Person = Annotated[str, Match(r"\S.{0,199}", "a name, or platform:name")]
Prefix = Annotated[str, Match(r"\S{1,8}", "1 to 8 characters without space")]
Role = Literal["broadcaster", "mod", "vip", "sub", "member", "first", "bot"]

BOTS = (
    "nightbot", "streamelements", "streamlabs", "moobot", "fossabot", "wizebot", "soundalerts",
    "sery_bot", "botrixoficial", "kofistreambot", "pokemoncommunitygame",
)  # fmt: skip

SAYS = {
    "en": "{name} says: {text}",
    "ja": "{name}さん。{text}",
    "zh": "{name}说：{text}",
    "ko": "{name}님. {text}",
    "other": "{name}: {text}",
}
ANNOUNCED = {
    "donation": "{name} sent {amount}: {text}",
    "sub": "{name} subscribed. {text}",
    "raid": "{name} raids the channel. {text}",
}
CURRENCIES = {
    "EUR": "euros", "USD": "dollars", "GBP": "pounds", "JPY": "yen", "KRW": "won",
    "CNY": "yuan", "TWD": "Taiwan dollars", "CAD": "Canadian dollars", "AUD": "Australian dollars",
    "BRL": "reais", "PLN": "zloty", "SEK": "kronor", "BITS": "bits",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class RateConfig:
    lines: Many = 4
    """One author is read so many times within window_s; 0 = no limit."""
    window_s: NotNegative = 20.0


@dataclass(frozen=True, slots=True)
class RepeatsConfig:
    window_s: NotNegative = 20.0
    """The same text again within this time, from whomever, is spoken once; 0 = as often as it
    comes."""
    count_mark: str = ""
    """Added to a line that waits, with {n} = how often it came, as ", times {n}"; empty = not
    told."""


@dataclass(frozen=True, slots=True)
class RaidConfig:
    over_per_s: NotNegative = 8.0
    """More lines than this within a second are a raid; 0 = never."""
    calm_s: NotNegative = 5.0
    """It is over when there were fewer for so long."""
    keep: Literal["every", "roles"] = "every"
    """Of a raid, every Nth line is read, or only those with one of the roles."""
    every: Annotated[int, Range(1)] = 10
    roles: tuple[Role, ...] = ("broadcaster", "mod", "vip", "sub", "member")


@dataclass(frozen=True, slots=True)
class DonationsConfig:
    least: NotNegative = 1.0
    """From this amount on a line goes first, and is read whoever wrote it."""
    least_in: dict[str, NotNegative] = field(
        default_factory=lambda: {"JPY": 100.0, "KRW": 1000.0, "TWD": 30.0, "BITS": 100.0}
    )
    """The same for single currencies."""
    priority: Literal["urgent", "normal"] = "normal"
    """normal = before all chat; urgent = interrupts."""
    max_s: NotNegative = 40.0
    """In place of chat.max_s."""
    currencies: dict[str, str] = field(default_factory=lambda: dict(CURRENCIES))
    """How they are spoken."""


@dataclass(frozen=True, slots=True)
class NamesConfig:
    say: bool = True
    """Whether it is said who wrote a line."""
    templates: dict[Lang, str] = field(default_factory=lambda: dict(SAYS))
    """By the language of the line, with {name} and {text}."""
    again_s: NotNegative = 60.0
    """An author's name is not said again within this time; 0 = with every line."""
    max_chars: Annotated[int, Range(1, 200)] = 24
    digits: Literal["drop", "say"] = "drop"
    """Digits at the end of a name."""


@dataclass(frozen=True, slots=True)
class ViewerVoicesConfig:
    mode: Literal["current", "derived", "sticky"] = "current"
    """current = the current voice; derived = by the name, the same in every stream; sticky = the
    voice that was used least when the viewer first spoke, remembered."""
    among: tuple[VoiceName, ...] = ()
    """The voices for derived and sticky; none = all."""
    assigned: dict[Person, VoiceName] = field(default_factory=dict)
    """Before all else: the voice of a name, or of platform:name."""
    platforms: dict[str, VoiceName] = field(default_factory=dict)
    """The voice of all who write on a platform, for instance youtube."""
    remember: Annotated[int, Range(1, 1000000)] = 10000
    """Viewers whose sticky voice is kept; whoever was silent longest is forgotten."""


@dataclass(frozen=True, slots=True)
class ChatConfig:
    read: Literal["everyone", "subs", "vips", "mods", "listed"] = "everyone"
    """Who is read. Each takes in those after it: subs also VIPs, mods and the broadcaster; listed =
    only allow."""
    allow: tuple[Person, ...] = ()
    """Always read: a name, or platform:name."""
    block: tuple[Person, ...] = ()
    """Never read."""
    bots: tuple[Person, ...] = BOTS
    """Not read, as is whoever has the role bot."""
    commands: tuple[Prefix, ...] = ("!",)
    """A line that begins with one of these and a letter is for a bot, and not read."""
    exempt: tuple[Role, ...] = ("broadcaster", "mod")
    """For these there is no rate and no raid."""
    rate: RateConfig = field(default_factory=RateConfig)
    repeats: RepeatsConfig = field(default_factory=RepeatsConfig)
    raid: RaidConfig = field(default_factory=RaidConfig)
    max_s: NotNegative = 12.0
    """A line that would take longer to speak is cut at a word; 0 = no limit but
    text.chatter_max_chars."""
    cut_mark: str = "…"
    """Added to a line that was cut."""
    donations: DonationsConfig = field(default_factory=DonationsConfig)
    announce: dict[str, str] = field(default_factory=lambda: dict(ANNOUNCED))
    """Templates for kinds of lines, with {name}, {amount} and {text}; an empty one = that kind is
    not read."""
    names: NamesConfig = field(default_factory=NamesConfig)
    voices: ViewerVoicesConfig = field(default_factory=ViewerVoicesConfig)
    deleted_s: NotNegative = 60.0
    """A deletion that comes before its line is remembered so long."""


def _template_problem(text: str, known: tuple[str, ...]) -> str:
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        return f"{text[:60]!r} is no template: {error}"
    for _, name, spec, conversion in parts:
        if name is not None and (name not in known or spec or conversion):
            return f"{text[:60]!r}: there is no {{{name[:20]}}}"
    return ""


def names_problems(names: NamesConfig) -> Iterator[tuple[str, str, str]]:
    known = ("name", "text")
    for lang, template in names.templates.items():
        if what := _template_problem(template, known):
            yield f"templates.{lang}", what, "a template may hold {name} and {text}"


def repeats_problems(repeats: RepeatsConfig) -> Iterator[tuple[str, str, str]]:
    if what := _template_problem(repeats.count_mark, ("n",)):
        yield "count_mark", what, "it may hold {n}"


def chat_problems(chat: ChatConfig) -> Iterator[tuple[str, str, str]]:
    known = ("name", "amount", "text")
    for kind, template in chat.announce.items():
        if what := _template_problem(template, known):
            yield f"announce.{kind}", what, "a template may hold {name}, {amount} and {text}"


HOOKS: Mapping[type, Hook] = {
    NamesConfig: names_problems,
    RepeatsConfig: repeats_problems,
    ChatConfig: chat_problems,
}
