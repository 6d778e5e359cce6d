"""Tensors of any weight file written as safetensors, a tensor at a time, without torch.

The format is that of the safetensors library: eight bytes of length, a JSON header, the numbers.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from koed.engine.tensor_files.contents import BYTES, METADATA, Contents, Place
from koed.errors import EngineError

NUMPY = {"F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8", "BOOL": "|b1"} | {
    "I8": "|i1",
    "U8": "|u1",
    "I16": "<i2",
    "I32": "<i4",
    "I64": "<i8",
}
_ALIGNMENT = 8


def pack(
    source: Contents, names: Iterator[str] | list[str], path: Path, about: Mapping[str, Any]
) -> None:
    """Write the tensors ``names`` of ``source`` to ``path``, with ``about`` as koed's metadata.

    Raises EngineError ``model_damaged`` if a number is none, ``models_unwritable`` for the disk.
    """
    # Widest elements first, so that all are aligned.
    order = sorted(names, key=lambda name: (-BYTES[source.tensors[name].dtype], name))
    head = _header({name: source.tensors[name] for name in order}, about)
    try:
        with path.open("xb") as file:
            file.write(head)
            for name in order:
                _write(source, name, file)
    except OSError as error:
        raise EngineError("models_unwritable", f"cannot write {path}: {error.strerror}") from error


def _header(places: Mapping[str, Place], about: Mapping[str, Any]) -> bytes:
    header: dict[str, Any] = {"__metadata__": {METADATA: json.dumps(about, ensure_ascii=False)}}
    end = 0
    for name, place in places.items():
        start, end = end, end + place.numel * BYTES[place.dtype]
        entry = {"dtype": place.dtype, "shape": list(place.shape), "data_offsets": [start, end]}
        header[name] = entry
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return struct.pack("<Q", len(text)) + text


def _write(source: Contents, name: str, file: BinaryIO) -> None:
    place = source.tensors[name]
    if not place.numel:
        return
    array = _array(source, place)
    if not _finite(array, place.dtype):
        raise EngineError(
            "model_damaged",
            f"{source.path.name}: {name} holds infinite numbers or none at all",
            "get the file anew; if it is your own, its training has failed: take an earlier epoch",
        )
    file.write(np.ascontiguousarray(array).data)


def _array(source: Contents, place: Place) -> NDArray[Any]:
    """A view of the mapped file."""
    kind = np.dtype(NUMPY[place.dtype])
    flat = np.frombuffer(source.data, kind, count=place.span, offset=place.start)
    strides = tuple(step * kind.itemsize for step in place.stride)
    return np.lib.stride_tricks.as_strided(flat, place.shape, strides, writeable=False)


def _finite(array: NDArray[Any], dtype: str) -> bool:
    if dtype == "BF16":
        return not bool(((array & 0x7F80) == 0x7F80).any())
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())
