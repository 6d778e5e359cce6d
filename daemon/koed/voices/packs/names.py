"""What names tell: in which encoding a zip has them, whose weights, how old, what a clip says and
in which mood. Pure."""

from __future__ import annotations

import importlib
import re
import unicodedata
import zlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

ENCODINGS = ("utf-8", "gbk", "cp932", "big5", "cp949")
"""Of names in zips, where nothing says which; of two that read equally well, the first."""
LONGEST_ID = 32
NEUTRAL = "neutral"

_EPOCH = re.compile(
    r"(?P<stem>.*?)(?:^|[-_ .])e(?P<epoch>\d{1,5})(?:[-_ ]s(?P<step>\d{1,8}))?(?:_l\d+)?",
    re.IGNORECASE,
)
_TAG = re.compile(r"\s*[【\[（(](?P<tag>[^】\]）)]{1,24})[】\]）)]\s*[-_]?\s*")
_NUMBER = re.compile(r"^\s*\d{1,5}\s*[-_.、 ]\s*|\s*[-_ ]\d{1,5}\s*$|\s*[（(]\d{1,3}[)）]\s*$")
_WIDE = re.compile(r"[\u3041-\u30ff\u3400-\u9fff\uac00-\ud7a3]")
_WORD = re.compile(r"[A-Za-z\u00c0-\u024f']+")
_NO_SPEECH = re.compile(
    r"参考|参照|音频|語音|语音|样本|リファレンス|サンプル|ref(erence)?\b|sample\b", re.I
)

_MOODS = {
    NEUTRAL: "neutral default normal calm 默认 中立 平静 普通 正常 ノーマル 通常 中性 기본 보통",
    "happy": "happy joy joyful 开心 高兴 快乐 喜悦 開心 嬉しい 楽しい 喜び 기쁨",
    "sad": "sad sorrow 难过 悲伤 伤心 难過 悲しい 悲しみ 哀 슬픔",
    "angry": "angry anger 生气 愤怒 怒 怒り 生氣 분노",
    "surprised": "surprised surprise 惊讶 吃惊 驚き 놀람",
    "scared": "scared fear fearful 害怕 恐惧 恐れ 怖い",
    "disgusted": "disgusted disgust 厌恶 嫌悪",
    "excited": "excited 激动 兴奋 興奮",
    "gentle": "gentle soft tender 温柔 優しい",
    "shy": "shy 害羞 照れ",
    "curious": "curious question 疑问 疑惑 好奇 疑問",
}
_MOOD_OF = {word: mood for mood, words in _MOODS.items() for word in words.split()}
_MOOD_FOLDERS = re.compile(
    r"参考|参照|リファレンス|reference|^refs?$|emotion|情感|情绪|表情|感情", re.I
)


class Told(NamedTuple):
    """What the name of a clip tells."""

    text: str
    """What is said, or empty."""
    mood: str
    """A name of a style, or empty."""


def encoding_of(names: Sequence[bytes]) -> str:
    """The encoding in which all ``names`` read best."""
    best, most = "utf-8", -2.0
    joined = b"\n".join(names)
    for encoding in ENCODINGS:
        try:
            text = joined.decode(encoding)
        except UnicodeDecodeError:
            continue
        if encoding == "utf-8":  # no other text is UTF-8 by chance
            return encoding
        strange = [_familiar(char) for char in text if not char.isascii()]
        score = sum(strange) / max(len(strange), 1)
        if score > most:
            best, most = encoding, score
    return best


def _familiar(char: str) -> float:
    """1 for what names are written with, 0 for rare ideographs, -1 for what nobody writes."""
    code = ord(char)
    if 0x3000 <= code < 0x3100 or 0xAC00 <= code < 0xD7A4 or 0xFF00 <= code < 0xFF60:
        return 1.0
    if not 0x3400 <= code < 0xA000:
        return -1.0
    for table, first, last in (("gb2312", 0xB0, 0xD7), ("shift_jis", 0x88, 0x97)):
        coded = char.encode(table, "ignore")
        if coded and first <= coded[0] <= last:
            return 1.0
    return 0.0


def shown(name: str) -> str:
    """``name`` as a terminal may print it: composed, without what is no sign."""
    plain = unicodedata.normalize("NFC", name).encode("utf-8", "replace").decode()
    return "".join(c if c.isprintable() else "\ufffd" for c in plain)


