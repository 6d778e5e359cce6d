"""How a line goes on in mid-sentence: when its engine is lost or fails, or the voice is switched.

All of them come down to the same: take back the parts that are not wanted, and plan the rest of the
text. Another voice of the same engine takes over at a joint in mid-sound; any other goes on from a
word, up to which the old sound is heard.
"""

from __future__ import annotations

import logging

from koe.protocol import EngineFallback, EngineRetry
from koed.audio.arrangement import Joint
from koed.config.delivery import Delivery
from koed.config.styles import voice_of
from koed.playback.channel import Lane
from koed.playback.lineup import Lineup
from koed.playback.script import Planned
from koed.playback.utterance import Part, Utterance
from koed.playback.voice_choice import VoiceState

log = logging.getLogger(__name__)

RESTYLE_MARGIN_S = 0.005
"""A restyled stream takes over so far after what sounds; the mixer leaves out what comes late."""
REJOIN_MARGIN_S = 0.03
"""The next word that another engine takes over begins at least so far after what sounds."""
RETRIES_ALLOWED = 1
"""So often a line goes on in its own voice after a fault; then its fallback speaks."""
UNSPEAKABLE = ("nothing_to_speak", "unknown_language", "unsupported_language")
"""In a segment the engine found no word that it can say. It costs this segment, not the line."""
FOREIGN = ("unknown_language", "unsupported_language")
"""Those of them that a voice of another engine may have words for."""
JUDGED = "speech_"
"""Begins the codes of an engine that looked at its own work: what it sent before is whole."""
PASSING = ("oom",)
"""Faults that need not come again, so that a line without a fallback is begun anew."""
REFUSED = ("lane_full", "internal")
"""Not the engine's verdict but ours: no other voice would fare better."""


