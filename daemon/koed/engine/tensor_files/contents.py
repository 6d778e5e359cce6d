"""What a weight file holds, found out without torch and without reading the weights.

Torch zips (.pth, .ckpt, .bin), torch's older form and safetensors all become a `Contents`: names of
tensors, and where in the file their numbers lie. Loading is then a view of the mapped file.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import mmap
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from koed.engine.tensor_files import unpickle
from koed.engine.tensor_files.unpickle import Storage, Stored
from koed.engine.tensor_files.zip_records import Bytes, Record, records
from koed.errors import EngineError

BYTES = {"F16": 2, "BF16": 2, "F32": 4, "F64": 8, "I8": 1, "U8": 1} | {
    "I16": 2,
    "I32": 4,
    "I64": 8,
    "BOOL": 1,
}
"""Of one element."""

WRAPPERS = ("weight", "state_dict", "model", "generator", "model_state")
"""Under which of a file's entries the tensors may lie, if not at the top: of a voice, of lightning,
of a state that training goes on from, of a vocoder, of a speaker encoder."""

_PARALLEL = "module."
"""Before every name in what was saved from DataParallel."""
_SPELLINGS = (
    (".parametrizations.weight.original0", ".weight_g"),
    (".parametrizations.weight.original1", ".weight_v"),
)
"""Names of weight norm since torch 2.1, and those of the official files."""

METADATA = "koed"
"""Key of our JSON in the metadata of a safetensors file."""

_OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_MAX_CONFIG = 20_000
_MAX_DEPTH = 16
_BLOCK = 1 << 24


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor's numbers lie in its file."""

    dtype: str
    """As safetensors says it: F16, BF16, F32 ..."""
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    """In elements."""
    start: int
    """First byte."""

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    @property
    def span(self) -> int:
        """Elements from the first to the last, both included."""
        if not self.numel:
            return 0
        return 1 + sum((n - 1) * step for n, step in zip(self.shape, self.stride, strict=True))


@dataclass(frozen=True, slots=True)
class Contents:
    """A file's tensors by name, and what it says about itself."""

    path: Path
    tensors: dict[str, Place]
    data: Bytes = field(repr=False)
    """The file, mapped; private, so that writing to a view never reaches the disk."""
    mark: str = ""
    """What stands in the place of the first two bytes of a zip: "05" is v2Pro and so on."""
    config: dict[str, Any] = field(default_factory=dict)
    info: str = ""
    lora_rank: int = 0
    metadata: dict[str, Any] = field(default_factory=dict)
    """What `koed models import` wrote, empty otherwise."""
    checksums: tuple[tuple[str, Record], ...] = ()

    def verify(self) -> None:
        """Read everything once; raises EngineError ``model_damaged`` if a checksum is wrong."""
        for name, record in self.checksums:
            crc = 0
            for at in range(record.start, record.start + record.size, _BLOCK):
                crc = zlib.crc32(self.data[at : min(at + _BLOCK, record.start + record.size)], crc)
            if crc != record.crc32:
                raise _damaged(self.path, f"the checksum of {name} is wrong")


def read(path: Path) -> Contents:
    """What ``path`` holds, told by its first bytes and never by its name; its tensors in the names
    of the official files.

    Raises EngineError ``model_missing``, ``model_damaged``, ``checkpoint_unsafe``, or
    ``not_weights`` if it is no weight file at all.
    """
    return _read(path, _mapped(path))


def read_bytes(data: bytes, name: str) -> Contents:
    """`read` of a file's ``data``, of that ``name``."""
    return _read(Path(name), data)


def _read(path: Path, data: Bytes) -> Contents:
    found = _found(path, data)
    return dataclasses.replace(found, tensors=_spelled(found.tensors))


def _found(path: Path, data: Bytes) -> Contents:
    start = data[:16]
    if start[2:4] == b"\3\4" and (start[:2] == b"PK" or start[:2].isdigit()):
        return _torch(path, data, "" if start[:2] == b"PK" else start[:2].decode())
    if start.startswith(_OLD_TORCH[:14]):
        return _old_torch(path, data)
    if start[8:9] == b"{":
        return _safetensors(path, data)
    if start.startswith(b"version https://"):
        hint = "it is a Git LFS pointer: `git lfs pull`, or download the file itself"
        raise EngineError("not_weights", f"{path.name} holds no weights", hint)
    raise EngineError(
        "not_weights",
        f"{path.name} is no weight file",
        "wanted: a .ckpt, .pth or .bin of torch, or a .safetensors",
    )


