"""Captures of the microphone are opened again when it was made anew, and no others; and OBS is said
to hear it only when that is seen."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from koe.protocol import DeviceBack, DeviceLost, Event, ObsDown, ObsHears, StateChanged, Trouble
from koed.integrations.obs.captures import DETOUR, LOOK_S, Captures
from koed.integrations.obs.link import Link, ObsRefused
from koed.testing.rig import Rig, rig
from tests.integrations.obs.follower import LOW, Follower
from tests.rigs.home import Home
from tests.rigs.sound import PulseServer, SoundServer, sound_server
from tests.rigs.waiting import wait_for
from tools.counterparts.obs import ObsStudio

READY = StateChanged(state="ready")
BACK = DeviceBack(output="main", device="x")


class Obs:
    """A session and its link in one, with three sources and what a real OBS answered of them."""

    def __init__(self) -> None:
        self.there = True
        self.devices = {"mine": "headset", "koed voice": "koed_mic", "half": "koed_mic" + DETOUR}
        self.listed = ["default", "headset", "koed_mic"]
        self.told: list[tuple[str, str]] = []
        self.events: list[Event] = []
        self.recorders = ["parec"]
        self.captures = Captures(
            {"main": "koed_mic"}, lambda _output: self.recorders, self, self.events.append
        )
        self.now = 0.0

    def do(
        self,
        job: Callable[[Any], Any],
        key: object = None,
        then: Callable[[Any], None] | None = None,
    ) -> bool:
        if self.there and then is not None:
            then(job(self))
        return self.there

    def call(self, request: str, **data: Any) -> dict[str, Any]:
        if request == "GetInputList":
            kinds = dict.fromkeys([*self.devices, "gone"], "pulse_input_capture")
            kinds["text"] = "text_ft2_source_v2"
            return {"inputs": [{"inputName": n, "inputKind": k} for n, k in kinds.items()]}
        name = data["inputName"]
        if name not in self.devices:
            raise ObsRefused(request, 600, "")
        if request == "GetInputPropertiesListPropertyItems":
            assert data["propertyName"] == "device_id"
            return {"propertyItems": [{"itemValue": device} for device in self.listed]}
        if request == "SetInputSettings":
            self.devices[name] = data["inputSettings"]["device_id"]
            self.told.append((name, self.devices[name]))
        return {"inputSettings": {"device_id": self.devices[name]}}

    def wait(self) -> None:
        """The time until the next look passes."""
        self.captures.turn(self.now)
        due = self.captures.due()
        if due is not None:
            assert due <= self.now + LOOK_S
            self.now = due
            self.captures.turn(self.now)

    def wait_long(self) -> None:
        for _ in range(5):
            self.wait()

    @property
    def hears(self) -> bool | None:
        value: bool | None = self.captures.status()["hears"]
        return value

    def said(self) -> list[str]:
        """What was told since the last call."""
        said = [
            {True: "hears", False: "hears not"}[event.hears]
            if isinstance(event, ObsHears)
            else f"{event.code}: {event.hint}"
            for event in self.events
            if isinstance(event, ObsHears | Trouble)
        ]
        self.events.clear()
        return said


def test_each_making_of_the_microphone_opens_its_captures_once() -> None:
    obs = Obs()
    captures = obs.captures
    captures.connected()
    assert obs.told == [], "koed is not ready: there may be no microphone yet"
    captures.hear(READY)
    there_and_back = [
        (name, told) for name in ("koed voice", "half") for told in ("koed_mic.away", "koed_mic")
    ]
    assert obs.told == there_and_back
    captures.connected()
    assert obs.told == there_and_back, "an OBS that comes again finds it by itself"
    captures.hear(DeviceBack(output="another", device="x"))
    assert obs.told == there_and_back
    obs.there = False
    captures.hear(BACK)
    obs.there = True
    captures.connected()
    assert obs.told == 2 * there_and_back, "not before OBS is there"
    assert obs.devices == {"mine": "headset", "koed voice": "koed_mic", "half": "koed_mic"}
    assert captures.status() == {"reopened": 4, "hears": True}
    assert obs.said() == ["hears"]


def test_an_obs_that_records_it_already_is_left_alone() -> None:
    """koed was killed, and the microphone outlived it."""
    obs = Obs()
    obs.recorders.append("OBS")
    obs.captures.hear(READY)
    assert (obs.told, obs.hears, obs.said()) == ([], True, ["hears"])
    obs.captures.hear(BACK)
    assert len(obs.told) == 4, "it was made anew"


def test_an_obs_that_lost_its_sound_server_is_told_once_and_so_is_its_cure() -> None:
    obs = Obs()
    obs.captures.hear(READY)
    assert (obs.hears, obs.said()) == (True, ["hears"])
    obs.captures.hear(DeviceLost(output="main", code="gone", message=""))
    assert obs.hears is None, "nobody knows"
    obs.listed, obs.told = [], []
    obs.captures.hear(BACK)
    assert (obs.hears, obs.said()) == (None, []), "one look is none"
    obs.wait_long()
    assert obs.hears is False
    lost, trouble = obs.said()
    assert lost == "hears not"
    assert trouble.startswith("obs_deaf: ")
    assert "scene collection" in trouble
    obs.captures.hear(BACK)
    obs.wait_long()
    assert (obs.hears, obs.said(), obs.told) == (False, [], [])
    obs.listed = ["koed_mic"]
    obs.captures.connected()  # the scene collection was changed
    assert (obs.hears, obs.said()) == (True, ["hears"])
    assert len(obs.told) == 4, "now they are opened"
    obs.captures.turn(obs.now)
    obs.wait_long()
    assert obs.captures.due() is None, "all is well: nothing is looked for"


def test_a_microphone_that_goes_while_it_is_looked_for_is_no_deafness() -> None:
    obs = Obs()
    obs.listed = ["headset"]
    obs.captures.hear(READY)
    obs.listed.append("koed_mic")
    obs.wait()
    assert (obs.hears, obs.said(), len(obs.told)) == (True, ["hears"], 4)


def test_from_the_loss_of_the_microphone_on_obs_is_deaf_until_it_is_told_to_hear() -> None:
    obs = Obs()
    obs.captures.hear(READY)
    assert obs.said() == ["hears"]
    for _ in range(2):
        obs.captures.hear(DeviceLost(output="another", code="gone", message=""))
        obs.captures.hear(BACK)
        assert obs.said() == [], "it was not this microphone"
        obs.captures.hear(DeviceLost(output="main", code="gone", message=""))
        assert obs.said() == []
        obs.captures.hear(BACK)
        assert obs.said() == ["hears"]


def test_an_obs_with_another_sound_server_gets_another_cure() -> None:
    obs = Obs()
    obs.listed = ["default", "headset"]
    obs.captures.hear(READY)
    obs.wait_long()
    _, trouble = obs.said()
    assert obs.hears is False
    assert "same sound server" in trouble


def test_nothing_is_said_of_an_obs_without_a_capture_of_ours_or_none_at_all() -> None:
    obs = Obs()
    obs.devices, obs.listed = {"mine": "headset"}, []
    obs.captures.hear(READY)
    obs.wait_long()
    assert (obs.hears, obs.said()) == (None, [])
    obs.devices["koed voice"], obs.listed = "koed_mic", ["koed_mic"]
    obs.captures.moved()
    obs.wait()
    assert (obs.hears, obs.said()) == (True, ["hears"])
    obs.captures.hear(ObsDown(code="obs_gone", message=""))
    assert obs.hears is None


# --- a real OBS and a real sound server --------------------------------------------------------


def status(daemon: Rig) -> dict[str, Any]:
    told: dict[str, Any] = daemon.client.status()["companions"]["obs"]["captures"]
    return told


def deaf(told: Follower) -> list[Trouble]:
    """How often OBS was said to be deaf. That nobody records koed is told as well, if that lasts
    for more than a second."""
    return [event for event in told.seen("trouble") if event.code == "obs_deaf"]


def records(sound: SoundServer) -> bool:
    """Somebody but the server itself has a stream from the microphone."""
    sources = [
        line.split("\t")[0]
        for line in sound.pactl("list", "short", "sources").splitlines()
        if "\tkoed_mic\t" in line
    ]
    outputs = sound.pactl("list", "short", "source-outputs").splitlines()
    return any(line.split("\t")[1] in sources for line in outputs)


def other_collection_and_back(link: Link) -> None:
    """What a streamer is told to do."""
    before = link.call("GetSceneCollectionList")["currentSceneCollectionName"]
    link.call("CreateSceneCollection", sceneCollectionName="elsewhere")
    for name in ("elsewhere", before):
        wait_for(lambda name=name: _switched(link, name), what=f"the collection is {name}")


def _switched(link: Link, collection: str) -> bool:
    with contextlib.suppress(ObsRefused):  # it is still changing
        told = link.call("GetSceneCollectionList")["currentSceneCollectionName"]
        if told == collection:
            return True
        link.call("SetCurrentSceneCollection", sceneCollectionName=collection)
    return False


def capture(obs: ObsStudio, link: Link) -> None:
    obs.scenes(link, "Talk")
    link.call(
        "CreateInput", sceneName="Talk", inputName="koed voice",
        inputKind="pulse_input_capture", inputSettings={"device_id": "koed_mic"},
    )  # fmt: skip


@pytest.mark.slow
def test_obs_goes_on_recording_while_koed_is_killed_and_started() -> None:
    with sound_server() as sound, ObsStudio(sound.env) as obs, obs.link() as link:
        capture(obs, link)
        config = {"voice": "low", "audio": {"device": "pulse"}, "obs": obs.config()}
        environ = sound.env | obs.koed_environ()
        with contextlib.closing(Home(config, {"low": LOW}, environ)) as home:
            wait_for(lambda: status(home.daemon)["hears"], what="OBS hears koed")
            streams = wait_for(lambda: sound.streams("source-outputs", "OBS"), what="its stream")
            home.again()
            wait_for(lambda: status(home.daemon)["hears"], what="OBS hears koed again")
            assert status(home.daemon)["reopened"] == 0
            assert sound.streams("source-outputs", "OBS") == streams


def test_obs_is_said_to_hear_again_only_when_it_does() -> None:
    """The microphone is made anew, which koed mends, and the whole server, which it cannot."""
    with PulseServer() as sound, ObsStudio(sound.env) as obs, obs.link() as link:
        capture(obs, link)
        config = {"voice": "low", "audio": {"device": "pulse"}, "obs": obs.config()}
        environ = sound.env | obs.koed_environ()
        with rig(config, {"low": LOW}, environ=environ) as daemon:
            daemon.wait_ready()
            wait_for(lambda: status(daemon)["hears"], what="OBS hears koed")
            with contextlib.closing(daemon.watch("obs.", "trouble", "device.")) as watch:
                told = Follower(watch)
                before = status(daemon)["reopened"]
                sound.unload("koed")
                told.next("device.back")
                wait_for(lambda: status(daemon)["reopened"] > before, what="it is opened again")
                wait_for(lambda: records(sound), what="OBS records it again")
                assert told.next("obs.hears").hears
                assert deaf(told) == []

                sound.kill()
                sound.start()
                trouble = told.next("trouble", code="obs_deaf")
                assert "koed voice" in trouble.message
                assert not records(sound), "so it is"
                assert status(daemon)["hears"] is False
                other_collection_and_back(link)
                told.next("obs.hears", hears=True)
                wait_for(lambda: records(sound), what="the cure helps")
                assert [event.hears for event in told.seen("obs.hears")] == [True, False, True]
                assert deaf(told) == [trouble]
