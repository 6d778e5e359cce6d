"""The lines that wait and those that stand on the lanes: what is made next, and every way to end.

Per output there are two lanes: one where lines follow each other without a gap, and one above it
for urgent lines where the configuration lets them sound over the others. On a lane stand at most
the line that sounds and the next, whose sound is made ahead.

**What lives is a list.** Nothing here silences a track or ends a job: `declare` says which tracks
each lane is to play and which jobs each engine is to keep, and whatever is not named is dead.
"""

from __future__ import annotations

import itertools
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping

from koe.protocol import (
    EngineFallback,
    Event,
    UtteranceDropped,
    UtteranceFailed,
    UtteranceFinished,
    UtteranceQueued,
    UtteranceSkipped,
)
from koed.config.daemon import Config
from koed.config.delivery import PLAIN, Delivery
from koed.config.styles import voice_of
from koed.engine.base import Job, Owner
from koed.errors import KoedError
from koed.playback import effects
from koed.playback.channel import Channel, Lane, channel
from koed.playback.effects import Effect
from koed.playback.queue import Admission, Drop, Limits, Line, Queue
from koed.playback.script import Planned, Script
from koed.playback.takes import Take
from koed.playback.utterance import Part, Utterance
from koed.playback.voice_choice import Voices, VoiceState

log = logging.getLogger(__name__)

JOBS_AHEAD = 2
"""Segments of a line given to its engine at once; more would only make a cut waste more."""
TRIAL_S = 1.0
"""So much sound a line on trial is to get before others join it; twice that after each loss."""
RETRY_SEED = 500_000_000
"""What failed once would fail again from the same seed."""
OWNERS: tuple[Owner, ...] = ("air", "phrase", "client")

Takes = Callable[[str, VoiceState], Take | None]
"""The sound of a whole text in a voice, if it was rendered ahead."""


def serials(owner: Owner) -> Iterator[int]:
    """Numbers for the jobs of an owner, that no other owner has."""
    return itertools.count(1 + OWNERS.index(owner), len(OWNERS))


def queued(line: Line) -> UtteranceQueued:
    return UtteranceQueued(
        utterance=line.utterance, text=line.text, voice=line.voice, output=line.output,
        priority=line.priority, author=line.author, key=line.key,
    )  # fmt: skip


def dropped(line: Line, reason: str) -> UtteranceDropped:
    return UtteranceDropped(
        utterance=line.utterance, output=line.output, reason=reason, author=line.author,
        key=line.key,
    )  # fmt: skip