def _mapped(path: Path) -> mmap.mmap:
    try:
        if not path.is_file():
            raise EngineError("model_missing", f"there is no file {path}")
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    except ValueError as error:  # an empty file cannot be mapped
        raise _damaged(path, "it is empty") from error
    except OSError as error:
        raise EngineError("model_missing", f"cannot read {path}: {error.strerror}") from error


def _torch(path: Path, data: Bytes, mark: str) -> Contents:
    found = records(data, path.name)
    roots = [name.split("/")[0] for name in found if name.endswith("/data.pkl")]
    if len(roots) != 1 or f"{roots[0]}/data.pkl" not in found:
        raise _damaged(path, "a zip, but not one of torch")
    root = roots[0]
    order = found.get(f"{root}/byteorder")
    if order and data[order.start : order.start + min(order.size, 8)] != b"little":
        raise _damaged(path, "its numbers are big-endian")
    pickle = found[f"{root}/data.pkl"]
    if pickle.size > unpickle.MAX_BYTES:
        raise _damaged(path, f"its pickle of {pickle.size} bytes is no model's")
    value = unpickle.read(data[pickle.start : pickle.start + pickle.size], path.name).value

    def start_of(storage: Storage) -> int:
        record = found.get(f"{root}/data/{storage.key}")
        if record is None:
            raise _damaged(path, f"storage {storage.key} is missing")
        if record.size != storage.numel * BYTES[storage.dtype]:
            raise _damaged(
                path,
                f"storage {storage.key} has {record.size} bytes instead of"
                f" {storage.numel} x {BYTES[storage.dtype]}",
            )
        return record.start

    starts: dict[Storage, int] = {}
    tensors = {}
    for name, stored in _stored(value):
        if stored.storage not in starts:
            starts[stored.storage] = start_of(stored.storage)
        tensors[name] = _place(stored, starts[stored.storage])
    _check_total(path, tensors, len(data))
    return Contents(path, tensors, data, mark, *_about(path, value), {}, tuple(found.items()))


def _old_torch(path: Path, data: Bytes) -> Contents:
    """Torch before 1.6: five pickles, then for each storage its length and its numbers."""
    at = 0
    values: list[Any] = []
    known: dict[str, Storage] = {}
    for _ in range(5):
        pickle = unpickle.read(data[at : at + unpickle.MAX_BYTES], path.name)
        values.append(pickle.value)
        known |= pickle.storages
        at += pickle.length
    _, _, system, value, keys = values
    if not isinstance(system, dict) or not system.get("little_endian"):
        raise _damaged(path, "its numbers are big-endian")
    starts = {}
    for key in keys if isinstance(keys, list) else ():
        storage = known.get(key) if isinstance(key, str) else None
        if storage is None or at + 8 > len(data):
            raise _damaged(path, "its storages are not those that it names")
        (numel,) = struct.unpack_from("<q", data, at)
        starts[storage] = at + 8
        at += 8 + numel * BYTES[storage.dtype]
        if numel != storage.numel or at > len(data):
            raise _damaged(path, f"it is cut off: storage {key} is not whole")
    if missing := set(known.values()) - set(starts):
        raise _damaged(path, f"storage {next(iter(missing)).key} is missing")
    tensors = {name: _place(stored, starts[stored.storage]) for name, stored in _stored(value)}
    _check_total(path, tensors, len(data))
    return Contents(path, tensors, data, "", *_about(path, value))


