"""Voices beside each other as a picture: quality, words, pitch, and how soon."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from koed.bench.voices.report import value
from koed.errors import KoedError

COLORS = {"embedded": "#8090a0", "natural": "#4a9a6a", "neural": "#335577"}
PANELS = (
    ("P.808 (1 to 5), lowest as a line", "p808", "p808_lowest"),
    ("WER", "wer", ""),
    ("F0 median, Hz", "f0.hz", ""),
    ("onset at the sink, ms: median, p99 as a line", "onset_ms.p50", "onset_ms.p99"),
    ("processor s for a second of speech", "rtf", ""),
)


def write(
    path: Path, voices: dict[str, dict[str, Any]], reference: dict[str, dict[str, Any]]
) -> None:
    """A PNG or whatever the ending of ``path`` says. Raises `KoedError` ``library_missing`` or
    ``cannot_write``."""
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise KoedError(
            "library_missing", f"a picture needs matplotlib: {error}", "pip install 'koed[demo]'"
        ) from error
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    shown = voices | reference
    panels = [p for p in PANELS if any(value(v, p[1]) is not None for v in shown.values())]
    figure, axes = plt.subplots(
        1, len(panels), figsize=(3 * len(panels), 1.5 + 0.35 * len(shown)), sharey=True,
        layout="constrained", squeeze=False,
    )  # fmt: skip
    for axis, (title, path_, mark) in zip(axes[0], panels, strict=True):
        for row, figures in enumerate(shown.values()):
            found = value(figures, path_)
            if found is None:
                continue
            axis.barh(row, found, color=COLORS.get(figures["kind"], "#b08050"))
            marked = value(figures, mark)
            if marked is not None:
                axis.plot([marked, marked], [row - 0.4, row + 0.4], color="black", linewidth=1.5)
            axis.text(max(found, marked or 0), row, f" {found:.3g}", va="center", fontsize=7)
        axis.set_title(title, fontsize=8)
        axis.margins(x=0.2)
    axes[0][0].set_yticks(range(len(shown)), [f"{n} ({v['lang']})" for n, v in shown.items()])
    axes[0][0].invert_yaxis()
    try:
        figure.savefig(path, dpi=110)
    except (OSError, ValueError) as error:
        raise KoedError("cannot_write", f"cannot write {path}: {error}") from error
    finally:
        plt.close(figure)
