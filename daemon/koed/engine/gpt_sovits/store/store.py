"""The folder of models: what lies in it, what belongs together, what goes in and out.

    $XDG_DATA_HOME/koed/models/
        NAME/                   made by `koed models import`
            model.json          version, sizes, hashes of the sources, licence, consent
            t2s.safetensors     s1
            sovits.safetensors  s2
        official/               made by `koed models pull`, in the layout of the official package
        anything/               dropped by hand or linked: files are known by their content

A voice model is an s2 file and the s1 file for the same phones beside it, or else in a folder above
it, as in the official tree. Where several s1 files fit, nothing is guessed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from koed.engine.gpt_sovits.checkpoints import checkpoint
from koed.engine.gpt_sovits.checkpoints.checkpoint import ModelInfo
from koed.engine.gpt_sovits.store.importing import (
    CARD,
    SOVITS,
    T2S,
    File,
    card_of,
    checked_name,
    expanded,
    hashes,
    import_file,
    name_of,
    pair,
    read_card,
    sanitised,
    write_card,
)
from koed.engine.gpt_sovits.store.index import Index, Stamp, stamp
from koed.errors import EngineError, did_you_mean

__all__ = ["File", "Inventory", "Model", "Store"]

MAX_DEPTH = 6


@dataclass(frozen=True, slots=True)
class Model:
    """A voice model; it can speak if ``problem`` is empty."""

    name: str
    sovits: File
    t2s: File | None
    problem: str = ""
    card: Mapping[str, Any] = field(default_factory=dict)
    """``model.json``; empty for what was dropped by hand."""

    @property
    def version(self) -> str:
        return self.sovits.info.version

    @property
    def is_imported(self) -> bool:
        return bool(self.card)


@dataclass(frozen=True, slots=True)
class Inventory:
    """All of the folder."""

    models: tuple[Model, ...]
    parts: tuple[File, ...]
    """What voices share: HuBERT and BERT (``path`` is their folder), the speaker network."""
    spare: tuple[File, ...]
    """s1 files that no voice uses, LoRA files, vocoders."""
    refused: tuple[tuple[Path, EngineError], ...]


class Store:
    """``folder`` is made when something is put into it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index = Index(folder)
        self._seen: dict[Path, tuple[Stamp, ModelInfo | EngineError]] = {}

    def scan(self) -> Inventory:
        """Look at every file. Reads the beginnings of those that are new or have changed, and
        follows links to folders once."""
        files: list[File] = []
        refused: list[tuple[Path, EngineError]] = []
        paths = dict.fromkeys(_files(self.folder))
        for path in paths:
            found = self._inspect(path)
            if isinstance(found, ModelInfo):
                files.append(File(path, found))
            elif found.code != "not_weights":
                refused.append((path, found))
        self._seen = {path: seen for path, seen in self._seen.items() if path in paths}
        models = tuple(self._models(files))
        used = {file.path for model in models for file in (model.t2s, model.sovits) if file}
        rest = [file for file in files if file.path not in used]
        shared = ("hubert", "bert", "sv")
        return Inventory(
            models,
            tuple(_part(file) for file in rest if file.info.kind in shared),
            tuple(f for f in rest if f.info.kind not in (*shared, "discriminator")),
            tuple(refused),
        )

    def _inspect(self, path: Path) -> ModelInfo | EngineError:
        """What a file is, or why it cannot be told; looked at once."""
        try:
            now = stamp(path)
        except OSError as error:
            why = f"cannot read {path}: {error.strerror}"
            return EngineError("models_unreadable", why, "it went away, or its rights did")
        seen = self._seen.get(path)
        if seen is not None and seen[0] == now:
            return seen[1]
        try:
            found: ModelInfo | EngineError = checkpoint.inspect(path)
        except EngineError as error:
            found = error
        self._seen[path] = now, found
        return found

    def find(self, name: str) -> Model:
        """A model that can speak. Raises EngineError ``unknown_model`` or ``model_unusable``."""
        model = self._named(name)
        if model.problem or model.t2s is None:
            raise EngineError("model_unusable", f"{name}: {model.problem}", "koed models show")
        return model

    def part(self, kind: str) -> Path:
        """Where the shared "hubert", "bert" or "sv" lies; EngineError ``model_missing``.

        Of several, the one that comes first by path.
        """
        for file in self.scan().parts:
            if file.info.kind == kind:
                return file.path
        raise EngineError(
            "model_missing", f"there is no {kind} in {self.folder}", f"koed models pull {kind}"
        )

    def file(self, name: str) -> Path | None:
        """The first file of that name by path, wherever in the folder."""
        return next((path for path in _files(self.folder) if path.name == name), None)

    def add(
        self,
        sources: Sequence[Path],
        name: str = "",
        licence: str = "",
        consent: str = "",
        title: str = "",
    ) -> tuple[Model, bool]:
        """Make a model of an s1 and an s2 file (or of a folder with both), in any order.

        ``title``: what people call it, in any letters. The same pair again is the same model, and
        False; a new licence or consent is noted. Raises EngineError as `checkpoint.inspect`, and
        ``model_pair``, ``model_exists``, ``bad_name``, ``models_unwritable``.
        """
        t2s, sovits = pair([path for source in sources for path in expanded(source)])
        for model in self.scan().models:
            if model.is_imported and hashes(model.card) == hashes(card_of("", t2s, sovits)):
                return self._noted(model, licence, consent), False
        name = checked_name(name) if name else name_of(sovits)
        if (self.folder / name).exists():
            raise EngineError(
                "model_exists", f"there is another model {name}", "choose a name with --name"
            )
        card = {**card_of(name, t2s, sovits), "licence": licence, "consent": consent}
        if title and title != name:
            card["title"] = title
        with self._fresh_folder(name) as folder:
            for source, target in ((t2s, T2S), (sovits, SOVITS)):
                import_file(source, folder / target)
            write_card(folder, card)
        return self._named(name), True

    def remove(self, name: str) -> list[Path]:
        """Delete a model's files, and nothing outside of the folder; returns what is gone.

        An s1 file that another model uses stays. Raises EngineError ``unknown_model``,
        ``model_outside``, ``models_unwritable``.
        """
        inventory = self.scan()
        model = self._named(name, inventory)
        targets = [model.sovits.path]
        if model.is_imported:
            targets = _imported(model.sovits.path.parent)
        elif model.t2s is not None and not _is_shared(model, inventory):
            targets.append(model.t2s.path)
        root = self.folder.resolve()
        for path in targets:
            inside = path.parent.resolve() / path.name
            if not inside.is_relative_to(root) or inside == root:
                hint = f"it lies in {inside.parent}; remove the link or the file yourself"
                raise EngineError("model_outside", f"{name} is only linked from here", hint)
        with _disk(self.folder):
            for path in targets:
                _delete(path)
        return targets

    def _named(self, name: str, inventory: Inventory | None = None) -> Model:
        models = (inventory or self.scan()).models
        for model in models:
            if model.name == name:
                return model
        hint = did_you_mean(name, [m.name for m in models]) or "there are none: koed models pull"
        raise EngineError("unknown_model", f"there is no model {name[:64]!r}", hint)

    def _models(self, files: list[File]) -> Iterator[Model]:
        """Each s2 with its s1, imported ones first; names are made unique."""
        sounds = [file for file in files if file.info.kind == "s2"]
        cards = {file.path: read_card(file.path.parent) for file in sounds}
        taken: set[str] = set()
        for sound in sorted(sounds, key=lambda file: (not cards[file.path], file.path)):
            card = cards[sound.path]
            base = sound.path.parent.name if card else self._found_name(sound, sounds)
            number = 2
            name = base
            while name in taken:
                name, number = f"{base}-{number}", number + 1
            taken.add(name)
            t2s, problem = self._partner(sound, files)
            yield Model(name, sound, t2s, problem, card)

    def _found_name(self, sound: File, sounds: list[File]) -> str:
        """From its folder, and from its file if the folder holds several or is the root."""
        folder = sound.path.parent.relative_to(self.folder)
        alone = sum(other.path.parent == sound.path.parent for other in sounds) == 1
        words = [*folder.parts]
        if not alone or not words:
            words.append(sound.path.stem)
        return sanitised("-".join(words)) or f"model-{self.index.sha256(sound.path)[:8]}"

    def _partner(self, sound: File, files: list[File]) -> tuple[File | None, str]:
        """The s1 for an s2, and why it cannot speak (or "")."""
        if not sound.info.speaks:
            return None, f"koed cannot speak {sound.info.version} yet"
        folder = sound.path.parent
        while True:
            near = [f for f in files if f.path.parent == folder and f.info.kind == "s1"]
            fits = [file for file in near if file.info.symbols == sound.info.symbols]
            if len(fits) == 1:
                return fits[0], ""
            if fits:
                names = ", ".join(file.path.name for file in fits)
                return None, f"several GPT files fit: {names}; koed models import one with it"
            if folder in (self.folder, folder.parent):
                wanted = f"no GPT file (.ckpt) for {sound.info.symbols} phones is beside it"
                return None, f"{wanted}; koed models import both"
            folder = folder.parent

    def _noted(self, model: Model, licence: str, consent: str) -> Model:
        card = dict(model.card)
        if licence or consent:
            card["licence"] = licence or card.get("licence", "")
            card["consent"] = consent or card.get("consent", "")
            with _disk(self.folder):
                write_card(model.sovits.path.parent, card)
        return dataclasses.replace(model, card=card)

    @contextlib.contextmanager
    def _fresh_folder(self, name: str) -> Iterator[Path]:
        """A folder that becomes ``name`` when all of it is there, and nothing otherwise."""
        with _disk(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            fresh = Path(tempfile.mkdtemp(prefix=".import-", dir=self.folder))
            try:
                yield fresh
                fresh.chmod(0o755)
                fresh.rename(self.folder / name)
            finally:
                shutil.rmtree(fresh, ignore_errors=True)


def _files(folder: Path) -> Iterator[Path]:
    """Every file, hidden ones left out; a linked folder is entered once."""
    seen: set[Path] = set()

    def walk(here: Path, depth: int) -> Iterator[Path]:
        real = here.resolve()
        if depth > MAX_DEPTH or real in seen:
            return
        seen.add(real)
        try:
            entries = sorted(here.iterdir())
        except OSError:
            return
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from walk(entry, depth + 1)
            elif entry.is_file():
                yield entry

    return walk(folder, 0)


def _part(file: File) -> File:
    """HuBERT and BERT are folders, with their configuration."""
    if file.info.kind == "sv" or not (file.path.parent / "config.json").is_file():
        return file
    return dataclasses.replace(file, path=file.path.parent)


# --- disk ----------------------------------------------------------------------------------------


def _is_shared(model: Model, inventory: Inventory) -> bool:
    """Whether the s1 of ``model`` lies elsewhere, or serves another model too."""
    t2s = model.t2s
    if t2s is None or t2s.path.parent != model.sovits.path.parent:
        return True
    return any(m.t2s == t2s for m in inventory.models if m.name != model.name)


def _imported(folder: Path) -> list[Path]:
    """What an import made: the folder, or its files if somebody has put others beside them."""
    ours = {CARD, T2S, SOVITS}
    others = any(path.name not in ours for path in folder.iterdir())
    return [path for path in folder.iterdir() if path.name in ours] if others else [folder]


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        # Out of sight first: half a model must never be found.
        doomed = Path(tempfile.mkdtemp(prefix=".remove-", dir=path.parent))
        path.rename(doomed / path.name)
        shutil.rmtree(doomed)
    else:
        path.unlink()


@contextlib.contextmanager
def _disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EngineError(
            "models_unwritable", f"cannot write in {folder}: {error.strerror or error}"
        ) from error