def _safetensors(path: Path, data: Bytes) -> Contents:
    (size,) = struct.unpack_from("<Q", data, 0)
    first = 8 + size
    if size > unpickle.MAX_BYTES or first > len(data):
        raise _damaged(path, "it is cut off in its header")
    try:
        header = json.loads(data[8:first])
        about = header.pop("__metadata__", {})
        tensors = {name: _safe_place(entry, first) for name, entry in header.items()}
        metadata = json.loads(about.get(METADATA, "{}"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(path, f"its header makes no sense ({type(error).__name__})") from error
    end = first
    for place in sorted(tensors.values(), key=lambda place: (place.start, place.numel)):
        if place.start != end:
            raise _damaged(path, "its tensors overlap or leave gaps")
        end += place.numel * BYTES[place.dtype]
    if end != len(data):
        raise _damaged(path, f"it has {len(data)} bytes instead of {end}")
    if not isinstance(metadata, dict):
        raise _damaged(path, "its metadata makes no sense")
    config, info = metadata.get("config"), metadata.get("info")
    return Contents(
        path,
        tensors,
        data,
        config=config if isinstance(config, dict) else {},
        info=info if isinstance(info, str) else "",
        metadata=metadata,
    )


def _safe_place(entry: dict[str, Any], first: int) -> Place:
    shape, (start, end) = tuple(entry["shape"]), entry["data_offsets"]
    place = Place(entry["dtype"], shape, _dense(shape), first + start)
    fits = end - start == place.numel * BYTES[place.dtype]
    if not fits or not all(type(n) is int and n >= 0 for n in (*shape, start, end)):
        raise ValueError
    return place


def _stored(value: Any) -> Iterator[tuple[str, Stored]]:
    """The tensors of a file's value, at the top or under one of `WRAPPERS`; a lone one is ""."""
    if isinstance(value, Stored):
        yield "", value
    if not isinstance(value, dict):
        return
    for wrapper in WRAPPERS:
        inner = value.get(wrapper)
        if isinstance(inner, dict) and any(isinstance(v, Stored) for v in inner.values()):
            value = inner
            break
    for name, entry in value.items():
        if isinstance(name, str) and isinstance(entry, Stored):
            yield name, entry


def _spelled(tensors: dict[str, Place]) -> dict[str, Place]:
    parallel = all(name.startswith(_PARALLEL) for name in tensors)
    found = {}
    for name, place in tensors.items():
        name = name.removeprefix(_PARALLEL) if parallel else name
        for new, official in _SPELLINGS:
            if name.endswith(new):
                name = name.removesuffix(new) + official
        found[name] = place
    return found


def _place(stored: Stored, start: int) -> Place:
    dtype = stored.storage.dtype
    start += stored.offset * BYTES[dtype]
    # A tensor whose axes are all one long may carry any strides.
    stride = _dense(stored.shape) if math.prod(stored.shape) == 1 else stored.stride
    return Place(dtype, stored.shape, stride, start)


def _check_total(path: Path, tensors: Mapping[str, Place], file_bytes: int) -> None:
    """Small files must not stand for huge tensors, by repeating or by sharing their numbers."""
    total = sum(place.numel * BYTES[place.dtype] for place in tensors.values())
    if total > 2 * file_bytes:
        raise EngineError(
            "checkpoint_unsafe",
            f"{path.name} is refused: its {file_bytes} bytes stand for {total} bytes of tensors",
            "get the file from its author again",
        )


def _about(path: Path, value: Any) -> tuple[dict[str, Any], str, int]:
    """Configuration, remark and LoRA rank that a trainer wrote beside the tensors."""
    if not isinstance(value, dict):
        return {}, "", 0
    config, info, rank = value.get("config"), value.get("info"), value.get("lora_rank")
    plain = _plain(path, config, itertools.count()) if isinstance(config, dict) else {}
    return (
        plain,
        info[:200] if isinstance(info, str) else "",
        rank if type(rank) is int and rank > 0 else 0,
    )


def _plain(path: Path, value: Any, seen: Iterator[int], depth: int = 0) -> Any:
    """``value`` as JSON could hold it. A file can make it refer to itself, hence the limits."""
    if next(seen) > _MAX_CONFIG or depth > _MAX_DEPTH:
        raise EngineError(
            "checkpoint_unsafe",
            f"{path.name} is refused: its configuration has no end",
            "get the file from its author again",
        )
    if isinstance(value, dict):
        return {str(k): _plain(path, v, seen, depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(path, item, seen, depth + 1) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else None


def _dense(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def _damaged(path: Path, what: str) -> EngineError:
    return EngineError("model_damaged", f"{path.name}: {what}", "get the file anew")