class Lineup:
    """See the module's docstring. ``lanes``: the number of each output's lower lane."""

    def __init__(self, config: Config, lanes: Mapping[str, int], takes: Takes) -> None:
        limits = config.queue
        self.config = config
        self.queue = Queue(
            lanes,
            Limits(limits.max_lines, limits.max_chatter, limits.max_per_author, limits.when_full),
        )
        self.channels = {
            name: channel(name, number, limits.urgent) for name, number in lanes.items()
        }
        self.voices = Voices(config.engine)
        self.voice = config.voice
        """The current voice of every output that has none of its own."""
        self.now = 0.0
        self._takes = takes
        self._utterances: dict[int, Utterance] = {}
        """All that are not over, by number."""
        self._parts: dict[int, tuple[Utterance, Part]] = {}
        """Every job that is alive, by serial."""
        self._kept: dict[str, frozenset[int]] = {}
        """What each engine was last told to keep."""
        self._effects: list[Effect] = []
        self.next_serial = next(serials("air"))

    # --- looking ------------------------------------------------------------------------------

    def find(self, utterance: int) -> Utterance | None:
        """A line that is not over."""
        return self._utterances.get(utterance)

    def pieces(self, utterance: int) -> bool:
        """Whether the text of a line that is not over comes, or came, in pieces."""
        found = self._utterances.get(utterance)
        return found is not None and found.in_pieces

    def part_of(self, serial: int) -> tuple[Utterance, Part] | None:
        return self._parts.get(serial)

    def on_stage(self) -> Iterator[Utterance]:
        """What sounds or is prepared."""
        for each in self.channels.values():
            yield from each.utterances()

    def lanes(self) -> Iterator[tuple[Channel, Lane]]:
        for each in self.channels.values():
            for lane in each.lanes:
                yield each, lane

    def lane_of(self, line: Utterance) -> Lane | None:
        """Where it stands; None = it waits."""
        lanes = self.channels[line.line.output].lanes
        return next((lane for lane in lanes if line in lane.utterances), None)

    def channels_of(self, output: str | None) -> list[Channel]:
        """The output of that name, or all. Raises `KoedError` ``unknown_output``."""
        if output is None:
            return list(self.channels.values())
        if output not in self.channels:
            raise KoedError(
                "unknown_output",
                f"there is no output {output[:40]!r}",
                f"outputs: {', '.join(self.channels)}",
            )
        return [self.channels[output]]

    def current_voice(self, output: str | None) -> str:
        """Name of the voice of lines that name none."""
        own = self.channels[output].voice if output in self.channels else None
        return own or self.voice

    def living(self, voice: str, output: str) -> Delivery:
        """How a line in ``voice`` is spoken there: the current voice as it is to speak now, another
        one as its profile says."""
        current = voice_of(voice) == voice_of(self.current_voice(output))
        return self.channels[output].living if current else PLAIN

    # --- what is to be done -------------------------------------------------------------------

    def publish(self, event: Event) -> None:
        self.effect(effects.Publish(event))

    def effect(self, effect: Effect) -> None:
        self._effects.append(effect)

    def declare(self) -> list[Effect]:
        """All that has come up since the last call: lists first, so that no sound goes to a track
        before its list, and what engines keep last, so that they know each job that it names."""
        lists: list[Effect] = []
        for each in self.channels.values():
            for lane in each.lanes:
                entries = lane.entries()
                if entries != lane.told:
                    lane.told = entries
                    lists.append(effects.Arrange(lane.number, entries))
            self._duck(each)
        wanted: dict[str, set[int]] = defaultdict(set)
        for serial, (_, part) in self._parts.items():
            if not (part.canned or part.replaced):
                wanted[part.voice.engine].add(serial)
        keeps: list[Effect] = []
        for engine in sorted({*wanted, *self._kept}):
            kept = frozenset(wanted.get(engine, ()))
            if kept != self._kept.get(engine):
                self._kept[engine] = kept
                keeps.append(effects.Keep(engine, kept))
        said, self._effects = self._effects, []
        return [*lists, *filter(self._still_wanted, said), *keeps]

    def _still_wanted(self, effect: Effect) -> bool:
        """A job that was asked for and taken back within one step was never asked for."""
        match effect:
            case effects.Speak(_, job):
                return job.serial in self._parts
            case effects.Play(serial, _):
                return serial in self._parts
        return True

    def _duck(self, there: Channel) -> None:
        """The lower lane is quieter for as long as a line sounds on the upper one."""
        over = self.config.queue.urgent == "duck" and any(u.begun for u in there.upper.utterances)
        gain_db = self.config.queue.duck_db if over else 0.0
        if gain_db != there.ducked_db:
            there.ducked_db = gain_db
            self.effect(effects.Gain(there.lower.number, gain_db))

    # --- lines in -----------------------------------------------------------------------------

    def submit(self, line: Line, in_pieces: bool) -> Admission:
        """Queue a line, its text normalised."""
        there = self.channels[line.output]
        script = self._script(line, in_pieces) if in_pieces else None
        if line.priority == "chatter" and there.chat_muted:
            admission = Admission(refused="chat_muted")
        else:
            admission = self.queue.submit(line)
        self.drop_all(admission.dropped)
        if admission.refused:
            self.publish(dropped(line, admission.refused))
            return admission
        utterance = Utterance(line, in_pieces, script, touched_at=self.now)
        self._utterances[line.utterance] = utterance
        self.publish(queued(line))
        if line.priority == "urgent" and self.config.queue.urgent == "interrupt":
            for other in list(there.lower.utterances):
                if other.begun and other.line.priority != "urgent":
                    self.cut(other, "urgent")
        return admission

    def _script(self, line: Line, in_pieces: bool, canned: bool = False) -> Script:
        """``canned``: what was rendered ahead is cut as ever."""
        voice = self.voices.by_name.get(line.voice)
        engine = self.voices.engines.get(voice.engine) if voice else None
        return Script(
            line, self.config.text, voice.lang if voice else "en", in_pieces,
            engine.sentence_chars if engine and not canned else 0,
        )  # fmt: skip

    def amend(self, utterance: int, text: str, author: str | None, key: str | None) -> bool:
        """Change a line that waits; what was made ahead of its sound is made anew. False if it
        sounds already, is over, or comes in pieces."""
        found = self._utterances.get(utterance)
        if found is None or found.in_pieces:
            return False
        if not self.queue.amend(utterance, text, author, key):
            return False
        self.wait_again(found)
        found.line = self.queue.find(utterance) or found.line
        return True

    # --- what is made next --------------------------------------------------------------------

    def fill(self) -> None:
        """Keep the lanes supplied: jobs of the lines on them, then the next line."""
        for there, lane in self.lanes():
            while self._fill(there, lane):
                pass

    def _fill(self, there: Channel, lane: Lane) -> bool:
        """One look at a lane; True if another line came onto it."""
        for utterance in list(lane.utterances):
            self._supply(utterance)
        following = self.queue.peek(there.name, lane.among)
        for utterance in list(lane.utterances):
            if not utterance.begun and utterance.line != following:  # another one, or revoiced
                self.wait_again(utterance)
        last = lane.utterances[-1] if lane.utterances else None
        if following is None or (last is not None and last.number == following.utterance):
            return False
        if last is not None and not (last.begun and last.generated and len(lane.utterances) < 2):
            return False
        self._enter(lane, following)
        return True

    def _enter(self, lane: Lane, line: Line) -> None:
        """Prepare a line; it waits in the queue until it sounds."""
        utterance = self._utterances[line.utterance]
        utterance.line, utterance.voice, utterance.living = line, line.voice, line.living
        utterance.retries, utterance.tagged = 0, True
        lane.utterances.append(utterance)
        try:
            voice = self.voices.by_name.get(line.voice)
            whole = voice is not None and voice.ready and not utterance.in_pieces
            if voice is not None and whole and self.voices.as_ever(utterance.delivery, voice):
                utterance.take = self._takes(line.text, voice)
            if utterance.script is None:
                canned = utterance.take is not None
                utterance.script = self._script(line, in_pieces=False, canned=canned)
        except Exception as error:  # noqa: BLE001 - told with its line
            self._fail_by_bug(utterance, error)

    def _fail_by_bug(self, utterance: Utterance, error: Exception) -> None:
        """A bug of ours costs one line."""
        log.error("line %d cannot be made", utterance.number, exc_info=error)
        self.fail(utterance, "internal", f"a bug in koed: {error!r}")

    def _supply(self, utterance: Utterance) -> None:
        """Give the engine the next segments of a line; a line that raises is not tried again."""
        try:
            while utterance.generating < JOBS_AHEAD and utterance.script is not None:
                self._change_style(utterance, utterance.script.upcoming)
                voice = self._voice_for(utterance) if utterance.script.upcoming else None
                planned = utterance.script.take() if voice else None
                if voice is None or planned is None:
                    break
                planned = utterance.unheard_of(planned)
                if planned is not None:
                    self._ask(utterance, planned, voice)
        except KoedError as error:
            self.fail(utterance, error.code, error.message)
        except Exception as error:  # noqa: BLE001 - told with its line
            self._fail_by_bug(utterance, error)
        else:
            if utterance.exhausted and not utterance.parts:
                self._finish(utterance)

    def _change_style(self, utterance: Utterance, upcoming: Planned | None) -> None:
        """As the text asks for."""
        if upcoming is not None and upcoming.segment.style and utterance.tagged:
            voice = voice_of(utterance.voice)
            utterance.voice = self.voices.styled(voice, upcoming.segment.style)

    def _voice_for(self, utterance: Utterance) -> VoiceState | None:
        """The voice that can speak the next segment now; None = wait. Raises `KoedError` when the
        line has waited in vain."""
        upcoming = utterance.script.upcoming if utterance.script else None
        voice = self.voices.available(upcoming.by) if upcoming else None
        voice = voice or self.voices.own(utterance)
        if voice is None:
            voice = self.voices.fallback(utterance)
            if voice is not None:
                self.fall_back(utterance, voice, self.voices.trouble(utterance))
        lane = self.lane_of(utterance)
        if voice is not None or lane is None or lane.utterances[0] is not utterance:
            utterance.waiting_since = None  # it is not its turn yet, or over
        else:
            self.voices.check_patience(utterance, self.now)
        return None if voice is None or self.on_trial(utterance, voice) else voice

    def on_trial(self, utterance: Utterance, voice: VoiceState) -> bool:
        """Whether a line is to wait since the engine was lost over it or another: they go on one
        at a time and are not made ahead, so that the next loss tells whose fault it is."""
        if not utterance.losses or utterance.upcoming_is_canned(voice):
            return False
        heads = [lane.utterances[0] for _, lane in self.lanes() if lane.utterances]
        return utterance not in heads or any(
            other.losses and other is not utterance and self._on_trial_alone(other, voice.engine)
            for other in heads
        )

    def _on_trial_alone(self, utterance: Utterance, engine: str) -> bool:
        """Whether it has not got far yet; what a held output does not take is not waited for."""
        there = self.channels[utterance.line.output]
        enough_s = TRIAL_S * 2 ** (utterance.losses - 1)
        first = next((part for part in utterance.parts if part.generating), None)
        if first is None or first.voice.engine != engine:
            return False
        return there.moving and first.received_s < enough_s

    def fall_back(self, utterance: Utterance, voice: VoiceState, reason: str) -> None:
        self.publish(
            EngineFallback(
                utterance=utterance.number, voice=utterance.voice, fallback=voice.name,
                reason=reason,
            )
        )  # fmt: skip
        utterance.voice, utterance.before, utterance.tagged = voice.name, "", False

    def _ask(self, utterance: Utterance, planned: Planned, voice: VoiceState) -> None:
        """Have a segment spoken, or play what was rendered of it ahead."""
        lane = self.lane_of(utterance)
        assert lane is not None, "who is on no lane asks for nothing"
        self._make_way(lane, utterance, voice.engine)
        joint = planned.joint
        delivery = self.voices.delivery(utterance.delivery, voice)
        part = Part(self.next_serial, planned, voice, delivery.volume or 0.0)
        self.next_serial += len(OWNERS)
        part.joint = joint if joint and utterance.part(joint.old) else None
        utterance.parts.append(part)
        self._parts[part.serial] = (utterance, part)
        piece = utterance.canned(planned, voice)
        if piece is not None:
            part.canned = True
            part.words, part.mouths = list(piece.words), list(piece.mouths)
            part.received_s = piece.seconds
            self.effect(effects.Play(part.serial, piece))
            self.complete(utterance, part)
            return
        job = Job(
            serial=part.serial,
            lane=lane.number,
            voice=voice.key,
            text=planned.segment.text,
            lang=planned.segment.lang,
            speed=delivery.speed or voice.speed,
            seed=_seed(utterance, planned, delivery.seed),
            restyle_of=planned.restyle_of,
            start_s=planned.start_s,
            settings=delivery.job_settings,
        )
        self.effect(effects.Speak(voice.engine, job))

    def _make_way(self, lane: Lane, utterance: Utterance, engine: str) -> None:
        """An engine makes the jobs of a lane in the order in which they come: what lines behind
        have not got yet from this one is asked for again, after what is asked for now."""
        for later in lane.utterances[lane.utterances.index(utterance) + 1 :]:
            for at, part in enumerate(later.parts):
                if part.generating and part.voice.engine == engine:
                    self.take_back(later, later.parts[at - 1] if at else None)
                    break

    # --- parts --------------------------------------------------------------------------------

    def complete(self, utterance: Utterance, part: Part) -> None:
        """All sound of a part is here."""
        part.complete = True
        last = utterance.exhausted and part is utterance.parts[-1]
        queue = self.config.queue
        part.pause_s = queue.line_pause_s if last else part.segment.pause_s
        self.effect(effects.End(part.serial, part.pause_s))

    def replace(
        self, utterance: Utterance, part: Part, by: Planned, until_s: float | None = None
    ) -> None:
        """``by`` goes on in place of ``part``, of which nothing more is wanted: not beyond
        ``until_s``, or (None) until the joint of the other decides."""
        self.take_back(utterance, part, rest_follows=True)
        part.replaced = True
        part.until_s = until_s
        self.effect(effects.End(part.serial, 0.0))
        utterance.plan_first(by)

    def take_back(
        self, utterance: Utterance, after: Part | None, *, rest_follows: bool = False
    ) -> None:
        """See `Utterance.take_back`."""
        for part in utterance.take_back(after, rest_follows=rest_follows):
            self._parts.pop(part.serial, None)

    def forget(self, utterance: Utterance, part: Part) -> None:
        """A part that is over, or of which nothing is wanted."""
        if part in utterance.parts:
            utterance.parts.remove(part)
        self._parts.pop(part.serial, None)

    def wait_again(self, utterance: Utterance) -> None:
        """Off its lane before it sounded, back to its place in the queue."""
        lane = self.lane_of(utterance)
        if lane is not None:
            lane.utterances.remove(utterance)
            for part in utterance.rewind():
                self._parts.pop(part.serial, None)

    # --- ends ---------------------------------------------------------------------------------

    def _leave(self, utterance: Utterance) -> None:
        """Over, whatever the reason; it is named nowhere any more."""
        lane = self.lane_of(utterance)
        for part in utterance.parts:
            self._parts.pop(part.serial, None)
        utterance.parts.clear()
        self._utterances.pop(utterance.number, None)
        if utterance.begun:
            self.queue.end(utterance.number)
        else:
            self.queue.cancel(utterance=utterance.number)
        if lane is not None:
            lane.utterances.remove(utterance)

    def _finish(self, utterance: Utterance) -> None:
        self._leave(utterance)
        if not utterance.begun:  # the engine found nothing in it that can be pronounced
            self.publish(dropped(utterance.line, "nothing_to_say"))
            return
        self.publish(
            UtteranceFinished(
                utterance=utterance.number, output=utterance.line.output,
                spoken_s=utterance.spoken_s, starved_s=utterance.starved_s,
                unheard=self.channels[utterance.line.output].unheard,
            )
        )  # fmt: skip

    def cut(self, utterance: Utterance, reason: str) -> None:
        """End a line that sounds, now; the sound made ahead for the next line is kept."""
        self._leave(utterance)
        self.publish(
            UtteranceSkipped(
                utterance=utterance.number, output=utterance.line.output, reason=reason,
                heard=utterance.heard,
            )
        )  # fmt: skip

    def fail(self, utterance: Utterance, code: str, message: str) -> None:
        """End a line that cannot be spoken (further)."""
        self._leave(utterance)
        self.publish(
            UtteranceFailed(
                utterance=utterance.number, output=utterance.line.output, code=code,
                message=message, heard=utterance.heard,
            )
        )  # fmt: skip

    def drop_all(self, drops: tuple[Drop, ...] | list[Drop]) -> None:
        """Lines that the queue gave up before they sounded."""
        for drop in drops:
            utterance = self._utterances.get(drop.line.utterance)
            if utterance is not None:
                self._leave(utterance)
            self.publish(dropped(drop.line, drop.reason))

    def silence(self, there: Channel, reason: str) -> list[int]:
        """Cut whatever sounds on an output; its waiting lines are not touched."""
        gone = [utterance for utterance in there.utterances() if utterance.begun]
        for utterance in gone:
            self.cut(utterance, reason)
        for lane in there.lanes:
            lane.resting = None
        return [utterance.number for utterance in gone]

    def expire(self) -> None:
        """Drop what waited too long; close open lines whose writer has gone silent: they would
        hold their lane for ever."""
        self.drop_all(self.queue.expire(self.now))
        limit_s = self.config.queue.open_idle_s
        for utterance in self.on_stage():
            if utterance.open and self.now - utterance.touched_at > limit_s:
                log.warning("line %d: no text for %.0f s, closed", utterance.number, limit_s)
                assert utterance.script is not None, "it is open"
                utterance.script.close()


def _seed(utterance: Utterance, planned: Planned, seed: int | None) -> int:
    """Of a job: the same whenever the same line is spoken, another after a fault. ``seed``: what
    makes other lines of the same text sound the same."""
    line = utterance.number if seed is None else seed
    return line * 1000 + planned.segment.index + RETRY_SEED * utterance.retries
