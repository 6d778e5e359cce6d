"""Numbers in Korean: Chinese numerals, and native ones before nouns that count things."""

from __future__ import annotations

from koed.g2p.tables import words

# Nouns that native numerals count.
NATIVE_COUNTED = frozenset(
    words(
        "군데 권 개 그루 닢 대 두 마리 모 모금 뭇 발 발짝 방 번 벌 보루 살 수 술 시 쌈 움큼 정 짝 "
        "채 척 첩 축 켤레 톨 통 명 사람 잔 병 송이 달"
    )
)
# The recording's library knows only these of them.
OFFICIALLY_COUNTED = NATIVE_COUNTED - frozenset(words("명 사람 잔 병 송이 달"))

_DIGITS = "영일이삼사오육칠팔구"
_PLACES = ("", "십", "백", "천")
_GROUPS = ("", "만", "억", "조", "경")
_NATIVE_UNITS = ("", *words("한 두 세 네 다섯 여섯 일곱 여덟 아홉"))
_NATIVE_TENS = ("", *words("열 스물 서른 마흔 쉰 예순 일흔 여든 아흔"))
_LONGEST = 20  # digits


def digit_by_digit(digits: str) -> str:
    return "".join(_DIGITS[int(digit)] for digit in digits)


def sino(digits: str) -> str:
    """2023 -> 이천이십삼. One is left out before ten, hundred, thousand and the first 만."""
    digits = digits.lstrip("0")
    if not digits:
        return "영"
    if len(digits) > _LONGEST:
        return digit_by_digit(digits)
    spoken = ""
    for group in range((len(digits) - 1) // 4, -1, -1):
        end = len(digits) - 4 * group
        part = _below_ten_thousand(digits[max(0, end - 4) : end])
        if part:
            spoken += ("" if part == "일" and group == 1 else part) + _GROUPS[group]
    return spoken


def native(digits: str) -> str:
    """3 -> 세, 20 -> 스무, 12 -> 열두; hundreds and above are Chinese numerals."""
    digits = digits.lstrip("0")
    if not digits:
        return "영"
    if digits == "20":
        return "스무"
    tens, unit = int(digits[-2:-1] or 0), int(digits[-1])
    above = sino(digits[:-2] + "00") if len(digits) > 2 else ""
    return above + _NATIVE_TENS[tens] + _NATIVE_UNITS[unit]


def _below_ten_thousand(digits: str) -> str:
    spoken = ""
    for place, digit in zip(range(len(digits) - 1, -1, -1), digits, strict=True):
        if digit != "0":
            one = digit == "1" and place > 0
            spoken += ("" if one else _DIGITS[int(digit)]) + _PLACES[place]
    return spoken
