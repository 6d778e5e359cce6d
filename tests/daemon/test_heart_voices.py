"""The voice changes in the middle of a line: no word is lost or said twice, and neither is the next
line, whatever is done to either then."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.daemon.heart import (
    CHAR_S,
    ENDLESS,
    FRESH_HZ,
    LINE,
    SLACK_S,
    Air,
    Lender,
    words_heard,
)
from tests.rigs.daemon import tone

pytestmark = pytest.mark.slow

ANSWER = "and this is the answer"
ANSWER_IN_PIECES = "And this is the answer, in pieces. It has three of them. This is the third."

PROFILES: dict[str, dict[str, Any]] = {
    "low": tone(400, char_ms=10),
    "high": tone(1000, char_ms=10),
    "third": tone(3000, char_ms=10),
    "late": tone(1600, char_ms=10, delay_ms=200),
    "fresh": tone(int(FRESH_HZ), char_ms=10),
    "human": {"engine": "embedded", "lang": "en", "settings": {"voice": "slt", "rate": 2.0}},
    "robo": {"engine": "embedded", "lang": "en", "settings": {"voice": "kal16", "rate": 2.0}},
}
CONFIG: dict[str, Any] = {
    "voice": "low",
    "queue": {"line_pause_s": 0.05},
    # A line is made at once, however slowly it is heard; and an engine may take its time to return.
    "engine": {"lookahead_s": 30.0, "failover_wait_s": 60.0},
    "text": {"segment_chars": 400},  # behind its first words, a line is one piece
}


@pytest.fixture(scope="module")
def lender() -> Iterator[Lender]:
    lending = Lender(CONFIG, PROFILES)
    yield lending
    lending.close()


@pytest.fixture
def air(lender: Lender) -> Iterator[Air]:
    yield from lender.lend()


def whole(text: str) -> list[str]:
    """Its words as a voice tells them."""
    return text.replace(".", "").replace(",", "").split()


def told_words(air: Air, line: int) -> list[str]:
    return [word.strip(".,") for word in words_heard(air.watch, line)]


# --- the next line --------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [ANSWER, ANSWER_IN_PIECES])
@pytest.mark.parametrize(
    ("before", "after"),
    [("low", "third"), ("low", "human"), ("human", "third"), ("human", "robo")],
)
def test_the_next_line_is_heard_whole(air: Air, before: str, after: str, answer: str) -> None:
    """By an engine that goes on within a word, and by one that cannot."""
    first = air.say(LINE, voice=before)
    second = air.say(answer, voice="high")
    air.word(first, 3)
    air.client.set_voice(after, "now")
    assert [air.outcome(line) for line in (first, second)] == ["finished", "finished"]
    assert air.follows(first, second)
    assert told_words(air, first) == LINE.split()
    assert told_words(air, second) == whole(answer)
    assert air.end(second).spoken_s == pytest.approx(CHAR_S * len(answer), abs=SLACK_S)
    if "human" not in (before, after):  # somebody who speaks has a bit of every tone
        assert air.seconds("high") == pytest.approx(CHAR_S * len(answer), abs=SLACK_S)
    air.still_speaks()


@pytest.mark.parametrize("voice", ["high", "human"])
def test_a_prepared_line_is_heard_in_its_new_voice(air: Air, voice: str) -> None:
    """It named none."""
    air.client.set_voice("low")
    first = air.say(LINE)
    second = air.say(ANSWER)
    air.word(first, 3)
    air.client.set_voice(voice, "now")
    assert [air.outcome(line) for line in (first, second)] == ["finished", "finished"]
    assert air.follows(first, second)
    assert told_words(air, second) == ANSWER.split()
    assert air.told("utterance.started", utterance=second).voice == voice
    air.still_speaks()


# --- what is taken back after a change ------------------------------------------------------------


def skip(air: Air, first: int) -> None:
    assert air.client.skip() == first


def cancel(air: Air, first: int) -> None:
    assert air.client.cancel(first) == (first,)


def mute_and_unmute(air: Air, _: int) -> None:
    air.client.mute()
    air.settle()
    air.client.unmute()


def pause_and_skip(air: Air, first: int) -> None:
    air.client.pause()
    assert air.client.skip() == first
    air.client.resume()


def change(air: Air, at_once: bool, voice: str = "third") -> tuple[int, int]:
    """A long line goes on in another voice, with one behind it; ``at_once``: what is done next
    comes before a sound of that voice."""
    first, second = air.hold(ENDLESS, "low"), air.say(ANSWER, voice="high")
    air.settle(0.2)  # the one behind is prepared
    air.client.resume()
    air.word(first, 3)
    air.client.set_voice(voice, "now")
    if not at_once:
        air.word(first, len(words_heard(air.watch, first)) + 3)
    return first, second


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("act", [skip, cancel, mute_and_unmute, pause_and_skip])
def test_what_changed_its_voice_is_cut_and_the_next_line_is_heard(
    air: Air, act: Any, at_once: bool
) -> None:
    first, second = change(air, at_once)
    act(air, first)
    assert air.outcome(first) == "skipped"
    assert air.outcome(second) == "finished"
    assert told_words(air, second) == ANSWER.split()
    assert air.seconds("high") == pytest.approx(CHAR_S * len(ANSWER), abs=SLACK_S)
    assert air.order()[-1] == "high"
    air.still_speaks()


@pytest.mark.parametrize("at_once", [True, False])
def test_what_changed_its_voice_is_stopped_with_all(air: Air, at_once: bool) -> None:
    first, second = change(air, at_once)
    air.client.stop()
    assert (air.outcome(first), air.outcome(second)) == ("skipped", "dropped")
    assert air.still_speaks() == {first: "skipped", second: "dropped"}
    assert air.seconds("high") == 0.0


@pytest.mark.parametrize("at_once", [True, False])
def test_the_line_behind_is_cancelled_after_the_change(air: Air, at_once: bool) -> None:
    first, second = change(air, at_once)
    assert air.client.queue().has(second)
    air.client.cancel(second)
    third = air.say("the third", voice="high")
    assert air.end(second).reason == "cancel"
    air.client.skip()
    assert (air.outcome(first), air.outcome(third)) == ("skipped", "finished")
    assert air.seconds("high") == pytest.approx(CHAR_S * len("the third"), abs=SLACK_S)
    air.still_speaks()


def test_an_urgent_line_cuts_what_changed_its_voice(air: Air) -> None:
    first, second = change(air, at_once=False)
    urgent = air.say("fire", voice="late", priority="urgent")
    outcomes = [air.outcome(line) for line in (first, urgent, second)]
    assert outcomes == ["skipped", "finished", "finished"]
    assert air.order() == ["low", "third", "late", "high"]
    air.still_speaks()
