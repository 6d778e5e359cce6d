"""The bridge to VTube Studio: a mouth on the playback clock, against the documented messages."""

from __future__ import annotations

import functools
import itertools
import os
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from koe.bridge.vts import api
from koe.bridge.vts.parameters import MOUTH, REPEAT_S, Parameters
from koe.bridge.vts.token import Tokens
from koe.protocol import Mouth
from koe.transport.connection import Refused
from koed.testing.rig import Rig, rig
from tests.rigs import waiting
from tools.counterparts.vts import Studio

wait_for = functools.partial(waiting.wait_for, timeout_s=40.0)

TONE = {"engine": "tone", "lang": "en", "settings": {"hz": 400, "char_ms": 30, "amplitude": 0.25}}


def mouth(opened: float, t: float = 0.0, ahead_s: float = 0.03, **rest: Any) -> Mouth:
    fields = {"output": "main", "voice": "low", "level": opened, "shape": "a"} | rest
    return Mouth(open=opened, t=t, heard_t=t + ahead_s, **fields)


# --- the face --------------------------------------------------------------------------------


def test_a_value_is_said_when_it_is_heard_and_not_before() -> None:
    face = Parameters()
    face.take(mouth(0.5, t=900.0, ahead_s=0.03), now_s=10.0)  # the clocks need not agree
    assert face.next_s() == pytest.approx(10.01)  # as the window begins
    assert face.due(10.005) is None
    assert face.due(10.03) == {MOUTH: 0.5}
    assert face.due(10.04) is None


def test_of_what_is_late_only_the_last_is_said() -> None:
    face = Parameters()
    for number in range(5):
        face.take(mouth(number / 10), now_s=1.0 + number * 0.02)
    assert face.due(2.0) == {MOUTH: 0.4}
    assert face.next_s() == pytest.approx(2.0 + REPEAT_S)


def test_a_value_is_repeated_until_the_mouth_is_shut_and_given_back() -> None:
    face = Parameters()
    face.take(mouth(0.7), 0.0)
    assert face.due(0.1) == {MOUTH: 0.7}
    assert face.due(0.1 + REPEAT_S) == {MOUTH: 0.7}
    face.take(mouth(0.0, voice=""), 1.0)
    assert face.due(1.1) == {MOUTH: 0.0}
    assert face.next_s() is None
    face.take(mouth(0.0, voice=""), 1.2)
    assert face.due(1.3) is None


def test_one_output_one_voice_and_vowels() -> None:
    face = Parameters(vowels=True, output="main", voice="low")
    face.take(mouth(0.7, output="other"), 0.0)
    assert face.due(0.1) is None
    face.take(mouth(0.7, shape="o"), 0.0)
    values = face.due(0.1)
    assert values is not None
    assert values[MOUTH] == 0.7
    assert {name: v for name, v in values.items() if v == 1.0} == {"KoedMouthO": 1.0}
    face.take(mouth(0.9, voice="high"), 0.2)  # somebody else speaks: this mouth is shut
    assert face.due(0.3) == dict.fromkeys(values, 0.0)


def test_leaving_an_open_mouth_shuts_it() -> None:
    face = Parameters()
    assert face.release() is None
    face.take(mouth(0.7), 0.0)
    face.due(0.1)
    assert face.release() == {MOUTH: 0.0}
    assert face.release() is None


@pytest.mark.parametrize("frame", ["", "[]", "1", "{}", '{"messageType": 1}', "[" * 99999, b"\xff"])
def test_what_is_no_answer(frame: str | bytes) -> None:
    assert api.answer(frame) is None


def test_the_token_file_is_nobody_elses(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path / "deep" / "tokens.json")
    tokens.set("ws://a", "secret")
    tokens.set("ws://b", "other")
    assert tokens.path.stat().st_mode & 0o077 == 0
    assert (tokens.get("ws://a"), tokens.get("ws://c")) == ("secret", None)
    tokens.set("ws://a", None)
    assert tokens.get("ws://a") is None
    tokens.path.chmod(0o644)
    with pytest.raises(Refused, match="others may read"):
        tokens.get("ws://b")
    tokens.path.chmod(0o600)
    tokens.path.write_text("{broken")
    assert tokens.get("ws://b") is None


# --- the bridge ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def daemon() -> Iterator[Rig]:
    with rig({"voice": "low"}, {"low": TONE}) as running:
        running.wait_ready()
        running.client.timeout_s = 40.0
        yield running


@pytest.fixture
def studio() -> Iterator[Studio]:
    opened = Studio()
    opened.start()
    yield opened
    opened.close()
    assert opened.broken == []


