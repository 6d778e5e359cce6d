"""Judge koed's GPT-SoVITS by recorded numbers: ``python -m tests.parity DIR [AREA ...]``.

Prints a line a case with its worst relative error, last one JSON line; exit status 1 if one fails.
Folders of DIR that no area has cases for are named, and not judged.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import pkgutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from tests.parity.case import Case, Result

GIVEN = {"manifests", "waves", "symbols"}
"""Folders that hold what cases are made from."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the cases of ``DIR``; 0 if all hold, 1 if one fails or there is none."""
    parser = argparse.ArgumentParser(prog="python -m tests.parity", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("areas", nargs="*", metavar="AREA", help=f"of: {', '.join(areas())}")
    parser.add_argument("--threads", type=int, default=1, help="of torch; shared cores spin")
    parser.add_argument("--match", default="", help="only cases whose name contains this")
    options = parser.parse_args(argv)
    unknown = sorted(set(options.areas) - set(areas()))
    if unknown:
        parser.error(f"no area {', '.join(unknown)}; there are: {', '.join(areas())}")
    if not options.folder.is_dir():
        parser.error(f"no folder {options.folder}")

    torch.set_num_threads(options.threads)

    count, failed, worst = 0, [], {}
    judged = set(GIVEN)
    for case in cases(options.folder.resolve(), options.areas or areas()):
        judged.add(case.name.split("/")[0])
        if options.match not in case.name:
            continue
        started = time.monotonic()
        result = attempt(case)
        print(line(case, result, time.monotonic() - started), flush=True)
        count += 1
        failed += [case.name] if result.failed else []
        for quantity, error in result.worst.items():
            key = f"{case.name.split('/')[0]}.{quantity}"
            worst[key] = max(error, worst.get(key, 0.0))
    summary: dict[str, Any] = {"cases": count, "failed": failed, "worst": worst}
    if not options.areas:
        found = {path.name for path in options.folder.iterdir() if path.is_dir()}
        summary["not_judged"] = sorted(found - judged)
    print(json.dumps(summary))
    return 1 if failed or not count else 0


def areas() -> list[str]:
    """Names of the sibling modules that hold cases."""
    names = [m.name for m in pkgutil.iter_modules([str(Path(__file__).parent)])]
    return sorted(n for n in names if n not in ("__main__", "case"))


def cases(folder: Path, names: Sequence[str]) -> Iterator[Case]:
    """The cases of each area, in order. An area whose fixtures are missing has none; one whose
    cases cannot be listed to the end has one more, which fails.
    """
    for name in names:
        try:
            yield from importlib.import_module(f"tests.parity.{name}").cases(folder)
        except Exception as error:  # noqa: BLE001 - the other areas still count
            yield Case(f"{name}/cases", functools.partial(_broken, error))


def _broken(error: Exception) -> Result:
    return Result(failed=[f"{type(error).__name__}: {error}"])


def attempt(case: Case) -> Result:
    """Run one case. Whatever it raises is that case's failure: the others still count."""
    try:
        return case.run()
    except Exception as error:  # noqa: BLE001 - reported, counted, and the exit status tells
        return _broken(error)


def line(case: Case, result: Result, took_s: float) -> str:
    """``ok   ar/greedy_1   3.1e-06 logits   2.1 s`` or the reasons of the failure."""
    name, error = max(result.worst.items(), key=lambda item: item[1], default=("", 0.0))
    verdict = "FAIL" if result.failed else "ok  "
    reasons = "".join(f"\n       {reason}" for reason in result.failed)
    return f"{verdict} {case.name:<34} {error:8.1e} {name:<20} {took_s:6.1f} s{reasons}"


if __name__ == "__main__":
    sys.exit(main())
