"""Captions and figures in a real OBS: there while it is heard, gone after, right at the start."""

from __future__ import annotations

import itertools
import textwrap
from typing import Any

import pytest
from test_captions import finished, hear, started, words

from koe.protocol import UtteranceSkipped, VoiceChanged
from koed.config.obs_looks import CaptionConfig, LookConfig
from koed.integrations.obs.figures import Figures
from koed.integrations.obs.link import Link
from koed.integrations.obs.prompter import Board, colour_settings
from koed.testing.rig import Rig, rig
from tests.rigs.waiting import wait_for
from tools.counterparts.obs import ObsStudio

CAPTION, HEAD, SLOW_HEAD = "koed caption", "low's head", "high's head"
WIDTH = 20
WORDS = ["one", "two", "three", *map("".join, itertools.product(("ka", "se", "mi", "to", "lu"),
         ("ra", "ne", "bi", "do", "fu", "ga", "ve", "zo")))]  # fmt: skip
LONG = " ".join(WORDS)
"""13 seconds: it is always ended by somebody, however late."""
SHORT = "a line that is seen for some seconds and then ends by itself"
PATIENCE_S = 40.0
TONE = {"engine": "tone", "lang": "en", "settings": {"char_ms": 60}}
PROFILES = {"low": TONE, "high": TONE}
COLOUR = "#ff8000"


