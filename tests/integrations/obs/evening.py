"""An evening on air that can be judged afterwards: a real sound server with a live microphone and
music, a real OBS that records, a daemon that is started again whenever it ended, somebody who says
a line every other second, and a watcher of all events. What was heard is in `earshot`.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from koe.client import Client, WireError
from koe.protocol import Event
from koed.integrations.obs.link import ObsRefused
from koed.testing.rig import Rig, Watch
from tests.integrations.obs import earshot
from tests.integrations.obs.earshot import PITCHES_HZ, Said
from tests.rigs.sound import RATE_HZ, Recorder, SoundServer
from tests.rigs.waiting import Stalls, wait_for
from tools import evidence
from tools.counterparts.obs import ObsStudio

MICROPHONE, CAPTURE, SCENE, ELSEWHERE = "koed_mic", "koed voice", "Talk", "elsewhere"
STREET_HZ, MUSIC_HZ = 2600.0, 3400.0
"""Her microphone and her desktop: nobody who records koed may hear them."""
LEAK_S = 0.1
"""For each unloading: what the server has moved before anybody could know."""
EVERY_S = 2.0
SYLLABLES = ("ba", "ce", "di", "fo", "gu", "ha", "je", "ki", "lo", "mu")
TOPICS = ("utterance.", "obs.", "device.", "trouble", "state", "engine.")
PROFILES = {
    f"v{number}": {
        "engine": "tone", "lang": "en",
        "settings": {"hz": hz, "char_ms": earshot.CHAR_S * 1000, "amplitude": 0.25},
    }
    for number, hz in enumerate(PITCHES_HZ)
}  # fmt: skip
"""One line after another has a pitch of its own."""


class Talker:
    """Says a line every `EVERY_S`, whatever happens. What koed refuses, or does not answer, it has
    not promised."""

    def __init__(self, daemon: Rig) -> None:
        self.said: list[Said] = []
        self.refused = 0
        self._folder = str(daemon.folder / "run")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._talk)
        self._thread.start()

    def _talk(self) -> None:
        due = time.monotonic()
        for number in itertools.count():
            self._say(number)
            due = max(due + EVERY_S, time.monotonic())
            if self._over.wait(due - time.monotonic()):
                return

    def _say(self, number: int) -> None:
        voice = number % len(PITCHES_HZ)
        line = Said(f"line {spelled(number)} tonight", PITCHES_HZ[voice], time.monotonic())
        try:
            # a connection of its own: what was sent to a koed that is away must not come later
            with Client(self._folder, timeout_s=20.0) as client:
                client.say(line.text, voice=f"v{voice}")
        except WireError:
            self.refused += 1
        else:
            self.said.append(line)

    def close(self) -> None:
        self._over.set()
        self._thread.join()


def spelled(number: int) -> str:
    """In syllables, which nobody reads out in another way."""
    return "".join(SYLLABLES[int(digit)] for digit in f"{number:04}")


class Koed:
    """The daemon, in one runtime and one state folder; ``environ`` is of each start."""

    def __init__(self, daemon: Rig, environ: dict[str, str]) -> None:
        self.daemon = daemon
        self.killed_t: list[float] = []
        self._environ = environ

    def kill(self) -> None:
        self.killed_t.append(time.monotonic())
        self.daemon.process.kill()
        self.daemon.process.wait()

    def end(self) -> None:
        self.daemon.process.terminate()
        assert self.daemon.process.wait(40) == 0

    def start(self) -> None:
        """As systemd would, but at once."""
        folder = self.daemon.folder
        with (folder / "log").open("ab") as log:
            self.daemon.process = subprocess.Popen(
                [sys.executable, "-m", "koed.cli", "run", "--config", str(folder / "koed.yaml")],
                env=os.environ
                | {"KOED_RUNTIME_DIR": str(folder / "run"), "XDG_STATE_HOME": str(folder / "state")}
                | self._environ,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip


def sounds(recorder: Recorder, hz: float) -> bool:
    return earshot.foreign_s(recorder.samples()[:: RATE_HZ // evidence.RATE_HZ], hz) > 0.3


class Desktop:
    """What sounds on her machine besides koed, and somebody else who records koed."""

    def __init__(self, sound: SoundServer, folder: Path) -> None:
        self.heard: list[Path] = []
        """By that somebody: 16-bit mono at `evidence.RATE_HZ`."""
        self._sound = sound
        self._folder = folder
        self._recorder: subprocess.Popen[bytes] | None = None
        self.live()

    def live(self) -> None:
        """After each start of the server."""
        self._sound.real_microphone(STREET_HZ)
        self._sound.play(MUSIC_HZ)

    def sounds(self) -> None:
        """Both are there to be heard; else their silence in a recording would mean nothing."""
        for source, hz in (("live", STREET_HZ), ("speakers.monitor", MUSIC_HZ)):
            with contextlib.closing(self._sound.record(source)) as recorder:
                wait_for(functools.partial(sounds, recorder, hz), what=f"{source} sounds")

    def record(self) -> None:
        """koed's microphone, which has to be there; until the server ends."""
        self.close()
        file = self._folder / f"listener-{len(self.heard)}.raw"
        with file.open("wb") as out:
            self._recorder = subprocess.Popen(
                ["parec", "-d", MICROPHONE, "--rate=16000", "--channels=1", "--format=s16le",
                 "--latency-msec=20", "--raw"],
                env=self._sound.environment(), stdout=out, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        self.heard.append(file)
        wait_for(lambda: file.stat().st_size > 0, what="somebody records koed")

    def close(self) -> None:
        if self._recorder is not None:
            self._recorder.kill()
            self._recorder.wait()
            self._recorder = None


@dataclass(slots=True)
class Recording:
    """``began_t`` and ``ended_t``: monotonic, by OBS's own word."""

    file: Path
    began_t: float
    ended_t: float = 0.0


class Studio:
    """The streamer with OBS: it records as long as it runs."""

    def __init__(self, obs: ObsStudio) -> None:
        self.obs = obs
        self.recordings: list[Recording] = []
        self._states: list[tuple[float, str]] = []
        self.link = obs.link(self._hear)
        self._set_up()

    def _hear(self, name: str, data: dict[str, Any]) -> None:
        if name == "RecordStateChanged":
            self._states.append((time.monotonic(), data["outputState"].rpartition("_")[2]))

    def _set_up(self) -> None:
        """Two collections, and no sound in them but koed's."""
        link = self.link
        self._collection = link.call("GetSceneCollectionList")["currentSceneCollectionName"]
        link.call("CreateSceneCollection", sceneCollectionName=ELSEWHERE)
        self._switch_to(ELSEWHERE)
        self._silence()
        self._switch_to(self._collection)
        self._silence()
        self.obs.scenes(link, SCENE)
        link.call(
            "CreateInput", sceneName=SCENE, inputName=CAPTURE,
            inputKind="pulse_input_capture", inputSettings={"device_id": MICROPHONE},
        )  # fmt: skip

    def _silence(self) -> None:
        """What a new collection brings: the desktop, and a microphone."""
        for one in self.link.call("GetInputList")["inputs"]:
            if one["inputKind"].startswith("pulse_"):
                self.link.call("RemoveInput", inputName=one["inputName"])

    def cure(self) -> None:
        """As koed tells her to, when OBS is deaf."""
        for name in (ELSEWHERE, self._collection):
            self._switch_to(name)
            self._look_at_it()

    def _look_at_it(self) -> None:
        """For as long as OBS takes for a second of pictures: nobody clicks any faster, and an OBS
        that is asked for its scene while there is none ends."""

        def drawn() -> int:
            return int(self.link.call("GetStats")["renderTotalFrames"])

        until = drawn() + 10
        wait_for(lambda: drawn() >= until, what="a second of pictures")

    def _switch_to(self, name: str) -> None:
        wait_for(lambda: self._is_at(name), what=f"the collection is {name}")

    def _is_at(self, name: str) -> bool:
        with contextlib.suppress(ObsRefused):  # it is still changing
            told = self.link.call("GetSceneCollectionList")["currentSceneCollectionName"]
            if told == name:
                return True
            self.link.call("SetCurrentSceneCollection", sceneCollectionName=name)
        return False

    def record(self) -> None:
        self.link.call("StartRecord")
        self.recordings.append(Recording(Path(), self._state("STARTED")))
        self.go_on(1.0)

    def go_on(self, seconds: float) -> None:
        """Until so much more is in the file."""

        def recorded_ms() -> int:
            return int(self.link.call("GetRecordStatus")["outputDuration"])

        until_ms = recorded_ms() + seconds * 1000
        wait_for(lambda: recorded_ms() >= until_ms, what="OBS records on")

    def stop(self) -> None:
        last = self.recordings[-1]
        last.ended_t = time.monotonic()
        last.file = Path(self.link.call("StopRecord")["outputPath"])
        self._state("STOPPED")

    def _state(self, name: str) -> float:
        """When OBS told it."""
        found = wait_for(
            lambda: [t for t, state in self._states if state == name], what=f"recording {name}"
        )
        self._states.clear()
        return float(found[-1])

    def restart(self) -> None:
        self.stop()
        self.link.close()
        self.obs.quit()
        self.obs.start()
        self.link = self.obs.link(self._hear)
        self.record()


class Evening:
    """All of them, and what is done to them. Each deed returns when all is well again."""

    def __init__(self, sound: SoundServer, studio: Studio, koed: Koed, desktop: Desktop) -> None:
        self.sound, self.studio, self.koed, self.desktop = sound, studio, koed, desktop
        self.watch: Watch = koed.daemon.watch(*TOPICS)
        self.deeds: list[tuple[float, str]] = []
        """When each was over."""
        self.leak_s = 0.0
        """Of other sound, that nobody can keep from those who record."""
        self._obs_hears()
        studio.record()
        desktop.record()
        self.talker = Talker(koed.daemon)

    def _obs_hears(self) -> None:
        """Asked: koed tells it as soon as it starts, before a watcher need be there again."""

        def hears() -> bool:
            with contextlib.suppress(WireError):  # koed is not there yet
                return bool(
                    self.koed.daemon.client.status()["companions"]["obs"]["captures"]["hears"]
                )
            return False

        wait_for(hears, 60.0, "OBS hears koed")

    def events(self, since: float = 0.0) -> list[Any]:
        return [event for event in list(self.watch.events) if event.t >= since]

    def wait(self, since: float, name: str, **values: Any) -> Event:
        """The first event of that name, with these values, that was told after a moment."""

        def found() -> Any:
            return next(
                (
                    event
                    for event in self.events(since)
                    if event.event == name
                    and all(getattr(event, key) == value for key, value in values.items())
                ),
                None,
            )

        try:
            event: Event = wait_for(found, 60.0, f"{name} {values}")
        except AssertionError as error:
            told = ", ".join(event.event for event in self.events(since)) or "nothing"
            obs = self.studio.obs.exit_status
            state = "OBS runs" if obs is None else f"OBS ended with {obs}"
            raise AssertionError(f"{error}; told since then: {told}; {state}") from error
        return event

    def do(self, deed: str) -> None:
        since = time.monotonic()
        getattr(self, deed)(since)
        self.deeds.append((time.monotonic(), deed))

    def restart_server(self, since: float) -> None:
        """OBS loses it too, and she cures that."""
        self.sound.kill()
        self.sound.start()
        self.desktop.live()
        self.wait(since, "device.back")
        self.desktop.record()
        self.wait(since, "obs.hears", hears=False)
        cured = time.monotonic()
        self.studio.cure()
        self.wait(cured, "obs.hears", hears=True)

    def kill_koed(self, since: float) -> None:
        self.koed.kill()
        self.koed.start()
        self._obs_hears()

    def restart_koed(self, since: float) -> None:
        self.koed.end()
        self.koed.start()
        self._obs_hears()

    def unload_sink(self, since: float) -> None:
        self._unload("koed", since)

    def unload_microphone(self, since: float) -> None:
        self._unload(MICROPHONE, since)

    def _unload(self, device: str, since: float) -> None:
        with Stalls() as stalls:
            self.sound.unload(device)
            self.wait(since, "obs.hears", hears=True)
        self.leak_s += LEAK_S + stalls.worst_s

    def restart_obs(self, since: float) -> None:
        self.studio.restart()
        self.wait(since, "obs.up")

    def goes_on(self, until_t: float, lines: int = 3) -> None:
        """So many lines are said from the beginning to the end, and the time comes."""
        since = time.monotonic()

        def spoken() -> bool:
            told = self.events(since)
            begun = {e.utterance for e in told if e.event == "utterance.started"}
            ended = {e.utterance for e in told if e.event == "utterance.finished"}
            return len(begun & ended) >= lines and time.monotonic() > until_t

        wait_for(spoken, max(0.0, until_t - since) + 90.0, f"{lines} lines are spoken")

    def finish(self) -> None:
        """All is said, and is in the recording."""
        self.talker.close()
        queue = self.koed.daemon.client.queue
        wait_for(lambda: not (queue().waiting or queue().speaking), 120.0, "all is said")
        self.studio.go_on(2.0)  # OBS throws away what it is working on when it is stopped
        self.studio.stop()

    def close(self) -> None:
        self.talker.close()
        self.watch.close()
        self.desktop.close()
