"""The daemon's own life: two at once, signals, a stepped clock, a crash, and a worker elsewhere."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from koed.auth import keys
from koed.testing.rig import Rig, Watch, rig
from tests.rigs import hearing, witness
from tests.rigs.daemon import tone
from tests.rigs.sound import sound_server
from tests.rigs.waiting import free_port, wait_for
from tests.rigs.witness import outcome, say

LONG = "a line that is long enough for something to happen in the middle of it"
ENDLESS = " ".join([LONG] * 40)
"""Sounds until it is cut, however slow the machine is."""
CHAR_S = 0.02
HZ = {"low": 400.0, "high": 1000.0}
PROFILES = {
    "low": tone(400, char_ms=20),
    "high": tone(1000, char_ms=20),
    "brief": tone(400, char_ms=20, chunk_ms=1000),  # all its sound is here when it begins
    "never": tone(400, delay_ms=60_000),
}


def run(folder: Path, environ: dict[str, str], **more: Any) -> subprocess.Popen[str]:
    """A daemon in the runtime folder of another."""
    return subprocess.Popen(
        [sys.executable, "-m", "koed.cli", "run", "--config", str(folder / "koed.yaml")],
        env=os.environ
        | {"KOED_RUNTIME_DIR": str(folder / "run"), "XDG_STATE_HOME": str(folder / "state")}
        | environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **more,
    )


# --- on a clock that can be stepped ---------------------------------------------------------------


class Clock:
    """The wall clock of a daemon, by a library of ours that is loaded into it."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "offset_s"
        self.step("0")
        library = folder / "clock.so"
        source = Path(__file__).with_name("clock.c")
        subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, source], check=True)
        self.environ = {"LD_PRELOAD": str(library), "CLOCK_OFFSET_FILE": str(self.file)}

    def step(self, offset_s: str) -> None:
        new = self.file.with_suffix(".new")
        new.write_text(offset_s)
        new.rename(self.file)


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Clock:
    return Clock(tmp_path_factory.mktemp("clock"))


@pytest.fixture(scope="module")
def daemon(clock: Clock) -> Iterator[Rig]:
    transcript = {"path": str(clock.file.parent / "transcript")}
    config = {"voice": "low", "transcript": transcript, "engine": {"lookahead_s": 10.0}}
    with rig(config, PROFILES, environ=clock.environ) as running:
        running.wait_ready()
        yield running


@pytest.fixture
def watch(daemon: Rig) -> Iterator[Watch]:
    watching = witness.watch(daemon)
    yield watching
    watching.close()


def test_a_clock_stepped_by_an_hour_is_not_noticed(daemon: Rig, watch: Watch, clock: Clock) -> None:
    began, text = daemon.mark(), f"{LONG} {LONG}"
    daemon.client.pause()  # until all are there, and the first is made
    said = say(daemon, text)
    waits = say(daemon, "still there", voice="high", ttl_s=60.0)
    hearing.played_on(daemon, 0.3)
    expires = say(daemon, "too late", ttl_s=0.5)
    daemon.client.resume()
    watch.wait("utterance.progress", said)
    clock.step("3600")
    dropped: Any = witness.end(watch, expires)
    assert dropped.reason == "expired"
    clock.step("-3600")
    assert [outcome(watch, line) for line in (said, waits)] == ["finished", "finished"]
    windows = hearing.voices(daemon.sound_from(began), HZ)
    assert hearing.order(windows) == ["low", "high"]
    assert hearing.seconds(windows, "low") == pytest.approx(CHAR_S * len(text), abs=0.05)
    finished: Any = watch.wait("utterance.finished", said)
    assert finished.starved_s == 0.0
    lines = (clock.file.parent / "transcript").read_text().splitlines()
    hours = {json.loads(line)["utterance"]: json.loads(line)["time"][:13] for line in lines}
    assert len({hours[line] for line in (expires, said)}) == 2  # the clock was stepped indeed
    clock.step("0")