class Picture:
    """What is to be seen in OBS."""

    def __init__(self, link: Link) -> None:
        self.link = link

    def make(self) -> None:
        """As a koed that crashed left it: a caption, and a head that is shown."""
        self.link.call(
            "CreateInput", sceneName="Talk", inputName=CAPTION, inputKind="text_ft2_source_v2",
            inputSettings={"text": "left behind"}, sceneItemEnabled=True,
        )  # fmt: skip
        for name in (HEAD, SLOW_HEAD):
            self.link.call(
                "CreateInput", sceneName="Talk", inputName=name, inputKind="color_source_v3",
                inputSettings={}, sceneItemEnabled=True,
            )  # fmt: skip
        self.link.call("CreateSceneItem", sceneName="Game", sourceName=HEAD)

    @property
    def settings(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.link.call("GetInputSettings", inputName=CAPTION)
        return answer["inputSettings"]

    @property
    def text(self) -> str:
        return str(self.settings["text"])

    def head(self, scene: str, name: str = HEAD) -> bool:
        item = self.link.call("GetSceneItemId", sceneName=scene, sourceName=name)["sceneItemId"]
        where = {"sceneName": scene, "sceneItemId": item}
        return bool(self.link.call("GetSceneItemEnabled", **where)["sceneItemEnabled"])

    def empty(self) -> bool:
        return not self.text and not self.head("Talk") and not self.head("Game")


def test_what_is_seen_follows_what_is_heard() -> None:
    with ObsStudio() as obs, obs.link() as link:
        obs.scenes(link, "Talk", "Game")
        picture = Picture(link)
        picture.make()
        config = {
            "voice": "low",
            "obs": obs.config()
            | {
                "captions": {"main": {"linger_s": 0.5, "width": WIDTH}},
                "voices": {
                    "low": {"figure": HEAD, "colour": COLOUR, "figure_linger_s": 0.0},
                    "high": {"figure": SLOW_HEAD, "figure_linger_s": 60.0},
                },
            },
        }
        with rig(config, PROFILES, environ=obs.koed_environ()) as running:
            running.wait_ready()
            wait_for(picture.empty, PATIENCE_S, "what was left behind is cleared away")
            _speaks_and_is_stopped(running, picture)
            _ends_by_itself(running, picture)
            _is_placed_elsewhere(running, picture)
            running.client.say(LONG)
            wait_for(lambda: picture.text, PATIENCE_S, "a caption")
            assert picture.head("Talk", SLOW_HEAD), "it lingers"
        wait_for(picture.empty, PATIENCE_S, "nothing stays when koed ends in mid-line")
        assert not picture.head("Talk", SLOW_HEAD)


def _speaks_and_is_stopped(running: Rig, picture: Picture) -> None:
    seen: list[str] = []

    def grows() -> bool:
        seen.append(picture.text)
        return len(set(seen)) > 3 and "\n" in seen[-1]

    running.client.say(LONG)
    wait_for(grows, PATIENCE_S, "word by word, wrapped to the width")
    assert picture.head("Talk")
    assert picture.head("Game"), "in every scene"
    assert picture.settings["color1"] == 0xFF0080FF, "0xAABBGGRR"
    running.client.stop()
    wait_for(picture.empty, PATIENCE_S, "stopped")
    shown = [textwrap.wrap(" ".join(WORDS[:number]), WIDTH)[-2:] for number in range(len(WORDS))]
    places = [shown.index(text.split("\n") if text else []) for text in seen]
    assert places == sorted(places)


def _ends_by_itself(running: Rig, picture: Picture) -> None:
    running.client.say(SHORT, voice="high")
    text = wait_for(lambda: picture.text, PATIENCE_S, "the caption of another voice")
    assert text.replace("\n", " ") in SHORT
    assert not picture.head("Talk"), "it has another figure"
    wait_for(lambda: picture.head("Talk", SLOW_HEAD), PATIENCE_S, "its own")
    assert picture.settings["color1"] == 0xFFFFFFFF, "white, since another voice has a colour"
    wait_for(picture.empty, PATIENCE_S, "silence")


def _is_placed_elsewhere(running: Rig, picture: Picture) -> None:
    """A scene that comes while koed runs has the figure as well."""
    picture.link.call("CreateScene", sceneName="New")
    item = picture.link.call("CreateSceneItem", sceneName="New", sourceName=HEAD)
    where = {"sceneName": "New", "sceneItemId": item["sceneItemId"]}
    wait_for(
        lambda: not picture.link.call("GetSceneItemEnabled", **where)["sceneItemEnabled"],
        PATIENCE_S,
        "the new one is hidden like the others",
    )
    running.client.say(LONG)
    wait_for(lambda: picture.head("New"), PATIENCE_S, "and shown")
    running.client.stop()
    wait_for(lambda: picture.empty() and not picture.head("New"), PATIENCE_S, "and hidden")


# --- how often -------------------------------------------------------------------------------


def test_a_board_does_not_flood_and_clears_at_once() -> None:
    board = Board("main", CaptionConfig(min_interval_ms=100.0), {}, stream=False)
    hear(board.captions, *words(1, "a b c d e f g h i j", 10.0, each_s=0.01))
    assert board.turn(10.0) is None, "there is no source yet"
    board.found("text_ft2_source_v2")
    sent = []
    for step in range(20):
        now = 10.0 + step / 100
        caption = board.turn(now)
        if caption is not None:
            sent.append((round(now, 2), caption.text))
    assert sent == [(10.0, "a"), (10.1, "a b c d e f g h i j")]
    assert board.due_t() is None
    hear(board.captions, finished(1, 10.15), *words(2, "k l", 10.2, each_s=0.01))
    assert board.turn(10.2) is not None
    assert board.turn(10.21) is None
    assert board.due_t() == pytest.approx(10.3), "the newest is not forgotten"
    hear(board.captions, UtteranceSkipped(t=10.22, utterance=2, output="main", reason="stop"))
    cleared = board.turn(10.22)
    assert cleared is not None
    assert cleared.text == "", "an empty caption does not wait"
    board.found("text_ft2_source_v2")
    assert board.turn(10.23) is not None, "after a look, what OBS shows is not known"


def test_figures_follow_a_voice_that_changes_and_lines_that_overlap() -> None:
    looks = {"hana": LookConfig(figure="A", figure_linger_s=0.5), "ken": LookConfig(figure="B")}
    figures = Figures(looks)
    for event in (started(1, "one", 10.0), started(2, "two", 11.0, "ken", output="second")):
        figures.hear(event)
    assert figures.at(9.9) == set()
    assert figures.due_t(9.9) == 10.0
    assert figures.at(10.0) == {"A"}
    assert figures.at(11.0) == {"A", "B"}
    figures.hear(UtteranceSkipped(t=11.5, utterance=2, output="second", reason="stop"))
    assert figures.at(11.5) == {"A"}, "stopped: at once"
    figures.hear(VoiceChanged(t=12.0, voice="ken", previous="hana", when="now", output="main"))
    assert figures.at(12.0) == {"B"}
    figures.hear(VoiceChanged(t=12.5, voice="hana", previous="ken", when="now", output=None))
    figures.hear(finished(1, 13.0))
    assert figures.due_t(12.6) == pytest.approx(13.5)
    assert figures.at(13.4) == {"A"}
    assert figures.at(13.6) == set()
    assert figures.due_t(13.6) is None


def test_colours_of_the_two_kinds_of_text_sources() -> None:
    assert colour_settings("text_gdiplus_v3", COLOUR) == {"color": 0x0080FF}
    both = colour_settings("text_ft2_source_v2", COLOUR)
    assert both == {"color1": 0xFF0080FF, "color2": 0xFF0080FF}
