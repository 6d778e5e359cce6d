"""Whether koed can be heard: where it stops, and when that is told."""

from __future__ import annotations

from typing import Any

import pytest

from koe.protocol import StateChanged, Trouble
from koed.config.daemon import EngineConfig
from koed.errors import KoedError
from koed.playback import audible
from koed.playback.audible import Watch
from koed.playback.voice_choice import Engine, Voices, VoiceState

MUTED = KoedError("muted_there", "the sink is muted", "pactl")
NOBODY = KoedError("not_recorded", "nobody records it")


def voices(state: Any = "up", **of_low: Any) -> Voices:
    low = VoiceState("low", **{"engine": "a", "key": "k"} | of_low)
    other = VoiceState("other", engine="b", key="k")
    engines = {"a": Engine("a", state), "b": Engine("b", "up")}
    return Voices(EngineConfig(), {"low": low, "other": other}, engines)


@pytest.mark.parametrize("why", ["muted", "all_muted", "paused", "panic"])
def test_what_somebody_decided_is_told_with_what_lifts_it(why: Any) -> None:
    (error,) = audible.held(why)
    assert error.code == f"held_{why}"
    assert error.hint.startswith("koe ")
    assert audible.held("") == []


@pytest.mark.parametrize(
    ("there", "code"),
    [
        (voices(), ""),
        (voices("starting"), "engine_starting"),
        (voices("down"), "engine_down"),
        (voices("down", fallback="other"), ""),
        (voices(key=""), "engine_loading"),
        (voices(key="", fallback="other"), ""),
        (voices(key="", code="no_reference", message="gone"), "engine_no_reference"),
    ],
)
def test_a_voice_that_cannot_speak_now_is_told(there: Voices, code: str) -> None:
    assert [error.code for error in audible.engine(there, "low")] == [code] * bool(code)


def test_a_voice_that_there_is_not_is_told() -> None:
    assert audible.engine(voices(), "nobody")[0].code == "engine_loading"


def test_only_an_obs_that_is_known_to_be_deaf_is_told() -> None:
    assert audible.obs(None) == audible.obs(True) == []
    assert audible.obs(False)[0].code == "obs_deaf"


def test_a_change_is_told_once_it_was_seen_twice() -> None:
    watch = Watch("main")
    assert [watch.look([]) for _ in range(3)] == [[], [], []]
    assert watch.look([MUTED, NOBODY]) == []
    (told,) = watch.look([MUTED, NOBODY])
    assert isinstance(told, Trouble)
    assert (told.code, told.hint) == ("muted_there", "pactl")
    assert "main" in told.message
    assert "the sink is muted" in told.message
    assert watch.look([MUTED]) == []
    assert watch.look([NOBODY]) == watch.look([]) == []
    (told,) = watch.look([])
    assert isinstance(told, StateChanged)
    assert (told.state, told.output) == ("audible", "main")


def test_that_nobody_records_yet_is_no_news_at_a_start_but_a_mute_is() -> None:
    watch = Watch("main")
    assert [watch.look([NOBODY]) for _ in range(3)] == [[], [], []]
    watch = Watch("main")
    assert [len(watch.look([MUTED])) for _ in range(3)] == [0, 1, 0]


def test_what_has_events_of_its_own_is_not_told_again() -> None:
    watch = Watch("main")
    for _ in range(2):
        watch.look([])
    assert [watch.look(audible.held("muted")) for _ in range(2)] == [[], []]
    assert [watch.look([]) for _ in range(2)] == [[], []]


def test_what_is_so_again_after_what_has_events_of_its_own_is_no_news() -> None:
    """An engine that starts again for more than a second, or a pause."""
    watch = Watch("main")
    for seen in ([NOBODY], audible.held("paused"), [NOBODY]):
        assert [watch.look(seen) for _ in range(3)] == [[], [], []]
    for _ in range(2):
        watch.look([MUTED])
    for _ in range(2):
        watch.look(audible.held("paused"))
    assert watch.look([]) == []
    (told,) = watch.look([])
    assert isinstance(told, StateChanged), "that it was muted had been told"
    watch = Watch("main")
    for seen in (audible.held("paused"), [NOBODY]):  # as it was left
        assert [watch.look(seen) for _ in range(2)] == [[], []]
