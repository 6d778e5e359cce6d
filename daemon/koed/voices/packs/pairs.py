"""Which GPT file belongs to which SoVITS file: by what they are, by their names and where they lie.
Of several epochs the last. Pure; nothing is guessed."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from koed.engine.gpt_sovits.checkpoints.checkpoint import ModelInfo
from koed.voices.packs import names
from koed.voices.packs.items import Item, is_weights

PassedOver = tuple[str, str]
"""What, and why."""

_NOT_VOICES = {"pretrained_models", "uvr5_weights", "logs", "G2PWModel", "asr", "TEMP"}
"""Folders of a GPT-SoVITS."""
_TRAINING = re.compile(r"[DG]_\d+")
_TRAINED = re.compile(r"(GPT|SoVITS)_weights(?:_(?P<version>\w+))?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class WeightFile:
    """A weight file of a pack, and what it turned out to be."""

    item: Item
    info: ModelInfo

    @property
    def path(self) -> PurePosixPath:
        return self.item.path

    @property
    def stem(self) -> str:
        return names.stem_and_age(self.path.stem)[0]


@dataclass(frozen=True, slots=True)
class Pair:
    """A voice model."""

    title: str
    """For people: any letters."""
    t2s: WeightFile
    sovits: WeightFile
    reason: str


def last_epochs(items: Iterable[Item]) -> tuple[list[Item], list[PassedOver]]:
    """The weight files that are worth opening, by their names alone, and what is left alone."""
    wanted: dict[tuple[str, str, str], list[Item]] = {}
    passed: list[PassedOver] = []
    for item in items:
        path = item.path
        if not is_weights(path):
            continue
        if found := _NOT_VOICES.intersection(path.parts[:-1]):
            passed.append((str(path), f"{min(found)} holds no voices"))
        elif _TRAINING.fullmatch(path.stem):
            passed.append((str(path), "a state of training"))
        else:
            stem, _ = names.stem_and_age(path.stem)
            wanted.setdefault((str(path.parent), stem, path.suffix.lower()), []).append(item)
    kept = []
    for group in wanted.values():
        *older, last = sorted(group, key=lambda item: names.stem_and_age(item.path.stem)[1])
        kept.append(last)
        passed += [(str(item.path), f"an earlier epoch than {last.path.name}") for item in older]
    return kept, passed


def paired(
    files: Sequence[WeightFile], together: Collection[frozenset[PurePosixPath]], pack: str
) -> tuple[list[Pair], list[PassedOver]]:
    """A pair for each SoVITS file that koed can speak with, and why others have none.

    ``together``: paths of which a configuration says that they belong together. ``pack`` is the
    pack's name, for what has none of its own.
    """
    made: list[Pair] = []
    passed: list[PassedOver] = []
    texts = [file for file in files if file.info.kind == "s1"]
    sounds = [file for file in files if file.info.kind == "s2"]

    def is_taken(text: WeightFile) -> bool:
        """By a SoVITS file of its own name."""
        return any(names.same_stem(text.stem, sound.stem) for sound in sounds)

    for sound in sounds:
        if not sound.info.speaks:
            passed.append((str(sound.path), f"koed cannot speak {sound.info.version} yet"))
            continue
        text, reason = _partner(sound, texts, together, is_taken)
        if text is None:
            passed.append((str(sound.path), reason))
        else:
            made.append(Pair(_title(sound, text, pack), text, sound, reason))
    used = {pair.t2s.path for pair in made}
    for file in files:
        if file.info.kind == "s1" and file.path not in used:
            passed.append((str(file.path), "no SoVITS file goes with it"))
        elif file.info.kind not in ("s1", "s2"):
            version = f" of {file.info.version}" if file.info.version else ""
            passed.append((str(file.path), f"a {file.info.kind}{version}, no voice"))
    return _told_apart(made), passed


def _told_apart(pairs: list[Pair]) -> list[Pair]:
    """Voices of the same title are called after their folders, or have their version with it."""
    for other in (lambda pair: _folder(pair.sovits), lambda pair: pair.sovits.info.version):
        counts = Counter(pair.title for pair in pairs)
        pairs = [
            pair if counts[pair.title] == 1 or not (more := other(pair))
            else dataclasses.replace(pair, title=f"{pair.title} {more}")
            for pair in pairs
        ]  # fmt: skip
    return pairs


def _partner(
    sound: WeightFile,
    texts: Sequence[WeightFile],
    together: Collection[frozenset[PurePosixPath]],
    is_taken: Callable[[WeightFile], bool],
) -> tuple[WeightFile | None, str]:
    """The s1 file for an s2 file and the reason, or None and why there is none."""
    fits = [text for text in texts if text.info.symbols == sound.info.symbols]
    if not fits:
        others = f", only one for other phones: {texts[0].path.name}" if texts else ""
        return None, f"there is no GPT file (.ckpt) for it{others}"
    checks = (
        ("a configuration names both", lambda t: frozenset((t.path, sound.path)) in together),
        ("the same stem", lambda t: names.same_stem(t.stem, sound.stem)),
        ("folders of the same version", lambda t: _trained(t) == _trained(sound)),
        ("the same folder", lambda t: t.path.parent == sound.path.parent),
    )
    reasons = []
    for reason, check in checks:
        if nearer := [text for text in fits if check(text)]:
            reasons += [reason] if reason != checks[2][0] or _trained(sound) else []
            fits = nearer
    if len(fits) > 1:
        listed = ", ".join(sorted(text.path.name for text in fits))
        return None, f"several GPT files could go with it: {listed}"
    if checks[0][0] in reasons or checks[1][0] in reasons:
        return fits[0], ", ".join(reasons)
    if is_taken(fits[0]):
        return None, f"the GPT file {fits[0].path.name} is of another name"
    return fits[0], ", ".join([*reasons, "the only one for these phones"])


def _trained(file: WeightFile) -> str | None:
    """``v2Pro`` of ``SoVITS_weights_v2Pro``, "" of the first version; None elsewhere."""
    for part in reversed(file.path.parts[:-1]):
        if found := _TRAINED.fullmatch(part):
            return found["version"] or ""
    return None


def _title(sound: WeightFile, text: WeightFile, pack: str) -> str:
    for stem in (sound.stem, text.stem):
        if stem and not re.fullmatch(r"(?i)(s2?g?|sovits|gpt|model|weights?)\d*", stem):
            return stem
    return _folder(sound) or pack


def _folder(file: WeightFile) -> str:
    """The nearest that may be called after somebody."""
    own = [part for part in file.path.parts[:-1] if not _TRAINED.fullmatch(part)]
    return own[-1] if own else ""
