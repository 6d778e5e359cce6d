"""What `koed obs setup` plans, and what a real OBS has after it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from koed.cli import commands as cli
from koed.config.obs_looks import CaptionConfig, SetupConfig
from koed.integrations.obs import setup
from koed.integrations.obs.link import Link
from koed.integrations.obs.setup import ObsInput, Studio
from tools.counterparts.obs import ObsStudio

KINDS = ("image_source", "pulse_input_capture", "text_ft2_source_v2")
DESKTOP = ObsInput("Desktop Audio", "pulse_output_capture", device="default")
EMPTY = Studio(KINDS, (DESKTOP,), {"Talk": frozenset(), "Game": frozenset()}, "Talk", 1280, 720)
PATIENCE_S = 40.0
AUDIO = ObsInput("koed voice", "pulse_input_capture", "audio main", "koed_mic")
CAPTION = ObsInput("koed caption", "text_ft2_source_v2", "caption main")


def plan(studio: Studio, *scenes: str, mics: dict[str, str] | None = None, **looks: Any) -> Any:
    wanted = setup.wishes(
        mics or {"main": "koed_mic"}, {"main": CaptionConfig()}, SetupConfig(**looks), studio
    )
    return setup.plan(studio, wanted, scenes or (studio.current,))


def told(steps: Any) -> list[tuple[str, str, str]]:
    return [(step.action, step.name, step.scene) for step in steps]


def with_sources(*sources: ObsInput, **items: frozenset[str]) -> Studio:
    return replace(EMPTY, sources=(DESKTOP, *sources), items=EMPTY.items | items)


def test_all_is_made_once_and_placed_in_every_scene_asked_for() -> None:
    assert told(plan(EMPTY, "Talk", "Game")) == [
        ("create", "koed voice", "Talk"),
        ("place", "koed voice", "Game"),
        ("create", "koed caption", "Talk"),
        ("place", "koed caption", "Game"),
    ]
    both = frozenset({"koed voice", "koed caption"})
    assert told(plan(with_sources(AUDIO, CAPTION, Talk=both))) == [
        ("keep", "koed voice", ""),
        ("keep", "koed caption", ""),
    ]
    half = with_sources(AUDIO, CAPTION, Talk=both, Game=frozenset({"koed voice"}))
    assert ("place", "koed caption", "Game") in told(plan(half, "Talk", "Game"))


def test_what_koed_made_follows_the_configuration_even_if_renamed() -> None:
    renamed = with_sources(replace(AUDIO, name="voice"), Talk=frozenset({"voice"}))
    assert told(plan(renamed, mics={"main": "other_mic"}))[:2] == [
        ("adjust", "voice", ""),
        ("rename", "voice", ""),
    ]


def test_what_the_user_made_is_used_and_left_alone() -> None:
    own = with_sources(replace(AUDIO, name="my mic", mark=""), replace(CAPTION, mark=""))
    assert told(plan(own)) == [("keep", "my mic", ""), ("keep", "koed caption", "")]
    assert setup.plan_removal(own) == []


@pytest.mark.parametrize(
    ("studio", "scenes", "name"),
    [
        (with_sources(ObsInput("koed caption", "image_source")), ("Talk",), "koed caption"),
        (with_sources(**{"koed voice": frozenset()}), ("Talk",), "koed voice"),
        (replace(EMPTY, kinds=("wasapi_input_capture", "text_gdiplus_v3")), (), "koed voice"),
        (EMPTY, ("Tlak",), "Tlak"),
    ],
    ids=["another kind", "a scene of that name", "an OBS on Windows", "no such scene"],
)
def test_what_cannot_be_done_is_said_before_anything_is(
    studio: Studio, scenes: tuple[str, ...], name: str
) -> None:
    refused = [step for step in plan(studio, *scenes) if step.action == "cannot"]
    assert [step.name for step in refused] == [name]
    assert refused[0].hint


def test_removal_takes_the_marked_ones_alone() -> None:
    studio = with_sources(AUDIO, replace(CAPTION, mark=""), ObsInput("x", "image_source"))
    assert told(setup.plan_removal(studio)) == [("remove", "koed voice", "")]


def test_several_outputs_and_the_newest_text_kind() -> None:
    studio = replace(EMPTY, kinds=("pulse_input_capture", "text_gdiplus_v2", "text_gdiplus_v3"))
    steps = plan(studio, mics={"main": "koed_mic", "second": "koed_mic_2"})
    assert [(s.name, s.wish.kind, s.wish.device) for s in steps] == [
        ("koed voice", "pulse_input_capture", "koed_mic"),
        ("koed voice second", "pulse_input_capture", "koed_mic_2"),
        ("koed caption", "text_gdiplus_v3", ""),
    ]


# --- a real OBS ------------------------------------------------------------------------------


@pytest.fixture
def link(obs: ObsStudio) -> Iterator[Link]:
    with obs.link() as link:
        yield link


def koed_obs(
    *words: str, capsys: pytest.CaptureFixture[str], config: Path
) -> tuple[int, dict[str, Any]]:
    code = cli.main(["obs", "--config", str(config), "setup", "--json", *words])
    return code, json.loads(capsys.readouterr().out)


def test_set_up_twice_remove_and_nothing_else_changed(
    obs: ObsStudio,
    link: Link,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in obs.koed_environ().items():
        monkeypatch.setenv(name, value)
    path = tmp_path / "koed.yaml"
    path.write_text(json.dumps({"obs": {"port": obs.port, "captions": {"main": {"width": 30}}}}))
    obs.scenes(link, "Talk", "Game")
    link.call(
        "CreateInput", sceneName="Talk", inputName="mine", inputKind="text_ft2_source_v2",
        inputSettings={"text": "not koed's"}, sceneItemEnabled=True,
    )  # fmt: skip
    before = setup.look(link)

    code, said = koed_obs("--scene", "Talk", "--dry-run", capsys=capsys, config=path)
    assert (code, said["done"]) == (0, 0)
    assert setup.look(link) == before, "a dry run changes nothing"
    monkeypatch.setattr(sys, "stdin", open("/dev/null"))  # noqa: SIM115
    code, said = koed_obs("--scene", "Talk", capsys=capsys, config=path)
    assert (code, said["done"]) == (1, 0), "nobody said yes"

    every = ("--scene", "Talk", "--scene", "Game", "--yes")
    code, said = koed_obs(*every, capsys=capsys, config=path)
    assert (code, said["done"], said["good"]) == (0, 4, True)
    assert said["deaf"] == ["koed voice"], "this OBS has no sound server"
    made = setup.look(link)
    assert made.items["Game"] == {"koed voice", "koed caption"}
    assert made.items["Talk"] == {"koed voice", "koed caption", "mine"}
    assert drawn(link, "Talk", "koed caption", "Some words, 声")
    code, said = koed_obs(*every, capsys=capsys, config=path)
    assert (code, said["done"]) == (0, 0), "all is there already"
    assert setup.look(link) == made
    assert said["deaf"] == ["koed voice"], "it was so already"

    code, said = koed_obs("--remove", "--yes", capsys=capsys, config=path)
    assert (code, said["done"]) == (0, 2)
    code, said = koed_obs("--scene", "Talk", "--yes", capsys=capsys, config=path)
    assert (code, said["done"]) == (0, 2), "again at once, while OBS still removes the old ones"
    assert koed_obs("--remove", "--yes", capsys=capsys, config=path)[0] == 0
    assert link.call("GetInputSettings", inputName="mine")["inputSettings"]["text"] == "not koed's"
    link.call("RemoveInput", inputName="mine")


def drawn(link: Link, scene: str, source: str, text: str) -> bool:
    """Whether OBS draws a text, within the picture and as high as letters; OBS 30.2 makes a source
    of 4 by 4 pixels before."""
    link.call("SetInputSettings", inputName=source, inputSettings={"text": text}, overlay=True)
    item = link.call("GetSceneItemId", sceneName=scene, sourceName=source)["sceneItemId"]
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        place = link.call("GetSceneItemTransform", sceneName=scene, sceneItemId=item)
        place = place["sceneItemTransform"]
        if place["height"] > 20 and place["positionY"] - place["height"] >= 0:
            assert place["positionX"] + place["width"] <= 1280
            return True
        link.call("GetVersion")
    return False
