"""A plan is carried out: models into the store, profiles into their folder, prepared."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from koed.config.profile import ProfileFile
from koed.engine.gpt_sovits.store.store import Model, Store
from koed.errors import EngineError, KoedError
from koed.voices import enroll
from koed.voices.enroll import Enrolment, StyleWish, Wish
from koed.voices.packs.items import PackSource
from koed.voices.packs.plan import Heard, PlannedVoice

MOST_TRIES = 3
"""Clips that preparing may refuse before the voice goes without."""
MOST_NAMES = 20
_STAGING = ".unpack-"
MOST_STYLES = 32
STYLES = any(key.name == "styles" for key in dataclasses.fields(ProfileFile))
"""Whether a profile can have moods; else they are only listed."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the user says that the voice may be used for; empty: unknown, and written as that."""

    licence: str = ""
    consent: str = ""

    @property
    def rights(self) -> str:
        """As a profile has it."""
        told = (self.consent, f"licence of the model: {self.licence}" if self.licence else "")
        return "; ".join(part for part in told if part)


@dataclass(frozen=True, slots=True)
class Target:
    """Where to, and how."""

    store: Store
    profiles: Path | None
    """None: models alone."""
    cache: Path
    terms: Terms = field(default_factory=Terms)
    force: bool = False
    prepare: bool = True


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a planned voice."""

    planned: PlannedVoice
    model: Model
    is_new: bool
    enrolment: Enrolment | None
    remark: str
    """Why there is no profile, or empty."""


@contextlib.contextmanager
def staging(store: Store) -> Iterator[Path]:
    """A folder on the disk of the store, for as long as a pack is open; those of imports that were
    killed go away."""
    try:
        store.folder.mkdir(parents=True, exist_ok=True)
        for left in store.folder.glob(f"{_STAGING}*"):
            with contextlib.suppress(OSError), _held(left):
                shutil.rmtree(left)
        made = Path(tempfile.mkdtemp(prefix=_STAGING, dir=store.folder))
    except OSError as error:
        what = f"cannot write in {store.folder}: {error.strerror or error}"
        raise EngineError("models_unwritable", what) from error
    try:
        with _held(made):
            yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Lock a folder; OSError if another process has it."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def carry_out(source: PackSource, voice: PlannedVoice, target: Target) -> Imported:
    """Raises `KoedError`; what was imported before stays."""
    model, is_new = _model(source, voice, target)
    if voice.problem or target.profiles is None:
        return Imported(voice, model, is_new, None, voice.problem)
    profile = target.profiles / f"{voice.name}.yaml"
    if profile.exists() and not target.force:
        return Imported(voice, model, is_new, None, f"{profile} is there already; --force replaces")
    refusals: list[KoedError] = []
    for heard in voice.clips[:MOST_TRIES]:
        try:
            wish = _wish(source, voice, heard, model, target)
            report = enroll.enroll(wish, target.profiles, target.cache)
        except EngineError as error:
            if not error.code.startswith("reference_"):
                raise
            refusals.append(error)
            continue
        report.remarks[:0] = [f"another clip was refused: {error}" for error in refusals]
        return Imported(voice, model, is_new, report, "")
    return Imported(voice, model, is_new, None, f"no clip can be used: {refusals[0]}")


def _model(source: PackSource, voice: PlannedVoice, target: Target) -> tuple[Model, bool]:
    """Under the next free name, where another model has that of the voice."""
    files = [source.file(file.item) for file in (voice.pair.t2s, voice.pair.sovits)]
    terms, name = target.terms, voice.name
    for number in range(2, MOST_NAMES):
        try:
            return target.store.add(files, name, terms.licence, terms.consent, voice.pair.title)
        except EngineError as error:
            if error.code != "model_exists":
                raise
            name = f"{voice.name}-{number}"
    raise EngineError("model_exists", f"there are many models {voice.name}", "give it a --name")


def _wish(
    source: PackSource, voice: PlannedVoice, heard: Heard, model: Model, target: Target
) -> Wish:
    return Wish(
        voice.name,
        source.file(heard.clip.item),
        heard.clip.text,
        heard.clip.lang or "auto",
        model.name,
        target.terms.rights,
        force=target.force,
        prepare=target.prepare,
        description=voice.pair.title,
        styles=_styles(source, voice) if STYLES else (),
    )


def _styles(source: PackSource, voice: PlannedVoice) -> tuple[StyleWish, ...]:
    """The moods of a pack as styles of the profile."""
    clips = [heard.clip for heard in voice.moods[:MOST_STYLES] if heard.clip.text]
    return tuple(
        StyleWish(clip.mood, source.file(clip.item), clip.text, clip.lang or "auto")
        for clip in clips
    )
