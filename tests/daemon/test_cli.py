"""`koe` and `koed` as people and scripts run them, against a real daemon."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from koed.config import daemon as config
from koed.testing.rig import Rig, Sound, Watch
from tests.rigs import hearing
from tests.rigs.daemon import LOW
from tests.rigs.waiting import wait_for

KOE = [sys.executable, "-m", "koe.cli"]
KOED = [sys.executable, "-m", "koed.cli"]
EXAMPLE = Path(__file__).parents[2] / "clients" / "examples" / "plain_python.py"
CHAR_S = LOW["settings"]["char_ms"] / 1000
LONG = "this line is long enough to be cut or changed in the middle of it"

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def koe(daemon: Rig) -> Run:
    environ = os.environ | {"KOED_RUNTIME_DIR": str(daemon.folder / "run")}

    def run(*arguments: str, code: int = 0, stdin: str = "") -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*KOE, *arguments],
            env=environ,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == code, done.stderr + done.stdout
        assert "Traceback" not in done.stderr
        return done

    return run


def read(done: subprocess.CompletedProcess[str]) -> Any:
    (line,) = done.stdout.splitlines()
    return json.loads(line)


def koed(*arguments: str, code: int = 0, **environ: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*KOED, *arguments], env=os.environ | environ, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == code, done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    return done


# --- koe -------------------------------------------------------------------------------------


def test_say_and_wait(koe: Run, watch: Watch) -> None:
    assert "voice low" in koe("say", "hello", "there").stdout
    said = read(koe("say", "--json", "--wait", "--voice", "high", "done"))
    assert (said["voice"], said["outcome"]) == ("high", "finished")
    watch.wait("utterance.finished", said["utterance"])
    assert koe("say", "-", stdin="from standard input").stdout


def test_pipe_and_stream(koe: Run, watch: Watch) -> None:
    lines = [json.loads(x) for x in koe("pipe", "--json", stdin="a\n\nb\n").stdout.splitlines()]
    assert len(lines) == 2
    streamed = read(koe("pipe", "--stream", "--json", stdin="one line\nin pieces"))
    watch.wait("utterance.finished", streamed["utterance"])
    assert koe("pipe", stdin="quiet\n").stdout == ""


def test_every_command_answers_in_words_and_in_json(koe: Run, watch: Watch, tmp_path: Path) -> None:
    koe("say", LONG, "--key", "k")
    for command in ("queue", "pause", "mute"):
        assert koe(command).stdout, command
    for command in ("queue", "status", "pause", "resume", "mute", "unmute"):
        assert isinstance(read(koe(command, "--json")), dict), command
    assert {v["name"] for v in read(koe("voices", "--json"))["voices"]} == {"low", "high"}
    assert koe("voice").stdout.split() == ["low"]
    changed = read(koe("voice", "high", "--when", "now", "--json"))
    assert changed == {"voice": "high", "previous": "low", "fields": {}}
    for command in ("skip", "clear", "stop", "reload"):
        assert isinstance(read(koe(command, "--json")), dict), command
    saved = read(koe("save", str(tmp_path / "last.wav"), "--seconds", "1", "--json"))
    assert saved["rate_hz"] == 48_000
    assert 0 < saved["seconds"] <= 1.1


@pytest.mark.parametrize(
    ("hold", "why", "lift"),
    [
        (("mute",), "muted", ("unmute",)),
        (("panic", "--by", "ann"), "panic", ("release",)),
        (("pause",), "paused", ("resume",)),
        (("mode", "all_muted"), "all_muted", ("mode", "speak")),
    ],
)
def test_a_line_that_waits_says_why(
    koe: Run, watch: Watch, hold: tuple[str, ...], why: str, lift: tuple[str, ...]
) -> None:
    assert read(koe("say", "a", "--json"))["held"] == ""
    koe(*hold)
    try:
        assert read(koe("say", "a", "--json"))["held"] == why
        assert f"koe {' '.join(lift)} lets it sound" in koe("say", "a").stdout
    finally:
        koe(*lift)
        koe("stop")


def test_cancel_takes_a_line_back(koe: Run, watch: Watch) -> None:
    # long enough for three more commands on a machine that has other things to do
    first = read(koe("say", " ".join([LONG] * 40), "--json"))["utterance"]
    keyed = read(koe("say", LONG, "--key", "k", "--author", "eve", "--json"))["utterance"]
    assert read(koe("cancel", "--key", "k", "--json")) == {"cancelled": [keyed]}
    assert read(koe("cancel", str(first), "--json")) == {"cancelled": [first]}
    assert read(koe("cancel", str(first), "--json", code=1))["error"]["code"] == "unknown_utterance"


def test_watch_prints_what_happens_until_interrupted(daemon: Rig, koe: Run, watch: Watch) -> None:
    watching = subprocess.Popen(
        [*KOE, "watch", "--json", "voice.", "--runtime-dir", str(daemon.folder / "run")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert watching.stdout is not None
    os.set_blocking(watching.stdout.fileno(), False)
    line = ""
    while not line:  # until its subscription has reached the daemon
        daemon.client.set_voice("high")
        line = watching.stdout.readline()
    assert json.loads(line)["event"] == "voice.changed"
    watching.send_signal(signal.SIGINT)
    assert watching.wait(40) == 0
    watching.stdout.close()


def test_exit_codes(koe: Run, watch: Watch, tmp_path: Path) -> None:
    koe("status", code=0)
    assert "did you mean 'low'?" in koe("say", "x", "--voice", "lov", code=1).stderr
    assert read(koe("say", "\u200b", "--json", code=1))["error"]["code"] == "nothing_to_say"
    koe("say", code=2)
    koe("sya", "x", code=2)
    absent = read(koe("status", "--json", "--runtime-dir", str(tmp_path), code=3))
    assert set(absent["error"]) == {"code", "message", "hint"}


def test_the_plain_example_speaks(daemon: Rig, watch: Watch) -> None:
    environ = os.environ | {"KOED_RUNTIME_DIR": str(daemon.folder / "run")}
    command = [sys.executable, str(EXAMPLE), "from the example"]
    out = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=300)
    assert "'ok': True" in out.stdout, out.stderr
    finished: Any = watch.wait("utterance.finished")
    assert finished.spoken_s == pytest.approx(CHAR_S * len("from the example"), abs=0.05)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["chat", "delete"], "give the id of a line"),
        (["chat", "twitch", "no channel"], "is no channel"),
        (["chat", "twitch", "chan", "--server", "nowhere"], "is no server"),
        (["chat", "twitch", "chan", "--record", "/nowhere/log"], "cannot be written"),
        (["bridge", "vts", "--address", "nowhere"], "is no address"),
        (["hotkeys", "--do", "dance"], "there is no action"),
    ],
)
def test_a_wrong_argument_is_a_matter_of_usage(koe: Run, arguments: list[str], told: str) -> None:
    assert told in koe(*arguments, code=2).stderr


def test_a_broken_voice_does_not_take_the_place_of_one_that_speaks(daemon: Rig, koe: Run) -> None:
    """A scene or a key may ask for it: every line would fail from then on."""
    file = daemon.folder / "profiles" / "broken.yaml"
    file.write_text("engine: tone\nlang: en\nsettings: {nonsense: 1}\n")
    before = koe("voice").stdout
    try:
        koe("reload")
        wait_for(lambda: "nonsense" in koe("voices").stdout, what="the voice is broken")
        for when in ("next", "line", "now"):
            told = koe("voice", "broken", "--when", when, code=1).stderr
            assert "voice broken cannot be used" in told
            assert "nonsense" in told
        assert koe("voice").stdout == before
    finally:
        file.unlink()
        koe("reload")


def test_reload_tells_what_needs_a_restart_and_the_log_what_is_broken(
    daemon: Rig, koe: Run
) -> None:
    """Whoever changed a scene's voice must not go on air in the belief that it counts."""
    path = daemon.folder / "koed.yaml"
    before = path.read_text()
    try:
        path.write_text(f"{before}chat: {{read: subs}}\nhotkeys: {{keys: {{F8: stop}}}}\n")
        told = koe("reload").stdout
        assert "restart of koed: chat\n" in told
        assert "restart of koe hotkeys: hotkeys\n" in told
        path.write_text(f"{before}chat: {{raed: subs}}\n")
        daemon.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "chat.raed" in daemon.log(), what="the reason in the log")
    finally:
        path.write_text(before)
    assert koe("reload").stdout == "nothing has changed\n"


