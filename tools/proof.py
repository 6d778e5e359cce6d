"""`koed proof`: a stream, recorded by a real OBS, in which a viewer hears and reads what koed said.

Real PulseAudio, real OBS, a daemon in a process of its own. koed sets itself up in OBS; the scene
is changed while it speaks, and with it the voice; OBS records. Nothing is asked of koed about the
outcome: it is looked for in the file that OBS wrote (see `tools.evidence`). Then OBS is killed
and comes back.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from koe.protocol import Levels
from koed.audio.sinks import WavSink
from koed.config import daemon as configuration
from koed.errors import KoedError
from koed.integrations.obs.link import EVENTS, METERS, Link
from koed.offline import OUTPUT, Renderer
from koed.playback.queue import Line
from koed.testing.rig import Rig, Watch, rig
from tools import evidence
from tools.counterparts.obs import ObsStudio
from tools.counterparts.pulse import PulseServer

FIRST = ("Hana", "hana", "Good evening, and welcome to the show.")
SECOND = ("Ken", "ken", "Thank you. Now I am the one who speaks.")
"""(scene, its voice, what is said there)."""
VOICES, TEXTS = (FIRST[1], SECOND[1]), (FIRST[2], SECOND[2])
COLOURS = {"Hana": 0xFF60406A, "Ken": 0xFF6A5A30}
"""Backgrounds, 0xAABBGGRR."""
TONES = {"loud": -16.0, "soft": -30.0}
"""Two voices of pure tone, and their loudness in LUFS: what a meter shows of them stands still."""
CAPTION, AUDIO = "koed caption", "koed voice"

LEVEL_DB = 1.0
STEADY_S = 0.25
RECONNECT_S = 2.0
CAPTION_S = 1.5
"""The whole caption is there from the last word on: so long before the end of the line at most."""
SILENCE_MS = 1000
"""In the recording, before the first line and after the last."""
WAIT_S = 60.0

Say = Callable[[str], None]


@dataclass(slots=True)
class Show:
    """What was noted while the show went on. Times are monotonic seconds."""

    meters: list[tuple[float, float, float]] = field(default_factory=list)
    """OBS: (t, magnitude, peak), linear, every 50 ms."""
    levels: list[tuple[float, float, float]] = field(default_factory=list)
    """koed: (t, rms dB, peak dB), 20 times a second while it sounds."""
    tones: list[tuple[float, float]] = field(default_factory=list)
    """(from, to) in which a tone stood still."""
    recorded: threading.Event = field(default_factory=threading.Event)

    def obs_event(self, name: str, data: dict[str, Any]) -> None:
        """On the link's reading thread."""
        if name == "InputVolumeMeters":
            # a fresh OBS may name an input twice
            mine = [one["inputLevelsMul"] for one in data["inputs"] if one["inputName"] == AUDIO]
            channels = [channel for levels in mine for channel in levels]
            if channels:
                magnitude = max(channel[0] for channel in channels)
                peak = max(channel[1] for channel in channels)
                self.meters.append((time.monotonic(), magnitude, peak))
        elif name == "RecordStateChanged" and data["outputState"].endswith("_STOPPED"):
            self.recorded.set()


def run(out: Path, tell: Say = lambda text: print(text, flush=True)) -> dict[str, Any]:
    """Give the show and judge it; leaves ``recording.mkv`` and ``screenshot.png`` in ``out``.

    Returns the report; ``good`` in it is whether everything holds. Raises `KoedError` where the
    show could not be given.
    """
    out.mkdir(parents=True, exist_ok=True)
    with PulseServer() as sound, ObsStudio(sound.environ) as obs:
        tell("a PulseAudio and an OBS of their own are there")
        environ = sound.environ | obs.koed_environ()
        with rig(config(obs), profiles(), environ=environ) as running:
            running.wait_ready()
            show = Show()
            with obs.link(show.obs_event) as link:
                prepare(obs, link)
                set_up(running, environ, tell)
                wait_for_captions(running)
                _lose_microphone(running, sound, tell)
                file = _perform(running, obs, link, show, out, tell)
                tell("looking at what OBS recorded")
                report = _judge(file, link, show)
            report |= _lose_obs(running, obs, tell)
    report["good"] = (
        report["voices_in_order"]
        and report["caption_seen"]
        and report["level_difference_db"] <= LEVEL_DB
        and report["reconnected_s"] <= RECONNECT_S
        and report["spoke_without_obs"]
        and report["caption_after_restart"]
    )
    return report