class Bridge:
    """`koe bridge vts` as a child."""

    def __init__(self, daemon: Rig, studio: Studio, folder: Path, *more: str) -> None:
        self.notes = folder / "stderr"
        self.tokens = folder / "tokens.json"
        place = ["--runtime-dir", str(daemon.folder / "run")]
        files = ["--address", studio.address, "--token-file", str(self.tokens)]
        with self.notes.open("ab") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "koe.cli", "bridge", "vts", *place, *files, *more],
                stderr=stderr,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )

    def told(self, text: str) -> int:
        return self.notes.read_text().count(text)

    def end(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(40)
        finally:
            self.process.kill()


@pytest.fixture
def bridge(daemon: Rig, studio: Studio, tmp_path: Path) -> Iterator[Bridge]:
    child = Bridge(daemon, studio, tmp_path, "--vowels")
    wait_for(lambda: child.told("moving the mouth"), what="it is logged in")
    yield child
    assert child.end() == 0


def test_the_mouth_moves_and_is_given_back(daemon: Rig, studio: Studio, bridge: Bridge) -> None:
    assert bridge.told("click Allow") == 1
    assert bridge.tokens.stat().st_mode & 0o077 == 0
    assert "KoedMouthA" in studio.parameters
    for word in ("atanatana ", "otonotono "):
        daemon.client.say(word * 40)
    for vowel in ("KoedMouthA", "KoedMouthO"):
        # a machine that stands still leaves values out
        wait_for(lambda v=vowel: sum(h.values[v] for h in [*studio.heard]) >= 12, what=vowel)
        daemon.client.skip()
    said = daemon.client.say("otono", wait=True)
    assert said.outcome == "finished"
    wait_for(lambda: studio.value() == 0.0, what="the mouth is shut")
    opened = [h for h in studio.heard if h.values["MouthOpen"] > 0]
    # 50 a second; the median, as some come late
    assert statistics.median(b.at_s - a.at_s for a, b in itertools.pairwise(opened)) < 0.04
    first, last = studio.heard[0].values, studio.heard[-1].values
    assert last == dict.fromkeys(first, 0.0)
    vowels = [n for h in opened for n, v in h.values.items() if v == 1.0 and n != "MouthOpen"]
    assert [*dict.fromkeys(vowels)] == ["KoedMouthA", "KoedMouthO"]
    assert all(0.0 <= v <= 1.0 for h in studio.heard for v in h.values.values())


def test_a_mouth_that_is_held_open_is_said_again(
    daemon: Rig, studio: Studio, bridge: Bridge
) -> None:
    daemon.client.say("atanatana " * 40)
    wait_for(lambda: studio.value() > 0, what="the mouth opens")
    os.kill(daemon.process.pid, signal.SIGSTOP)
    try:
        before = len(studio.heard)
        wait_for(lambda: len(studio.heard) >= before + 5, what="repetitions")
        times = [h.at_s for h in studio.heard[before:]]
    finally:
        os.kill(daemon.process.pid, signal.SIGCONT)
    # VTube Studio waits for a second; the median, as one may come late
    assert statistics.median(b - a for a, b in itertools.pairwise(times)) < 1.0
    daemon.client.stop()
    wait_for(lambda: studio.value() == 0.0, what="the mouth is shut")


def test_it_comes_again_with_the_token_and_when_the_token_is_void(
    daemon: Rig, studio: Studio, bridge: Bridge
) -> None:
    studio.close()
    wait_for(lambda: bridge.told("no VTube Studio at"), what="it says so, once")
    studio.start()
    wait_for(lambda: studio.logins == 2, what="it logs in again")
    assert studio.asked == 1
    studio.close()
    studio.tokens.clear()
    studio.start()
    wait_for(lambda: studio.logins == 3, what="a new token is granted")
    assert studio.asked == 2
    assert bridge.told("no VTube Studio at") <= 2


def test_the_user_says_no(daemon: Rig, studio: Studio, tmp_path: Path) -> None:
    studio.allow = None
    child = Bridge(daemon, studio, tmp_path)
    wait_for(lambda: child.told("click Allow"), what="the user is asked")
    studio.allow = False
    assert child.process.wait(40) == 1
    assert child.told("refuses: User has denied") == 1
    assert not child.tokens.exists()


def test_a_voice_that_koed_does_not_have_is_told(
    daemon: Rig, studio: Studio, tmp_path: Path
) -> None:
    child = Bridge(daemon, studio, tmp_path, "--voice", "lov")
    wait_for(lambda: child.told("moving the mouth"), what="it is logged in")
    assert child.told("no voice 'lov'; did you mean 'low'?") == 1
    assert child.end() == 0
