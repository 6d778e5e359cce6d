"""`koed models list|show|import|pull|remove`: the store for people and for programs."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from koed.engine import folders
from koed.engine.fetching import Pulled
from koed.engine.gpt_sovits.checkpoints import checkpoint
from koed.engine.gpt_sovits.store import hub
from koed.engine.gpt_sovits.store.importing import File
from koed.engine.gpt_sovits.store.store import Model, Store
from koed.engine.kokoro import pull, weights
from koed.errors import EngineError


def run(args: argparse.Namespace, mirror: str = "") -> int:
    """``args`` of the command line: ``action``, its arguments, ``folder`` and ``json``.

    ``mirror``: of the configuration; the command line's and the environment's go before it.
    """
    store = Store(args.folder or folders.models(os.environ))
    if args.action == "pull":
        return _pull(store, args, mirror)
    actions = {"list": _list, "show": _show, "import": _import, "remove": _remove}
    return actions[args.action](store, args)


def _list(store: Store, args: argparse.Namespace) -> int:
    found = store.scan()
    if args.json:
        _dump(
            {
                "folder": str(store.folder),
                "models": [_model(model) for model in found.models],
                "parts": [_file(part) for part in found.parts],
                "spare": [_file(file) for file in found.spare],
                "refused": [_refused(path, error) for path, error in found.refused],
            }
        )
        return 0
    print(store.folder)
    for model in found.models:
        note = model.problem or model.card.get("licence") or ""
        print(f"  {model.name:24} {model.version:10} {note}")
    for file in (*found.parts, *found.spare):
        print(f"  {_where(store, file.path):24} {_kind(file)}")
    for path, error in found.refused:
        print(f"  {_where(store, path):24} REFUSED: {error.message}")
    if not found.models:
        print("  no voice model yet: koed models pull v2Pro, or import NAME.ckpt NAME.pth")
    return 0


def _show(store: Store, args: argparse.Namespace) -> int:
    """A model of the store, or any weight file by its path."""
    path = Path(args.name)
    if path.exists():
        info = checkpoint.inspect(path, with_hash=True)
        _table(args, {"path": str(path), **_info(info)})
        return 0
    models = [model for model in store.scan().models if model.name == args.name]
    if not models:
        store.find(args.name)  # tells what is near
    for model in models:
        _table(args, _model(model, with_hash=True))
    return 0


def _import(store: Store, args: argparse.Namespace) -> int:
    model, is_new = store.add(args.sources, args.name, args.licence, args.consent)
    if args.json:
        _dump({**_model(model), "new": is_new})
        return 0
    print(f"{model.name}: {model.version}, {'imported' if is_new else 'there already'}")
    if not model.card.get("consent"):
        print("  whose voice is it? note it: the same command with --consent and --licence")
    return 0


def _pull(store: Store, args: argparse.Namespace, mirror: str) -> int:
    endpoint = args.endpoint or os.environ.get("HF_ENDPOINT") or mirror or hub.ENDPOINT
    visible = sys.stderr.isatty() and not args.json

    def told(pulled: Pulled) -> None:
        if not args.json:
            note = "fetched" if pulled.is_new else "there already"
            print(f"{_where(store, pulled.path)}: {note}, {pulled.bytes / 1e6:.1f} MB")

    names = [name for name in args.names if name.lower() != pull.NAME]
    for name in names:
        hub.files_of(name)  # all names are right before the first gigabyte is fetched
    done = [one for n in names for one in hub.pull(n, store.folder, endpoint, visible, told)]
    if len(names) < len(args.names):
        done.append(pull.pull(store.folder, args.endpoint or "", _meter(visible)))
        told(done[-1])
    if args.json:
        rows = [{"path": str(p.path), "bytes": p.bytes, "new": p.is_new} for p in done]
        _dump({"pulled": rows})
    return 0


def _meter(visible: bool) -> Callable[[int], None]:
    def show(there: int) -> None:
        end = "\n" if there == weights.BYTES else ""
        print(f"\r{there / 1e6:.0f} of {weights.BYTES / 1e6:.0f} MB", end=end, file=sys.stderr)

    return show if visible else lambda there: None


def _remove(store: Store, args: argparse.Namespace) -> int:
    gone = [str(path) for path in store.remove(args.name)]
    if args.json:
        _dump({"removed": gone})
    else:
        print("\n".join(f"removed {path}" for path in gone))
    return 0


# --- rows ----------------------------------------------------------------------------------------


def _model(model: Model, with_hash: bool = False) -> dict[str, Any]:
    files = {"t2s": model.t2s, "sovits": model.sovits}
    return {
        "name": model.name,
        "version": model.version,
        "symbols": model.sovits.info.symbols,
        "problem": model.problem,
        "imported": model.is_imported,
        "licence": model.card.get("licence", ""),
        "consent": model.card.get("consent", ""),
        **{part: _file(file, with_hash) if file else None for part, file in files.items()},
    }


def _file(file: File, with_hash: bool = False) -> dict[str, Any]:
    info = file.info
    if with_hash and not info.source_sha256:
        digest = checkpoint.sha256(file.path)
        info = dataclasses.replace(info, source_sha256=digest)
    return {"path": str(file.path), **_info(info)}


def _info(info: checkpoint.ModelInfo) -> dict[str, Any]:
    return dataclasses.asdict(info)


def _refused(path: Path, error: EngineError) -> dict[str, str]:
    return {"path": str(path), "error": error.code, "message": error.message, "hint": error.hint}


def _kind(file: File) -> str:
    words = (file.info.kind, file.info.version or file.info.symbols, file.info.dtype)
    return " ".join(word for word in words if word)


def _where(store: Store, path: Path) -> str:
    return str(path.relative_to(store.folder)) if path.is_relative_to(store.folder) else str(path)


def _table(args: argparse.Namespace, row: dict[str, Any], indent: str = "") -> None:
    if args.json:
        _dump(row)
        return
    for key, value in row.items():
        if isinstance(value, dict) and key != "dims":
            print(f"{indent}{key}")
            _table(args, value, indent + "  ")
        elif value not in ("", None, (), {}):
            print(f"{indent}{key:16} {value}")


def _dump(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False))