class Handover:
    """Works on the lines of a lineup; see the module's docstring."""

    def __init__(self, lineup: Lineup) -> None:
        self._lineup = lineup

    # --- a job ends without its sound ---------------------------------------------------------

    def job_failed(self, serial: int, code: str, message: str) -> None:
        """The engine could not speak a segment, or could not finish it.

        What has begun to be made goes on in its own voice, once: a change of voice in the middle
        is worse than a word that comes late. Else the fallback voice speaks, or the line fails.
        """
        found = self._lineup.part_of(serial)
        if found is None or found[1].replaced:
            return
        utterance, part = found
        if code == "restyle_lost":  # the worker was swapped meanwhile; any other can do it in words
            self._replay(utterance, part)
            return
        torn = not code.startswith(JUDGED)
        fallback = self._lineup.voices.fallback(utterance)
        if code in REFUSED:
            self._lineup.fail(utterance, code, message)
        elif self._worth_a_retry(utterance, part, code, fallback is not None):
            utterance.retries += 1
            self.retried(serial, code, message)
            self._replay(utterance, part, torn)
        elif fallback is not None:
            self._lineup.fall_back(utterance, fallback, message)
            self._replay(utterance, part, torn)
        elif code in FOREIGN and self._say_by_another(utterance, part, message):
            pass
        elif code in UNSPEAKABLE and self._is_a_piece(utterance):
            log.warning("line %d: a piece is left out: %s", utterance.number, message)
            self._lineup.complete(utterance, part)
        else:
            self._lineup.fail(utterance, code, message)

    def _say_by_another(self, utterance: Utterance, part: Part, reason: str) -> bool:
        """Have a segment said by whoever speaks its language, where the profile names nobody; the
        line's own voice goes on after it. False if nobody does."""
        voices = self._lineup.voices
        other = voices.of_language(part.segment.lang, besides=part.voice.engine)
        if other is None or part.planned.by:
            return False
        self._lineup.publish(
            EngineFallback(
                utterance=utterance.number, voice=utterance.voice, fallback=other.name,
                reason=reason,
            )
        )  # fmt: skip
        self._lineup.take_back(utterance, part, rest_follows=True)
        self._lineup.forget(utterance, part)
        utterance.plan_first(Planned(part.segment, part.planned.continues, by=other.name))
        return True

    def _worth_a_retry(
        self, utterance: Utterance, part: Part, code: str, has_fallback: bool
    ) -> bool:
        if utterance.retries >= RETRIES_ALLOWED:
            return False
        if self._lineup.voices.available(utterance.voice) is None:
            return False
        sounding = part.received_s > 0 or part.planned.restyle_of > 0
        return sounding or (code in PASSING and not has_fallback)

    @staticmethod
    def _is_a_piece(utterance: Utterance) -> bool:
        """Whether the line has more than the segment that failed."""
        return utterance.begun or len(utterance.parts) > 1 or not utterance.exhausted

    def engine_lost(self, serials: tuple[int, ...], code: str) -> None:
        """A worker is gone with these jobs: each line goes on from what was received.

        Whose fault it was is only known if one line alone had work there: a line to which that
        happens again is not tried any more. Lines that lost an engine together go to the next one
        at a time, see `Lineup.on_trial`.
        """
        lost: list[tuple[Utterance, Part]] = []
        for utterance in self._lineup.on_stage():
            parts = [p for p in utterance.parts if p.serial in serials and p.generating]
            lost += [(utterance, part) for part in parts[:1]]
        for utterance, part in lost:
            utterance.losses += 1
            if utterance.losses > 1 and len(lost) == 1:
                self._lineup.fail(utterance, code, "this line ended its engine twice")
            else:
                self.ask_again(utterance, part)

    def ask_again(self, utterance: Utterance, part: Part) -> None:
        """Nobody makes this part any more."""
        if utterance.begun:
            self._replay(utterance, part)
        else:  # nothing was heard yet: it waits again, and is made anew
            self._lineup.wait_again(utterance)

    def retried(self, serial: int, code: str, message: str = "") -> None:
        """Tell that a job, or what was left of it, is made again by the same voice."""
        found = self._lineup.part_of(serial)
        if found is None:
            return
        utterance, part = found
        self._lineup.publish(
            EngineRetry(
                utterance=utterance.number, engine=part.voice.engine, voice=part.voice.name,
                code=code, message=message,
            )
        )  # fmt: skip

    # --- saying the rest again ----------------------------------------------------------------

    def _replay(self, utterance: Utterance, part: Part, torn: bool = True) -> None:
        """Plan again what ``part`` and those after it did not deliver, by the voice of now.

        ``torn``: its last word may not have come whole.
        """
        late = part.joint is not None and not part.started
        if part.received_s and not late:
            from_s = part.last_word_s if torn else part.received_s
            if not self._rejoin(utterance, part, from_s, whole=not torn) and not part.complete:
                self._lineup.complete(utterance, part)
            return
        # Of a restyled stream that was not heard yet nothing may be in time: the old one knows.
        self._lineup.take_back(utterance, part, rest_follows=True)
        self._lineup.forget(utterance, part)
        if part.planned.restyle_of:
            self._respeak(utterance, part)
        else:
            utterance.plan_first(Planned(part.segment, part.planned.continues))

    def _respeak(self, utterance: Utterance, restyled: Part) -> None:
        """A restyled stream never came: say in words what it should have gone on with."""
        joint = restyled.planned.joint
        old = utterance.part(joint.old) if joint else None
        if old is not None and joint is not None:
            lane = self._lineup.lane_of(utterance)
            sounding, played_s = lane.position if lane else (0, 0.0)
            now_s = played_s + REJOIN_MARGIN_S if sounding == old.serial else 0.0
            self._rejoin(utterance, old, max(joint.at_s, now_s))
            return
        again = restyled.again(utterance.heard_to)
        if again is not None:
            utterance.plan_first(again)

    def _rejoin(
        self, utterance: Utterance, part: Part, from_s: float, *, whole: bool = False
    ) -> bool:
        """Go on with the first word at or after ``from_s`` of what ``part`` plays; False if there
        is none. ``whole``: as in `Part.unheard`."""
        if part.until_s is not None:  # what comes then is not its any more, wherever it is now
            from_s = min(from_s, part.until_s)
        rest = part.unheard(from_s, whole=whole)
        if rest is None:
            self._lineup.take_back(utterance, part, rest_follows=True)
            return False
        segment, at_s = rest
        self._lineup.replace(utterance, part, Planned(segment, part.serial), at_s)
        return True

    # --- another voice ------------------------------------------------------------------------

    def switch_now(self, voice: VoiceState | None, output: str | None) -> None:
        """The lines that sound go on in the current voice as it is to speak now, from the next
        chunk or word; those with a style in that of the voice, if it has one that is ready. None:
        those that are spoken in it already, the others as they were."""
        voices = self._lineup.voices
        for channel in self._lineup.channels_of(output):
            current = voice_of(self._lineup.current_voice(channel.name))
            for lane in channel.lanes:
                for utterance in [line for line in lane.utterances if line.begun]:
                    if voice is not None:
                        wanted = voices.ready_style(voice, utterance.line.style)
                        self._go_on(lane, utterance, wanted, channel.living)
                    elif voice_of(utterance.voice) == current:
                        wanted = voices.by_name[utterance.voice]
                        self._go_on(lane, utterance, wanted, channel.living)

    def _go_on(self, lane: Lane, utterance: Utterance, voice: VoiceState, living: Delivery) -> None:
        voices = self._lineup.voices
        spoken = voices.delivery(utterance.delivery, voice)
        utterance.living = living
        if not voices.as_ever(utterance.delivery, voice):
            utterance.take = None
        if utterance.voice != voice.name:
            utterance.voice = voice.name
            self._switch(lane, utterance, voice)
        elif spoken != voices.delivery(utterance.delivery, voice) and voices.own(utterance):
            self._switch(lane, utterance, voice)

    def _switch(self, lane: Lane, utterance: Utterance, voice: VoiceState) -> None:
        serial, played_s = lane.position
        part = utterance.part(serial)
        if part is not None and part.voice.name != voice.name:
            utterance.before = part.voice.name
        if part is None:  # between two segments: those made ahead are made again
            started = [p for p in utterance.parts if p.started]
            self._lineup.take_back(utterance, started[-1] if started else None)
            return
        same_engine = part.voice.engine == voice.engine and not part.canned
        if same_engine and self._lineup.voices.can_restyle(voice):
            at_s = played_s + RESTYLE_MARGIN_S
            restyled = Planned(
                part.segment, part.serial, Joint(part.serial, at_s), part.planned.start_s + at_s
            )
            self._lineup.replace(utterance, part, restyled)
        else:
            self._rejoin(utterance, part, played_s + REJOIN_MARGIN_S)
