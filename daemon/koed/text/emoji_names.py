"""What an emoji is called, in the language of the text.

The names are Unicode's CLDR short names as the `emoji` package carries them. Its data files are
read one language at a time, without importing the package: the import alone would keep 8 MB.
"""

from __future__ import annotations

import json
import re
from functools import cache
from importlib import metadata

from koed.errors import KoedError

SYMBOLS = (
    r"\u200d\u2190-\u21ff\u2300-\u23ff\u2460-\u27bf\u27f0-\u28ff\u2900-\u297f\u2b00-\u2bff"
    r"\U0001f000-\U0001faff\U000e0020-\U000e007f"
)
"""Character class of emoji, what joins them, and pictures that have no sound (★, ♪, →)."""

_LANGUAGES = frozenset(
    ["en", "ja", "zh", "ko", "es", "pt", "de", "fr", "it", "fa", "id", "ar", "ru", "tr"]
)
_SKIN = "[\U0001f3fb-\U0001f3ff]"
_SKIN_TONE = re.compile(_SKIN)
_PICTURE = r"[\u231a-\u23ff\u2600-\u27bf\u2b1b-\u2b55\U0001f000-\U0001faff]"
_SEQUENCE = re.compile(
    "[\U0001f1e6-\U0001f1ff]{2}"
    rf"|{_PICTURE}{_SKIN}?[\U000e0020-\U000e007f]*(?:\u200d{_PICTURE}{_SKIN}?)*"
)
_ASIDE = re.compile(r"\s*[(（][^()（）]*[)）]")


def emoji_names(run: str, lang: str) -> list[str]:
    """The names of the emoji in ``run`` (characters of `SYMBOLS`) in order, skin tones left out.

    An emoji that repeats is named once. Unknown ones and other symbols have no name. A language
    without names gets the English ones.
    """
    table = _table(lang)
    names: list[str] = []
    previous = ""
    for sequence in _SEQUENCE.findall(run):
        if sequence == previous:
            continue
        previous = sequence
        plain = _SKIN_TONE.sub("", sequence)
        known = [plain] if plain in table else plain.split("\u200d")
        for key in known:
            name = table.get(key)
            if name and name not in names[-1:]:
                names.append(name)
    return names


def preload(lang: str) -> None:
    """Read the names of ``lang`` now (some milliseconds), so that the first emoji costs nothing."""
    _table(lang)


def _table(lang: str) -> dict[str, str]:
    lang = "zh" if lang == "yue" else lang
    return _names(lang if lang in _LANGUAGES else "en")


@cache
def _names(lang: str) -> dict[str, str]:
    file = "emoji.json" if lang == "en" else f"emoji_{lang}.json"
    try:
        path = metadata.distribution("emoji").locate_file(f"emoji/unicode_codes/{file}")
        with open(str(path), encoding="utf-8") as stream:
            data = json.load(stream)
    except (metadata.PackageNotFoundError, OSError) as error:
        raise KoedError(
            "missing_dependency",
            f"the names of emoji cannot be read: {error}",
            'install the "emoji" package, or set text.emoji to "drop"',
        ) from error
    names: dict[str, str] = {}
    for sequence, entry in data.items():
        key = sequence.replace("\ufe0f", "")
        if not _SKIN_TONE.search(key):
            name = entry["en"] if lang == "en" else entry
            names[key] = _ASIDE.sub("", name.strip(":").replace("_", " ")).strip()
    return names