def stem_and_age(stem: str) -> tuple[str, tuple[int, int]]:
    """``hana_e8_s200`` -> ("hana", (8, 200)); of what has no epoch (-1, -1)."""
    found = _EPOCH.fullmatch(stem)
    if found is None:
        return stem.strip(" -_."), (-1, -1)
    return found["stem"].strip(" -_."), (int(found["epoch"]), int(found["step"] or -1))


def same_stem(one: str, other: str) -> bool:
    return bool(_bare(one)) and _bare(one) == _bare(other)


def _bare(stem: str) -> str:
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", stem).casefold())


def safe_id(title: str, taken: Iterable[str] = ()) -> str:
    """A name for files and commands: a-z, 0-9, _ and -; different titles have different ones."""
    letters = re.sub(r"[^a-z0-9_-]+", "-", _latin(title).lower())
    plain = re.sub(r"-{2,}", "-", letters).strip("-_")[:LONGEST_ID].strip("-_")
    base = plain or f"voice-{zlib.crc32(title.encode('utf-8', 'replace')):08x}"
    found, number, there = base, 2, set(taken)
    while found in there:
        ending = f"-{number}"
        found, number = base[: LONGEST_ID - len(ending)] + ending, number + 1
    return found


def _latin(title: str) -> str:
    """Kana and hangul by the names that Unicode has for them, ideographs by pypinyin if it is
    there: a name to type, not how it is said."""
    out = []
    for char in unicodedata.normalize("NFC", unicodedata.normalize("NFKC", title)):
        kind, _, last = unicodedata.name(char, "").rpartition(" ")
        if kind.startswith(("HIRAGANA LETTER", "KATAKANA LETTER", "HANGUL SYLLABLE")):
            out.append(last)
        elif "\u3400" <= char <= "\u9fff":
            out.append(_pinyin(char))
        else:
            out.append(char)
    return "".join(out)


def _pinyin(char: str) -> str:
    try:
        library = importlib.import_module("pypinyin")
    except ImportError:
        return ""
    read: list[str] = library.lazy_pinyin(char)
    return read[0] if read and read[0].isascii() else ""


# --- clips ---------------------------------------------------------------------------------------


def of_clip(stem: str) -> Told:
    """``【开心】今天天气真好。`` -> the sentence, "happy"; ``vo_0012`` -> nothing."""
    mood, rest = "", stem
    if tag := _TAG.match(stem):
        mood, rest = mood_of(tag["tag"]), stem[tag.end() :]
    else:
        first, mark, after = (
            re.split(r"([-_])", stem, maxsplit=1) if re.search("[-_]", stem) else (stem, "", "")
        )
        if mark and known_mood(first):
            mood, rest = known_mood(first), after
        elif known_mood(stem):
            return Told("", known_mood(stem))
    rest = _NUMBER.sub("", _NUMBER.sub("", rest)).strip()
    return Told(rest if _is_speech(rest) else "", mood)


def known_mood(word: str) -> str:
    """The name of a mood that is known in some language, or empty."""
    for part in re.split(r"[-_ /+]", word.strip().casefold()):
        if part in _MOOD_OF:
            return _MOOD_OF[part]
    return ""


def mood_of(word: str) -> str:
    """Of a tag or folder for moods; an unknown one gets a safe name."""
    return known_mood(word) or ("" if word.strip().isdigit() else safe_id(word))


def mood_of_folders(folders: Sequence[str]) -> str:
    """The nearest folder that is a mood, or that lies in a folder of moods."""
    for at in range(len(folders) - 1, -1, -1):
        if mood := known_mood(folders[at]):
            return mood
        if at and _MOOD_FOLDERS.search(folders[at - 1]) and not _MOOD_FOLDERS.search(folders[at]):
            return mood_of(folders[at])
    return ""


def _is_speech(text: str) -> bool:
    """Whether it is what somebody says, and not what a file is called."""
    if len(text) <= 12 and _NO_SPEECH.search(text):
        return False
    wide = len(_WIDE.findall(text))
    if wide:
        return wide >= 4
    return len(_WORD.findall(text)) >= 3 and " " in text and not re.search(r"[_\d]", text)
