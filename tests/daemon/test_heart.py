"""A line fails behind one that sounds, and those after it are heard all the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.daemon.heart import CHAR_S, DEADLINE_S, FRESH_HZ, SLACK_S, Air, Lender, words_heard
from tests.rigs import hearing
from tests.rigs.daemon import tone
from tests.rigs.waiting import wait_for

LONG = "this line is heard for a while as others fail"
BOOM = "unmistakablyboom"
"""One word, so that what is tried again is all of it: 160 ms of sound, 8 chunks."""
SPEECH = "This is heard as others fail."


def failing(**settings: Any) -> dict[str, Any]:
    return tone(600, char_ms=10, fail_on="boom", **settings)


PROFILES: dict[str, dict[str, Any]] = {
    "low": tone(400, char_ms=10),
    "high": tone(1000, char_ms=10),
    "fresh": tone(int(FRESH_HZ), char_ms=10),
    "bad": failing(),
    "bad-asked": failing(delay_ms=150),
    "bad-first": failing(trouble_at_chunk=1),
    "bad-slow": failing(trouble_at_chunk=1, chunk_delay_ms=80),
    "bad-last": failing(trouble_at_chunk=7),
    "robo": {"engine": "embedded", "lang": "en", "settings": {"voice": "kal16", "rate": 2.0}},
}
CONFIG: dict[str, Any] = {
    "voice": "low",
    "queue": {"line_pause_s": 0.05},
    "engine": {"lookahead_s": 30.0},  # a line is made at once, however slowly it is heard
}
FAILS = ["bad", "bad-asked", "bad-first", "bad-slow", "bad-last"]
"""Before anything of it is asked for, before its first chunk, after it, and before its last."""


@pytest.fixture(scope="module")
def lender() -> Iterator[Lender]:
    lending = Lender(CONFIG, PROFILES)
    yield lending
    lending.close()


@pytest.fixture
def air(lender: Lender) -> Iterator[Air]:
    yield from lender.lend()


def heard_whole(air: Air, voice: str, characters: int) -> None:
    assert air.seconds(voice) == pytest.approx(CHAR_S * characters, abs=SLACK_S)


@pytest.mark.parametrize("voice", FAILS)
def test_a_line_fails_behind_one_that_sounds(air: Air, voice: str) -> None:
    first = air.hold(LONG, "low")
    second = air.say(BOOM, voice=voice)
    assert air.outcome(second) == "failed"
    third = air.say("the third", voice="high")
    air.client.resume()
    assert air.outcome(first) == "finished"
    air.started(third)
    assert air.outcome(third) == "finished"
    assert air.order() == ["low", "high"]
    heard_whole(air, "low", len(LONG))
    heard_whole(air, "high", len("the third"))
    assert air.still_speaks() == {first: "finished", second: "failed", third: "finished"}


def test_nobody_is_paused_and_a_line_fails_behind_one_that_sounds(air: Air) -> None:
    """As it comes on air: all three are asked for at once."""
    first = air.say(LONG, voice="low")
    second = air.say(BOOM, voice="bad-asked")
    third = air.say("the third", voice="high")
    outcomes = [air.outcome(line) for line in (first, second, third)]
    assert outcomes == ["finished", "failed", "finished"]
    assert words_heard(air.watch, first) == LONG.split()
    air.still_speaks()


@pytest.mark.parametrize("voice", ["bad", "bad-last"])
def test_a_line_that_waited_behind_two_fails_behind_the_second(air: Air, voice: str) -> None:
    first = air.hold("the first", "low")
    second = air.say(LONG, voice="high")
    third = air.say(BOOM, voice=voice)
    fourth = air.say("the fourth", voice="low")
    air.client.resume()
    outcomes = [air.outcome(line) for line in (first, second, third, fourth)]
    assert outcomes == ["finished", "finished", "failed", "finished"]
    assert air.order() == ["low", "high", "low"]
    heard_whole(air, "high", len(LONG))
    air.still_speaks()


@pytest.mark.parametrize("voice", ["bad", "bad-first"])
def test_two_lines_fail_one_after_the_other(air: Air, voice: str) -> None:
    first = air.hold(LONG, "low")
    failed = [air.say(BOOM, voice=voice) for _ in range(2)]
    assert [air.outcome(line) for line in failed] == ["failed", "failed"]
    air.client.resume()
    assert air.outcome(first) == "finished"
    heard_whole(air, "low", len(LONG))
    air.still_speaks()


def test_the_second_segment_fails_while_the_first_is_whole(air: Air) -> None:
    first = air.hold(LONG, "low")
    second = air.say(f"This goes well so far. And now {BOOM}.", voice="bad")
    assert air.outcome(second) == "failed"
    air.client.resume()
    assert air.outcome(first) == "finished"
    air.still_speaks()
    assert air.seconds("bad") == 0.0


def test_a_line_fails_while_it_sounds_and_one_waits(air: Air) -> None:
    """Here the voice sounds until the trouble comes."""
    first = air.say(f"one two three {BOOM}", voice="bad-last")
    second = air.say("the second", voice="high")
    assert [air.outcome(line) for line in (first, second)] == ["failed", "finished"]
    heard_whole(air, "high", len("the second"))
    air.still_speaks()


def test_urgent_lines_go_on_after_a_line_failed_behind_one_that_sounds(air: Air) -> None:
    first = air.hold(LONG, "low")
    second = air.say(BOOM, voice="bad")
    assert air.outcome(second) == "failed"
    air.client.resume()
    assert air.outcome(first) == "finished"
    urgent = air.say("fire", voice="high", priority="urgent")
    air.started(urgent)
    assert air.outcome(urgent) == "finished"
    air.still_speaks()


def test_a_language_that_nobody_speaks_behind_a_line_that_sounds(air: Air) -> None:
    """As a viewer found it: one such line, and the daemon is silent for ever."""
    first = air.hold(SPEECH, "robo")
    second = air.say("test", voice="robo", lang="aa")  # Afar: espeak-ng has none
    failed = air.end(second)
    assert (failed.event, failed.code) == ("utterance.failed", "unknown_language")
    air.client.resume()
    assert air.outcome(first) == "finished"
    assert words_heard(air.watch, first) == SPEECH.rstrip(".").split()
    third = air.say("Good.", voice="robo")
    air.started(third)
    assert air.outcome(third) == "finished"
    air.still_speaks()


def test_the_daemon_plays_no_silence_as_an_outage(air: Air) -> None:
    """A line that failed is nothing that the output waits for."""

    def starved() -> int:
        return int(air.client.status()["outputs"]["main"]["starved_frames"])

    first = air.hold(LONG, "low")
    assert air.outcome(air.say(BOOM, voice="bad")) == "failed"
    before = starved()
    air.client.resume()
    assert air.outcome(first) == "finished"
    hearing.played_on(air.daemon, 0.3)
    wait_for(lambda: not air.client.queue().speaking, DEADLINE_S, "nothing speaks")
    assert starved() == before
    air.still_speaks()
