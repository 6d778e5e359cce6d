"""What the tests of the heart share: a daemon that is lent from test to test, and what its lines
say of themselves.

A test that finds a fault may leave a daemon that is silent for ever. It is replaced before the next
test, so that each fails for its own reason.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from koed.testing.rig import Rig, Watch, rig
from tests.rigs import hearing, witness
from tests.rigs.waiting import wait_for

DEADLINE_S = 40.0
"""What has not happened by then does not happen: every line here is over in some seconds, and a
machine that stands still for a while makes no fault of ours."""

CHAR_S = 0.01
SLACK_S = 0.05
"""Windows of sound at the edges of a line and of its joints that may be counted or not."""

LINE = (
    "this line is long enough to sound for as long as anybody may take to change something in the "
    "midst of it even on a computer that has other things to do and stands still for a second or "
    "two before it goes on and the voice is changed in it"
)
"""What is done to it is done while it sounds."""
ENDLESS = " ".join([LINE] * 8)
"""It sounds until it is cut, however late."""

FRESH_HZ = 2000.0
FRESH_TEXT = "all is well again"


def words_heard(watch: Watch, utterance: int) -> list[str]:
    """The words as they were told, in that order. One that was torn, and is said again at once,
    counts once."""
    told = witness.told(watch, "utterance.progress", utterance=utterance, kind="word")
    return [
        event.text
        for number, event in enumerate(told)
        if not number or event.start != told[number - 1].start
    ]


def all_ended_once(watch: Watch) -> dict[int, str]:
    """How every line ended that was queued: each does, and says so once."""

    def ends() -> list[tuple[int, str]]:
        return [(e.utterance, e.event) for e in list(watch.events) if e.event in witness.ENDS]  # type: ignore[attr-defined]

    def left() -> set[int]:
        queued = {event.utterance for event in witness.told(watch, "utterance.queued")}
        return queued - {utterance for utterance, _ in ends()}

    with contextlib.suppress(AssertionError):  # which of them is better to read
        wait_for(lambda: not left(), DEADLINE_S)
    assert not left(), f"lines that never end: {sorted(left())}"
    often = {u: n for u, n in Counter(utterance for utterance, _ in ends()).items() if n > 1}
    assert not often, f"lines that ended more than once: {often}"
    return {utterance: witness.ENDS[event] for utterance, event in ends()}


class Air:
    """One test's daemon, its events, and what was heard since the test began."""

    def __init__(self, daemon: Rig, voices_hz: dict[str, float]) -> None:
        self.daemon = daemon
        self.client = daemon.client
        self.watch = witness.watch(daemon)
        self.hz = voices_hz
        self.began = daemon.mark()
        self.well = False
        """The test saw to its end that the daemon speaks."""

    def say(self, text: str, **rest: Any) -> int:
        return self.client.say(text, **rest).utterance

    def told(self, name: str, **values: Any) -> Any:
        """The first such event so far or to come."""
        found = wait_for(
            lambda: witness.told(self.watch, name, **values), DEADLINE_S, f"{name} {values}"
        )
        return found[0]

    def started(self, utterance: int) -> None:
        self.told("utterance.started", utterance=utterance)

    def word(self, utterance: int, number: int) -> None:
        """Until so many words of a line have begun."""
        wait_for(
            lambda: len(words_heard(self.watch, utterance)) >= number,
            DEADLINE_S,
            f"word {number} of line {utterance}",
        )

    def end(self, utterance: int) -> Any:
        """The event that ended a line."""
        return witness.end(self.watch, utterance, DEADLINE_S)

    def outcome(self, utterance: int) -> str:
        return witness.ENDS[self.end(utterance).event]

    def follows(self, first: int, second: int) -> bool:
        """Whether one line was over when the other began."""
        return bool(self.told("utterance.started", utterance=second).seq > self.end(first).seq)

    def windows(self, since: int | None = None) -> list[str]:
        """Which voice sounds in each window since a mark."""
        sound = self.daemon.sound_from(self.began if since is None else since)
        return hearing.voices(sound, self.hz)

    def order(self, since: int | None = None) -> list[str]:
        return hearing.order(self.windows(since))

    def seconds(self, *voices: str) -> float:
        """For how long these voices sounded."""
        windows = self.windows()
        return sum(hearing.seconds(windows, voice) for voice in voices)

    def hold(self, text: str, voice: str) -> int:
        """A line that has begun, and is paused: what is said now is prepared behind it, at
        leisure. `Client.resume` lets it go on."""
        said = self.say(text, voice=voice)
        self.started(said)
        self.client.pause()
        return said

    def settle(self, seconds: float = 0.05) -> int:
        """Let the output play on for so long; the frame at its end."""
        mark = hearing.played_on(self.daemon, max(seconds, hearing.FADED_S))
        return mark + round(hearing.FADED_S * 48000)

    def still_speaks(self) -> dict[int, str]:
        """A new line is begun, over, and heard whole and alone; all others are over by then, each
        in exactly one way, which is returned."""
        ends = all_ended_once(self.watch)
        mark = self.settle()
        said = self.say(FRESH_TEXT, voice="fresh")
        self.started(said)
        assert self.outcome(said) == "finished"
        windows = self.windows(mark)
        assert hearing.order(windows) == ["fresh"]
        assert hearing.seconds(windows, "fresh") == pytest.approx(
            CHAR_S * len(FRESH_TEXT), abs=SLACK_S
        )
        assert all_ended_once(self.watch) == ends | {said: "finished"}
        self.well = True
        return ends

    def close(self) -> None:
        self.watch.close()


class Lender:
    """Lends one daemon to the tests of a module, and makes another after one that was spoiled."""

    def __init__(self, config: dict[str, Any], profiles: dict[str, dict[str, Any]]) -> None:
        self._config = config
        self._profiles = profiles
        self._stack = contextlib.ExitStack()
        self._daemon: Rig | None = None
        self._hz = {
            name: float(profile["settings"]["hz"])
            for name, profile in profiles.items()
            if profile["engine"] == "tone"
        }

    def lend(self) -> Iterator[Air]:
        if self._daemon is None:
            started = self._stack.enter_context(rig(self._config, self._profiles))
            started.wait_ready()
            self._daemon = started
        for engine in sorted({profile["engine"] for profile in self._profiles.values()}):
            witness.worker(self._daemon, engine)
        air = Air(self._daemon, self._hz)
        yield air
        air.close()
        if air.well:
            self._daemon.client.set_voice(self._config["voice"])
        else:
            self.close()

    def close(self) -> None:
        self._daemon = None
        self._stack.close()
