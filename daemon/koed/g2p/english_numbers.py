"""English as it is read: numbers, money, times, units and dates in words.

`spoken` works on plain text and leaves letters and marks alone. Its phrases are those that the
voice models were trained on ("twelve dollars and fifty cents", "twenty twenty-one").
"""

from __future__ import annotations

import re
from collections.abc import Callable

from koed.g2p.tables import words
from koed.g2p.traced import Traced

_UNITS = words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
)
_TENS = words("zero ten twenty thirty forty fifty sixty seventy eighty ninety")
_SCALES = ("", " thousand", " million", " billion", " trillion", " quadrillion")
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
_LONGEST = 18  # digits; more are read one by one

_CURRENCIES = {"$": ("dollar", "cent"), "£": ("pound", "penny"), "€": ("euro", "cent")}
_MEASURES = {
    "km/h": ("kilometer per hour", "kilometers per hour"),
    "km": ("kilometer", "kilometers"),
    "cm": ("centimeter", "centimeters"),
    "mm": ("millimeter", "millimeters"),
    "m": ("meter", "meters"),
    "kg": ("kilogram", "kilograms"),
    "g": ("gram", "grams"),
    "ml": ("milliliter", "milliliters"),
    "mL": ("milliliter", "milliliters"),
    "L": ("liter", "liters"),
    "ft": ("foot", "feet"),
    "tbsp": ("tablespoon", "tablespoons"),
    "tsp": ("teaspoon", "teaspoons"),
    "h": ("hour", "hours"),
    "min": ("minute", "minutes"),
    "s": ("second", "seconds"),
    "°C": ("degree celsius", "degrees celsius"),
    "°F": ("degree fahrenheit", "degrees fahrenheit"),
}
_NUMBER = r"\d+(?:\.\d+)?"
_COMMA = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_TIME = re.compile(r"\b([01]?\d|2[0-4]):([0-5]\d)\b(?!:)(\s*[ap]\.?m\b)?", re.IGNORECASE)
_MEASURE = re.compile(rf"(?<![\w.])({_NUMBER})\s*({'|'.join(map(re.escape, _MEASURES))})(?![\w°])")
_MONEY = re.compile(rf"([$£€])({_NUMBER})")
_ORDINAL = re.compile(r"\b(\d+)(?:st|nd|rd|th)\b", re.IGNORECASE)
_FRACTION = re.compile(r"(?<![\d/])(\d{1,3})/(\d{1,3})(?![\d/])")
_PERCENT = re.compile(rf"({_NUMBER})\s*%")
_DECIMAL = re.compile(r"(\d+)\.(\d+)")
_INTEGER = re.compile(r"\d+")
_FOR_EXAMPLE = re.compile(r"\be\.g\.", re.IGNORECASE)
_THAT_IS = re.compile(r"\bi\.e\.", re.IGNORECASE)


def spoken(text: str, *, always_day_half: bool = False) -> str:
    """``text`` with every number in words.

    ``always_day_half`` adds "a.m." or "p.m." to each time, also where the text itself says it.
    """
    return traced(Traced.of(text), always_day_half=always_day_half).text


def traced(text: Traced, *, always_day_half: bool = False) -> Traced:
    """`spoken`, with the characters that each number was written with."""
    steps: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
        (_FOR_EXAMPLE, lambda m: "for example"),
        (_THAT_IS, lambda m: "that is"),
        (_COMMA, lambda m: ""),
        (_TIME, lambda m: _time(m, always_day_half)),
        (_MEASURE, _measure),
        (_MONEY, _money),
        (_ORDINAL, lambda m: ordinal(int(m[1]))),
        (_FRACTION, _fraction),
        (_PERCENT, lambda m: f"{m[1]} percent"),
        (_DECIMAL, _decimal),
        (_INTEGER, lambda m: year_or_cardinal(m[0])),
    )
    for pattern, words_of in steps:
        text = text.replace(pattern, words_of)
    return text


def cardinal(number: int) -> str:
    """ "twelve thousand, three hundred forty-five": a comma after each thousands group."""
    if number == 0:
        return _UNITS[0]
    groups = []
    for scale in _SCALES:
        number, part = divmod(number, 1000)
        if part:
            groups.append(_below_thousand(part) + scale)
        if not number:
            break
    return ", ".join(reversed(groups))


def ordinal(number: int) -> str:
    """ "twenty-first"."""
    head, joint, last = _split_last_word(cardinal(number))
    if last in _ORDINALS:
        return head + joint + _ORDINALS[last]
    return head + joint + (last[:-1] + "ieth" if last.endswith("y") else last + "th")


def year_or_cardinal(digits: str) -> str:
    """From 1001 to 2999 as years are read ("nineteen oh five"), else as a cardinal."""
    if len(digits) > _LONGEST:
        return " ".join(_UNITS[int(digit)] for digit in digits)
    number = int(digits)
    if not 1000 < number < 3000 or number == 2000:
        return cardinal(number)
    if 2000 < number < 2010:
        return f"two thousand {cardinal(number % 100)}"
    century, rest = divmod(number, 100)
    if rest == 0:
        return f"{cardinal(century)} hundred"
    return f"{cardinal(century)} {'oh ' if rest < 10 else ''}{cardinal(rest)}"


def _below_thousand(number: int) -> str:
    hundreds, rest = divmod(number, 100)
    words = [f"{_UNITS[hundreds]} hundred"] if hundreds else []
    if rest >= 20:
        tens, unit = divmod(rest, 10)
        words.append(_TENS[tens] + (f"-{_UNITS[unit]}" if unit else ""))
    elif rest:
        words.append(_UNITS[rest])
    return " ".join(words)


def _split_last_word(words: str) -> tuple[str, str, str]:
    at = max(words.rfind(" "), words.rfind("-"))
    return words[: max(at, 0)], words[at : at + 1] if at >= 0 else "", words[at + 1 :]


def _time(match: re.Match[str], always_day_half: bool) -> str:
    hours, minutes, said = int(match[1]), int(match[2]), match[3] or ""
    half = "a.m." if hours < 12 else "p.m."
    words = cardinal(hours - 12 if hours > 12 else hours)
    words += f" {cardinal(minutes)}" if minutes else " o'clock"
    # The recorded voices' normaliser says the half of the day even before "p.m.".
    return f"{words} {half}{said}" if always_day_half else f"{words}{said}"


def _measure(match: re.Match[str]) -> str:
    one, many = _MEASURES[match[2]]
    return f"{match[1]} {one if match[1] == '1' else many}"


def _money(match: re.Match[str]) -> str:
    name, part_name = _CURRENCIES[match[1]]
    whole, _, part = match[2].partition(".")
    units, cents = int(whole or 0), int((part + "00")[:2])
    words = []
    if units or not cents:
        words.append(f"{cardinal(units)} {name}{'' if units == 1 else 's'}")
    if cents:
        plural = "pence" if part_name == "penny" else f"{part_name}s"
        words.append(f"{cardinal(cents)} {part_name if cents == 1 else plural}")
    return " and ".join(words)


def _fraction(match: re.Match[str]) -> str:
    above, below = int(match[1]), int(match[2])
    if below < 2:
        return f"{cardinal(above)} over {cardinal(below)}"
    name = {2: "half", 4: "quarter"}.get(below) or ordinal(below)
    if above != 1:
        name = "halves" if name == "half" else f"{name}s"
    return f"{cardinal(above)} {name}"


def _decimal(match: re.Match[str]) -> str:
    part = " ".join(_UNITS[int(digit)] for digit in match[2])
    return f"{cardinal(int(match[1][-_LONGEST:]))} point {part}"
