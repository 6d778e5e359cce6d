"""How something is to be spoken: what can be said of a line, of a style and of a voice. Pure.

A new field of a line is added here, at the end, and to `koe.wire.requests.SpokenFields`; an engine
that obeys it names it in `koed.engine.base.Capabilities.line_fields`. `MIXED` ones need no engine.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Any, get_args

from koed.config.schema import Range
from koed.errors import KoedError


@dataclass(frozen=True, slots=True)
class Delivery:
    """None = as what is more general says: of a line its style, then the voice, then the engine."""

    speed: Annotated[float, Range(0.5, 2.0)] | None = None
    """1 = as the voice is; 2 = twice as fast."""
    temperature: Annotated[float, Range(0.01, 2.0)] | None = None
    """Of a neural voice: how far it may stray from the likeliest sound."""
    top_k: Annotated[int, Range(1, 1024)] | None = None
    """Of a neural voice: among so many of the likeliest sounds it chooses."""
    seed: Annotated[int, Range(0, 2**31 - 1)] | None = None
    """Of a neural voice: the same one and the same text give the same sound."""
    pitch: Annotated[float, Range(-12.0, 12.0)] | None = None
    """Semitones above what the voice has of its own."""
    range: Annotated[float, Range(0.0, 2.0)] | None = None
    """Ratio of the voice's own intonation: 0 = monotone."""
    energy: Annotated[float, Range(-12.0, 12.0)] | None = None
    """dB: with how much effort it is spoken, which changes the sound of a voice as well."""
    volume: Annotated[float, Range(-24.0, 12.0)] | None = None
    """dB: how loud the mixer plays it, whatever the engine."""

    @property
    def given(self) -> dict[str, float]:
        """What is not None, by name."""
        values = {name: getattr(self, name) for name in NAMES}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def job_settings(self) -> dict[str, float]:
        """What a job carries beside its own speed and seed."""
        return {n: v for n, v in self.given.items() if n not in ("speed", "seed", *MIXED)}

    @property
    def engine_part(self) -> Delivery:
        """Of this, what makes another sound of an engine."""
        return dataclasses.replace(self, **dict.fromkeys(MIXED))

    def over(self, general: Delivery) -> Delivery:
        """What this says, and where it says nothing, what ``general`` does."""
        return Delivery(**(general.given | self.given))  # type: ignore[arg-type]

    def only(self, names: Collection[str]) -> Delivery:
        """Of this, what can be had of an engine that obeys fields of these ``names``."""
        return Delivery(**{n: v for n, v in self.given.items() if n in {*names, *MIXED}})  # type: ignore[arg-type]

    @staticmethod
    def read_from(source: Any) -> Delivery:
        """The fields of whatever has them; raises as `checked`."""
        return Delivery(**{name: getattr(source, name) for name in NAMES}).checked()

    def checked(self) -> Delivery:
        """Raises `KoedError` ``bad_field`` for a number that may not be."""
        for name, value in self.given.items():
            allowed = _RANGES[name]
            if allowed.problem(value):
                raise KoedError(
                    "bad_field",
                    f"{name} may not be {value!r:.40}",
                    f"{name} is from {allowed.low:g} to {allowed.high:.10g}",
                )
        return self


MIXED = ("volume",)
"""The mixer obeys these."""
NAMES = tuple(field.name for field in dataclasses.fields(Delivery))
PLAIN = Delivery()


def _ranges() -> dict[str, Range]:
    hints = typing.get_type_hints(Delivery, include_extras=True)
    marks = {name: get_args(get_args(hints[name])[0]) for name in NAMES}
    return {name: next(m for m in found if isinstance(m, Range)) for name, found in marks.items()}


_RANGES = _ranges()
