"""What is to be read at each moment of what is heard. Pure: events in, texts with their time out.

koed's events come ahead of the ear (``heard_t`` lies a device buffer in the future), so each is
noted with the moment at which it is due, and `Captions.at` tells what holds by then. One
`Captions` follows one output; those of two outputs share nothing.
"""

from __future__ import annotations

import bisect
import itertools
from dataclasses import dataclass, field
from typing import Literal

from koe.protocol import (
    EngineFallback,
    Event,
    Progress,
    StateChanged,
    UtteranceFailed,
    UtteranceFinished,
    UtteranceSkipped,
    UtteranceStarted,
    VoiceChanged,
)
from koed.config.obs_looks import CaptionConfig, LookConfig
from koed.config.styles import voice_of
from koed.integrations.obs import wrap

MAX_MARKS = 512
"""Of all that is due; more would be some seconds of words in a device buffer of milliseconds."""
MAX_LINES = 8
"""Lines that sound at once on one output: one, or two where an urgent one lies over it."""
MAX_KNOWN = 1000
"""Characters that are remembered of a line that grows: only its end is shown."""


@dataclass(frozen=True, slots=True)
class Caption:
    """What is to be shown; no text = nothing. ``voice`` speaks it."""

    text: str = ""
    voice: str = ""


@dataclass(frozen=True, slots=True)
class _Mark:
    """Something that is due. ``clear`` takes away the text of a line that was over before."""

    t: float
    kind: Literal["begin", "reach", "voice", "end", "clear", "cut"]
    utterance: int
    text: str = ""
    """The line's text (begin), a word (reach), a voice (voice, begin has it behind)."""
    voice: str = ""
    start: int = 0
    end: int = 0


