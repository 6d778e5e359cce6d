"""The player: one input in, effects out. It has no socket, no device, no thread and no clock.

    commands ─┐                  ┌─▶ lists of the lanes, jobs of the engines
    engines  ─┼─▶ step(moment) ──┼─▶ events
    lanes    ─┘                  └─▶ an answer

The same inputs give the same effects. `koed.playback.dispatch` turns the world into inputs and
carries the effects out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from koe import protocol
from koed.config.daemon import Config
from koed.errors import KoedError
from koed.playback import inputs
from koed.playback.controls import Controls
from koed.playback.effects import Answer, Effect
from koed.playback.handover import Handover
from koed.playback.inputs import Moment
from koed.playback.lineup import Lineup, Takes
from koed.playback.progress import ProgressTracker, set_positions
from koed.playback.voice_choice import Engine, VoiceState
from koed.playback.watchdog import Watchdog

ROUTINE = (inputs.Received, inputs.Done, inputs.Mended, inputs.Heard, VoiceState, Engine)
"""Inputs that end nothing."""


class Player:
    """``lanes``: the number of each output's lower lane; the next number is its upper one."""

    def __init__(
        self, config: Config, lanes: Mapping[str, int], takes: Takes = lambda _text, _voice: None
    ) -> None:
        self.lineup = Lineup(config, lanes, takes)
        self._handover = Handover(self.lineup)
        self._controls = Controls(self.lineup, self._handover)
        self._progress = ProgressTracker(self.lineup)
        self.watchdog = Watchdog(self.lineup, self._handover)
        controls = self._controls
        self._steps: dict[type, Callable[[Any], Any]] = {
            inputs.Tick: self._tick,
            inputs.Submit: lambda item: self.lineup.submit(item.line, item.in_pieces),
            inputs.Amend: lambda item: self.lineup.amend(
                item.utterance, item.text, item.author, item.key
            ),
            inputs.Withdraw: controls.withdraw,
            inputs.Empty: controls.empty,
            inputs.Silence: self._silence,
            inputs.SetMode: lambda item: controls.set_mode(item.mode, item.output, item.by),
            inputs.Received: self._received,
            inputs.Done: self._done,
            inputs.Failed: lambda item: self._handover.job_failed(
                item.serial, item.code, item.message
            ),
            inputs.Mended: lambda item: self._handover.retried(item.serial, item.code),
            inputs.Lost: lambda item: self._handover.engine_lost(item.serials, item.code),
            inputs.Heard: self._heard,
            VoiceState: self._voice_is,
            Engine: self._engine_is,
            protocol.SayAppend: controls.append,
            protocol.SayClose: controls.close,
            protocol.Stop: controls.stop,
            protocol.Skip: controls.skip,
            protocol.Clear: controls.clear,
            protocol.Cancel: controls.cancel,
            protocol.Pause: controls.pause,
            protocol.Resume: controls.pause,
            protocol.Mute: controls.mute,
            protocol.Unmute: controls.mute,
            protocol.Panic: controls.panic,
            protocol.Release: controls.panic,
            protocol.Mode: controls.mode,
            protocol.Voice: controls.voice,
        }

    def step(self, moment: Moment, item: Any) -> list[Effect]:
        """Take in what happened; what is to be done about it, in order.

        ``item`` is of `koed.playback.inputs`, of `koed.playback.voice_choice` (a voice or an engine
        is so from now on) or one of the wire's requests. The last effect is an `Answer`.
        """
        lineup = self.lineup
        lineup.now = moment.now
        set_positions(lineup, moment.outputs)
        answer = Answer()
        try:
            if not isinstance(item, ROUTINE):  # what it may cut was heard until this moment
                self._progress.follow()
            answer = Answer(self._steps[type(item)](item))
        except KoedError as error:
            answer = Answer(error=error)
        lineup.fill()
        return [*lineup.declare(), answer]

    def behind_s(self) -> dict[tuple[str, int], float]:
        """For each engine and lane with jobs that still make sound: the seconds that stand behind
        the first of them. They wait for it, so that they are no reason not to make it."""
        found: dict[tuple[str, int], float] = {}
        for _, lane in self.lineup.lanes():
            parts = [part for line in lane.utterances for part in line.parts]
            for at, part in enumerate(parts):
                key = part.voice.engine, lane.number
                if part.generating and key not in found:
                    found[key] = sum(p.received_s + p.pause_s for p in parts[at + 1 :])
        return found

    def ends_within(self, seconds: float) -> bool:
        """Whether all that sounds will have been heard by then, as far as it is known: the last
        words may still be on their way from the engine."""
        return all(
            not u.begun or (u.exhausted and u.left_s(*lane.position) <= seconds)
            for _, lane in self.lineup.lanes()
            for u in lane.utterances
        )

    # --- inputs -------------------------------------------------------------------------------

    def _tick(self, _: inputs.Tick) -> None:
        self.lineup.expire()
        self.watchdog.look()

    def _silence(self, item: inputs.Silence) -> list[int]:
        return self.lineup.silence(self.lineup.channels[item.output], item.reason)

    def _received(self, item: inputs.Received) -> None:
        found = self.lineup.part_of(item.serial)
        if found is not None and found[1].generating:
            part = found[1]
            part.words.extend(item.words)
            part.mouths.extend(item.mouths)
            part.received_s += item.seconds

    def _done(self, item: inputs.Done) -> None:
        found = self.lineup.part_of(item.serial)
        if found is not None and found[1].generating:
            found[0].losses = 0
            self.lineup.complete(*found)

    def _heard(self, item: inputs.Heard) -> None:
        channel = self.lineup.channels[item.output]
        self._progress.report(channel, item.report, item.heard_t)

    def _voice_is(self, voice: VoiceState) -> None:
        self.lineup.voices.by_name[voice.name] = voice

    def _engine_is(self, engine: Engine) -> None:
        self.lineup.voices.engines[engine.name] = engine
