"""Checkpoint files made by hand, byte by byte, so that they can say anything."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

END = b"."
ORDERED = b"ccollections\nOrderedDict\n)R"
HPARAMS = b"cutils\nHParams\n)\x81"
"""A fresh instance of the trainer's class."""


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    data = pickle.encode_long(value)
    return b"\x8a" + bytes([len(data)]) + data


def group(items: Iterable[bytes]) -> bytes:
    return b"(" + b"".join(items) + b"t"


def call(name: str, *arguments: bytes) -> bytes:
    """``name`` like "os system"."""
    return b"c" + name.replace(" ", "\n").encode() + b"\n" + group(arguments) + b"R"


def mapping(entries: Mapping[str, bytes]) -> bytes:
    return b"}(" + b"".join(text(key) + value for key, value in entries.items()) + b"u"


def tensor(
    key: str = "0",
    numel: int = 4,
    size: Iterable[int] = (4,),
    stride: Iterable[int] = (1,),
    offset: int = 0,
    storage: str = "torch FloatStorage",
) -> bytes:
    place = (
        text("storage"),
        b"c" + storage.replace(" ", "\n").encode() + b"\n",
        text(key),
        text("cpu"),
        number(numel),
    )
    return call(
        "torch._utils _rebuild_tensor_v2",
        group(place) + b"Q",
        number(offset),
        group(number(n) for n in size),
        group(number(n) for n in stride),
        b"\x89",
        ORDERED,
    )


def program(body: bytes) -> bytes:
    return b"\x80\x02" + body + END


def torch_zip(
    path: Path,
    pickled: bytes,
    records: Mapping[str, bytes] | None = None,
    *,
    root: str = "archive",
    method: int = zipfile.ZIP_STORED,
    others: Iterable[tuple[str, bytes]] = (),
) -> Path:
    """A zip of torch with ``pickled`` as data.pkl and ``records`` as its storages."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr(f"{root}/data.pkl", pickled)
        for key, data in (records or {}).items():
            archive.writestr(f"{root}/data/{key}", data)
        for name, data in others:
            archive.writestr(name, data)
    path.write_bytes(buffer.getvalue())
    return path
