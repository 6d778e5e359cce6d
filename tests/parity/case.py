"""A parity case and how it is judged. The runner prints them, the default tests assert them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

LIMIT = 1e-4  # of the reference's maximum; what differs by rounding alone stays below 1e-5
WAVE_SNR_DB = 90.0


@dataclass
class Result:
    """``worst``: relative error by quantity. ``failed``: a sentence for each broken demand."""

    worst: dict[str, float] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    def close(self, name: str, got: Any, want: Any, limit: float = LIMIT) -> None:
        """Same shape, and no element further off than ``limit`` times the largest of ``want``."""
        a, b = _pair(got, want)
        if a.shape != b.shape:
            self.failed.append(f"{name}: shape {a.shape} instead of {b.shape}")
            return
        self._judge(name, relative_error(a, b), limit)

    def within(self, name: str, got: Any, want: Any, limit: float) -> None:
        """Same shape, and no element further off than ``limit``, absolutely."""
        a, b = _pair(got, want)
        if a.shape != b.shape:
            self.failed.append(f"{name}: shape {a.shape} instead of {b.shape}")
            return
        self._judge(name, float(np.abs(a - b).max(initial=0.0)), limit)

    def wave(self, name: str, got: Any, want: Any, limit: float = LIMIT) -> None:
        """As ``close``, and the difference lies ``WAVE_SNR_DB`` below the signal."""
        self.close(name, got, want, limit)
        a, b = _pair(got, want)
        if a.shape == b.shape and not snr_db(a, b) >= WAVE_SNR_DB:
            self.failed.append(f"{name}: SNR {snr_db(a, b):.1f} dB")

    def exact(self, name: str, got: Any, want: Any) -> None:
        """Equal integers (or strings), with the first difference named."""
        a, b = np.asarray(got), np.asarray(want)
        if a.shape != b.shape:
            self.failed.append(f"{name}: shape {a.shape} instead of {b.shape}")
        elif (a != b).any():
            at = tuple(int(i[0]) for i in np.nonzero(a != b)) if a.ndim else ()
            self.failed.append(f"{name}: {a[at]!s} instead of {b[at]!s} at {at}")
        else:
            self.worst.setdefault(name, 0.0)

    def _judge(self, name: str, error: float, limit: float) -> None:
        error = error if math.isfinite(error) else 1e30  # JSON knows no NaN
        self.worst[name] = max(error, self.worst.get(name, 0.0))
        if error > limit:
            self.failed.append(f"{name}: off by {error:.2e}, allowed {limit:.0e}")


@dataclass(frozen=True)
class Case:
    """One fixture file, or one part of it. ``run`` does the work when it is called."""

    name: str
    run: Callable[[], Result]


def relative_error(got: Array, want: Array) -> float:
    """Largest absolute difference over the largest absolute value of ``want``."""
    scale = float(np.abs(want).max(initial=0.0)) or 1.0
    return float(np.abs(got - want).max(initial=0.0)) / scale


def snr_db(got: Array, want: Array) -> float:
    """Energy of ``want`` over the energy of the difference."""
    noise = float(((got - want) ** 2).sum())
    return float(10 * np.log10(max(float((want**2).sum()), 1e-30) / max(noise, 1e-30)))


def fixtures(folder: Path, area: str) -> Iterator[tuple[Path, dict[str, Array], dict[str, Any]]]:
    """Path, arrays and meta of every npz below ``folder / area``, in the order of their names."""
    for path in sorted((folder / area).glob("*.npz")):
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
        meta = arrays.pop("meta", None)
        yield path, arrays, json.loads(str(meta)) if meta is not None else {}


def _pair(got: Any, want: Any) -> tuple[Array, Array]:
    """Both as float64, from arrays or tensors."""
    if hasattr(got, "detach"):
        got = got.detach().float().cpu().numpy()
    return np.asarray(got, dtype=np.float64), np.asarray(want, dtype=np.float64)
