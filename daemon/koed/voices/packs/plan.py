"""What a pack holds and what would be made of it: a voice for each pair, with the clip that it is
to be enrolled from. Reads the pack and changes nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from koed.engine.gpt_sovits.checkpoints import checkpoint
from koed.errors import EngineError, did_you_mean
from koed.recordings import quality, recording
from koed.recordings.excerpt import cut, take
from koed.voices.enroll import LONGEST_S
from koed.voices.packs import clips, names, pairs
from koed.voices.packs.clips import PackClip, There
from koed.voices.packs.items import CLIP_BYTES, TEXT_BYTES, Item, PackSource
from koed.voices.packs.pairs import Pair, PassedOver, WeightFile

MOST_TEXTS = 2000
MOST_HEARD, MOST_OF_MOOD, MOST_MOODS = 12, 3, 32
"""Clips that are listened to: plain ones, of each other mood, and moods."""
BEST_S = 7.0
_FATAL = ("pack_locked", "pack_unsafe", "pack_no_room", "pack_damaged", "pack_unreadable")
"""What is wrong with the whole pack."""
_TERMS = (
    "readme",
    "licen",
    "使用",
    "声明",
    "须知",
    "规约",
    "規約",
    "利用",
    "協議",
    "协议",
    "terms",
)


@dataclass(frozen=True, slots=True)
class PackWish:
    """What the user says about a pack."""

    name: str = ""
    only: str = ""
    """One voice of several."""
    clip: str = ""
    """Part of the name of the clip to take."""
    text: str = ""
    lang: str = ""


@dataclass(frozen=True, slots=True)
class Heard:
    """A clip that was listened to and is fit."""

    clip: PackClip
    seconds: float
    """That would be taken of it."""
    guessed: bool
    """Of its text only a part, found by time."""


@dataclass(frozen=True, slots=True)
class PlannedVoice:
    name: str
    """For files and commands."""
    pair: Pair
    clips: tuple[Heard, ...]
    """Fit ones of no or neutral mood, the best first."""
    moods: tuple[Heard, ...]
    """One of each other mood."""
    problem: str
    """Why no clip can be taken, or empty."""


@dataclass(frozen=True, slots=True)
class PackPlan:
    pack: str
    voices: tuple[PlannedVoice, ...]
    passed: tuple[PassedOver, ...]
    terms: tuple[str, ...]
    """Texts of the pack that say what it may be used for."""


def make(source: PackSource, asked: PackWish) -> PackPlan:
    """Raises `EngineError` ``pack_*``."""
    files, passed = _weights(source)
    there = There(source.items)
    texts, configs = _texts(source, there)
    together = [config.weights for config in configs if config.weights]
    found, unpaired = pairs.paired(files, together, source.name)
    passed += unpaired + [(note, "") for note in source.notes]
    if not found:
        raise _no_voice(source, passed)
    sounds = clips.collect(source.items, texts, configs)
    voices = []
    taken: set[str] = set()
    for pair in found:
        name = names.safe_id(pair.title, taken)
        taken.add(name)
        if asked.only in ("", name, pair.title):
            mine = _of(pair, found, sounds, configs)
            voices.append(_voice(source, asked.name or name, pair, mine, asked, passed))
    if not voices:
        hint = did_you_mean(asked.only, [pair.title for pair in found])
        raise EngineError("pack_unknown_voice", f"no {asked.only} in {source.name}", hint)
    if asked.name and len(voices) > 1:
        listed = ", ".join(voice.pair.title for voice in voices)
        what = f"{source.name} holds several voices ({listed}); --name can name one"
        raise EngineError("pack_several", what, "say which with --only")
    return PackPlan(source.name, tuple(voices), tuple(passed), tuple(_terms(source.items)))


def _weights(source: PackSource) -> tuple[list[WeightFile], list[PassedOver]]:
    """Open what is worth it."""
    kept, passed = pairs.last_epochs(source.items)
    files = []
    for item in kept:
        try:
            files.append(WeightFile(item, checkpoint.inspect(source.file(item))))
        except EngineError as error:
            if error.code in _FATAL:
                raise
            passed.append((str(item.path), error.message))
    return files, passed


def _texts(source: PackSource, there: There) -> tuple[dict[PurePosixPath, str], list[clips.Config]]:
    sounds = {
        item.path.with_suffix("") for item in source.items
        if item.path.suffix.lower() in clips.SOUNDS
    }  # fmt: skip
    texts: dict[PurePosixPath, str] = {}
    configs: list[clips.Config] = []
    for item in source.items:
        ending = item.path.suffix.lower()
        beside = ending in (".lab", ".txt") and item.path.with_suffix("") in sounds
        if item.size > TEXT_BYTES or not (beside or ending in (".json", ".list")):
            continue
        if len(texts) >= MOST_TEXTS:
            break
        texts[item.path] = _text(source.read(item, TEXT_BYTES))
        if ending == ".json" and (config := clips.config(item.path, texts[item.path], there)):
            configs.append(config)
    return texts, configs


def _text(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    return data.decode(names.encoding_of([data]), "replace").removeprefix("\ufeff")


def _of(
    pair: Pair, all_of_them: Sequence[Pair], sounds: Sequence[PackClip],
    configs: Sequence[clips.Config],
) -> list[PackClip]:  # fmt: skip
    """The clips of a voice: all, or those that a configuration, a name or a folder gives to it."""
    if len(all_of_them) == 1:
        return list(sounds)
    weights = {pair.t2s.path, pair.sovits.path}
    told = {path for config in configs if config.weights & weights for path in config.said}
    other = [each for each in all_of_them if each is not pair]
    return [
        clip for clip in sounds
        if clip.item.path in told or _near(pair, clip) > max(_near(each, clip) for each in other)
    ]  # fmt: skip


def _near(pair: Pair, clip: PackClip) -> int:
    """How much speaks for a clip being of a voice; 0: nothing."""
    path = clip.item.path
    named = any(
        names.same_stem(stem, part)
        for part in path.parts
        for stem in (pair.title, pair.sovits.stem, pair.t2s.stem)
    )
    common = 0
    for mine, its in zip(pair.sovits.path.parent.parts, path.parent.parts, strict=False):
        if mine != its:
            break
        common += 1
    return 100 * named + common


# --- clips ---------------------------------------------------------------------------------------


def _voice(
    source: PackSource, name: str, pair: Pair, sounds: Sequence[PackClip], asked: PackWish,
    passed: list[PassedOver],
) -> PlannedVoice:  # fmt: skip
    chosen = [c for c in sounds if asked.clip.casefold() in str(c.item.path).casefold()]
    if asked.text and len(chosen) > 1:
        listed = ", ".join(clip.item.path.name for clip in chosen[:5])
        return PlannedVoice(
            name, pair, (), (), f"--text is of one clip; --clip says which: {listed}"
        )
    if asked.text:
        chosen = [dataclasses.replace(c, text=asked.text, source="--text") for c in chosen]
    if asked.lang:
        chosen = [dataclasses.replace(clip, lang=asked.lang) for clip in chosen]
    with_text = [clip for clip in chosen if clip.text]
    by_mood: dict[str, list[PackClip]] = {}
    for clip in with_text or chosen:
        mood = "" if clip.mood == names.NEUTRAL or asked.clip else clip.mood
        by_mood.setdefault(mood, []).append(clip)
    plain = _fit(source, by_mood.pop("", []), MOST_HEARD, passed)
    of_moods = (
        _fit(source, group, MOST_OF_MOOD, passed) for group in list(by_mood.values())[:MOST_MOODS]
    )
    moods = [fit[0] for fit in of_moods if fit]
    if not plain and moods:  # no neutral one: the first mood has to be the voice
        plain, moods = moods[:1], moods[1:]
    problem = ""
    if not plain:
        problem = "no clip is fit" if chosen else "there is no clip"
    elif not plain[0].clip.text:
        problem = "nothing tells what is said in the clip: --text"
    return PlannedVoice(name, pair, tuple(plain), tuple(moods), problem)


def _fit(
    source: PackSource, sounds: Sequence[PackClip], most: int, passed: list[PassedOver]
) -> list[Heard]:
    """Those that can be a reference, the best first; why others cannot goes to ``passed``."""
    found: list[Heard] = []
    ordered = sorted(sounds, key=lambda clip: (clip.mood != names.NEUTRAL, clip.item.path))
    for clip in ordered[:most]:
        try:
            found.append(_heard(source, clip))
        except EngineError as error:
            if error.code in _FATAL:
                raise
            passed.append((str(clip.item.path), error.message))
    return sorted(found, key=lambda each: (each.guessed, abs(each.seconds - BEST_S)))


def _heard(source: PackSource, clip: PackClip) -> Heard:
    """Raises `EngineError` ``reference_*``."""
    whole = recording.read(source.read(clip.item, CLIP_BYTES), LONGEST_S)
    part = take(whole, clip.text)
    quality.check_clip(cut(whole, part.start_s, part.end_s))
    return Heard(clip, part.end_s - part.start_s, part.guessed)


# --- what else -----------------------------------------------------------------------------------


def _terms(items: Iterable[Item]) -> Iterator[str]:
    for item in items:
        stem = item.path.stem.casefold()
        if item.path.suffix.lower() in (".txt", ".md", ".pdf", ".docx", "") and any(
            word in stem for word in _TERMS
        ):
            yield str(item.path)


def _no_voice(source: PackSource, passed: Sequence[PassedOver]) -> EngineError:
    inner = [i.path.name for i in source.items if i.path.suffix.lower() in (".zip", ".7z", ".rar")]
    if inner:
        hint = f"it holds {inner[0]}: unpack it, and import that"
    elif any(item.path.suffix.lower() in (".onnx", ".index") for item in source.items):
        hint = "it looks like a voice for another program (RVC, ONNX)"
    else:
        hint = "a voice is a .ckpt and a .pth of the same training"
    reasons = "; ".join(f"{PurePosixPath(path).name}: {why}" for path, why in passed[:4])
    what = f"no voice for koed in {source.name}" + (f" ({reasons})" if reasons else "")
    return EngineError("pack_empty", what, hint)
