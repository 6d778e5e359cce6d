"""The guards: what is wrong is told from the codes, and what is right passes."""

from __future__ import annotations

import random

import pytest

from koed.engine.gpt_sovits import guards
from koed.engine.gpt_sovits.guards import Limits, judge, limits
from tests.engine.gpt_sovits import pace_survey

PROMPT = random.Random(1).choices(range(1024), k=150)
BOUNDS = limits(40, 2.0)


def speech(count: int, seed: int = 2) -> list[int]:
    return random.Random(seed).choices(range(1024), k=count)


def test_usual_speech_passes_at_every_length() -> None:
    codes = speech(85)
    for count in range(1, len(codes)):
        assert judge(codes[:count], False, BOUNDS, PROMPT) is None
    assert judge(codes, True, BOUNDS, PROMPT) is None


@pytest.mark.parametrize(
    ("verdict", "codes", "ended"),
    [
        ("empty", [], True),
        ("early_end", speech(20), True),
        ("runaway", speech(BOUNDS.most), False),
        ("stuck", speech(20) + [7, 8] * 19, False),
        ("leak", speech(5) + PROMPT[30:45], False),
    ],
)
def test_each_fault_is_told(verdict: str, codes: list[int], ended: bool) -> None:
    assert judge(codes, ended, BOUNDS, PROMPT) == verdict


def test_the_prompt_in_pieces_is_a_leak_in_a_short_line_only() -> None:
    pieces = [code for at in range(0, 48, 6) for code in [*PROMPT[at : at + 5], 5000 + at]]
    assert judge(pieces, False, limits(8, 2.0), PROMPT) == "leak"
    assert judge(pieces, False, BOUNDS, PROMPT) is None


def test_silence_that_the_prompt_ends_with_is_no_leak() -> None:
    assert judge(speech(30) + [486] * 20, False, BOUNDS, [*PROMPT, *[486] * 20]) is None


def test_repeating_is_right_where_the_text_is_the_transcript() -> None:
    assert judge(PROMPT[:80], True, BOUNDS, PROMPT) == "leak"
    assert judge(PROMPT[:80], True, BOUNDS, []) is None


def test_a_silent_pause_is_not_stuck() -> None:
    assert judge(speech(20) + [7] * (guards.STUCK_CODES - 2), False, BOUNDS, PROMPT) is None


def test_short_lines_are_held_as_a_whole_and_long_ones_are_not() -> None:
    assert limits(10, 2.0).hold == limits(10, 2.0).most
    assert limits(60, 2.0).hold == 0


def test_limits_follow_the_pace_of_the_voice_within_reason() -> None:
    assert guards.pace(60, 150) == 2.5
    assert guards.pace(0, 0) == guards.USUAL_PACE
    assert guards.pace(10, 250) == guards.PACES[1]
    slow, fast = limits(40, guards.pace(60, 200)), limits(40, guards.pace(100, 120))
    assert slow.most > fast.most
    assert slow.fewest > fast.fewest > 0


def test_nothing_is_too_short_for_a_word_or_two() -> None:
    assert judge([1], True, limits(6, 2.0), PROMPT) is None


def test_the_verdict_hangs_on_nothing_but_the_codes() -> None:
    codes = speech(60)
    bounds = Limits(fewest=61, most=200, usual=80)
    assert {judge(codes, True, bounds, PROMPT) for _ in range(3)} == {"early_end"}


MEASURED = {9: 3.43, 15: 3.43, 30: 2.61, 60: 2.61, 150: 1.43}
"""Phones -> most codes of a line, over those that another line of its speaker lets expect. The
fewest were 0.60. Of a fluent reader and 60 learners of English: `pace_survey`, daemon/LOG.md."""


@pytest.mark.parametrize("phones", MEASURED)
@pytest.mark.parametrize("pace", [1.97, 2.37, 2.81, 3.4])
def test_all_that_was_measured_of_real_speech_passes(phones: int, pace: float) -> None:
    bounds = limits(phones, pace)
    for ratio in (0.6, 1.0, 1.43, MEASURED[phones]):
        codes = speech(round(ratio * phones * pace))
        assert judge(codes, True, bounds, PROMPT) is None, (ratio, bounds)
    assert judge(speech(int(0.4 * phones * pace)), True, bounds, PROMPT) == "early_end"
    assert judge(speech(round(3.1 * phones * pace) + 31), False, bounds, PROMPT) == "runaway"
    assert judge(PROMPT[:30], False, bounds, PROMPT) == "leak"
    assert judge([], True, bounds, PROMPT) == "empty"


def test_the_survey_tells_what_passes() -> None:
    usual = [pace_survey.Line("a", n, 2.5 * n) for n in (40, 50, 60)]
    found = pace_survey.survey(usual)
    assert (found["pairs"], found["passed"]) == (6, 1.0)
    assert found["ratio"] == {f"{p:g}": 1.0 for p in pace_survey.PERCENTILES}
    half = [*usual, pace_survey.Line("a", 60, 60.0), pace_survey.Line("b", 60, 700.0)]
    assert pace_survey.survey(half)["passed"] == 0.66667  # one of three is torn
