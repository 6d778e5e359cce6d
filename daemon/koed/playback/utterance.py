"""One line from the queue to the ear: the only owner of its text, its segments and its parts.

    part: asked ──▶ arriving ──▶ complete ──▶ heard
            ▲_________│ taken back: its text is planned again

Who is next, which voice speaks and what the lanes are told is `koed.playback.lineup`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from koed.audio.arrangement import Entry, Joint
from koed.config.delivery import PLAIN, Delivery
from koed.engine.base import Mouth, Word
from koed.playback.queue import Line
from koed.playback.script import Planned, Script
from koed.playback.takes import Piece, Take
from koed.playback.voice_choice import VoiceState
from koed.text.normalize import speakable
from koed.text.segment import Segment

CHARS_PER_S = 14
"""About so fast is speech, where an engine tells no word times."""


@dataclass(slots=True, eq=False)
class Part:
    """One job: a segment on its way from the engine to the ear."""

    serial: int
    planned: Planned
    voice: VoiceState
    volume_db: float = 0.0
    """Above what brings the voice to its loudness."""
    joint: Joint | None = None
    """The planned one, if what it continues still stood on the lane when it was asked for."""
    until_s: float | None = None
    """Where in its track another part goes on in its place, however late that one comes."""
    words: list[Word] = field(default_factory=list)
    mouths: list[Mouth] = field(default_factory=list)
    received_s: float = 0.0
    canned: bool = False
    """Its sound was rendered ahead: no engine knows this job."""
    complete: bool = False
    """All its sound is here."""
    replaced: bool = False
    """Another part goes on in its place: nothing more is wanted of it."""
    started: bool = False
    """Its first sample sounded."""
    pause_s: float = 0.0
    """Silence behind it, once it is complete."""
    from_s: float = 0.0
    """Where in its track it was heard from."""
    told_words: int = 0
    told_segment: bool = False
    """As a whole, since no words of it are known."""

    @property
    def segment(self) -> Segment:
        return self.planned.segment

    @property
    def generating(self) -> bool:
        return not (self.complete or self.replaced)

    def entry(self, shut: bool = False) -> Entry:
        """Its place in the list of its lane."""
        gain_db = self.voice.gain_db + self.volume_db
        return Entry(self.serial, gain_db, self.joint, self.until_s, shut)

    def track_s(self, word: Word | Mouth) -> float:
        """When a word or a shape begins in this part's own track."""
        return word.at_s - self.planned.start_s

    @property
    def last_word_s(self) -> float:
        """Where the last word received begins: it may be torn."""
        return self.track_s(self.words[-1]) if self.words else self.received_s

    def unheard(self, at_s: float, *, whole: bool = False) -> tuple[Segment, float] | None:
        """The rest of the segment from the first word that begins at or after ``at_s`` in the
        track, and when that word begins. None if every word has begun.

        What comes after the last word received is not known: that word is said again, unless it
        came ``whole``. Without word times the place is estimated from the share of the sound
        received so far.
        """
        segment = self.segment
        for word in self.words:
            if self.track_s(word) >= at_s:
                return _with_place(rest_of(segment, word.start), self.track_s(word))
        if self.words:
            last = self.words[-1]
            again = last.end if whole else last.start
            return None if self.complete else _with_place(rest_of(segment, again), at_s)
        cut = self._estimate(at_s)
        return None if cut is None else _with_place(rest_of(segment, cut), at_s)

    def _estimate(self, at_s: float) -> int | None:
        """About the character that is spoken ``at_s`` into the track, or better the space after
        it; None if that is beyond the end."""
        text, spoken_s = self.segment.text, at_s + self.planned.start_s
        if spoken_s <= 0.0:
            return 0
        chars = spoken_s * CHARS_PER_S
        if self.complete and self.received_s:
            chars = spoken_s / (self.planned.start_s + self.received_s) * len(text)
        at = int(chars)
        if at >= len(text):
            return None
        space = text.find(" ", at)
        if space >= 0 or self.complete:
            return space if space >= 0 else None
        return max(text.rfind(" "), 0) or at

    def again(self, heard_to: int) -> Planned | None:
        """What is to be said in its stead if it is taken back before it sounded, while the line
        was heard up to character ``heard_to``."""
        if not self.planned.restyle_of:
            return Planned(self.segment)
        rest = rest_of(self.segment, heard_to - self.segment.start)
        return Planned(rest) if rest else None


def _with_place(rest: Segment | None, at_s: float) -> tuple[Segment, float] | None:
    return None if rest is None else (rest, at_s)


