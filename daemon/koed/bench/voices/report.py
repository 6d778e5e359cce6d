"""The table of `koed bench voices`, and what of it did not reach what it should."""

from __future__ import annotations

import operator
from typing import Any, NamedTuple


class Goal(NamedTuple):
    """``langs`` and ``kinds`` are of those that it holds for, empty = all."""

    path: str
    at_least: bool
    limit: float
    kinds: tuple[str, ...] = ()
    langs: tuple[str, ...] = ()


NATURAL = ("natural",)
GOALS = (
    Goal("wer", False, 0.03, NATURAL, ("en",)),
    Goal("p808", True, 4.0, NATURAL, ("en",)),
    Goal("p808_lowest", True, 3.85, NATURAL, ("en",)),
    Goal("onset_ms.p50", False, 220, NATURAL, ("en",)),
    Goal("onset_ms.p99", False, 350, NATURAL, ("en",)),
    Goal("onset_ms.p50", False, 260, NATURAL, ("ja",)),
    Goal("onset_ms.p99", False, 400, NATURAL, ("ja",)),
    Goal("rtf", False, 0.40, NATURAL),
    Goal("memory_mb.rest", False, 450, NATURAL),
    Goal("memory_mb.peak", False, 700, NATURAL),
    Goal("clicks", False, 0),
)

COLUMNS = (
    ("WER", "wer", ".3f"),
    ("P.808", "p808", ".2f"),
    ("lowest", "p808_lowest", ".2f"),
    ("OVRL", "ovrl", ".2f"),
    ("LUFS", "lufs", ".1f"),
    ("clicks", "clicks", "d"),
    ("ms before", "silence_ms.before", "d"),
    ("after", "silence_ms.after", "d"),
    ("F0 Hz", "f0.hz", "d"),
    ("range st", "f0.range_semitones", ".1f"),
    ("onset p50", "onset_ms.p50", ".0f"),
    ("p99 ms", "onset_ms.p99", ".0f"),
    ("RTF", "rtf", ".3f"),
    ("MB rest", "memory_mb.rest", "d"),
    ("peak", "memory_mb.peak", "d"),
)


def value(figures: dict[str, Any], path: str) -> Any:
    """``a.b`` of nested figures, None where it is not there."""
    found: Any = figures
    for step in path.split("."):
        found = found.get(step) if isinstance(found, dict) else None
    return found


def missed(voices: dict[str, dict[str, Any]]) -> list[str]:
    """``NAME.path`` of each goal that was measured and not reached."""
    return [
        f"{name}.{goal.path}"
        for name, figures in voices.items()
        for goal in GOALS
        if figures["kind"] in (goal.kinds or (figures["kind"],))
        and figures["lang"] in (goal.langs or (figures["lang"],))
        and (found := value(figures, goal.path)) is not None
        and not (operator.ge if goal.at_least else operator.le)(found, goal.limit)
    ]


def table(voices: dict[str, dict[str, Any]]) -> str:
    """A row for each voice; columns that nobody has are left out."""
    shown = [c for c in COLUMNS if any(value(v, c[1]) is not None for v in voices.values())]
    head = f"{'voice':12} {'lang':4} {'kind':9}" + "".join(f" {c[0]:>9}" for c in shown)
    rows = [head]
    for name, figures in voices.items():
        cells = [value(figures, path) for _, path, _ in shown]
        written = [
            "–" if cell is None else format(cell, form)
            for cell, (_, _, form) in zip(cells, shown, strict=True)
        ]
        start = f"{name:12} {figures['lang']:4} {figures['kind']:9}"
        rows.append(start + "".join(f" {cell:>9}" for cell in written) + _nearest(figures))
    return "\n".join(rows)


def _nearest(figures: dict[str, Any]) -> str:
    near = figures.get("nearest")
    return f"  nearest: {near['voice']} ({near['distance']:.2f})" if near else ""
