"""Writes the captions and shows the figures in OBS, each at its moment.

What is due is decided on the main thread and done on the session's; what is not done when the next
is due is left out. After each connection everything is put right, whatever a koed that crashed or
an OBS that was restarted left behind.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from koe.protocol import Event
from koed.config.obs import ObsConfig
from koed.config.obs_looks import CaptionConfig, LookConfig
from koed.integrations.obs import figures
from koed.integrations.obs.captions import Caption, Captions, colour_of
from koed.integrations.obs.link import Link, ObsRefused

log = logging.getLogger(__name__)

SETTLE_S = 0.2
"""A scene collection brings hundreds of sources: looked at once, when the flood is over."""
AGAIN_S = 2.0
"""After a look that OBS refused."""

STREAM_WIDTH, STREAM_LINES, STREAM_INTERVAL_MS = 32, 2, 1000.0
"""Closed captions (CEA-608) have lines of 32 characters, and 60 characters a second."""


class Doer(Protocol):
    """What is needed of `koed.integrations.obs.session.Session`."""

    def do(
        self,
        job: Callable[[Link], Any],
        key: object = None,
        then: Callable[[Any], None] | None = None,
    ) -> bool: ...


class Board:
    """One place where the captions of one output are shown: what it shows, and how often."""

    def __init__(
        self, output: str, config: CaptionConfig, looks: dict[str, LookConfig], stream: bool
    ) -> None:
        self.config = (
            replace(
                config, width=STREAM_WIDTH, lines=STREAM_LINES, min_interval_ms=STREAM_INTERVAL_MS
            )
            if stream
            else config
        )
        self.stream = stream
        """Closed captions, not a source."""
        self.captions = Captions(output, self.config, looks)
        self.kind = ""
        """Of the source; empty = there is none (or OBS does not stream)."""
        self._looks = looks
        self._shown: Caption | None = None
        """None = not known: a koed before this one may have written anything."""
        self._next_t = 0.0
        self._held_t: float | None = None
        """Something was not sent because it was too early after the last one; until then."""

    @property
    def name(self) -> str:
        return "the stream" if self.stream else self.config.source

    def found(self, kind: str) -> None:
        """OBS was looked at: what it shows there is not known."""
        self.kind, self._shown = kind, None

    def turn(self, now: float) -> Caption | None:
        """What to send now; None = nothing. Words at most every ``min_interval_ms``, an empty
        caption at once."""
        caption = self.captions.at(now)
        self._held_t = None
        if caption == self._shown or not self.kind:
            return None
        if caption.text and now < self._next_t:
            self._held_t = self._next_t
            return None
        self._shown = caption
        self._next_t = now + self.config.min_interval_ms / 1000
        return caption

    def due_t(self) -> float | None:
        return self._held_t if self._held_t is not None else self.captions.due_t()

    def request(self, caption: Caption) -> tuple[str, dict[str, Any]]:
        """Name and fields of the request that shows it."""
        if self.stream:
            return "SendStreamCaption", {"captionText": caption.text}
        settings: dict[str, Any] = {"text": caption.text}
        colour = colour_of(caption, self.config, self._looks) if caption.text else None
        if colour is not None:
            settings |= colour_settings(self.kind, colour)
        return "SetInputSettings", {
            "inputName": self.config.source,
            "inputSettings": settings,
            "overlay": True,
        }


def colour_settings(kind: str, colour: str) -> dict[str, int]:
    """``#rrggbb`` as a text source wants it: 0xAABBGGRR, and FreeType's a gradient of two."""
    red, green, blue = bytes.fromhex(colour[1:])
    value = blue << 16 | green << 8 | red
    if kind.startswith("text_gdiplus"):
        return {"color": value}
    return {"color1": 0xFF000000 | value, "color2": 0xFF000000 | value}


@dataclass(frozen=True, slots=True)
class Survey:
    """What OBS has of what koed writes to."""

    kinds: dict[str, str] = field(default_factory=dict)
    """Text source -> its kind, empty where there is none."""
    places: figures.Places = field(default_factory=dict)
    live: bool = False


