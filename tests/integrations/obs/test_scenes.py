"""A real OBS and a real koed: what scenes and the stream do, and requests both ways."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from koe.client import Refused
from koed.cli import commands as cli
from koed.integrations.obs.link import Link
from koed.integrations.obs.session import Session
from koed.integrations.obs.signals import OnAir, Signal
from koed.testing.rig import Rig, rig
from tests.integrations.obs.follower import HIGH, LOW, Follower
from tests.rigs import hearing
from tests.rigs.waiting import wait_for
from tools.counterparts.obs import ObsStudio

RULES = {
    "Talk": {"voice": "low"},
    "Game *": {"voice": "high", "when": "line"},
    "Game over": {"mode": "all_muted", "voice": "low"},
    "Typo": {"voice": "nobody"},
}


@pytest.fixture(scope="module")
def daemon(studio: ObsStudio) -> Iterator[Rig]:
    with studio.link() as link:
        studio.scenes(link, "Talk", "Game one", "Game over", "Typo", "Elsewhere")
    section = studio.config() | {
        "scenes": RULES,
        "otherwise": {"voice": "high"},
        "live": "speak",
        "offline": "chat_muted",
    }
    with rig(
        {"voice": "high", "obs": section},
        {"low": LOW, "high": HIGH},
        environ=studio.koed_environ(),
    ) as running:
        running.wait_ready()
        yield running


@pytest.fixture
def link(obs: ObsStudio) -> Iterator[Link]:
    with obs.link() as link:
        yield link


@pytest.fixture
def told(daemon: Rig, obs: ObsStudio, link: Link) -> Iterator[Follower]:
    """All of koed's events; the scene is Talk and koed knows it."""
    obs.scenes(link, "Talk")
    wait_for(lambda: daemon.client.status()["companions"]["obs"].get("scene") == "Talk", 40.0)
    watch = daemon.watch("obs.", "utterance.", "voice.changed", "mode.changed", "trouble")
    follower = Follower(watch)
    follower.skip()
    yield follower
    watch.close()
    daemon.client.stop()


def switch(link: Link, scene: str) -> None:
    link.call("SetCurrentProgramScene", sceneName=scene)


def test_the_scene_decides_whose_voice_it_is(daemon: Rig, link: Link, told: Follower) -> None:
    assert daemon.client.voice() == "low", "the scene that was there when koed came"
    for scene, rule, voice in (
        ("Game one", "Game *", "high"),
        ("Talk", "Talk", "low"),
        ("Elsewhere", "otherwise", "high"),
    ):
        switch(link, scene)
        changed = told.next("voice.changed")
        assert (changed.voice, daemon.client.voice()) == (voice, voice)
        seen = told.next("obs.scene")
        assert (seen.scene, seen.rule, seen.voice) == (scene, rule, voice)
        said = daemon.client.say("hello", wait=True)
        assert (said.voice, said.outcome) == (voice, "finished")


def test_lines_that_wait_change_with_the_scene(daemon: Rig, link: Link, told: Follower) -> None:
    daemon.client.say(" ".join(["a long line that takes its time, and then some more of it"] * 20))
    waiting = daemon.client.say("what waits")
    assert waiting.voice == "low"
    switch(link, "Game one")  # when: line
    told.next("voice.changed", voice="high")
    daemon.client.skip()
    assert told.next("utterance.started", utterance=waiting.utterance).voice == "high"


def test_a_scene_counts_from_the_start_or_the_end_of_its_transition(
    daemon: Rig, link: Link, told: Follower, obs: ObsStudio
) -> None:
    ends = Session("127.0.0.1", obs.port, lambda: obs.password, lambda: None, at_start=False)
    ends.start()
    came: list[Signal] = []

    def on_air(scene: str) -> bool:
        came.extend(ends.signals())
        return OnAir(scene) in came

    before = link.call("GetCurrentSceneTransition")["transitionDuration"]
    link.call("SetCurrentSceneTransitionDuration", transitionDuration=3000)
    try:
        wait_for(lambda: ends.there, 40.0)
        since = time.monotonic()
        switch(link, "Game one")
        at_start = told.next("voice.changed", voice="high").t
        wait_for(lambda: on_air("Game one"), 40.0, "the transition is through")
        at_end = time.monotonic()
        assert at_end > since + 2.5
        assert at_start < at_end
        assert len(told.seen("voice.changed")) == 1, "its end is no second change"
    finally:
        link.call("SetCurrentSceneTransitionDuration", transitionDuration=before)
        ends.stop(5.0)


