"""A worker that is none of ours, in raw messages: another version, or a voice that cannot be."""

from __future__ import annotations

import math
import sys
import textwrap
from pathlib import Path

import pytest

from koed.engine import wire
from koed.engine.host import workers
from koed.engine.host.supervisor import UNFIT_S
from tests.engine.hosting import job, started, theatre, voice

STRANGER = """
import sys, msgpack, zmq

def say(*values):
    socket.send(msgpack.packb(values))

def hear():
    return msgpack.unpackb(socket.recv())

socket = zmq.Context().socket(zmq.DEALER)
socket.setsockopt(zmq.ROUTING_ID, sys.argv[2].encode())
socket.connect(sys.argv[1])
"""


def pose(monkeypatch: pytest.MonkeyPatch, behaviour: str) -> None:
    """Have such a script run for a worker."""
    program = STRANGER + textwrap.dedent(behaviour)

    def command(engine: str, endpoint: str, identity: str, cache: Path | None) -> list[str]:
        return [sys.executable, "-c", program, endpoint, identity]

    monkeypatch.setattr(workers, "worker_command", command)


@pytest.mark.parametrize("version", [wire.VERSION - 2, wire.VERSION + 1])
def test_a_child_of_another_version_is_told_with_the_cure_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    pose(monkeypatch, f"say('here', 0, {version}); hear()")
    with theatre(tmp_path) as stage:
        stage.start()
        stage.until(lambda: stage.host.restarts >= 2)
        ((code, message, _, lost),) = stage.diary.downs
        assert (code, lost) == ("worker_unreachable", [])
        assert message == (
            f"the worker on this machine speaks version {version} of koed's engine wire, this "
            f"stage version {wire.VERSION}: update koed on the older of the two (pip install -U "
            "koed) and start it again"
        )
        assert stage.diary.ups == []


def test_a_child_that_the_processor_cannot_run_is_told_with_the_cure_and_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pose(monkeypatch, "import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    with theatre(tmp_path) as stage:
        stage.start()
        stage.until(lambda: stage.diary.downs)
        ((code, message, retry_s, _),) = stage.diary.downs
        assert (code, retry_s) == ("worker_unfit", UNFIT_S)
        assert "SIGILL" in message
        assert "koe voices" in message
        stage.clock.skip(UNFIT_S / 2)
        stage.settle(0.5)
        assert stage.host.restarts == 0
        stage.clock.skip(UNFIT_S)
        stage.until(lambda: stage.host.restarts == 1)


def test_a_child_of_the_version_before_is_served_with_what_it_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = wire.VERSION - 1
    behaviour = f"""
        say("here", 0, {older})
        kind, session, version = hear()
        assert (kind, version) == ("hello", {older})
        say("ready", session, "tone", [["*"], False, False, False], 1, 1.0, "1")
        while True:
            kind, session, *rest = hear()
            if kind == "prepare":
                key, (name, *_) = rest
                say("prepared", session, key, name, -20.0, True, 0.1)
            if kind == "speak":
                (serial, lane, _, _, _, _, seed, _, _, owner), = rest
                say("failed", session, serial, lane, owner, str(seed))
    """
    pose(monkeypatch, behaviour)
    with theatre(tmp_path) as stage:
        key = started(stage)
        assert stage.host.capabilities is not None
        assert stage.host.capabilities.line_fields == ("speed",)
        stage.host.speak(job(1, key, settings={"temperature": 0.5}, seed=9))
        stage.until(lambda: stage.diary.failures)
        assert stage.diary.failures == {1: ("air", "9")}


@pytest.mark.parametrize("lufs", [-math.inf, math.nan, 3.5])
def test_a_voice_with_a_loudness_that_cannot_be_is_refused_at_the_border(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lufs: float
) -> None:
    behaviour = f"""
        say("here", 0, {wire.VERSION})
        session = hear()[1]
        say("ready", session, "tone", [["*"], False, False, False], 1, 1.0, "1")
        while True:
            kind, session, *rest = hear()
            if kind == "prepare":
                key, (name, *_) = rest
                loud = float("{lufs}") if name == "odd" else -20.0
                say("prepared", session, key, name, loud, True, 0.1)
    """
    pose(monkeypatch, behaviour)
    with theatre(tmp_path) as stage:
        stage.host.prepare(voice("odd"))
        started(stage)  # the others can speak
        assert stage.diary.ready == {"hana": True}
        code, message = stage.diary.broken["odd"]
        assert code == "bad_loudness"
        assert f"{lufs:g} LUFS" in message
        assert "prepare it again" in stage.diary.hints["odd"]
        assert "report it" in stage.diary.hints["odd"]
