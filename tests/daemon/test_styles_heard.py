"""Styles and fields of a line, end to end: asked by clients, heard at the sink."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from koe.client import Client
from koe.transport.connection import Refused
from koed.testing.rig import PATIENCE_S, Rig, rig
from tests.rigs import hearing
from tests.rigs.daemon import HIGH, LOW
from tests.rigs.waiting import wait_for

HZ = {"low": 400.0, "bright": 600.0, "high": 1000.0, "high bright": 1500.0}
STYLES = {"bright": {"settings": {"hz": 600}, "speed": 0.5}, "quick": {"speed": 2.0}}
TEXT = "twenty characters ok"
TEXT_S = 0.025 * len(TEXT)


@pytest.fixture(scope="module")
def daemon() -> Iterator[Rig]:
    high = HIGH | {"styles": {"bright": {"settings": {"hz": 1500}}}, "style_tags": True}
    profiles = {"low": LOW | {"styles": STYLES}, "high": high}
    with rig({"voice": "low", "queue": {"line_pause_s": 0.1}}, profiles) as running:
        running.wait_ready()
        yield running


def heard(daemon: Rig, **fields: Any) -> tuple[list[str], float]:
    """Which voices speak a line, and for how many seconds."""
    began = daemon.mark()
    assert daemon.client.say(TEXT, wait=True, **fields).outcome == "finished"
    windows = hearing.voices(daemon.sound_from(began), HZ)
    order = hearing.order(windows)
    return order, sum(hearing.seconds(windows, name) for name in order)


def test_the_living_voice_is_heard_as_it_was_last_told_to_speak(daemon: Rig) -> None:
    client = daemon.client
    told = client.set_voice(speed=2.0, volume=-6.0, pitch=3.0)
    assert (told.voice, told.ignored) == ("low", ("pitch",))
    assert told.fields == {"speed": 2.0, "volume": -6.0, "pitch": 3.0}
    assert client.status()["outputs"]["main"]["fields"] == told.fields
    _, seconds = heard(daemon)
    assert seconds == pytest.approx(TEXT_S / 2, abs=0.04)
    began = daemon.mark()
    line = client.begin_say(TEXT + ", " + TEXT)
    wait_for(lambda: client.queue().speaking, what="it sounds")
    client.set_voice(when="now", plain=True)  # within a sound its pace stays, and no word is lost
    assert line.result(PATIENCE_S).outcome == "finished"
    seconds = hearing.seconds(hearing.voices(daemon.sound_from(began), HZ), "low")
    assert 0.9 * TEXT_S < seconds < 2.2 * TEXT_S
    assert client.status()["outputs"]["main"]["fields"] == {}
    assert client.set_voice("low", pitch=1.0).fields == {"pitch": 1.0}
    assert client.set_voice("high").fields == {}
    client.set_voice("low")


@pytest.mark.parametrize(
    ("fields", "voice", "speed"),
    [
        ({}, "low", 1.0),
        ({"speed": 1.25}, "low", 1.25),
        ({"style": "bright"}, "bright", 0.5),
        ({"style": "bright", "speed": 1.25}, "bright", 1.25),
        ({"style": "quick"}, "low", 2.0),
        ({"voice": "low/bright"}, "bright", 0.5),
        ({"voice": "high", "style": "bright"}, "high bright", 1.0),
    ],
)
def test_a_line_is_heard_in_its_style_and_at_its_speed(
    daemon: Rig, fields: dict[str, Any], voice: str, speed: float
) -> None:
    order, seconds = heard(daemon, **fields)
    assert order == [voice]
    assert seconds == pytest.approx(TEXT_S / speed, abs=0.05)


def test_what_the_engine_cannot_do_is_told_and_no_error(daemon: Rig) -> None:
    said = daemon.client.say("hm", wait=True, temperature=0.8, speed=1.5, seed=7, style="bright")
    assert (said.ignored, said.voice) == (("temperature", "seed"), "low/bright")
    assert daemon.client.say("hm", wait=True, speed=1.5).ignored == ()


def test_a_line_whose_text_still_comes_has_its_style(daemon: Rig) -> None:
    began = daemon.mark()
    with daemon.client.open_line(style="bright") as line:
        line.append(TEXT)
        line.close(wait=True)
    assert hearing.order(hearing.voices(daemon.sound_from(began), HZ)) == ["bright"]


def test_a_style_goes_over_into_another_in_mid_sentence(daemon: Rig) -> None:
    with Client(daemon.folder / "run") as client:
        began = daemon.mark()
        watch = daemon.watch("utterance.")
        said = client.say(" ".join([TEXT] * 8), style="quick", wait=False).utterance
        watch.wait("utterance.progress", said)
        client.set_voice("low/bright", when="now")
        watch.wait("utterance.finished", said)
        client.set_voice("low")
    order = hearing.order(hearing.voices(daemon.sound_from(began), HZ))
    assert order == ["low", "bright"]


TAGGED = "hello there. [bright] what a day. [loud] oh"


@pytest.mark.parametrize(
    ("fields", "voices"),
    [
        ({"voice": "high"}, ["high", "high bright"]),
        ({"voice": "high", "priority": "chatter"}, ["high"]),
        ({"voice": "low"}, ["low"]),
    ],
)
def test_a_tag_changes_the_style_where_the_profile_allows_it(
    daemon: Rig, fields: dict[str, Any], voices: list[str]
) -> None:
    began = daemon.mark()
    said = daemon.client.say(TAGGED, wait=True, **fields)
    assert said.outcome == "finished"
    assert hearing.order(hearing.voices(daemon.sound_from(began), HZ)) == voices


def test_the_voices_are_listed_with_their_styles(daemon: Rig) -> None:
    styles = {voice.name: (voice.styles, voice.ready) for voice in daemon.client.voices()}
    assert styles == {"low": (("bright", "quick"), True), "high": (("bright",), True)}


@pytest.mark.parametrize(
    ("fields", "code", "hint"),
    [
        ({"style": "brihgt"}, "unknown_style", "did you mean 'bright'?"),
        ({"style": "loud"}, "unknown_style", "low has: bright, quick"),
        ({"reference": "bright"}, "unknown_reference", "low has none; styles: in its profile"),
        ({"reference": "/etc/passwd"}, "unknown_reference", "low has none"),
        ({"speed": 3}, "bad_field", "speed is from 0.5 to 2"),
        ({"speed": float("nan")}, "bad_field", "speed is number"),
        ({"temperature": float("inf")}, "bad_field", "temperature is from 0.01 to 2"),
        ({"top_k": 2.5}, "bad_field", "top_k is whole number"),
        ({"top_k": 2**63}, "bad_field", "top_k is from 1 to 1024"),
        ({"seed": -1}, "bad_field", "seed is from 0 to 2147483647"),
        ({"style": 7}, "bad_field", "style is text"),
    ],
)
def test_a_field_that_may_not_be_is_refused_with_what_may(
    daemon: Rig, fields: dict[str, Any], code: str, hint: str
) -> None:
    with pytest.raises(Refused) as caught:
        daemon.client.say("hm", **fields)
    assert caught.value.code == code
    assert caught.value.hint.startswith(hint)


def test_a_file_is_rendered_in_a_style(daemon: Rig, tmp_path: Path) -> None:
    def render(*more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "koed.cli", "render", TEXT, "-o", str(tmp_path / "a.wav")]
        command += ["--config", str(daemon.folder / "koed.yaml"), "--json", *more]
        return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)

    done = render("--style", "bright", "--speed", "1.25")
    made = json.loads(done.stdout)
    assert (made["voice"], made["seconds"]) == ("low/bright", pytest.approx(TEXT_S / 1.25, abs=0.1))
    refused = render("--style", "brigth")
    assert refused.returncode == 1
    assert "did you mean 'bright'?" in refused.stderr + refused.stdout