def command(out: Path) -> int:
    """`koed proof`: 0 if a viewer would hear and read it all; last comes one JSON line."""
    report = run(out)
    for name, value in report.items():
        print(f"{name:24} {value}")
    print(f"left {out / 'recording.mkv'} and {out / 'screenshot.png'}")
    names = ("voices_in_order", "caption_seen", "level_difference_db", "reconnected_s")
    print(json.dumps({name: report[name] for name in names}))
    return 0 if report["good"] else 1


def config(obs: ObsStudio) -> dict[str, Any]:
    return {
        "voice": FIRST[1],
        "audio": {"device": "pulse"},
        "obs": obs.config()
        | {
            "scenes": {scene: {"voice": voice} for scene, voice, _ in (FIRST, SECOND)},
            "captions": {"main": {"linger_s": 2.0, "speaker": True, "width": 60}},
            "voices": {
                "hana": {"name": "Hana", "colour": "#ffb0d0"},
                "ken": {"name": "Ken", "colour": "#b0ffc0"},
            },
        },
    }


def profiles() -> dict[str, dict[str, Any]]:
    """The two voices of the show, and the tones."""
    shipped = configuration.resolve(configuration.Config(), "profiles")
    profiles = {name: yaml.safe_load((shipped / f"{name}.yaml").read_text()) for name in VOICES}
    tone = {"engine": "tone", "lang": "en", "settings": {"hz": 1000, "char_ms": 120}}
    return profiles | {name: tone | {"loudness_lufs": lufs} for name, lufs in TONES.items()}


def prepare(obs: ObsStudio, link: Link) -> None:
    """What the streamer has: two scenes with a picture each."""
    obs.scenes(link, FIRST[0], SECOND[0])
    for scene, colour in COLOURS.items():
        link.call(
            "CreateInput", sceneName=scene, inputName=f"{scene}'s wall",
            inputKind="color_source_v3",
            inputSettings={"color": colour, "width": 1280, "height": 720}, sceneItemEnabled=True,
        )  # fmt: skip


