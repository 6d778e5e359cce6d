"""Something to say in a language, for whoever hears or measures a voice."""

from __future__ import annotations

from koed.errors import KoedError

LINES = {
    "en": "Good evening, and welcome to the stream. It is good to have you here.",
    "ja": "こんばんは。今日も配信に来てくれて、本当にありがとうございます。",
    "zh": "大家晚上好，欢迎来到今天的直播，谢谢你们。",
    "yue": "大家好，歡迎嚟到今晚嘅直播，多謝你哋。",
    "ko": "여러분 안녕하세요. 오늘 방송에 와 주셔서 감사합니다.",
}


def greeting(lang: str) -> str:
    """Raises `KoedError` ``no_text`` for a language in which koed knows none."""
    line = LINES.get(lang) or LINES.get(lang.split("-")[0])
    if line is None:
        raise KoedError("no_text", f"koed knows no greeting in {lang}", "write the text yourself")
    return line
