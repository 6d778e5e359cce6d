"""The voice changes in the middle of a line, and again, or slowly, or in vain: every word is said
once, and in order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.daemon.heart import CHAR_S, FRESH_HZ, LINE, SLACK_S, Air, Lender, words_heard
from tests.rigs import witness
from tests.rigs.daemon import tone

pytestmark = pytest.mark.slow

ANSWER = "and this is the answer"
SPEECH = "here is a line that is long enough to sound for a while as the voice is changed"

SLOW = {"chunk_ms": 100, "chunk_delay_ms": 300}
"""Makes sound three times slower than it is heard."""

PROFILES: dict[str, dict[str, Any]] = {
    "low": tone(400, char_ms=10),
    "high": tone(1000, char_ms=10),
    "third": tone(3000, char_ms=10),
    "late": tone(1600, char_ms=10, delay_ms=200),
    "later": tone(1600, char_ms=10, delay_ms=400),
    "fresh": tone(int(FRESH_HZ), char_ms=10),
    # Fail in what is said anew after a change: before its first sound, after it, for good or once.
    "brittle-0": tone(600, char_ms=10, fail_on="voice is"),
    "brittle-1": tone(600, char_ms=10, fail_on="is", trouble_at_chunk=1, **SLOW),
    "brittle-once": tone(600, char_ms=10, fail_on="line", trouble_at_chunk=1, **SLOW),
    "brittle-late": tone(600, char_ms=10, fail_on="is", trouble_at_chunk=1, delay_ms=500),
    "brittle-late-once": tone(600, char_ms=10, fail_on="line", trouble_at_chunk=1, delay_ms=500),
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


@pytest.fixture(scope="module")
def short_lender() -> Iterator[Lender]:
    """What it says is made just before it is heard."""
    engine = CONFIG["engine"] | {"lookahead_s": 0.2}
    text = CONFIG["text"] | {"first_segment_chars": 400}  # it is one piece, and not yet whole
    lending = Lender(CONFIG | {"engine": engine, "text": text}, PROFILES)
    yield lending
    lending.close()


@pytest.fixture
def short(short_lender: Lender) -> Iterator[Air]:
    yield from short_lender.lend()


# --- a change that fails --------------------------------------------------------------------------


@pytest.mark.parametrize("voice", [name for name in PROFILES if name.startswith("brittle")])
def test_what_is_said_anew_fails_when_the_old_sound_has_run_dry(short: Air, voice: str) -> None:
    """The line fails, or goes on with no word lost or said twice."""
    air, last = short, voice.endswith("once")
    first, second = air.say(LINE, voice="low"), air.say(ANSWER, voice="high")
    air.word(first, 3)
    air.client.set_voice(voice, "now")
    outcome = air.outcome(first)
    heard = words_heard(air.watch, first)
    assert heard == LINE.split()[: len(heard)]
    if last:
        assert (outcome, len(heard)) == ("finished", len(LINE.split()))
    assert air.outcome(second) == "finished"
    assert air.follows(first, second)
    assert words_heard(air.watch, second) == ANSWER.split()
    air.still_speaks()


# --- changes that follow each other ---------------------------------------------------------------


@pytest.mark.parametrize(
    "voices",
    [
        ("third", "high"),
        ("third", "low"),
        ("late", "high"),
        ("late", "low"),
        ("later", "late", "high"),
        ("third", "high", "third"),
    ],
)
def test_a_change_overtakes_another(air: Air, voices: tuple[str, ...]) -> None:
    first = air.say(LINE, voice="low")
    air.word(first, 3)
    for voice in voices:
        air.client.set_voice(voice, "now")
    assert air.outcome(first) == "finished"
    assert words_heard(air.watch, first) == LINE.split()
    tones = ("low", "third", "high", "late")
    assert air.seconds(*tones) == pytest.approx(CHAR_S * len(LINE), abs=SLACK_S)
    assert air.order()[-1] == voices[-1]
    air.still_speaks()


@pytest.mark.parametrize(
    "voices", [("human", "third"), ("third", "human"), ("human", "robo"), ("human", "low")]
)
def test_a_change_of_engine_overtakes_another(air: Air, voices: tuple[str, ...]) -> None:
    first = air.say(LINE, voice="low")
    air.word(first, 3)
    for voice in voices:
        air.client.set_voice(voice, "now")
    assert air.outcome(first) == "finished"
    assert words_heard(air.watch, first) == LINE.split()
    air.still_speaks()


@pytest.mark.parametrize("after", ["third", "late", "later"])
def test_a_slow_engine_takes_over_and_no_word_is_said_twice(air: Air, after: str) -> None:
    """The old one cannot go on within a word, and has all of the line ready."""
    first = air.say(SPEECH, voice="human")
    air.word(first, 3)
    air.client.set_voice(after, "now")
    assert air.outcome(first) == "finished"
    assert words_heard(air.watch, first) == SPEECH.split()
    air.still_speaks()


@pytest.mark.parametrize("after", ["later", "human"])
def test_a_slow_voice_takes_over_what_is_made_just_in_time(short: Air, after: str) -> None:
    first = short.say(LINE, voice="low")
    short.word(first, 3)
    short.client.set_voice(after, "now")
    assert short.outcome(first) == "finished"
    assert words_heard(short.watch, first) == LINE.split()
    short.still_speaks()


def test_the_engine_is_lost_right_after_a_change(air: Air) -> None:
    """What was to be said anew is said, by the worker that comes next."""
    first, second = air.say(LINE, voice="low"), air.say(ANSWER, voice="high")
    air.word(first, 3)
    pid = witness.worker(air.daemon)
    air.client.set_voice("later", "now")
    witness.kill(pid)
    air.told("engine.up", engine="tone")
    assert [air.outcome(line) for line in (first, second)] == ["finished", "finished"]
    assert air.follows(first, second)
    assert words_heard(air.watch, first) == LINE.split()
    assert words_heard(air.watch, second) == ANSWER.split()
    air.still_speaks()
