"""What a request chooses among the styles of a voice."""

from __future__ import annotations

from dataclasses import dataclass

from koed.config.delivery import PLAIN, Delivery
from koed.config.styles import CLIP, styled
from koed.errors import KoedError, did_you_mean
from koed.voices.catalog import VoiceBook


@dataclass(frozen=True, slots=True)
class StyleChoice:
    style: str = ""
    """The end of the name of the voice that speaks; empty = none was chosen."""
    delivery: Delivery = PLAIN
    """Of a style whose clip is not the one that is imitated."""


def chosen(book: VoiceBook, voice: str, style: str | None, reference: str | None) -> StyleChoice:
    """Raises `KoedError` ``unknown_style`` or ``unknown_reference``, with those that there are."""
    if style is not None:
        _check(voice, "style", style, book.styles(voice))
    if reference is None:
        return StyleChoice(style or "")
    there = book.all_names()
    clips = [name for name in book.styles(voice) if styled(voice, name + CLIP) in there]
    _check(voice, "reference", reference, clips)
    profile = book.profile(styled(voice, style)) if style else None
    return StyleChoice(reference + CLIP, profile.delivery if profile else PLAIN)


def _check(voice: str, what: str, name: str, there: list[str]) -> None:
    if name not in there:
        kind = "style" if what == "style" else "style with a clip of its own"
        hint = did_you_mean(name, there, f"{voice} has")
        raise KoedError(
            f"unknown_{what}",
            f"voice {voice} has no {kind} {name[:40]!r}",
            hint or f"{voice} has none; styles: in its profile makes them",
        )