def set_up(running: Rig, environ: dict[str, str], tell: Say) -> None:
    """As a streamer would: koed obs setup, in both scenes."""
    scenes = [word for scene, _, _ in (FIRST, SECOND) for word in ("--scene", scene)]
    done = subprocess.run(
        [
            sys.executable, "-m", "koed.cli", "obs", "--config", str(running.folder / "koed.yaml"),
            "setup", "--yes", "--json", *scenes,
        ],
        env=os.environ | environ, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    for line in done.stderr.splitlines():
        tell(f"  {line}")
    if done.returncode:
        raise KoedError("proof_setup", "koed obs setup failed", done.stdout[-500:])


# --- the show --------------------------------------------------------------------------------


def _perform(running: Rig, obs: ObsStudio, link: Link, show: Show, out: Path, tell: Say) -> Path:
    """Two lines, and the scene changes in the first one. Returns the file that OBS wrote."""
    watch = running.watch("utterance.", "voice.", "levels", "obs.")
    with contextlib.closing(watch):
        link.subscribe(EVENTS | METERS)
        _sound_tones(running, watch, show, tell)
        link.call("StartRecord")
        _record_on(link, SILENCE_MS)  # it begins with silence and no caption
        tell(f"{FIRST[1]} speaks in scene {FIRST[0]}; then the scene becomes {SECOND[0]}")
        first = running.client.say(FIRST[2]).utterance
        watch.wait("utterance.started", first)
        link.call("SetCurrentProgramScene", sceneName=SECOND[0])
        watch.wait("voice.changed")
        second = running.client.say(SECOND[2]).utterance
        watch.wait("utterance.started", second)
        time.sleep(1.2)
        screenshot(obs, out / "screenshot.png")
        watch.wait("utterance.finished", second)
        _record_on(link, SILENCE_MS)
        written = Path(link.call("StopRecord")["outputPath"])
        if not show.recorded.wait(WAIT_S):
            raise KoedError("proof_recording", "OBS did not finish its recording")
        link.subscribe(EVENTS)
    file = out / f"recording{written.suffix}"
    file.write_bytes(written.read_bytes())
    written.unlink()
    return file


def _record_on(link: Link, more_ms: int) -> None:
    """Until so much more is in the file: OBS may take its time to begin, or fall behind."""

    def recorded_ms() -> int:
        return int(link.call("GetRecordStatus")["outputDuration"])

    until_ms, deadline = recorded_ms() + more_ms, time.monotonic() + WAIT_S
    while recorded_ms() < until_ms:
        if time.monotonic() > deadline:
            raise KoedError("proof_recording", "OBS does not record")
        time.sleep(0.02)


def _lose_microphone(running: Rig, sound: PulseServer, tell: Say) -> None:
    """The microphone is taken away and made anew: OBS has to hear it again by itself, or else all
    that follows is silent."""
    tell("the microphone is taken away; koed makes it anew")
    with contextlib.closing(running.watch("device.")) as watch:
        sound.unload("koed")
        watch.wait("device.back")
    deadline = time.monotonic() + WAIT_S
    while not _obs_status(running)["captures"]["reopened"]:
        if time.monotonic() > deadline:
            raise KoedError("proof_capture", "OBS's capture was not opened again")
        time.sleep(0.05)
    time.sleep(0.5)


def _obs_status(running: Rig) -> dict[str, Any]:
    status: dict[str, Any] = running.client.status()["companions"]["obs"]
    return status


def _sound_tones(running: Rig, watch: Watch, show: Show, tell: Say) -> None:
    """A line of each tone, for the meters."""
    for name, lufs in TONES.items():
        tell(f"a tone of {lufs:g} LUFS for the meters")
        line = running.client.say("a tone for the meters...", voice=name, wait=True).utterance
        began: Any = watch.wait("utterance.started", line)
        ended = watch.wait("utterance.finished", line)
        time.sleep(0.3)
        show.tones.append((began.heard_t + STEADY_S, ended.t - STEADY_S))
    show.levels = [
        (event.heard_t, event.rms_db, event.peak_db)
        for event in watch.events
        if isinstance(event, Levels)
    ]


def wait_for_captions(running: Rig) -> None:
    """koed has seen what set-up made."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        status = _obs_status(running)
        if status["connected"] and not status["captions"]["missing"]:
            time.sleep(0.5)
            return
        time.sleep(0.05)
    raise KoedError("proof_connection", "koed did not find its caption", running.log()[-1000:])


def screenshot(obs: ObsStudio, path: Path) -> None:
    """The window of OBS, as it is on its screen."""
    subprocess.run(
        ["import", "-window", "root", str(path)],
        env=obs.environment(), check=True, capture_output=True, timeout=30,
    )  # fmt: skip


# --- the judgement ---------------------------------------------------------------------------


def _judge(file: Path, link: Link, show: Show) -> dict[str, Any]:
    heard = evidence.sound_of(file)
    with tempfile.TemporaryDirectory(prefix="koed-proof-") as folder:
        references = _references(Path(folder))
    spans = {key: evidence.find(heard, sound) for key, sound in references.items()}
    right = [spans[voice, text] for _, voice, text in (FIRST, SECOND)]
    wrong = [span for key, span in spans.items() if span not in right]
    in_order = (
        min(span.likeness for span in right) > evidence.SAME_SOUND
        and max(span.likeness for span in wrong) < evidence.OTHER_SOUND
        and right[0].end_s <= right[1].start_s
    )
    captions = [
        _caption(file, link, scene, f"{scene}: {text}", span)
        for (scene, _, text), span in zip((FIRST, SECOND), right, strict=True)
    ]
    return {
        "voices_in_order": in_order,
        "caption_seen": all(told["good"] for told in captions),
        "level_difference_db": evidence.level_difference_db(show.tones, show.meters, show.levels),
        "voices": [
            {"voice": voice, "text": text} | span.told() for (voice, text), span in spans.items()
        ],
        "captions": captions,
    }


def _references(folder: Path) -> dict[tuple[str, str], evidence.Sound]:
    """(voice, text) -> what that sounds like, rendered apart from the daemon: for each text its
    own voice, and the other one."""
    sounds = {}
    renderer = Renderer(configuration.Config(), folder)
    try:
        renderer.book.refresh()
        for number, (voice, text) in enumerate(itertools.product(VOICES, TEXTS)):
            renderer.book.check(voice)
            path = folder / f"{number}.wav"
            sink = WavSink(str(path), renderer.config.audio.rate_hz)
            renderer.speak(Line(1 + number, text, voice, OUTPUT), sink)
            sounds[voice, text] = evidence.sound_of(path)
    finally:
        renderer.close()
    return sounds


def _caption(file: Path, link: Link, scene: str, text: str, span: evidence.Span) -> dict[str, Any]:
    """``good``: whether the right caption is to be read in the frames at the end of its line, not
    before it, and no other one. OBS itself draws what it should look like."""
    drawn = evidence.drawn(link, scene, CAPTION, text)
    other = evidence.drawn(link, scene, CAPTION, " ".join(reversed(text.split())))
    place = evidence.place_of(link, scene, CAPTION)
    frames = evidence.frames_of(file)
    right = evidence.likeness(frames, drawn, place)
    wrong = evidence.likeness(frames, other, place)
    shown = [i / evidence.FPS for i, value in enumerate(right) if value > evidence.SAME_PICTURE]
    before = [t for t in shown if t < span.start_s]
    return {
        "caption": text,
        "likeness": round(float(right.max()), 3),
        "of another text": round(float(wrong.max()), 3),
        "from_s": shown[0] if shown else None,
        "to_s": shown[-1] if shown else None,
        "good": bool(shown)
        and not before
        and abs(shown[0] - span.end_s) < CAPTION_S
        and bool(wrong.max() < evidence.OTHER_PICTURE),
    }


# --- OBS dies --------------------------------------------------------------------------------


def _lose_obs(running: Rig, obs: ObsStudio, tell: Say) -> dict[str, Any]:
    """OBS is killed and comes back; koed speaks on, finds it, and writes captions again."""
    watch = running.watch("utterance.", "obs.")
    with contextlib.closing(watch):
        tell("OBS is killed")
        obs.kill()
        watch.wait("obs.down")
        alone = running.client.say("Nobody stops me.", wait=True)
        tell("OBS comes back")
        obs.start()
        back_t = time.monotonic()
        up: Any = watch.wait("obs.up")
        wait_for_captions(running)
        with obs.link() as link:
            again = _reads(running, watch, link)
    return {
        "reconnected_s": round(max(0.0, up.t - back_t), 3),
        "spoke_without_obs": alone.outcome == "finished",
        "caption_after_restart": again,
    }


def _reads(running: Rig, watch: Watch, link: Link) -> bool:
    """Whether a caption comes while a line sounds."""
    line = running.client.say("And here we are again, as if nothing had happened.").utterance
    watch.wait("utterance.started", line)
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        settings = link.call("GetInputSettings", inputName=CAPTION)["inputSettings"]
        if "And here" in settings.get("text", ""):
            return True
        time.sleep(0.02)
    return False