def test_a_scene_that_obs_does_not_tell(daemon: Rig, link: Link, told: Follower) -> None:
    """OBS 29 forgets its events if the kind of transition changes while one goes on."""
    switch(link, "Game one")
    told.next("voice.changed", voice="high")
    for kind in ("Cut", "Fade"):
        link.call("SetCurrentSceneTransition", transitionName=kind)
        switch(link, "Talk")
    told.next("voice.changed", voice="low")


def test_a_voice_that_is_not_there_is_told(daemon: Rig, link: Link, told: Follower) -> None:
    switch(link, "Typo")
    trouble = told.next("trouble")
    assert trouble.code == "unknown_voice"
    assert "scene 'Typo' asks for voice nobody" in trouble.message
    assert daemon.client.say("hello", wait=True).voice == "low"


def test_a_scene_can_silence_koed(daemon: Rig, link: Link, told: Follower) -> None:
    switch(link, "Game one")
    told.next("voice.changed", voice="high")
    kept = Path(daemon.client.status()["state_file"])
    before = kept.read_bytes()
    switch(link, "Game over")
    told.next("voice.changed", voice="low")
    changed = told.next("mode.changed", mode="all_muted")
    assert kept.read_bytes() == before, "a rule is nobody's decision"
    assert (changed.previous, changed.by, changed.output) == ("chat_muted", "obs", "main")
    line = daemon.client.say("for later").utterance
    since = hearing.played_on(daemon, 0.2)
    until = daemon.mark()
    switch(link, "Talk")
    assert told.next("mode.changed").mode == "chat_muted"
    told.next("utterance.started", utterance=line)
    assert not daemon.sound_from(since).pcm[: until - since].any()


def test_chat_is_read_only_while_live(
    daemon: Rig, link: Link, told: Follower, obs: ObsStudio
) -> None:
    def chatter() -> str | None:
        return daemon.client.say("hi", priority="chatter", wait=True).outcome

    with pytest.raises(Refused) as caught:
        chatter()
    assert caught.value.code == "chat_muted"
    assert told.next("utterance.dropped").reason == "chat_muted"
    with obs.stream(link):
        assert told.next("mode.changed").mode == "speak"
        assert told.next("obs.scene").live is True
        assert chatter() == "finished"
    assert told.next("mode.changed").mode == "chat_muted"
    assert told.next("obs.scene").live is False
    wait_for(lambda: not link.call("GetStreamStatus")["outputActive"], 40.0, "the stream ends")


def test_another_scene_collection(daemon: Rig, link: Link, told: Follower) -> None:
    link.call("CreateSceneCollection", sceneCollectionName="other")
    seen = told.next("obs.scene")
    assert (seen.rule, seen.voice) == ("otherwise", "high")
    link.call("SetCurrentSceneCollection", sceneCollectionName="koed")
    assert told.next("obs.scene", scene="Talk").voice == "low"
    assert not told.seen("obs.down")
    assert daemon.client.say("still here", wait=True).outcome == "finished"


def test_an_obs_without_a_scene_is_asked_for_it_in_a_way_that_it_outlives() -> None:
    """As when koed asks and has not heard yet that the scene collection is changed. OBS 28 to 32
    crash there if they are asked for the current scene alone."""
    asked: list[str] = []

    class Between:
        def call(self, request: str) -> dict[str, Any]:
            asked.append(request)
            return {"currentProgramSceneName": None, "scenes": []}

    session = Session("127.0.0.1", 1, lambda: None, lambda: None)
    assert session._scene(Between()) == ""  # type: ignore[arg-type]
    assert asked == ["GetSceneList"]


