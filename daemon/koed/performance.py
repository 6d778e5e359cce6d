"""A line while it is spoken: where its segments come from and what became of each.

Values and small state only; `koed.stage` decides with them and talks to engines and mixers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from koed.config import TextConfig
from koed.engine.base import Mouth, Word
from koed.phrases.takes import Piece, Take
from koed.speaker import Line
from koed.text.normalize import StreamNormalizer
from koed.text.segment import Segment, Segmenter, segments
from koed.voices import ReadyVoice


@dataclass(frozen=True, slots=True)
class Joint:
    """How a part takes over from an older one in mid-line."""

    old: int
    """Serial of the part it replaces."""
    at_s: float
    """Position in the old part's track where the new one goes on."""
    aligned: bool
    """The new part has the same time line (restyle): what is late in it is left out."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A segment that is to be spoken next, perhaps as the continuation of a broken one."""

    segment: Segment
    joint: Joint | None = None
    restyle_of: int = 0
    start_s: float = 0.0


@dataclass(slots=True)
class Part:
    """One job: a segment on its way from the engine to the ear."""

    serial: int
    lane: int
    planned: Planned
    voice: ReadyVoice
    words: list[Word] = field(default_factory=list)
    mouths: list[Mouth] = field(default_factory=list)
    received_s: float = 0.0
    canned: bool = False
    """Its sound was rendered ahead: no engine knows this job."""
    done: bool = False
    """The engine has sent everything."""
    started: bool = False
    """Its first sample sounded."""
    told_words: int = 0

    @property
    def segment(self) -> Segment:
        return self.planned.segment

    def track_s(self, word: Word | Mouth) -> float:
        """When a word or a shape begins in this part's own track."""
        return word.at_s - self.planned.start_s

    def unheard(self, at_s: float) -> tuple[Segment, float] | None:
        """The rest of the segment from the first word that begins at or after ``at_s`` in the
        track, and when that word begins. None if every word has begun.

        Without word times the place is estimated from the share of the sound received so far.
        """
        segment = self.segment
        for word in self.words:
            if self.track_s(word) >= at_s:
                return tail(segment, word.start), self.track_s(word)
        if self.words and self.done:
            return None
        if at_s <= 0.0:
            return segment, 0.0
        if self.words:
            return tail(segment, self.words[-1].end), at_s
        share = (
            at_s / self.received_s
            if self.done and self.received_s
            else at_s * 14 / len(segment.text)
        )
        cut = segment.text.find(" ", min(len(segment.text), int(share * len(segment.text))))
        if cut < 0:
            return None
        return tail(segment, cut), at_s


def tail(segment: Segment, cut: int) -> Segment:
    """What is left of a segment from character ``cut`` on, white space skipped."""
    text = segment.text[cut:]
    blank = len(text) - len(text.lstrip())
    return replace(segment, text=text[blank:], start=segment.start + cut + blank)


class Script:
    """The segments of a line, lazily, whether its text is whole or still coming."""

    def __init__(self, line: Line, config: TextConfig, default_lang: str, is_open: bool) -> None:
        self.open = is_open
        self.received = line.text
        """All the (normalised) text so far."""
        self._pending: deque[Planned] = deque()
        self._source: Iterator[Segment] = iter(())
        if is_open:
            self._normalizer = StreamNormalizer(config, line.lang or default_lang)
            self._segmenter = Segmenter(config, default_lang, line.lang)
        else:
            self._source = segments(line.text, config, default_lang, line.lang)
        self._look_ahead()

    @property
    def upcoming(self) -> Planned | None:
        """What `take` would give."""
        return self._pending[0] if self._pending else None

    def append(self, text: str) -> None:
        self._take_in(self._normalizer.feed(text))

    def close(self) -> None:
        """No more text; says so to the segmenter once."""
        if self.open:
            self._take_in(self._normalizer.close())
            self._pending.extend(Planned(s) for s in self._segmenter.close())
            self.open = False

    def _take_in(self, text: str) -> None:
        self.received += text
        self._pending.extend(Planned(s) for s in self._segmenter.feed(text))

    def _look_ahead(self) -> None:
        if not self._pending:
            self._pending.extend(Planned(s) for s in [next(self._source, None)] if s)

    def take(self) -> Planned | None:
        """The next thing to speak, or None if there is none (yet)."""
        planned = self._pending.popleft() if self._pending else None
        self._look_ahead()
        return planned

    def give_back(self, planned: Planned) -> None:
        """Put something in front again, because the sound made of it was lost or is not wanted."""
        self._pending.appendleft(planned)

    @property
    def exhausted(self) -> bool:
        return not self.open and not self._pending


@dataclass(slots=True)
class Performance:
    """A line that is being turned into sound on one lane."""

    line: Line
    script: Script
    lane: int
    voice: str
    """Name of the voice that speaks it now: the line's, a fallback's, or one switched to."""
    parts: list[Part] = field(default_factory=list)
    begun: bool = False
    heard_to: int = 0
    """Characters of the text that were heard."""
    spoken_s: float = 0.0
    starved_s: float = 0.0
    waiting_since: float | None = None
    """Since when its engine has been unavailable."""
    touched_at: float = 0.0
    """When text came last (open lines)."""
    take: Take | None = None
    """Its sound in the voice it was queued with, if that was rendered ahead."""
    retries: int = 0
    """Faults of the engine after which the same voice went on."""

    def canned(self, planned: Planned | None, voice: ReadyVoice) -> Piece | None:
        """What was rendered ahead for a segment in this very voice."""
        if self.take is None or planned is None or planned.restyle_of:
            return None
        return self.take.piece(planned.segment) if self.take.voice == voice.key else None

    @property
    def generating(self) -> int:
        return sum(not part.done for part in self.parts)

    @property
    def generated(self) -> bool:
        """All its sound is made, though perhaps not yet heard."""
        return self.script.exhausted and not self.generating

    def left_s(self, serial: int, played_s: float) -> float:
        """Sound and pauses of the parts on stage that are still to be heard, while ``played_s`` of
        the part ``serial`` has been."""
        pauses_s = sum(part.segment.pause_s for part in self.parts[:-1])
        played_s = played_s if any(part.serial == serial for part in self.parts) else 0.0
        return sum(part.received_s for part in self.parts) + pauses_s - played_s

    @property
    def heard(self) -> str:
        return self.script.received[: self.heard_to]