# --- koed ------------------------------------------------------------------------------------


@pytest.fixture
def settings(tmp_path: Path) -> str:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "low.yaml").write_text(yaml.safe_dump(LOW))
    file = tmp_path / "koed.yaml"
    file.write_text(yaml.safe_dump({"voice": "low", "audio": {"device": "null"}}))
    return str(file)


def test_render_writes_the_sound_and_nothing_else(settings: str, tmp_path: Path) -> None:
    file, text = tmp_path / "out.wav", "twenty characters ok"
    told = koed("render", text, "--voice", "low", "-o", str(file), "--config", settings, "--json")
    with wave.open(str(file)) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (48000, 1, 2)
        pcm = np.frombuffer(sound.readframes(sound.getnframes()), dtype="<i2")
    windows = hearing.voices(Sound(pcm, 0, 48000, 0.0), {"low": 400.0, "high": 1000.0})
    assert hearing.order(windows) == ["low"]
    assert hearing.seconds(windows, "low") == pytest.approx(CHAR_S * len(text), abs=0.03)
    assert json.loads(told.stdout)["seconds"] == pytest.approx(len(pcm) / 48000, abs=0.001)
    again = tmp_path / "again.wav"
    koed("render", text, "--voice", "low", "-o", str(again), "--config", settings)
    assert again.read_bytes() == file.read_bytes()


