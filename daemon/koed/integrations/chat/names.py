"""Names of viewers: how they are compared, and how they are said."""

from __future__ import annotations

import re
import unicodedata

_NOT_SAID = re.compile(r"[^\w]+|_+")
_TAIL_DIGITS = re.compile(r"(?<=\D)\d+$")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z][a-z])")
_DIGIT_RUN = re.compile(r"\d{5,}")


def author_key(platform: str, author: str) -> str:
    """``platform:author`` in lower case: by this an author is limited, remembered, cancelled."""
    return f"{platform}:{author}".lower()


def line_key(platform: str, line: str) -> str:
    """The key of a line in the queue. Ids tell upper and lower case apart; platforms do not."""
    return f"{platform.lower()}:{line}"


def is_among(people: frozenset[str], platform: str, author: str) -> bool:
    """Whether a list of names and ``platform:name`` (in lower case) has this author."""
    return bool(people) and (author.lower() in people or author_key(platform, author) in people)


def people(names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(name.lower().removeprefix("@") for name in names)


def spoken_name(name: str, max_chars: int, keep_digits: bool = False) -> str:
    """A name as a voice can say it: "xX_DarkLord_Xx1987" is "xX Dark Lord Xx".

    "" if nothing of it can be said. Marks, emoji and control characters go, as do digits at the
    end unless ``keep_digits``; it is cut at a word where there is one.
    """
    text = unicodedata.normalize("NFKC", name[:400])
    text = " ".join(_NOT_SAID.sub(" ", text).split())
    if not keep_digits:
        text = _TAIL_DIGITS.sub("", text).rstrip()
    text = _DIGIT_RUN.sub("", text)
    text = " ".join(_CAMEL.sub(" ", text).split())
    if len(text) > max_chars:
        head = text[: max_chars + 1].rpartition(" ")[0]
        text = head if len(head) * 2 >= max_chars else text[:max_chars].rstrip()
    return text if any(char.isalnum() for char in text) else ""
