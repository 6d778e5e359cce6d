"""Numbers in Chinese characters."""

from __future__ import annotations

_DIGITS = "零一二三四五六七八九"
_UNITS = ((8, "亿"), (4, "万"), (3, "千"), (2, "百"), (1, "十"))
_TO_DIGITS = str.maketrans("0123456789", _DIGITS)
_TO_PHONE_DIGITS = str.maketrans("0123456789", _DIGITS.replace("一", "幺"))


def digit_by_digit(digits: str, as_phone: bool = False) -> str:
    """2024 -> 二零二四. ``as_phone`` says 1 as 幺, as in telephone numbers."""
    return digits.translate(_TO_PHONE_DIGITS if as_phone else _TO_DIGITS)


def cardinal(digits: str) -> str:
    """1005 -> 一千零五. Ten to nineteen lose their 一."""
    if not digits.strip("0"):
        return "零" if digits else ""
    spoken = _below(digits.lstrip("0"), False)
    return spoken[1:] if spoken.startswith("一十") else spoken


def number(text: str) -> str:
    """A number with or without sign and decimal part: -3.20 -> 负三点二."""
    sign = "负" if text.startswith("-") else ""
    whole, _, part = text.lstrip("-").partition(".")
    part = part.rstrip("0")
    spoken = cardinal(whole)
    return f"{sign}{spoken or '零'}点{digit_by_digit(part)}" if part else sign + spoken


def _below(digits: str, after_unit: bool) -> str:
    """``digits`` with 零 before if they follow a unit and begin with 0."""
    rest = digits.lstrip("0")
    zero = "零" if after_unit and rest and len(rest) < len(digits) else ""
    if len(rest) < 2:
        return zero + digit_by_digit(rest)
    power, unit = next((p, u) for p, u in _UNITS if p < len(rest))
    return zero + _below(rest[:-power], False) + unit + _below(rest[-power:], True)