def test_the_second_of_two_daemons_says_who_is_running(daemon: Rig, watch: Watch) -> None:
    said = say(daemon, "the first one is not disturbed")
    second = run(daemon.folder, {})
    printed, _ = second.communicate(timeout=60)
    assert second.returncode == 1
    assert "already running" in printed
    assert str(daemon.process.pid) in printed
    assert "Traceback" not in printed
    assert outcome(watch, said) == "finished"


def test_hangup_reloads_the_profiles(daemon: Rig, watch: Watch) -> None:
    (daemon.folder / "profiles" / "late.yaml").write_text(
        "engine: tone\nlang: en\nsettings: {hz: 2000, char_ms: 20}\n"
    )
    daemon.process.send_signal(signal.SIGHUP)
    wait_for(
        lambda: witness.told(watch, "state", state="reloaded", detail="late"), what="the reload"
    )
    wait_for(lambda: witness.told(watch, "voice.ready", voice="late"), what="the voice")
    assert outcome(watch, say(daemon, "here I am", voice="late")) == "finished"


def test_terminated_it_finishes_a_line_that_is_nearly_over(daemon: Rig, watch: Watch) -> None:
    """The last test of this daemon."""
    pid = witness.worker(daemon)
    said = say(daemon, "short last words", voice="brief")
    waits = say(daemon, "never heard", voice="never")
    watch.wait("utterance.started", said)
    daemon.process.send_signal(signal.SIGTERM)
    assert outcome(watch, said) == "finished"
    assert witness.words(watch, said) == ["short", "last", "words"]
    dropped: Any = witness.end(watch, waits)
    assert (dropped.event, dropped.reason) == ("utterance.dropped", "shutdown")
    assert daemon.process.wait(40) == 0
    assert not witness.runs(pid)
    assert witness.told(watch, "state")[-1].state == "stopping"


def test_a_signal_to_its_whole_group_costs_no_worker(tmp_path: Path) -> None:
    """As ``timeout make run`` and a shell send it. The stage alone decides when a worker ends:
    until then it may have to speak last words, and that it goes is no news."""
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "brief.yaml").write_text(yaml.safe_dump(PROFILES["brief"]))
    config = {"profiles": "profiles", "voice": "brief", "audio": {"device": "null"}, "greeting": ""}
    (tmp_path / "koed.yaml").write_text(yaml.safe_dump(config))
    process = run(tmp_path, {}, process_group=0)
    daemon = Rig(tmp_path, process, time.monotonic())  # type: ignore[arg-type]
    with contextlib.closing(daemon.client), process:
        try:
            daemon.wait_ready()
            pid, watch = witness.worker(daemon), witness.watch(daemon)
            said = say(daemon, "short last words")
            watch.wait("utterance.started", said)
            os.killpg(process.pid, signal.SIGTERM)
            assert outcome(watch, said) == "finished"
            printed, _ = process.communicate(timeout=60)
            watch.close()
        finally:
            process.kill()
    assert process.returncode == 0
    assert not witness.runs(pid)
    assert "SIGTERM: stopping" in printed
    assert "trying again" not in printed
    assert not witness.told(watch, "engine.down")


# --- on a sound server ---------------------------------------------------------------------------


def test_killed_it_is_back_with_its_microphone_and_ends_with_a_fade() -> None:
    with (
        sound_server() as server,
        rig({"voice": "low", "audio": {"device": "pulse"}}, PROFILES, environ=server.env) as first,
    ):
        first.wait_ready()
        watch = witness.watch(first)
        watch.wait("utterance.started", say(first, LONG))
        pid = witness.worker(first)
        first.process.kill()
        first.process.wait()
        watch.close()
        wait_for(lambda: not witness.runs(pid), what="the worker ends by itself")
        modules = server.pactl("list", "short", "modules")
        assert "sink_name=koed" in modules
        second = Rig(first.folder, run(first.folder, server.env), time.monotonic())  # type: ignore[arg-type]
        with contextlib.closing(second.client):
            try:
                second.wait_ready()
                assert server.pactl("list", "short", "modules") == modules  # adopted
                _farewell(second, server)
            finally:
                second.process.kill()
                second.process.wait()


