"""Reference clips of a pack: what is said in each, in which language and mood, and who says so.

In this order: a configuration (`infer_config.json`), a list (`path|who|lang|text`), a text file of
the same name, the clip's own name. Pure: the texts are read elsewhere.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from koed.text.language import has_kana
from koed.voices import languages
from koed.voices.packs import names
from koed.voices.packs.items import Item

SOUNDS = (".wav", ".flac", ".ogg", ".mp3", ".opus", ".m4a", ".mp4", ".webm", ".aac")
TEXTS = (".json", ".list", ".lab", ".txt")
LONGEST_TEXT = 500
_NAMED = {"中文": "zh", "日文": "ja", "英文": "en", "韩文": "ko", "粤语": "yue"}
"""As the official interfaces write them; ``多语种混合`` and ``auto`` name none."""


@dataclass(frozen=True, slots=True)
class PackClip:
    item: Item
    text: str = ""
    lang: str = ""
    mood: str = ""
    source: str = ""
    """Who says what is said."""


class There:
    """The files of a pack, to be found by what a text calls them."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._paths: dict[PurePosixPath, Item] = {}
        self._names: dict[str, list[Item]] = {}
        for item in items:
            self._paths[item.path] = item
            self._names.setdefault(item.path.name, []).append(item)

    def named(self, folder: PurePosixPath, written: object) -> Item | None:
        """As written, beside the text (in ``folder``), or the only file of that name: paths are
        often of another machine."""
        if not isinstance(written, str) or not written.strip():
            return None
        path = PurePosixPath(names.shown(written.strip().replace("\\", "/")))
        for candidate in (folder / path, path):
            if candidate in self._paths:
                return self._paths[candidate]
        same = self._names.get(path.name, [])
        near = [item for item in same if item.path.is_relative_to(folder)]
        return near[0] if len(near) == 1 else same[0] if len(same) == 1 else None


class Config(NamedTuple):
    """An `infer_config.json`: who belongs together, and what is said in the clips."""

    weights: frozenset[PurePosixPath]
    said: Mapping[PurePosixPath, PackClip]


def config(path: PurePosixPath, text: str, there: There) -> Config | None:
    """A configuration; None if it is none. Paths are those of the pack (``there``), or nothing."""
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(read, dict):
        return None
    named = [there.named(path.parent, read.get(key)) for key in ("gpt_path", "sovits_path")]
    weights = frozenset(item.path for item in named if item is not None)
    said = {}
    for mood, entry in _entries(read):
        item = there.named(path.parent, entry.get("ref_wav_path"))
        if item is not None:
            words, lang = _plain(entry.get("prompt_text")), _language(entry.get("prompt_language"))
            said[item.path] = PackClip(item, words, lang, names.mood_of(mood), path.name)
    return Config(weights, said) if weights or said else None


def _entries(read: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for key in ("emotion_list", "emotions"):
        moods = read.get(key)
        if isinstance(moods, dict):
            yield from ((str(k), entry) for k, entry in moods.items() if isinstance(entry, dict))


def listed(path: PurePosixPath, text: str, there: There) -> dict[PurePosixPath, PackClip]:
    """The lines of a `.list`."""
    said = {}
    for line in text.splitlines():
        parts = line.split("|", 3)
        item = there.named(path.parent, parts[0]) if len(parts) == 4 else None
        if item is not None:
            lang = _language(parts[2])
            said[item.path] = PackClip(item, _plain(parts[3]), lang, "", path.name)
    return said


def _plain(text: object) -> str:
    """In one line, as a profile and a terminal can hold it."""
    return names.shown(" ".join(str(text or "").split()))[:LONGEST_TEXT]


def _language(written: object) -> str:
    plain = str(written or "").strip()
    return _NAMED.get(plain) or languages.named(plain)


def collect(
    items: Iterable[Item], texts: Mapping[PurePosixPath, str], configs: Sequence[Config]
) -> list[PackClip]:
    """A clip for each sound of a pack, with all that is told about it.

    ``texts``: contents of the `TEXTS` by path.
    """
    sounds = {item.path: item for item in items if item.path.suffix.lower() in SOUNDS}
    said: dict[PurePosixPath, PackClip] = {}
    for path, text in texts.items():
        if path.suffix.lower() == ".list":
            said |= listed(path, text, There(sounds.values()))
    for each in configs:
        said |= each.said
    clips = [_clip(item, said.get(item.path), texts) for item in sounds.values()]
    return _with_languages(clips)


def _clip(item: Item, told: PackClip | None, texts: Mapping[PurePosixPath, str]) -> PackClip:
    named = names.of_clip(item.path.stem)
    mood = (told and told.mood) or named.mood or names.mood_of_folders(item.path.parts[:-1])
    if told and told.text:
        return dataclasses.replace(told, mood=mood)
    for ending in (".lab", ".txt"):
        if beside := _plain(texts.get(item.path.with_suffix(ending))):
            return PackClip(item, beside, "", mood, f"the {ending} beside it")
    return PackClip(item, named.text, "", mood, "its name" if named.text else "")


def _with_languages(clips: list[PackClip]) -> list[PackClip]:
    """By script; ideographs alone are Japanese where other clips have kana."""
    default = "ja" if any(has_kana(clip.text) for clip in clips) else "zh"
    return [
        clip if clip.lang or not clip.text
        else dataclasses.replace(clip, lang=languages.of_text(clip.text, default))
        for clip in clips
    ]  # fmt: skip
