"""The keys ``phrases:`` and ``phrase_cache:`` of koed.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from koed.config.schema import Match, Range

MAX_CHARS = 500

PhraseText = Annotated[
    str, Match(rf"(?s)(?=.*\S).{{1,{MAX_CHARS}}}", f"1 to {MAX_CHARS} characters")
]
_Name = Annotated[str, Match(r"[a-z0-9_-]{1,32}", "1 to 32 of a-z, 0-9, _ and -")]

VoiceName = Annotated[
    str,
    Match(
        r"[a-z0-9_-]{1,32}(/[a-z0-9_-]{1,32})?", "the name of a voice, or of a style as hana/happy"
    ),
]


@dataclass(frozen=True, slots=True)
class PhraseConfig:
    text: PhraseText
    lang: _Name | None = None
    """None = by the voice and by script, as for any line."""
    voices: tuple[VoiceName, ...] | None = None
    """Rendered ahead in these voices only; None = in all. Any voice can still be asked for it."""


@dataclass(frozen=True, slots=True)
class PhraseCacheConfig:
    memory_mb: Annotated[float, Range(0)] = 64.0
    """Sound ready to be heard, about 0.2 MB a second. 0 = nothing is rendered ahead."""
    disk_mb: Annotated[float, Range(0)] = 512.0
    """The same in the cache folder, for the next start; 0 = nothing is kept there."""
    idle_s: Annotated[float, Range(0, 3600)] = 1.0
    """Phrases are rendered when nothing has sounded for so long."""


def phrase(value: str | PhraseConfig) -> PhraseConfig:
    """``name: text`` is short for ``name: {text: text}``."""
    return PhraseConfig(value) if isinstance(value, str) else value
