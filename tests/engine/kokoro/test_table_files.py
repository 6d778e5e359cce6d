"""Files of voices: every form that they are passed on in, and what hostile ones get."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from koed.engine.base import ProfileSpec
from koed.engine.kokoro.table_files import MAX_FILE_BYTES, read_table, read_tables, table_of
from koed.engine.kokoro.tables import table
from koed.errors import EngineError

ROWS = np.random.default_rng(7).normal(0, 0.2, (510, 256)).astype(np.float32)
OF_AUTHOR = ROWS.reshape(510, 1, 256)


def npy(array: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(save: Callable[..., None] = np.savez, **arrays: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    save(file, **arrays)
    return file.getvalue()


def safetensors(dtype: str, array: NDArray[Any], name: str = "voice") -> bytes:
    said = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [0, array.nbytes]}
    header = json.dumps({name: said}).encode()
    return struct.pack("<Q", len(header)) + header + array.tobytes()


class Program:
    """Unpickled as the official reader does, it would write a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return open, ("/tmp/koed-was-here", "w")


def torch_zip(program: bytes, numbers: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as out:
        out.writestr("af_me/data.pkl", program)
        out.writestr("af_me/data/0", numbers)
    return file.getvalue()


def torch_file(numbers: bytes) -> bytes:
    """What `torch.save` makes of ``[510, 1, 256]`` by itself."""
    program = (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\n"
        b"X\x01\0\0\x000X\x03\0\0\0cpuJ\0\xfe\x01\0tQK\0M\xfe\x01K\x01M\0\x01\x87"
        b"M\0\x01M\0\x01K\x01\x87\x89ccollections\nOrderedDict\n)RtR."
    )
    return torch_zip(program, numbers)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(ROWS.tobytes(), id="bin"),
        pytest.param(npy(ROWS), id="npy"),
        pytest.param(npy(np.asfortranarray(OF_AUTHOR)), id="npy by columns"),
        pytest.param(npy(OF_AUTHOR.astype(">f8")), id="npy in float64 of another machine"),
        pytest.param(npz(voice=OF_AUTHOR), id="npz"),
        pytest.param(npz(np.savez_compressed, voice=ROWS), id="npz, packed"),
        pytest.param(safetensors("F32", OF_AUTHOR), id="safetensors"),
        pytest.param(torch_file(ROWS.tobytes()), id="pt"),
    ],
)
def test_a_voice_is_read_from_every_form_to_the_bit(data: bytes) -> None:
    assert list(read_tables(data, "folder/af_me.x")) == ["af_me"]
    assert (read_table(data, "af_me.x") == ROWS).all()


def test_half_precision_is_read() -> None:
    half = ROWS.astype("<f2")
    assert (read_table(safetensors("F16", half), "a") == half).all()
    upper = (ROWS.view("<u4") >> 16).astype("<u2")
    assert np.abs(read_table(safetensors("BF16", upper), "a") - ROWS).max() < 0.01


def test_several_voices_have_names_and_no_one_is_chosen() -> None:
    data = npz(af_one=ROWS, af_two=2 * ROWS)
    assert {name: rows[0, 0] / ROWS[0, 0] for name, rows in read_tables(data, "v.bin").items()} == {
        "af_one": 1,
        "af_two": 2,
    }
    with pytest.raises(EngineError, match="2 voices: af_one, af_two"):
        read_table(data, "v.bin")


def with_(value: float) -> NDArray[np.float32]:
    rows = ROWS.copy()
    rows[300, 20] = value
    return rows


def bomb() -> bytes:
    """Two thousand times as much as there is of it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("a.npy", npy(ROWS[:1])[:128] + bytes(200_000_000))
    return file.getvalue()


def claimed(header: str) -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no weight file"),
        (b"voice: af_heart", "no weight file"),
        (ROWS.tobytes()[:-4], "no weight file"),
        (npy(ROWS)[:-1], "no array"),
        (npy(ROWS.astype(np.int32)), "no array"),
        (npy(np.array([None])), "no array"),
        (npy(ROWS[:100]), r"\[100, 256\]"),
        (npy(np.zeros((511, 1, 256), np.float32)), r"version 0\.19"),
        (npy(with_(np.nan)), "or that are none"),
        (npy(with_(np.inf)), "or that are none"),
        (npy(with_(11)), "beyond 10"),
        (npy(ROWS.astype(np.float64) * 1e300), "beyond 10"),
        (npy(0 * ROWS), "zeros"),
        (npz(a=ROWS[:3]), r"'a' in it is \[3, 256\]"),
        (npz(**{f"v{n}": ROWS[0] for n in range(129)}), "129 arrays"),
        (claimed("{'descr': '<f4', 'fortran_order': False, 'shape': (1 << 60, 256)}"), "no array"),
        (claimed(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({2**60}, 256)}}"), "no arr"),
        (claimed("-" * 9000 + "1"), "no array"),
        (safetensors("I32", ROWS), "of I32"),
        (safetensors("F32", ROWS)[:-4], "bytes instead of"),
        (torch_file(ROWS.tobytes()[:-4]), "instead of"),
        (torch_zip(b"\x80\x02}.", b""), "0 arrays"),
        (bomb, "larger than a voice's"),
        (lambda: bytes(MAX_FILE_BYTES + 1), "are allowed"),
    ],
)
def test_what_is_no_voice_is_refused_with_the_reason(
    data: bytes | Callable[[], bytes], said: str
) -> None:
    """What is large is made when it is needed."""
    data = data() if callable(data) else data
    with pytest.raises(EngineError, match=said) as error:
        read_table(data, "x/af_me.npz")
    assert error.value.code == "bad_table"
    assert error.value.message.startswith("af_me.npz is no voice of this model: ")
    assert error.value.hint


def test_a_file_that_would_run_something_runs_nothing() -> None:
    with pytest.raises(EngineError, match="nothing in it was run") as error:
        read_table(torch_zip(pickle.dumps(Program(), 2), b""), "af_me.pt")
    assert error.value.code == "checkpoint_unsafe"


def test_a_profile_speaks_with_its_own_table_or_with_shipped_ones() -> None:
    def of(**reference: Any) -> NDArray[np.float32]:
        return table_of(ProfileSpec("me", "en", {}, reference), {"bf_emma": 1.0})

    assert (of(table=npy(ROWS), file="me.npy") == ROWS).all()
    assert (of() == table("bf_emma")).all()
    with pytest.raises(EngineError, match=r"me\.npy is no voice") as error:
        of(table=b"x", file="me.npy")
    assert error.value.code == "bad_table"
    with pytest.raises(EngineError, match="cannot imitate a recording") as error:
        of(audio=b"RIFF", transcript="", lang="en")
    assert error.value.code == "bad_reference"
