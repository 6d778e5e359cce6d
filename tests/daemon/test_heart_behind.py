"""Whatever becomes of the line that is prepared behind one that sounds, and although another fails
behind it, those after it are heard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.daemon.heart import CHAR_S, ENDLESS, FRESH_HZ, SLACK_S, Air, Lender
from tests.rigs import witness
from tests.rigs.daemon import tone

pytestmark = pytest.mark.slow

FIRST = "this is what sounds meanwhile"
SECOND = "the one behind"
BOOM = "boom"
PROFILES: dict[str, dict[str, Any]] = {
    "low": tone(400, char_ms=10),
    "high": tone(1000, char_ms=10),
    "fresh": tone(int(FRESH_HZ), char_ms=10),
    "bad": tone(600, char_ms=10, fail_on="boom"),
    "late": tone(1000, char_ms=10, delay_ms=250),
    "slow": tone(1000, char_ms=10, chunk_delay_ms=35),
}
CONFIG: dict[str, Any] = {
    "voice": "low",
    "queue": {"line_pause_s": 0.05},
    "engine": {"lookahead_s": 30.0},  # a line is made at once, however slowly it is heard
}
Act = Callable[[Air, int], tuple[int, str]]
"""Does something to a line; the line that is heard of then, and how it ends."""


@pytest.fixture(scope="module")
def lender() -> Iterator[Lender]:
    lending = Lender(CONFIG, PROFILES)
    yield lending
    lending.close()


@pytest.fixture
def air(lender: Lender) -> Iterator[Air]:
    yield from lender.lend()


def leave(air: Air, line: int) -> tuple[int, str]:
    return line, "finished"


def replace_by_key(air: Air, line: int) -> tuple[int, str]:
    new = air.say("the amended one", voice="high", key="k")
    assert air.end(line).reason == "replaced"
    return new, "finished"


def cancel(air: Air, line: int) -> tuple[int, str]:
    assert air.client.cancel(line) == (line,)
    return line, "dropped"


def expire(air: Air, line: int) -> tuple[int, str]:
    assert air.end(line).reason == "expired"
    return line, "dropped"


def skip_in_front(air: Air, line: int) -> tuple[int, str]:
    air.client.resume()
    air.client.skip()
    return line, "finished"


def lose_the_engine(air: Air, line: int) -> tuple[int, str]:
    witness.kill(witness.worker(air.daemon))
    air.told("engine.up", engine="tone")
    return line, "finished"


def mute_and_unmute(air: Air, line: int) -> tuple[int, str]:
    air.client.mute()
    air.settle()
    air.client.unmute()
    return line, "finished"


def another_voice(air: Air, line: int) -> tuple[int, str]:
    air.client.set_voice("high", "line")
    return line, "finished"


def overtake(air: Air, line: int) -> tuple[int, str]:
    """By an urgent line, which also cuts what sounds."""
    air.client.resume()
    assert air.outcome(air.say("fire", voice="high", priority="urgent")) == "finished"
    return line, "finished"


@pytest.mark.parametrize("voice", ["late", "slow", "high"])
@pytest.mark.parametrize(
    "act",
    [leave, replace_by_key, cancel, skip_in_front, mute_and_unmute, overtake],
)
def test_whatever_becomes_of_the_line_behind(air: Air, act: Act, voice: str) -> None:
    """It is prepared: nothing of it is there yet, a part, or all. A line behind it fails."""
    cut = act in (skip_in_front, overtake)  # the first one, which has to sound still
    first = air.hold(ENDLESS if cut else FIRST, "low")
    second = air.say(SECOND, voice=voice, key="k")
    third = air.say(BOOM, voice="bad")
    air.settle()
    line, wanted = act(air, second)
    air.client.resume()
    assert (air.outcome(line), air.outcome(third)) == (wanted, "failed")
    assert air.outcome(first) in (("skipped",) if cut else ("finished", "skipped"))
    air.still_speaks()


@pytest.mark.parametrize("voice", ["late", "high"])
def test_the_line_behind_expires(air: Air, voice: str) -> None:
    first = air.hold(FIRST, "low")
    second = air.say(SECOND, voice=voice, ttl_s=0.1)
    third = air.say(BOOM, voice="bad")
    expire(air, second)
    air.client.resume()
    assert [air.outcome(line) for line in (first, third)] == ["finished", "failed"]
    air.still_speaks()


@pytest.mark.parametrize("voice", ["late", "slow"])
def test_the_line_behind_loses_its_engine(air: Air, voice: str) -> None:
    first = air.hold(FIRST, "low")
    second = air.say(SECOND, voice=voice)
    third = air.say(BOOM, voice="bad")
    air.settle()
    lose_the_engine(air, second)
    air.client.resume()
    outcomes = [air.outcome(line) for line in (first, second, third)]
    assert outcomes == ["finished", "finished", "failed"]
    assert air.seconds("low") == pytest.approx(CHAR_S * len(FIRST), abs=SLACK_S)
    assert air.seconds("high") == pytest.approx(CHAR_S * len(SECOND), abs=SLACK_S)
    air.still_speaks()


def test_the_line_behind_gets_another_voice(air: Air) -> None:
    """It named none: it waits in the voice of before, and is made again."""
    first = air.hold(FIRST, "low")
    second = air.say(SECOND)
    third = air.say(BOOM, voice="bad")
    air.settle()
    another_voice(air, second)
    air.client.resume()
    outcomes = [air.outcome(line) for line in (first, second, third)]
    assert outcomes == ["finished", "finished", "failed"]
    assert air.order() == ["low", "high"]
    assert air.seconds("high") == pytest.approx(CHAR_S * len(SECOND), abs=SLACK_S)
    air.still_speaks()
