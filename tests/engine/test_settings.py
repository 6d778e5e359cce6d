"""Settings of an engine: a voice, or several mixed."""

from __future__ import annotations

import math
from typing import Any

import pytest

from koed.engine.settings import Mix, fingerprint, read
from koed.errors import EngineError

SCHEMA = {"voice": Mix({"ann": 1.0}, ("ann", "bob", "cat"), most=2)}


def voice(given: Any) -> Any:
    return read(SCHEMA, {"voice": given}, "it")["voice"]


def test_a_name_or_a_map_becomes_shares_of_one() -> None:
    assert read(SCHEMA, {}, "it") == {"voice": {"ann": 1.0}}
    assert voice("bob") == {"bob": 1.0}
    mixed = voice({"cat": 3, "ann": 1})
    assert mixed == {"ann": 0.25, "cat": 0.75}
    assert list(mixed) == ["ann", "cat"]
    assert voice(mixed) == mixed


@pytest.mark.parametrize(
    "given",
    [
        "", 1, None, ["ann"], {}, {"ann": 0}, {"ann": -1, "bob": 2}, {"ann": "1"}, {"ann": True},
        {"ann": math.inf}, {"ann": math.nan}, {"ann": 1e300, "bob": 1e300}, {1: 1}, {"dan": 1},
        {"ann": 1, "bob": 1, "cat": 1},
    ],
)  # fmt: skip
def test_what_is_no_mix_is_refused(given: Any) -> None:
    with pytest.raises(EngineError, match="at most 2 names to weights above 0") as error:
        voice(given)
    assert error.value.code == "bad_setting"


def test_a_wrong_name_is_told_with_what_was_meant() -> None:
    with pytest.raises(EngineError, match="did you mean 'bob'"):
        voice({"ann": 1, "bop": 1})


def test_one_more_name_to_choose_from_makes_no_other_version() -> None:
    more = {"voice": Mix({"ann": 1.0}, ("ann", "bob", "cat", "dan"), most=2)}
    assert fingerprint(more) == fingerprint(SCHEMA)
    assert fingerprint({"voice": Mix({"bob": 1.0}, ("ann", "bob"))}) != fingerprint(SCHEMA)
