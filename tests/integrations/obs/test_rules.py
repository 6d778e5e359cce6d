"""What scenes and the stream ask for."""

from __future__ import annotations

import itertools

import pytest

from koe.protocol import ModeName
from koed.config.obs import ObsConfig, SceneRule
from koed.integrations.obs import rules

OUTPUTS = ("main", "second")
MODES: tuple[ModeName | None, ...] = (None, "speak", "chat_muted", "all_muted")


def config(**settings: object) -> ObsConfig:
    scenes = {
        "Game *": SceneRule(voice="pattern"),
        "*": SceneRule(voice="second_pattern"),
        "Game [1]": SceneRule(voice="exact"),
        "Game 2": SceneRule(voice="exact_too"),
    }
    return ObsConfig(**{"scenes": scenes} | settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scene", "rule"),
    [
        ("Game 2", "Game 2"),  # exact beats the patterns before it
        ("Game [1]", "Game [1]"),  # a name with the marks of a pattern is a name first
        ("Game 1", "Game *"),  # the first pattern that fits, not the one that fits best
        ("game 1", "*"),  # upper and lower case differ, as in OBS
        ("", "*"),
    ],
)
def test_exact_beats_pattern_and_the_first_pattern_wins(scene: str, rule: str) -> None:
    name, found = rules.rule_for(scene, config())
    assert (name, found) == (rule, config().scenes[rule])


def test_otherwise_is_for_the_rest() -> None:
    only = {"Game": SceneRule(voice="a")}
    rest = SceneRule(voice="b")
    assert rules.rule_for("Chat", config(scenes=only, otherwise=rest)) == ("otherwise", rest)
    assert rules.rule_for("Chat", config(scenes=only)) == ("", SceneRule())


@pytest.mark.parametrize(("scene", "live"), list(itertools.product(MODES, MODES)))
def test_the_stricter_mode_wins(scene: ModeName | None, live: ModeName | None) -> None:
    wanted = max((scene, live), key=MODES.index)
    for is_live in (True, False):
        of_stream = {"live": live} if is_live else {"offline": live}
        settings = config(scenes={"A": SceneRule(mode=scene)}, **of_stream)
        decision = rules.decide("A", is_live, settings, OUTPUTS)
        assert decision.modes == {"main": wanted, "second": wanted}
        assert (decision.mode, decision.rule) == (scene, "A")
        other = rules.decide("A", not is_live, settings, OUTPUTS)
        assert other.modes == {"main": scene, "second": scene}


def test_a_rule_for_one_output_leaves_the_other() -> None:
    settings = config(scenes={"A": SceneRule(mode="all_muted", output="second")}, live="chat_muted")
    modes = rules.decide("A", True, settings, OUTPUTS).modes
    assert modes == {"main": "chat_muted", "second": "all_muted"}
    assert rules.decide("A", False, settings, OUTPUTS).modes == {
        "main": None,
        "second": "all_muted",
    }


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        (None, None, {}),  # nobody asks: what the user chose stays
        (None, "all_muted", {"main": "all_muted"}),
        ("all_muted", "all_muted", {}),  # asked before: the user may have changed it since
        ("all_muted", None, {"main": "speak"}),  # whoever muted must unmute
        ("chat_muted", "speak", {"main": "speak"}),
    ],
)
def test_only_changes_are_set(
    before: ModeName | None, after: ModeName | None, changes: dict[str, ModeName]
) -> None:
    """Of what the stream asks for."""
    off = rules.decide("A", False, config(scenes={}, offline=before), ["main"])
    on = rules.decide("B", True, config(scenes={}, live=after), ["main"])
    assert rules.mode_changes(off, on) == changes
    if before is None:
        assert rules.mode_changes(None, on) == changes


def test_a_scene_that_comes_decides_though_the_last_one_asked_for_the_same() -> None:
    """In one game the user let chat in by hand: the next one shuts it out again."""
    muted = SceneRule(mode="chat_muted")
    settings = config(scenes={"One": muted, "Two": muted, "Talk": SceneRule(mode="speak")})
    one, two = (rules.decide(scene, False, settings, OUTPUTS) for scene in ("One", "Two"))
    assert rules.mode_changes(one, two) == dict.fromkeys(OUTPUTS, "chat_muted")
    assert rules.mode_changes(one, rules.decide("One", True, settings, OUTPUTS)) == {}
    # a scene that only lets speak does not decide where the stream is stricter: what the user
    # chose for a rehearsal stays
    settings = config(scenes=settings.scenes, offline="chat_muted")
    here, talk = (rules.decide(scene, False, settings, OUTPUTS) for scene in ("Else", "Talk"))
    assert rules.mode_changes(here, talk) == {}
    # nor for an output that its rule does not mean
    one = rules.decide("One", False, settings, OUTPUTS)
    second = SceneRule(mode="chat_muted", output="second")
    settings = config(scenes=settings.scenes | {"Two": second}, offline="chat_muted")
    two = rules.decide("Two", False, settings, OUTPUTS)
    assert rules.mode_changes(one, two) == {"second": "chat_muted"}


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, False),
        ({"enabled": True}, True),
        ({"offline": "chat_muted"}, True),
        ({"otherwise": SceneRule()}, True),
        ({"scenes": {"A": SceneRule()}}, True),
        ({"scenes": {"A": SceneRule()}, "enabled": False}, False),
    ],
)
def test_koed_looks_for_obs_only_if_it_has_a_reason(
    settings: dict[str, object], wanted: bool
) -> None:
    assert ObsConfig(**settings).wanted is wanted  # type: ignore[arg-type]