def rest_of(segment: Segment, cut: int) -> Segment | None:
    """What is left of a segment from character ``cut`` on, white space skipped; None if nothing
    that can be spoken is."""
    cut = max(0, cut)
    text = segment.text[cut:]
    blank = len(text) - len(text.lstrip())
    if not speakable(text):
        return None
    return replace(segment, text=text[blank:], start=segment.start + cut + blank)


@dataclass(slots=True, eq=False)
class Utterance:
    """``queued ─▶ prepared ─▶ sounding ─▶ over``; taken back before it sounded, it waits again."""

    line: Line
    in_pieces: bool = False
    """Its text comes, or came, after it was queued: only its script has it."""
    script: Script | None = None
    """None until it is prepared, but for one that comes in pieces."""
    voice: str = ""
    """Name of the voice that speaks it now: the line's, a fallback's, or one switched to."""
    living: Delivery = PLAIN
    """The line's, or that of the current voice when it was changed in mid-line."""
    parts: list[Part] = field(default_factory=list)
    """In the order of the text; what was heard is not among them."""
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
    losses: int = 0
    """How often an engine was lost while it had work of this line, since it last finished some."""
    tagged: bool = True
    """Its text may change its style: not once a fallback speaks."""
    before: str = ""
    """The voice that spoke until a switch in mid-line: who goes on if the new one cannot."""

    @property
    def number(self) -> int:
        return self.line.utterance

    @property
    def delivery(self) -> Delivery:
        """How it is spoken, where that is not left to the voice."""
        return self.line.delivery.over(self.living)

    @property
    def text(self) -> str:
        return self.script.received if self.script else self.line.text

    @property
    def heard(self) -> str:
        return self.text[: self.heard_to]

    @property
    def open(self) -> bool:
        return self.script is not None and self.script.open

    @property
    def exhausted(self) -> bool:
        """All its text was given to engines."""
        return self.script is not None and self.script.exhausted

    @property
    def generating(self) -> int:
        return sum(part.generating for part in self.parts)

    @property
    def generated(self) -> bool:
        """All its sound is made, though perhaps not yet heard."""
        return self.exhausted and not self.generating

    def part(self, serial: int) -> Part | None:
        return next((part for part in self.parts if part.serial == serial), None)

    def canned(self, planned: Planned | None, voice: VoiceState) -> Piece | None:
        """What was rendered ahead for a segment in this very voice."""
        if self.take is None or planned is None or planned.restyle_of:
            return None
        # another voice of the same key may speak faster
        mine = voice.name == self.line.voice and self.take.voice == voice.key
        return self.take.piece(planned.segment) if mine else None

    def upcoming_is_canned(self, voice: VoiceState) -> bool:
        """Whether the next segment needs no engine in this voice."""
        upcoming = self.script.upcoming if self.script else None
        return self.canned(upcoming, voice) is not None

    def left_s(self, serial: int, played_s: float) -> float:
        """Sound and pauses still to be heard, while ``played_s`` of the part ``serial`` was."""
        pauses_s = sum(part.pause_s for part in self.parts[:-1])
        played_s = played_s if self.part(serial) else 0.0
        return sum(part.received_s for part in self.parts) + pauses_s - played_s

    # --- taking back --------------------------------------------------------------------------

    def take_back(self, after: Part | None, *, rest_follows: bool = False) -> Sequence[Part]:
        """The parts behind ``after`` (None: all) become text again; returns them.

        What continues a part that is taken back too is not said twice; with ``rest_follows`` the
        caller plans the rest of ``after``, so that its own continuations are no text either.
        """
        keep = 0 if after is None else self.parts.index(after) + 1
        gone = self.parts[keep:]
        del self.parts[keep:]
        covered = {part.serial for part in gone}
        if after is not None and rest_follows:
            covered.add(after.serial)
        if self.script is not None:
            self.script.forget(covered)
        for part in reversed(gone):
            said = part.planned.continues in covered
            planned = None if said else part.again(self.heard_to)
            if planned is not None:
                self.plan_first(planned)
        return gone

    def unheard_of(self, planned: Planned) -> Planned | None:
        """What is left of a plan: a part that was to be restyled may have been heard meanwhile, as
        its engine was waited for. None = nothing is."""
        joint = planned.joint
        if joint is None or self.part(joint.old) is not None:
            return planned
        rest = rest_of(planned.segment, self.heard_to - planned.segment.start)
        return Planned(rest, planned.continues) if rest else None

    def plan_first(self, planned: Planned) -> None:
        """This is said next."""
        assert self.script is not None, "it is on stage"
        self.script.give_back(planned)

    def rewind(self) -> Sequence[Part]:
        """Wait again as if never prepared; returns the parts that are gone."""
        gone = self.take_back(None)
        if not self.in_pieces:
            self.script = None
        self.take = self.waiting_since = None
        return gone
