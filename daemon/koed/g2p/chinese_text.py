"""Chinese text as it is read: characters and the marks ``! ? … , . -`` only.

The steps and their order are those that the voice models were trained on; they decide, for one,
that 250 before an unknown measure word is read digit by digit.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable
from typing import Any

from koed.g2p.chinese_numbers import cardinal, digit_by_digit, number
from koed.g2p.library import load
from koed.g2p.marks import RUN
from koed.g2p.tables import words
from koed.g2p.traced import Traced

Match = re.Match[str]
Step = tuple[re.Pattern[str], Callable[[Match], str]]

_BRACKETS = re.compile(r"[—《》【】<=>{}()（）#&@“”^_|\\]")
_SENTENCE_END = re.compile(r"(?<=[：、，；。？！,;?!])")
_HALF_WIDTH = {code: code - 0xFEE0 for code in (*range(0xFF10, 0xFF1A), *range(0xFF21, 0xFF5B))}
_HALF_WIDTH |= {0x3000: 0x20, 0xFF05: 0x25, 0xFF0B: 0x2B, 0xFF0D: 0x2D, 0xFF0F: 0x2F, 0xFF0E: 0x2E}

_N = r"-?(?:\d+(?:\.\d+)?|\.\d+)"
_CLOCK = r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?"
_SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹"
_OPERATORS = {"+": "加", "-": "减", "×": "乘", "÷": "除", "=": "等于"}
_MEASURES = {
    "km²": "平方千米",
    "cm²": "平方厘米",
    "m²": "平方米",
    "㎡": "平方米",
    "m³": "立方米",
    "㎏": "千克",
    "㎝": "厘米",
    "㎜": "毫米",
    "㎞": "千米",
}
_RANGE_UNITS = r"%|°C|℃|度|摄氏度|个|元|岁|年|月|日|天|人|次|倍|米|吨|斤|分钟|小时"
# Numbers before these are read as quantities, however long.
_COUNTED = (
    "封艘把目套段人所朵匹张座回场尾条个首阙阵网炮顶丘棵只支袭辆挑担颗壳窠曲墙群腔砣客贯扎捆刀令打手罗坡"
    "山岭江溪钟队单双对出口头脚板跳枝件贴针线管名位身堂课本页家户层丝毫厘分钱两斤铢石钧锱忽寸尺丈里寻常"
    "铺程米撮勺合升斗盘碗碟叠桶笼盆盒杯斛锅簋篮罐瓶壶卮盏箩箱煲啖袋钵年月日季刻时周天秒旬纪岁世更夜春夏"
    "秋冬代伏辈丸泡粒幢堆根道面片块元亿万千百角毛吨"
)
_COUNTED_WORDS = r"[千毫微]克|公分|[千分厘毫微]米|小时|[亿万千百美]元|[亿万千百十]吨"
_CIRCLED = dict(zip("①②③④⑤⑥⑦⑧⑨⑩", "一二三四五六七八九十", strict=True))
_GREEK = dict(
    zip(
        "αβγΓδΔεζηθΘικλΛμνξΞοπΠρςΣστυφΦχψΨωΩ",
        words(
            "阿尔法 贝塔 伽玛 伽玛 德尔塔 德尔塔 艾普西龙 捷塔 依塔 西塔 西塔 艾欧塔 喀帕 "
            "拉姆达 拉姆达 缪 拗 克西 克西 欧米克伦 派 派 肉 西格玛 西格玛 西格玛 套 宇普西龙 "
            "服艾 服艾 器 普赛 普赛 欧米伽 欧米伽"
        ),
        strict=True,
    )
)
_LAST_WORDS = str.maketrans({**_CIRCLED, **_GREEK, "嗯": "恩", "呣": "母"})
_MARKS = {
    **dict.fromkeys("：；，·、/:;", ","),
    **dict.fromkeys("。\n$", "."),
    **dict.fromkeys("~～", "…"),
    "！": "!",
    "？": "?",
    "—": "-",
}
_MARK_TABLE = str.maketrans(_MARKS)
_UNREAD = re.compile(r"[^\u4e00-\u9fa5!?…,.\-]+")
_ELLIPSIS = re.compile(r"\.\.\.")
_EDGES = re.compile(r"\A\s+|\s+\Z")
_HAN = re.compile(r"[\u3400-\U0003ffff]")
_ANY = re.compile(r".", re.DOTALL)


def normalise(text: str) -> str:
    """Chinese characters and model marks; runs of marks cut to their first."""
    return traced(Traced.of(text)).text


def traced(text: Traced) -> Traced:
    """The same, with the way back to what ``text`` was made of."""
    clear = text.replace(_BRACKETS, _nothing)
    sentences = _SENTENCE_END.split(clear.text)
    ends = list(itertools.accumulate(map(len, sentences)))
    read = [
        _sentence(clear.part(end - len(sentence), end))
        for sentence, end in zip(sentences, ends, strict=True)
    ]
    spoken = Traced("".join(s.text for s in read), tuple(span for s in read for span in s.spans))
    spoken = _translated(spoken, _LAST_WORDS).replace(_ELLIPSIS, lambda m: "…")
    spoken = _translated(spoken, _MARK_TABLE).replace(_UNREAD, _nothing)
    return spoken.replace(RUN, lambda m: m[1])


def _sentence(text: Traced) -> Traced:
    text = _translated(text.replace(_EDGES, _nothing).replace(_HAN, _simple), _HALF_WIDTH)
    for pattern, spoken in _STEPS:
        text = text.replace(pattern, spoken)
    return text


def _translated(text: Traced, table: dict[int, str] | dict[int, int]) -> Traced:
    said = text.text.translate(table)
    if len(said) == len(text.text):
        return Traced(said, text.spans)
    return text.replace(_ANY, lambda m: m[0].translate(table))


def _nothing(match: Match) -> str:
    return ""


def _simple(match: Match) -> str:
    return _simplified(match[0])


@functools.lru_cache(maxsize=4096)
def _simplified(character: str) -> str:
    """Of a traditional character of common use the simplified one; others as they are."""
    other: str = _converter().convert(character)
    try:
        other.encode("gb2312")
    except UnicodeEncodeError:
        return character
    return other


@functools.cache
def _converter() -> Any:
    return load("opencc", "Chinese").OpenCC("t2s")


def _date(match: Match) -> str:
    year, month, day, day_word = match.group(1, 2, 3, 4)
    spoken = digit_by_digit(year) + "年"
    spoken += cardinal(month) + "月" if month else ""
    return spoken + (cardinal(day) + day_word if day else "")


def _clock(hour: str, minute: str, second: str | None) -> str:
    spoken = cardinal(hour) + "点"
    if minute == "30":
        spoken += "半"
    elif minute != "00":
        spoken += _minute(minute) + "分"
    return spoken + (_minute(second) + "秒" if second and second != "00" else "")


def _minute(digits: str) -> str:
    return ("零" if digits.startswith("0") else "") + cardinal(digits)


def _temperature(match: Match) -> str:
    below = "零下" if match[1] else ""
    return below + number(match[2]) + ("摄氏度" if match[3] == "摄氏度" else "度")


def _arithmetic(match: Match) -> str:
    return match[1] + _OPERATORS[match[2]]


def _power(match: Match) -> str:
    exponent = "".join(str(_SUPERSCRIPTS.index(c)) for c in match[2])
    return f"{match[1]}的{cardinal(exponent)}次方"


def _quantity(match: Match) -> str:
    more = {"+": "多", None: ""}.get(match[2], match[2])
    return cardinal(match[1]) + str(more) + match[3]


def _phone(match: Match) -> str:
    return "，".join(digit_by_digit(part, True) for part in re.split(r"[ \-]", match[0].strip("+")))


_STEPS: tuple[Step, ...] = (
    (
        re.compile(r"(\d{4}|\d{2})年(?:(0?[1-9]|1[0-2])月)?(?:(0?[1-9]|[12]\d|3[01])([日号]))?"),
        _date,
    ),
    (
        re.compile(r"(?<!\d)(\d{4})([- /.])(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])(?!\d)"),
        lambda m: f"{digit_by_digit(m[1])}年{cardinal(m[3])}月{cardinal(m[4])}日",
    ),
    (
        re.compile(rf"{_CLOCK}[~-]{_CLOCK}"),
        lambda m: f"{_clock(m[1], m[2], m[3])}至{_clock(m[4], m[5], m[6])}",
    ),
    (re.compile(_CLOCK), lambda m: _clock(m[1], m[2], m[3])),
    (re.compile(rf"({_N}(?:{_RANGE_UNITS}))~(?={_N}(?:{_RANGE_UNITS}))"), lambda m: f"{m[1]}至"),
    (re.compile(r"(-?)(\d+(?:\.\d+)?)(°C|℃|度|摄氏度)"), _temperature),
    (re.compile("|".join(_MEASURES)), lambda m: _MEASURES[m[0]]),
    (
        re.compile(rf"((?:\d+(?:\.\d+)?|\.\d+)[{_SUPERSCRIPTS}]*)([+\-×÷=])(?={_N})"),
        _arithmetic,
    ),
    (re.compile(rf"(\d)([{_SUPERSCRIPTS}]+)"), _power),
    (
        re.compile(r"(-?)(\d+)/(\d+)"),
        lambda m: f"{'负' if m[1] else ''}{cardinal(m[3])}分之{cardinal(m[2])}",
    ),
    (
        re.compile(r"(-?)(\d+(?:\.\d+)?)%"),
        lambda m: f"{'负' if m[1] else ''}百分之{number(m[2])}",
    ),
    (
        re.compile(r"(?<!\d)(?:\+?86 ?)?1(?:[38]\d|5[0-35-9]|7[678]|9[89])\d{8}(?!\d)"),
        _phone,
    ),
    (re.compile(r"(?<!\d)(?:0(?:10|2[1-3]|[3-9]\d{2})-?)?[1-9]\d{6,7}(?!\d)"), _phone),
    (re.compile(r"(?<!\d)400-?\d{3}-?\d{4}(?!\d)"), _phone),
    (
        re.compile(r"(?<!\d)(-?\d+(?:\.\d+)?)[-~](-?\d+(?:\.\d+)?)(?!\d)"),
        lambda m: f"{number(m[1])}到{number(m[2])}",
    ),
    (re.compile(r"-(\d+)(?![\d.])"), lambda m: f"负{cardinal(m[1])}"),
    (
        re.compile(r"\d+(?:\.\d+){2,}"),
        lambda m: "点".join(digit_by_digit(part) for part in m[0].split(".")),
    ),
    (re.compile(r"-?\d*\.\d+"), lambda m: number(m[0])),
    (re.compile(rf"(\d+)([多余几+])?({_COUNTED_WORDS}|[{_COUNTED}])"), _quantity),
    (re.compile(r"\d{3,}"), lambda m: digit_by_digit(m[0], True)),
    (re.compile(r"-?\d+"), lambda m: number(m[0])),
)
