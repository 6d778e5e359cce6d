"""`python -m tools.pack_voices FOLDER` makes the shipped tables of the natural voice anew, from the
author's files (`NAME.bin`, `.pt` ...) in FOLDER."""

from __future__ import annotations

import lzma
import sys
from pathlib import Path

import numpy as np

from koed.engine.kokoro.shipped import SHIPPED
from koed.engine.kokoro.table_files import read_table
from koed.engine.kokoro.tables import Table

VOICES = Path(__file__).resolve().parent.parent / "daemon" / "koed" / "engine" / "kokoro" / "voices"


def packed(rows: Table) -> bytes:
    """``rows`` in half precision, as `koed.engine.kokoro.tables.unpacked` reads them; the steps of
    the bit patterns compress to a ninth."""
    columns = np.ascontiguousarray(rows.T, dtype="<f2").view("<u2")
    steps = np.diff(columns, axis=1, prepend=np.uint16(0))
    return lzma.compress(steps.astype("<u2").tobytes(), preset=9 | lzma.PRESET_EXTREME)


def main(folder: Path) -> None:
    for name in SHIPPED:
        source = next(folder.glob(f"{name}.*"))
        data = packed(read_table(source.read_bytes(), source.name))
        (VOICES / f"{name}.xz").write_bytes(data)
        print(f"{name}: {len(data)} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
