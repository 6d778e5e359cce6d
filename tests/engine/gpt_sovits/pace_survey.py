"""What the guards' bounds do to recordings of real speech.

    python -m tests.engine.gpt_sovits.pace_survey FOLDER [--column normalized_text]

FOLDER holds ``transcripts.tsv`` (a line of names; ``file`` and a column of English text, perhaps
``speaker``) and the recordings. Each that lasts 3 to 10 s is taken for the reference of each other
one of its speaker: how many codes does a line take, compared with what its reference lets expect?
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from koed.engine.gpt_sovits import guards
from koed.engine.gpt_sovits.symbols import table
from koed.g2p.phones import phones

CODES_HZ = 25
BELOW_DB = 35.0
"""Silence lies so far below the louder frames."""
KEPT_S = (0.1, 0.2)
"""Of the silence before and after, as `koed enroll` cuts."""
PERCENTILES = (0.0, 0.1, 1.0, 50.0, 99.0, 99.9, 100.0)


@dataclass(frozen=True, slots=True)
class Line:
    speaker: str
    phones: int
    codes: float


def spoken_s(path: Path) -> float:
    """Seconds of a recording without the silence at its ends."""
    pcm, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    size = rate_hz // 50
    mono = pcm.mean(1)
    frames = mono[: len(mono) // size * size].reshape(-1, size)
    levels = 10 * np.log10((frames**2).mean(1) + 1e-12)
    loud = np.flatnonzero(levels > np.percentile(levels, 95) - BELOW_DB)
    begin_s = max(0.0, loud[0] * 0.02 - KEPT_S[0])
    return float(min(len(mono) / rate_hz, (loud[-1] + 1) * 0.02 + KEPT_S[1]) - begin_s)


def read(folder: Path, column: str) -> Iterator[Line]:
    with (folder / "transcripts.tsv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            text = row[column]
            text = f"{text.capitalize()}." if text.isupper() else text
            count = len(phones(text, "en", table("v2")).phones)
            yield Line(row.get("speaker") or "", count, CODES_HZ * spoken_s(folder / row["file"]))


def pairs(lines: Iterable[Line]) -> Iterator[tuple[Line, Line]]:
    """Reference and line."""
    by_speaker: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        by_speaker[line.speaker].append(line)
    for said in by_speaker.values():
        for reference in said:
            if 3.0 <= reference.codes / CODES_HZ <= 10.0:
                yield from ((reference, line) for line in said if line is not reference)


def survey(lines: list[Line]) -> dict[str, object]:
    """Ratios of codes to those expected, and the share that the bounds let pass."""
    ratios, passed = [], 0
    for reference, line in pairs(lines):
        pace = guards.pace(reference.phones, round(reference.codes))
        bounds = guards.limits(line.phones, pace)
        ratios.append(line.codes / (line.phones * pace))
        passed += bounds.fewest <= line.codes < bounds.most
    each = [line.codes / line.phones for line in lines]
    return {
        "lines": len(lines),
        "pairs": len(ratios),
        "codes_per_phone": _percentiles(each),
        "ratio": _percentiles(ratios),
        "passed": round(passed / len(ratios), 5),
    }


def _percentiles(values: list[float]) -> dict[str, float]:
    return {f"{p:g}": round(float(np.percentile(values, p)), 2) for p in PERCENTILES}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--column", default="text")
    args = parser.parse_args()
    print(json.dumps(survey(list(read(args.folder, args.column)))))


if __name__ == "__main__":
    main()
