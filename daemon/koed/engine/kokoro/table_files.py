"""Files that voices of this model are passed on in: raw float32 (``.bin``), ``.npy``, ``.npz``,
``.safetensors`` and torch (``.pt``). Anybody may have made them: nothing in them is run, and no
header decides how much is read.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator, Mapping
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from koed.engine.base import ProfileSpec
from koed.engine.kokoro.symbols import MOST
from koed.engine.kokoro.tables import STYLE, Table, blend
from koed.engine.tensor_files import contents
from koed.engine.tensor_files.contents import BYTES, Contents, Place
from koed.engine.tensor_files.zip_records import Record, records
from koed.errors import EngineError

MAX_FILE_BYTES = 64 << 20
"""The whole family, 54 voices, is 28 MB."""
MOST_VOICES = 128
FURTHEST = 10.0
"""Numbers of the author's voices are within 3."""

_RAW_BYTES = 4 * MOST * STYLE
_NPY_BYTES = 8 * MOST * STYLE + 4096
_NPY, _ZIP = b"\x93NUMPY", b"PK\3\4"
_NUMBERS = {"F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8"}


def table_of(profile: ProfileSpec, shares: Mapping[str, float]) -> Table:
    """The voice of a profile: its own table, or the blend of shipped ones by their ``shares``.

    Raises EngineError ``bad_reference`` for a recording, and as `read_table`.
    """
    if "audio" in profile.reference:
        raise EngineError(
            "bad_reference", "kokoro cannot imitate a recording",
            "leave reference out, or name a table: koed voices import; engine gpt_sovits imitates",
        )  # fmt: skip
    if "table" not in profile.reference:
        return blend(shares)
    return read_table(profile.reference["table"], str(profile.reference.get("file", "the table")))


def read_table(data: bytes, filename: str) -> Table:
    """The one voice of a file: float32 ``[510, 256]``. Raises as `read_tables`."""
    found = read_tables(data, filename)
    if len(found) != 1:
        hint = "koed voices import makes a voice of each: --only NAME for one"
        raise _bad(filename, f"it holds {len(found)} voices: {', '.join(found)[:200]}", hint)
    return next(iter(found.values()))


def read_tables(data: bytes, filename: str) -> dict[str, Table]:
    """The voices of a file by name, in its order; one alone is called like the file.

    Raises EngineError ``bad_table`` for what is no such file, or has numbers that no voice has, and
    ``checkpoint_unsafe`` for a file that would run something.
    """
    if len(data) > MAX_FILE_BYTES:
        raise _bad(filename, f"it has {len(data)} bytes; {MAX_FILE_BYTES} are allowed")
    found: dict[str, Table] = {}
    try:
        for name, array in _arrays(data, filename):
            found[name] = _table(array, name, filename)
    except EngineError as error:
        if error.code not in ("model_damaged", "not_weights"):
            raise
        raise _bad(filename, error.message) from error
    if len(found) == 1:
        return {PurePath(filename).stem: rows for rows in found.values()}
    return found


def _arrays(data: bytes, filename: str) -> Iterator[tuple[str, NDArray[np.generic]]]:
    """One after the other, so that what is unpacked is never there as a whole."""
    if len(data) == _RAW_BYTES:
        yield "", np.frombuffer(data, "<f4").reshape(MOST, STYLE)
    elif data.startswith(_NPY):
        yield "", _npy(data, filename)
    elif data.startswith(_ZIP) and _is_numpy(zipped := records(data, filename, deflated=True)):
        _check_count(len(zipped), filename)
        for name, record in zipped.items():
            yield name.removesuffix(".npy"), _npy(_unpacked(data, record, filename), filename)
    else:
        held = contents.read_bytes(data, filename)
        _check_count(len(held.tensors), filename)
        held.verify()
        for name, place in held.tensors.items():
            yield name, _tensor(held, place, filename)


def _is_numpy(zipped: Mapping[str, Record]) -> bool:
    return bool(zipped) and all(name.endswith(".npy") for name in zipped)


def _check_count(count: int, filename: str) -> None:
    if not 0 < count <= MOST_VOICES:
        raise _bad(filename, f"it holds {count} arrays; 1 to {MOST_VOICES} are voices")


def _unpacked(data: bytes, record: Record, filename: str) -> bytes:
    """What a record holds, as much as an array of a voice may have."""
    held = data[record.start : record.start + min(record.size, _NPY_BYTES)]
    if record.deflated:
        try:
            held = zlib.decompressobj(-zlib.MAX_WBITS).decompress(held, _NPY_BYTES)
        except zlib.error as error:
            raise _bad(filename, "it cannot be unpacked") from error
    if zlib.crc32(held) != record.crc32:
        raise _bad(filename, "an array is damaged, or larger than a voice's")
    return held


def _npy(data: bytes, filename: str) -> NDArray[np.generic]:
    """An array of numpy, whose header is believed as far as there are numbers for it."""
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, by_columns, dtype = read(file, max_header_size=1000)
        if dtype.kind != "f":
            raise ValueError
        return np.frombuffer(data, dtype, offset=file.tell()).reshape(
            shape, order="F" if by_columns else "C"
        )
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise _bad(filename, "it is no array of floating-point numbers of numpy") from error


def _tensor(held: Contents, place: Place, filename: str) -> NDArray[np.generic]:
    numbers = _NUMBERS.get(place.dtype)
    if numbers is None or place.numel != MOST * STYLE:
        raise _bad(filename, f"it holds a tensor {list(place.shape)} of {place.dtype}")
    each = BYTES[place.dtype]
    run = np.frombuffer(held.data, numbers, place.span, place.start)
    array = np.lib.stride_tricks.as_strided(
        run, place.shape, [each * step for step in place.stride], writeable=False
    )
    if place.dtype == "BF16":  # the upper half of a float32
        return (np.ascontiguousarray(array).astype("<u4") << 16).view("<f4")
    return array


def _table(array: NDArray[np.generic], name: str, filename: str) -> Table:
    """``array`` as a voice: ``[510, 256]`` or, as the author writes it, ``[510, 1, 256]``."""
    which = f"{name[:40]!r} in it" if name else "it"
    if array.shape not in ((MOST, STYLE), (MOST, 1, STYLE)):
        hint = "a voice of Kokoro-82M 1.0 is [510, 1, 256]"
        if array.shape in ((511, STYLE), (511, 1, STYLE)):
            hint += "; one of 511 rows is for version 0.19, another model"
        raise _bad(filename, f"{which} is {list(array.shape)[:8]}", hint)
    with np.errstate(over="ignore", invalid="ignore"):
        rows = array.reshape(MOST, STYLE).astype(np.float32)
    if not (np.abs(rows) <= FURTHEST).all():  # false for NaN
        raise _bad(filename, f"{which} has numbers beyond {FURTHEST:g}, or that are none")
    if not rows.any(axis=1).all():
        raise _bad(filename, f"{which} has rows of zeros alone")
    rows.flags.writeable = False
    return rows


def _bad(filename: str, what: str, hint: str = "") -> EngineError:
    return EngineError(
        "bad_table",
        f"{PurePath(filename).name[:80]} is no voice of this model: {what}",
        hint or "get the file anew, from whom it comes",
    )
