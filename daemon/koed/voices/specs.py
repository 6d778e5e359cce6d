"""What an engine is given of a profile."""

from __future__ import annotations

from typing import Any

from koed.config.profile import Profile, read_beside
from koed.engine.base import ProfileSpec


def spec(profile: Profile) -> ProfileSpec:
    """What the engine needs, the bytes of the reference audio included; raises `ConfigError`."""
    reference: dict[str, Any] = {}
    if profile.reference is not None and profile.reference.table:
        table = profile.source.parent / profile.reference.table
        reference = {"table": read_beside(table), "file": table.name}
    elif profile.reference is not None:
        path = profile.source.parent / profile.reference.audio
        reference = {
            "audio": read_beside(path),
            "transcript": profile.reference.transcript,
            "lang": profile.reference.lang or profile.lang,
        }
        if profile.reference.timbre:
            folder = profile.source.parent
            reference["timbre"] = [
                {"audio": read_beside(folder / clip.audio), "weight": clip.weight}
                for clip in profile.reference.timbre
            ]
    return ProfileSpec(profile.name, profile.lang, dict(profile.settings), reference)
