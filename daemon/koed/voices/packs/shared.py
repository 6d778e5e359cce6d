"""The networks that all voices share (HuBERT, BERT, the speaker network), where a whole GPT-SoVITS
brings them: linked into the store, not copied, as they are large and already on this disk."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from pathlib import Path

from koed.engine.gpt_sovits.checkpoints import checkpoint
from koed.engine.gpt_sovits.store.store import Store
from koed.errors import EngineError
from koed.voices.packs.items import PackSource
from koed.voices.packs.sources import Folder

_ENDINGS = (".bin", ".safetensors", ".ckpt")


def found(source: PackSource, kinds: Collection[str]) -> dict[str, Path]:
    """File or folder of each of ``kinds`` ("hubert", "bert", "sv") that a folder holds."""
    there: dict[str, Path] = {}
    if not kinds or not isinstance(source, Folder):
        return there
    for item in source.items:
        if "pretrained_models" in item.path.parts and item.path.suffix in _ENDINGS:
            path = source.file(item)
            with contextlib.suppress(EngineError):
                kind = checkpoint.inspect(path).kind
                if kind in kinds:
                    there.setdefault(kind, path if kind == "sv" else path.parent)
    return there


def link(store: Store, parts: dict[str, Path]) -> None:
    """Raises `EngineError` ``models_unwritable``."""
    for kind, path in parts.items():
        place = store.folder / f"linked-{kind}{path.suffix if kind == 'sv' else ''}"
        try:
            place.unlink(missing_ok=True)
            place.symlink_to(path)
        except OSError as error:
            what = f"cannot link {place}: {error.strerror or error}"
            raise EngineError("models_unwritable", what) from error
