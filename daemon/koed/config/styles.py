"""The styles of a voice as voices of their own: their names, and their profiles. Pure.

``hana/happy`` is the voice hana in its style happy; ``hana/happy/clip`` is hana with the clip of
that style and nothing else of it. A profile's own name has no slash.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from koed.config.profile import Profile, Style

CLIP = "/clip"


def voice_of(name: str) -> str:
    """The voice that has the style of this name; of a voice itself its own."""
    return name.partition("/")[0]


def styled(name: str, style: str) -> str:
    """The name of a voice, or of one of its styles, in another ``style``."""
    return f"{voice_of(name)}/{style}" if style else name


def of(profile: Profile) -> Iterator[Profile]:
    """A profile for each style, and for each clip of one. If one cannot be had, the voice itself
    speaks instead."""
    for name, style in profile.styles.items():
        yield _derived(profile, name, **_own(profile, style))
        if style.reference is not None:
            yield _derived(profile, name + CLIP, reference=style.reference)


def _own(profile: Profile, style: Style) -> dict[str, Any]:
    return {
        "reference": style.reference or profile.reference,
        "settings": {**profile.settings, **style.settings},
        **style.given,
    }


def _derived(profile: Profile, style: str, **own: Any) -> Profile:
    return dataclasses.replace(
        profile, name=styled(profile.name, style), fallback=profile.name, style_of=profile.name,
        styles={}, **own,
    )  # fmt: skip