class Prompter:
    """A part of the OBS companion (see `companion.ObsPart`) that hears the bus.
    All of it is called on the main thread."""

    def __init__(
        self, config: ObsConfig, session: Doer, clock: Callable[[], float] = time.monotonic
    ) -> None:
        looks = dict(config.voices)
        self._boards = [
            Board(output, caption, looks, stream)
            for output, caption in config.captions.items()
            for stream in ((False, True) if caption.stream else (False,))
        ]
        self._figures = figures.Figures(looks)
        self._figures_t: float | None = None
        self._places: figures.Places = {}
        self._seen: frozenset[str] | None = None
        """Figures that are shown; None = not known."""
        self._session = session
        self._clock = clock
        self._look_t: float | None = None
        """When to look what is there."""
        self._missing: tuple[str, ...] = ()

    def hear(self, event: Event) -> None:
        """An event of koed's bus."""
        for board in self._boards:
            board.captions.hear(event)
        self._figures.hear(event)
        self._figures_t = self._figures.due_t(0.0)

    def connected(self) -> None:
        """There is an OBS, perhaps another one: everything is looked up and put right."""
        if self._boards or self._figures.sources:
            self._look_t = self._clock()

    def moved(self) -> None:
        """Sources or scenes came, went or changed their names."""
        if self._boards or self._figures.sources:
            self._look_t = self._clock() + SETTLE_S

    def live(self, live: bool) -> None:
        """OBS began or ended to stream."""
        for board in (board for board in self._boards if board.stream):
            board.found("stream" if live else "")

    def status(self) -> dict[str, Any]:
        """``missing``: sources of the configuration that this OBS does not have."""
        return {"missing": list(self._missing)}

    def due(self) -> float | None:
        """When it wants a turn at the latest."""
        times = [self._look_t, self._figures_t, *(board.due_t() for board in self._boards)]
        return min((t for t in times if t is not None), default=None)

    def turn(self, now: float) -> None:
        """Have that done which is due."""
        if self._look_t is not None and self._look_t <= now:
            self._look_t = None
            self._session.do(self._survey, "survey", self._surveyed)
        for board in self._boards:
            caption = board.turn(now)
            if caption is not None:
                self._write(board, caption)
        wanted = self._figures.at(now)
        self._figures_t = self._figures.due_t(now)
        if self._seen is not None and wanted != self._seen:
            self._switch(wanted, wanted ^ self._seen)

    def close(self) -> None:
        """Take everything out of the picture."""
        for board in self._boards:
            if board.kind:
                self._write(board, Caption())
        self._switch(frozenset(), self._figures.sources)

    # --- asked of OBS ------------------------------------------------------------------------

    def _write(self, board: Board, caption: Caption) -> None:
        request, fields = board.request(caption)
        key = ("caption", board.name)
        self._session.do(lambda link: link.call(request, **fields), key, self._done)

    def _switch(self, wanted: frozenset[str], changed: frozenset[str]) -> None:
        """Show or hide the figures that changed."""
        self._seen = wanted
        for source in changed:
            job = figures.Switch(tuple(self._places.get(source, ())), source in wanted)
            self._session.do(job, ("figure", source), self._done)

    def _done(self, result: Any) -> None:
        if isinstance(result, ObsRefused):  # it was there a moment ago
            self.moved()

    def _survey(self, link: Link) -> Survey:
        """On the session's thread."""
        sources = self._figures.sources
        closed = any(board.stream for board in self._boards)
        return Survey(
            {b.name: _kind_of(link, b.name) for b in self._boards if not b.stream},
            figures.places(link, sources) if sources else {},
            closed and link.call("GetStreamStatus")["outputActive"] is True,
        )

    def _surveyed(self, survey: Any) -> None:
        if not isinstance(survey, Survey):  # something went while it looked
            self._look_t = self._clock() + AGAIN_S
            return
        for board in self._boards:
            stream = "stream" if survey.live else ""
            board.found(stream if board.stream else survey.kinds.get(board.name, ""))
        self._places = survey.places
        self._switch(self._figures.at(self._clock()), self._figures.sources)
        missing = [name for name, kind in survey.kinds.items() if not kind]
        missing += [source for source, where in survey.places.items() if not where]
        for source in missing:
            if source not in self._missing:
                log.warning("OBS has no source %r (koed obs setup makes captions)", source)
        self._missing = tuple(missing)


def _kind_of(link: Link, source: str) -> str:
    """Kind of a text source; empty = there is none of that name."""
    try:
        kind: str = link.call("GetInputSettings", inputName=source)["inputKind"]
    except ObsRefused:
        return ""
    return kind if kind.startswith("text_") else ""
