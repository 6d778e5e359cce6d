"""What is said for a line: emote words, templates, amounts."""

from __future__ import annotations

import math
import re

from koed.config.chat import DonationsConfig

MAX_EMOTES = 50
MAX_AMOUNT = 1e9
_EMOTE_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\x00-\x7f]+")
_SPACES = re.compile(r"\s+")


def without_mention(text: str, reply_to: str | None) -> str:
    """A reply without the "@name" before it: everybody has just heard that line."""
    if not reply_to or not text.startswith("@"):
        return text
    head, _, rest = text.partition(" ")
    return rest.lstrip() if head[1:].rstrip(",:").lower() == reply_to.lower() else text


def with_emotes(text: str, emotes: list[str], choice: str) -> str:
    """``text`` with its emote words as ``text.emotes`` wants them: left out, or each said once."""
    if choice == "say" or not emotes:
        return text
    words = frozenset(emotes[:MAX_EMOTES])
    said: set[str] = set()
    out = []
    for word in text.split(" "):
        if word not in words:
            out.append(word)
        elif choice == "name" and word not in said:
            said.add(word)
            out.append(" ".join(_EMOTE_PART.findall(word)) or word)
    return " ".join(out)


def same_text(text: str) -> str:
    """What two texts share that are the same to the ear: case, marks and space do not count."""
    folded = text.casefold()
    key = "".join(char for char in folded if char.isalnum())
    return key or _SPACES.sub("", folded)


def amount(value: float | None, currency: str | None, config: DonationsConfig) -> str:
    """ "5 euros", "2.50 dollars"; without a currency the number alone; "" if nothing was given."""
    if value is None or not math.isfinite(value) or value <= 0:
        return ""
    value = min(value, MAX_AMOUNT)
    number = str(int(value)) if value == int(value) else f"{value:.2f}"
    code = (currency or "").strip()[:20]
    name = config.currencies.get(code) or config.currencies.get(code.upper()) or code
    return f"{number} {name}".strip()


def is_large(value: float | None, currency: str | None, config: DonationsConfig) -> bool:
    """Whether a donation reaches the amount that goes first."""
    if value is None or not math.isfinite(value) or value <= 0:
        return False
    code = (currency or "").strip()
    least = config.least_in.get(code, config.least_in.get(code.upper(), config.least))
    return value >= least


def filled(template: str, **values: str) -> str:
    """The template with its values; what is left of an empty text ("…: ") is trimmed."""
    # one pass over the template: a viewer who writes {name} does not get a name
    text = re.sub(r"\{(\w+)\}", lambda field: values.get(field[1], field[0]), template)
    return text.strip().rstrip(":：、,").strip()