def test_render_refuses_with_a_reason(settings: str, tmp_path: Path) -> None:
    def render(*arguments: str, code: int) -> str:
        return koed("render", *arguments, "--config", settings, code=code).stderr

    out = str(tmp_path / "out.wav")
    assert "did you mean 'low'?" in render("x", "--voice", "lov", "-o", out, code=1)
    assert "can be spoken" in render("\u200b", "-o", out, code=1)
    assert render("x", "-o", str(tmp_path / "none" / "out.wav"), code=1)
    assert render("x", code=2)


def test_render_leaves_no_half_of_a_line(settings: str, tmp_path: Path) -> None:
    low = LOW | {"settings": LOW["settings"] | {"fail_on": "boom", "trouble_at_chunk": 3}}
    (tmp_path / "profiles" / "low.yaml").write_text(yaml.safe_dump(low))
    out = tmp_path / "out.wav"
    told = koed("render", "and boom it goes", "-o", str(out), "--config", settings, code=1)
    assert "boom" in told.stderr
    assert not out.exists()


def test_check_shows_a_configuration_that_loads_to_the_same(settings: str, tmp_path: Path) -> None:
    shown = tmp_path / "shown.yaml"
    shown.write_text(koed("check", "--show", "--config", settings).stdout)
    again = koed("check", "--show", "--config", str(shown)).stdout
    assert again.splitlines()[1:] == shown.read_text().splitlines()[1:]
    assert config.load(shown).voice == "low"
    findings = koed("check", "--json", "--config", settings).stdout.splitlines()
    assert {json.loads(finding)["what"] for finding in findings} >= {
        "configuration", "profiles", "neural voice",
    }  # fmt: skip


def test_voices_and_devices(settings: str, tmp_path: Path) -> None:
    voice = json.loads(koed("voices", "--json", "--config", settings).stdout)
    assert (voice["name"], voice["engine"]) == ("low", "tone")
    (tmp_path / "profiles" / "bad.yaml").write_text("engine: [")
    assert "BROKEN" in koed("voices", "--config", settings, code=1).stdout
    rows = koed("devices", "--json", "--config", settings).stdout.splitlines()
    assert "output main" in {json.loads(row)["what"] for row in rows}


def test_a_bad_configuration_is_told_with_its_line(settings: str) -> None:
    Path(settings).write_text("voice: low\nqueue:\n  max_linse: 3\n")
    told = koed("check", "--config", settings, code=1).stderr
    assert "max_lines" in told
    assert "3" in told


@pytest.mark.parametrize("action", ["setup", "rules"])
def test_the_configuration_may_be_named_behind_the_action(action: str, tmp_path: Path) -> None:
    path = tmp_path / "other.yaml"
    path.write_text("obs: {host: 127.0.0.1, port: 1}\n")
    for arguments in (["--config", str(path), action], [action, "--config", str(path)]):
        assert "no OBS at 127.0.0.1:1" in koed("obs", *arguments, code=1).stderr