def _farewell(daemon: Rig, server: Any) -> None:
    watch = witness.watch(daemon)
    recorder = server.record("koed_mic")
    said, waits = say(daemon, ENDLESS), say(daemon, "never heard")
    watch.wait("utterance.progress", said)
    recorder.wait_for_sound()
    daemon.process.send_signal(signal.SIGTERM)
    asked = time.monotonic()
    assert daemon.process.wait(40) == 0
    assert time.monotonic() - asked < 10.0  # it takes a second; the line would take a minute
    skipped, dropped = witness.end(watch, said), witness.end(watch, waits)
    assert (skipped.event, skipped.reason) == ("utterance.skipped", "shutdown")
    assert ENDLESS.startswith(skipped.heard)
    assert (dropped.event, dropped.reason) == ("utterance.dropped", "shutdown")
    assert witness.told(watch, "state", state="stopping")
    watch.close()
    recorder.wait_for_silence()
    ours = {"koed", "koed_mic"}
    there = ours & {*server.names("sinks"), *server.names("sources")}
    assert there == ours  # it would hear another microphone
    refused = _remove_devices(server)
    assert refused.returncode == 1
    assert "parec" in refused.stdout
    assert server.pactl("list", "short", "modules").count("koed") >= 2
    recorder.close()
    wait_for(lambda: _remove_devices(server).returncode == 0, what="they are removed")
    assert not ours & {*server.names("sinks"), *server.names("sources")}
    samples = np.abs(recorder.samples())
    end = int(np.flatnonzero(samples > 1e-4)[-1]) + 1
    before, last = samples[end - 2400 : end - 960].max(), samples[end - 120 : end].max()
    assert last < before / 3  # it fades, it is not cut
    assert len(samples) - end > 24  # and what follows is silence


def _remove_devices(server: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "koed.cli", "devices", "--remove"]
    return subprocess.run(command, env=server.environment(), capture_output=True, text=True)


# --- a worker elsewhere --------------------------------------------------------------------------


class Elsewhere:
    """A worker with an address and keys, as on another machine."""

    def __init__(self, folder: Path) -> None:
        self.address = f"tcp://127.0.0.1:{free_port()}"
        self.folder = folder
        keys.new(folder / "keys", "stage")
        self.key = folder / "keys" / "clients" / "stage.key_secret"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = ["worker", "--listen", self.address, "--engine", "tone"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "koed.cli",
                    *command,
                    "--keys",
                    str(self.folder / "keys"),
                ],
                env=os.environ | {"XDG_CACHE_HOME": str(self.folder)},
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Elsewhere]:
    machine = Elsewhere(tmp_path)
    yield machine
    machine.kill()


def test_a_worker_elsewhere_may_be_away_come_die_and_come_again(elsewhere: Elsewhere) -> None:
    engine = {"remote": elsewhere.address, "key": str(elsewhere.key), "kind": "tone"}
    profiles = {"low": PROFILES["low"] | {"engine": engine}, "high": PROFILES["high"]}
    config = {"voice": "low", "engine": {"failover_wait_s": 60.0, "lookahead_s": 0.5}}
    with rig(config, profiles) as daemon:
        daemon.wait_ready()  # although one of two engines is away
        watch = witness.watch(daemon)
        began = daemon.mark()
        assert outcome(watch, say(daemon, "high is here", voice="high")) == "finished"
        elsewhere.start()
        said = say(daemon, LONG)
        watch.wait("utterance.progress", said)
        elsewhere.kill()
        elsewhere.start()
        assert outcome(watch, said) == "finished"
        assert witness.words(watch, said) == LONG.split()
        down: Any = watch.wait("engine.down")
        assert down.code == "worker_unreachable"
        windows = hearing.voices(daemon.sound_from(began), HZ)
        assert hearing.seconds(windows, "low") == pytest.approx(CHAR_S * len(LONG), abs=0.35)
        watch.close()