def test_requests_through_obs_and_news_from_koed(
    daemon: Rig, link: Link, told: Follower, obs: ObsStudio
) -> None:
    heard: list[dict[str, Any]] = []

    def listen(name: str, data: dict[str, Any]) -> None:
        if name == "CustomEvent" and "koed_event" in data:
            heard.append(data["koed_event"])

    def ask(message: Any) -> None:
        link.call("BroadcastCustomEvent", eventData={"koed": message})

    def news(event: str, **values: Any) -> dict[str, Any]:
        return wait_for(
            lambda: next(
                (n for n in heard if n.get("event") == event and values.items() <= n.items()), None
            ),
            40.0,
            f"{event} {values} in {heard}",
        )

    with obs.link(listen):
        ask({"op": "say", "text": "héllo 声", "id": "a"})
        answer = news("reply", id="a")
        assert answer["ok"] is True
        number = answer["result"]["utterance"]
        assert news("utterance.started", utterance=number)["text"] == "héllo 声"
        news("utterance.finished", utterance=number)
        ask({"op": "voice", "name": "high"})
        news("voice.changed", voice="high")
        for n, (message, code) in enumerate(
            [
                ({"op": "reload"}, "not_here"),
                ({"op": "save", "seconds": 1}, "not_here"),
                ({"op": "nonsense"}, "unknown_op"),
                ({"op": "say"}, "missing_field"),
                ({"op": "say", "text": 7}, "bad_field"),
                ({"op": "say", "text": "x", "wait": True}, "not_here"),
                ({"op": "say", "text": "x", "author": "a" * 1000}, "bad_field"),
                ({"op": "voice", "name": "nobody"}, "unknown_voice"),
            ]
        ):
            ask(message | {"id": n})
            assert news("reply", id=n, ok=False)["error"]["code"] == code
        ask(["say", "x"])
        assert news("reply", id=None, ok=False)["error"]["code"] == "bad_message"
        # what koed tells comes back to koed as well, and is no request
        link.call("BroadcastCustomEvent", eventData={"koed_event": {"op": "say", "text": "echo"}})
        ask({"op": "say", "text": "last", "id": "z"})
        last = news("reply", id="z")["result"]["utterance"]
        news("utterance.finished", utterance=last)
    told.next("utterance.finished", utterance=last)
    assert [e.text for e in told.seen("utterance.started")] == ["héllo 声", "last"]


def test_a_flood_of_requests_ends_nothing(daemon: Rig, link: Link, told: Follower) -> None:
    for _ in range(300):
        link.call("BroadcastCustomEvent", eventData={"koed": {"op": "nonsense"}})
    switch(link, "Game one")
    told.next("voice.changed", voice="high")
    assert not told.seen("obs.down")


def test_rules_are_previewed(
    daemon: Rig, obs: ObsStudio, link: Link, told: Follower,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("KOED_OBS_PASSWORD", obs.password)
    place = ["obs", "--config", str(daemon.folder / "koed.yaml")]
    assert cli.main([*place, "rules"]) == 1, "one rule names a voice that is not there"
    lines = capsys.readouterr().out.splitlines()
    cells = {line[3:].split("  ")[0]: line for line in lines}
    assert cells["Talk"].split() == ["*", "Talk", "Talk", "low", "speak", "chat_muted"]
    assert cells["Game one"].split() == [
        "Game", "one", "Game", "*", "high", "(line)", "speak", "chat_muted",
    ]  # fmt: skip
    assert "all_muted  all_muted" in cells["Game over"]
    assert any("rule 'Typo': there is no voice 'nobody'" in line for line in lines)
    assert cli.main([*place, "rules", "--json"]) == 1
    shown = json.loads(capsys.readouterr().out)
    by_name = {row["scene"]: row for row in shown["scenes"]}
    assert by_name["Elsewhere"]["rule"] == "otherwise"
    assert by_name["Talk"]["on_air"] is True
    assert list(shown["broken"]) == ["Typo"]
