"""How koed shows itself in OBS, as values of the configuration: captions, figures, set-up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from koed.config.schema import Match, Range

SourceName = Annotated[
    str, Match(r"[^\x00-\x1f\x7f]{1,100}", "a name of 1 to 100 characters, as OBS shows it")
]
Colour = Annotated[str, Match(r"(#[0-9a-fA-F]{6})?", "a colour like '#ffcc00', in quotes")]
Words = Annotated[str, Match(r"[^\x00-\x1f\x7f]{0,60}", "plain text of at most 60 characters")]


@dataclass(frozen=True, slots=True)
class CaptionConfig:
    source: SourceName = "koed caption"
    """Text source in OBS that is written to; ``koed obs setup`` makes it."""
    width: Annotated[int, Range(8, 200)] = 42
    """Of a line, in narrow characters; a wide one (声) counts as two."""
    lines: Annotated[int, Range(1, 10)] = 2
    """Shown at once: the last ones of what was heard."""
    show: Literal["words", "line"] = "words"
    """words = each as it is heard (a segment, where the engine tells no words); line = the whole
    line when it begins."""
    linger_s: Annotated[float, Range(0, 60)] = 1.5
    """How long the text stays after the voice fell silent. One that is stopped goes at once."""
    delay_ms: Annotated[float, Range(-500, 20000)] = 0.0
    """Later (or earlier) than the sound; for a sync offset in OBS."""
    min_interval_ms: Annotated[float, Range(10, 2000)] = 50.0
    """OBS gets a new text at most so often; what came between is left out."""
    speaker: bool = False
    """Who speaks stands before the text, as ``voices`` below names them."""
    colour: Colour = ""
    """Of a voice without one; empty = as it is in OBS, or white if any voice has a colour."""
    stream: bool = False
    """Also as closed captions of the stream (SendStreamCaption), while OBS streams."""


@dataclass(frozen=True, slots=True)
class LookConfig:
    """One voice, as the viewer sees it."""

    name: Words = ""
    """Before its captions; empty = the profile's name."""
    colour: Colour = ""
    figure: Words = ""
    """Source in OBS that is shown while the voice speaks and hidden else, in every scene that has
    it: a talking head."""
    figure_linger_s: Annotated[float, Range(0, 60)] = 0.4
    """Stays so long after a line, so that it does not flicker between two."""


@dataclass(frozen=True, slots=True)
class SetupConfig:
    """What ``koed obs setup`` makes."""

    audio: SourceName = "koed voice"
    """Audio capture of koed's microphone; further outputs get their name behind."""
    scene: Words = ""
    """Where both are put; empty = the scene that is on air at that moment."""
    font: Words = ""
    """Of the caption; empty = the one that OBS takes."""
    font_size: Annotated[int, Range(0, 500)] = 0
    """0 = so that a line fills the picture."""