@dataclass(slots=True)
class _Line:
    """A line that is shown. Positions are those of the events; the text held is
    ``prefix + (all text)[base:]``."""

    voice: str
    prefix: str
    text: str
    base: int = 0
    upto: int = 0
    over: bool = False
    spans: list[wrap.Span] = field(default_factory=list)

    def layout(self, width: int) -> None:
        self.spans = wrap.spans(self.prefix + self.text, width)

    def reach(self, mark: _Mark, width: int) -> None:
        """A word is heard; of an open line it may be the first that is known of it."""
        known = self.base + len(self.text)
        if mark.end > known:
            gap = " " * min(2, max(0, mark.start - known))
            self.text += gap + mark.text[max(0, known - mark.start) :]
            # what lay between was not told (marks, spaces): positions go on from this word
            if len(self.text) > MAX_KNOWN:
                self.text = self.text[-MAX_KNOWN // 2 :]
                self.prefix = ""
            self.base = mark.end - len(self.text)
            self.layout(width)
        self.upto = max(self.upto, mark.end)

    def shown(self, lines: int, whole: bool) -> str:
        text = self.prefix + self.text
        if whole:
            upto = len(text)
        elif not self.upto:
            return ""
        else:
            upto = wrap.word_end(text, len(self.prefix) + self.upto - self.base)
        return "\n".join(wrap.revealed(text, self.spans, upto, lines))


class Captions:
    """The captions of one output."""

    def __init__(self, output: str, config: CaptionConfig, looks: dict[str, LookConfig]) -> None:
        self._output = output
        self._config = config
        self._looks = looks
        self._delay_s = config.delay_ms / 1000
        self._marks: list[_Mark] = []
        self._lines: dict[int, _Line] = {}
        """By utterance, in the order in which they began: the last one is shown."""
        self._lead_s = 0.0
        """How far events are ahead of the ear, as the last line's begin told."""

    # --- in ----------------------------------------------------------------------------------

    def hear(self, event: Event) -> None:
        """Take note of an event of the bus; those that do not matter are passed over."""
        if getattr(event, "output", None) not in (self._output, None):
            return
        match event:
            case UtteranceStarted():
                self._lead_s = max(0.0, event.heard_t - event.t)
                voice = voice_of(event.voice)
                self._note(_Mark(event.heard_t, "begin", event.utterance, event.text, voice))
            case Progress():
                t = max(event.heard_t, self._begin_t(event.utterance))
                start, end = event.start, event.end
                self._note(_Mark(t, "reach", event.utterance, event.text, "", start, end))
            case UtteranceFinished() | UtteranceFailed():
                self._note(_Mark(event.t + self._lead_s, "end", event.utterance))
            case UtteranceSkipped():
                self._cut(event.t, event.utterance)
            case StateChanged(state="muted" | "panic"):
                for utterance in [*self._lines, *self._waiting()]:
                    self._cut(event.t, utterance)
            case VoiceChanged(when="now"):
                sounding = [u for u, line in self._lines.items() if not line.over]
                voice = voice_of(event.voice)
                for utterance in [*sounding, *self._waiting()]:
                    self._note(_Mark(event.t + self._lead_s, "voice", utterance, "", voice))
            case EngineFallback():
                voice = voice_of(event.fallback)
                self._note(_Mark(event.t + self._lead_s, "voice", event.utterance, "", voice))

    def _waiting(self) -> list[int]:
        """Lines whose begin is not due yet."""
        return [mark.utterance for mark in self._marks if mark.kind == "begin"]

    def _begin_t(self, utterance: int) -> float:
        """When a line that waits begins. Its first word does not come before it, though the two
        estimates of when the ear gets them may differ by a millisecond."""
        begins = (m.t for m in self._marks if m.kind == "begin" and m.utterance == utterance)
        return next(begins, 0.0)

    def _note(self, mark: _Mark) -> None:
        bisect.insort_right(self._marks, mark, key=lambda m: m.t)
        if len(self._marks) > MAX_MARKS:
            self._apply(self._marks.pop(0))

    def _cut(self, t: float, utterance: int) -> None:
        """It was silenced: what was still to come of it never will."""
        self._marks = [m for m in self._marks if m.utterance != utterance or m.t <= t]
        self._note(_Mark(t, "cut", utterance))

    # --- out ---------------------------------------------------------------------------------

    def due_t(self) -> float | None:
        """When something may change next; None = not before another event."""
        return self._marks[0].t + self._delay_s if self._marks else None

    def at(self, now: float) -> Caption:
        """What is to be seen now; ``now`` may not go back."""
        until = now - self._delay_s
        while self._marks and self._marks[0].t <= until:
            self._apply(self._marks.pop(0))
        if not self._lines:
            return Caption()
        line = self._lines[next(reversed(self._lines))]
        text = line.shown(self._config.lines, self._config.show == "line")
        return Caption(text, line.voice) if text else Caption()

    def _apply(self, mark: _Mark) -> None:
        line = self._lines.get(mark.utterance)
        if mark.kind == "begin":
            self._begin(mark)
        elif line is None:
            return
        elif mark.kind == "reach":
            line.reach(mark, self._config.width)
        elif mark.kind == "voice":
            line.voice = mark.voice
            if line.prefix:  # whoever speaks now; a prefix that has scrolled away stays away
                line.prefix = self._name(mark.voice)
                line.layout(self._config.width)
        elif mark.kind == "end":
            line.over = True
            self._note(_Mark(mark.t + self._config.linger_s, "clear", mark.utterance))
        elif mark.kind in ("clear", "cut"):
            del self._lines[mark.utterance]

    def _begin(self, mark: _Mark) -> None:
        """The new line stands in the place of those that are over; one that still sounds comes
        back when the new one ends."""
        sounding = {u: line for u, line in self._lines.items() if not line.over}
        late = list(sounding)[: max(0, len(sounding) - MAX_LINES + 1)]
        self._lines = {u: line for u, line in sounding.items() if u not in late}
        prefix = self._name(mark.voice) if self._config.speaker else ""
        line = _Line(mark.voice, prefix, mark.text)
        line.layout(self._config.width)
        self._lines[mark.utterance] = line

    def _name(self, voice: str) -> str:
        look = self._looks.get(voice)
        return f"{look.name if look and look.name else voice}: "


def colour_of(caption: Caption, config: CaptionConfig, looks: dict[str, LookConfig]) -> str | None:
    """``#rrggbb`` of a caption; None = no colour is configured, the source's own one stays."""
    look = looks.get(caption.voice)
    wanted = look.colour if look else ""
    if wanted or config.colour:
        return wanted or config.colour
    others = itertools.chain(look.colour for look in looks.values())
    return "#ffffff" if any(others) else None
