"""How a pair of files becomes a folder of the store: safetensors, and a card, `model.json`."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from koed.engine.gpt_sovits.checkpoints import checkpoint
from koed.engine.gpt_sovits.checkpoints.checkpoint import ModelInfo
from koed.engine.gpt_sovits.checkpoints.safetensors_writer import pack
from koed.engine.tensor_files import contents
from koed.errors import EngineError

SCHEMA = 1
CARD = "model.json"
T2S, SOVITS = "t2s.safetensors", "sovits.safetensors"
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class File:
    """A weight file of the folder."""

    path: Path
    info: ModelInfo


def sanitised(text: str) -> str:
    """``text`` as a name: a-z, 0-9, _ and -; empty if nothing is left."""
    plain = re.sub(r"[^a-z0-9_-]+", "-", text.lower())
    return re.sub(r"-{2,}", "-", plain).strip("-_")[:64].strip("-_")


def expanded(source: Path) -> list[Path]:
    if not source.is_dir():
        return [source]
    found = []
    for path in sorted(source.iterdir()):
        with contextlib.suppress(EngineError):  # a folder may hold all sorts of things
            if path.is_file() and checkpoint.inspect(path).kind in ("s1", "s2"):
                found.append(path)
    return found


def pair(paths: Sequence[Path]) -> tuple[File, File]:
    files = [File(path, checkpoint.inspect(path, with_hash=True)) for path in paths]
    gpt = [file for file in files if file.info.kind == "s1"]
    sound = [file for file in files if file.info.kind == "s2"]
    if len(gpt) != 1 or len(sound) != 1 or len(files) != 2:
        what = ", ".join(f"{file.path.name} ({file.info.kind})" for file in files) or "nothing"
        raise EngineError(
            "model_pair",
            f"a voice is one GPT file (s1) and one SoVITS file (s2), not {what}",
            "koed models import NAME.ckpt NAME.pth; other files just go into the models folder",
        )
    if not sound[0].info.speaks:
        version = sound[0].info.version
        raise EngineError("model_unusable", f"koed cannot speak {version} yet", "use v1 to v2Pro")
    if gpt[0].info.symbols != sound[0].info.symbols:
        raise EngineError(
            "model_pair",
            f"{gpt[0].path.name} is for the phones of {gpt[0].info.symbols} and"
            f" {sound[0].path.name} for those of {sound[0].info.symbols}",
            "take two files of the same training",
        )
    return gpt[0], sound[0]


def name_of(sound: File) -> str:
    return sanitised(sound.path.stem) or f"voice-{sound.info.source_sha256[:8]}"


def checked_name(name: str) -> str:
    if not NAME.fullmatch(name):
        hint = f"like {sanitised(name) or 'my-voice'}"
        raise EngineError("bad_name", f"a name has 1 to 64 of a-z, 0-9, _ and -: {name!r}", hint)
    return name


def import_file(source: File, target: Path) -> None:
    """Verify, leave out what only training needs, and write as safetensors."""
    found = contents.read(source.path)
    found.verify()
    info = source.info
    about = {
        "schema": SCHEMA,
        "kind": info.kind,
        "version": info.version,
        "config": found.config,
        "info": info.info,
        "source_sha256": info.source_sha256,
    }
    pack(found, checkpoint.used(found), target, about)


# --- model.json ----------------------------------------------------------------------------------


def card_of(name: str, t2s: File, sovits: File) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "name": name,
        "version": sovits.info.version,
        "symbols": sovits.info.symbols,
        "t2s": dataclasses.asdict(t2s.info),
        "sovits": dataclasses.asdict(sovits.info),
    }


def hashes(card: Mapping[str, Any]) -> tuple[Any, Any]:
    """Hashes of the sources: the same pair of files."""
    parts = [card.get(part) for part in ("t2s", "sovits")]
    found = [part.get("source_sha256") if isinstance(part, dict) else None for part in parts]
    return found[0], found[1]


def read_card(folder: Path) -> dict[str, Any]:
    """Empty if there is none, or none that can be used: the folder then counts as dropped."""
    try:
        loaded = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    usable = isinstance(loaded, dict) and loaded.get("schema") == SCHEMA
    return loaded if usable else {}


def write_card(folder: Path, card: Mapping[str, Any]) -> None:
    text = json.dumps(card, ensure_ascii=False, indent=2) + "\n"
    fresh = folder / f".{CARD}.new"
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(folder / CARD)
