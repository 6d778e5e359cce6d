"""A worker on another machine: TCP with CURVE keys, over the loopback."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgpack
import pytest
import zmq

from koed.auth import keys
from koed.config.profile import RemoteEngine
from koed.engine import wire
from tests.engine.hosting import DEADLINE_S, Theatre, job, kill_if_alive, theatre, voice

WORKER = [sys.executable, "-m", "koed.engine.worker.main", "--engine", "tone"]


def reserved() -> socket.socket:
    """A port that nobody else gets while this is open; who names it (ZeroMQ does so with
    SO_REUSEADDR) can listen there, as often as wanted."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", 0))
    return made


class Elsewhere:
    """The other machine: a key folder, an address, and a worker that comes and goes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys = folder / "keys"
        self.port = reserved()
        self.address = f"tcp://127.0.0.1:{self.port.getsockname()[1]}"
        self.process: subprocess.Popen[bytes] | None = None
        self.admit("stage")

    def admit(self, name: str) -> RemoteEngine:
        made = keys.new(self.keys, name)
        return RemoteEngine(self.address, made.server, made.public, made.secret)

    def remote(self, name: str = "stage") -> RemoteEngine:
        pair = keys.client_keys(self.keys / "clients" / f"{name}.key_secret")
        return RemoteEngine(self.address, pair.server, pair.public, pair.secret)

    def start(self, *more: str) -> None:
        log = open(self.folder / "worker.log", "ab")  # noqa: SIM115 - the child's
        command = [*WORKER, "--listen", self.address, f"--keys={self.keys}"]
        command += [f"--cache={self.folder / 'cache'}", *more]
        self.process = subprocess.Popen(command, stderr=log, stdout=log)
        log.close()

    def listens(self) -> bool:
        with socket.socket() as guest:
            return guest.connect_ex(self.port.getsockname()) == 0

    def end(self, how: signal.Signals = signal.SIGKILL) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(how)
        return self.process.wait(DEADLINE_S)

    def log(self) -> str:
        return (self.folder / "worker.log").read_text()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Elsewhere]:
    machine = Elsewhere(tmp_path / "elsewhere")
    yield machine
    if machine.process is not None:
        kill_if_alive(machine.process.pid)
        machine.process.wait(DEADLINE_S)
    machine.port.close()


@contextlib.contextmanager
def stage_of(elsewhere: Elsewhere, folder: Path, **config: float) -> Iterator[tuple[Theatre, str]]:
    with theatre(folder, remote=elsewhere.remote(), **config) as stage:
        key = stage.host.prepare(voice("hana"))
        stage.start()
        yield stage, key


def test_a_worker_elsewhere_speaks_and_survives_its_stage(
    elsewhere: Elsewhere, tmp_path: Path
) -> None:
    elsewhere.start()
    for attempt in range(2):
        with stage_of(elsewhere, tmp_path / str(attempt)) as (stage, key):
            stage.until_up()
            assert elsewhere.process is not None
            assert stage.host.pid == elsewhere.process.pid
            assert stage.diary.ready == {"hana": attempt == 1}  # the voice stayed warm
            stage.host.speak(job(1, key))  # the same serials again: a new session
            stage.until_done(1)
    assert elsewhere.end(signal.SIGTERM) == 0


def test_it_comes_back_after_the_worker_was_away(elsewhere: Elsewhere, tmp_path: Path) -> None:
    with stage_of(elsewhere, tmp_path, lookahead_s=1.0) as (stage, key):
        stage.settle(0.2)
        assert stage.diary.ups == []  # nobody is there yet
        elsewhere.start()
        stage.until_up()
        stage.host.speak(job(1, key, "a long line " * 10))
        stage.until(lambda: 1 in stage.diary.pcm)
        stage.diary.downs.clear()  # told if the worker took seconds to begin
        elsewhere.end()
        noticed_s = stage.until(lambda: stage.diary.downs)
        assert noticed_s < 10.0
        code, message, _, lost = stage.diary.downs[0]
        assert (code, lost) == ("worker_unreachable", [1])
        assert elsewhere.address in message
        elsewhere.start()
        stage.until_up(times=2)
        stage.host.speak(job(2, key))
        stage.until_done(2)


def test_a_cable_that_is_pulled_is_noticed_by_the_silence(
    elsewhere: Elsewhere, tmp_path: Path
) -> None:
    elsewhere.start()
    with stage_of(elsewhere, tmp_path, stall_s=20.0) as (stage, key):
        stage.until_up()
        assert elsewhere.process is not None
        stage.host.speak(job(9, key, "until all credit is used " * 10))
        stage.until(lambda: stage.diary.heard_s(9) >= 1.5)
        stage.diary.downs.clear()  # told if the worker took seconds to begin
        elsewhere.process.send_signal(signal.SIGSTOP)  # the connection stands, nothing comes
        while not stage.diary.downs:
            stage.clock.skip(0.5)  # the seconds of its patience, which nobody needs to wait for
            stage.turn()
        assert stage.diary.downs[0][:2] == ("worker_unreachable", "no sign of life for 20 s")
        elsewhere.process.send_signal(signal.SIGCONT)
        stage.until_up(times=2)
        stage.host.speak(job(1, key))
        stage.until_done(1)


def test_an_unknown_key_gets_no_answer(elsewhere: Elsewhere, tmp_path: Path) -> None:
    elsewhere.start()
    other = Elsewhere(tmp_path / "other")  # a pair that this worker never heard of
    known, foreign = elsewhere.remote(), other.remote()
    mixed = RemoteEngine(known.address, known.server_public, foreign.client_public,
                         foreign.client_secret)  # fmt: skip
    with theatre(tmp_path, remote=mixed) as stage:
        stage.clock.stop()  # it has as long as it needs to answer
        stage.host.prepare(voice("hana"))
        stage.start()
        stage.until(lambda: stage.diary.downs)
        assert stage.diary.downs[0][0] == "worker_unreachable"
        assert "does not know this machine's key" in stage.diary.downs[0][1]
        stage.clock.skip(0.5)  # it tries again
        stage.until(lambda: stage.host.restarts == 1)
        stage.settle(0.5)
        assert stage.diary.ups == []
        assert len(stage.diary.downs) == 1
        stage.clock.go()
        public = (other.keys / "clients" / "stage.key").read_bytes()
        (elsewhere.keys / "clients" / "late.key").write_bytes(public)
        stage.until_up()  # no restart is needed to let somebody in
    keys.remove(elsewhere.keys, "stage")  # no restart is needed to shut somebody out
    with theatre(tmp_path, remote=known) as stage:
        stage.start()
        stage.until(lambda: stage.diary.downs)
        assert stage.diary.ups == []


def test_a_wrong_server_key_and_a_plain_connection_get_nothing(
    elsewhere: Elsewhere, tmp_path: Path
) -> None:
    elsewhere.start()
    other = Elsewhere(tmp_path / "other").remote()
    known = elsewhere.remote()
    wrong = RemoteEngine(known.address, other.server_public, known.client_public,
                         known.client_secret)  # fmt: skip
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    plain = context.socket(zmq.DEALER)
    plain.connect(elsewhere.address)
    plain.send(wire.encode(1, wire.Hello(wire.VERSION)))
    with theatre(tmp_path, remote=wrong) as stage:
        stage.start()
        stage.until(lambda: stage.diary.downs)
        assert stage.diary.downs[0][0] == "worker_unreachable"
        assert stage.diary.ups == []
    assert not plain.poll(0)
    context.destroy(linger=0)
    with stage_of(elsewhere, tmp_path) as (stage, _):
        stage.until_up()  # and the worker is none the worse


def test_a_second_stage_is_refused_until_the_first_has_left(
    elsewhere: Elsewhere, tmp_path: Path
) -> None:
    elsewhere.start()
    elsewhere.admit("second")
    with theatre(tmp_path / "b", remote=elsewhere.remote("second")) as second:
        key = second.host.prepare(voice("rin"))
        with stage_of(elsewhere, tmp_path / "a") as (first, _):
            first.until_up()
            first.diary.downs.clear()  # told if the worker took seconds to begin
            second.start()
            # Both turn: a worker does not wait for a stage that says nothing for seconds.
            second.until(lambda: first.turn(0.0) or second.diary.downs)
            assert "serves another stage" in second.diary.downs[0][1]
            first.settle(0.3)
            assert first.diary.downs == []
        second.until_up()
        second.host.speak(job(1, key))
        second.until_done(1)


def test_a_hung_engine_elsewhere_starts_over_by_itself(
    elsewhere: Elsewhere, tmp_path: Path
) -> None:
    elsewhere.start("--stuck-s=0.6")
    with theatre(tmp_path, remote=elsewhere.remote(), stall_s=20.0) as stage:
        key = stage.host.prepare(voice("hana", hang_on="tar"))
        stage.start()
        stage.until_up()
        stage.diary.downs.clear()  # told if the worker took seconds to begin
        stage.host.speak(job(1, key, "tar pit"))
        stage.until(lambda: stage.diary.downs)
        assert stage.diary.downs[0][3] == [1]
        stage.until_up(times=2)
        stage.host.speak(job(2, key))
        stage.until_done(2)
    assert "starting over" in elsewhere.log()


def test_another_version_of_the_wire_is_refused_in_words(
    elsewhere: Elsewhere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere.start()
    monkeypatch.setattr(wire, "VERSION", wire.VERSION + 2)
    monkeypatch.setattr(wire, "SPOKEN", (wire.VERSION, wire.VERSION - 1))
    with stage_of(elsewhere, tmp_path) as (stage, _):
        told = (
            f"the worker at {elsewhere.address} speaks version {wire.VERSION - 2} of koed's engine "
            f"wire, this stage version {wire.VERSION}: update koed on the older of the two "
            "(pip install -U koed) and start it again"
        )
        stage.until(lambda: told in [down[1] for down in stage.diary.downs])


def test_what_an_older_worker_says_of_versions_is_told_with_the_cure(
    elsewhere: Elsewhere, tmp_path: Path
) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    old = context.socket(zmq.ROUTER)
    old.curve_server = True
    old.curve_publickey, old.curve_secretkey = keys.server_pair(elsewhere.keys)
    old.bind(elsewhere.address)

    def refused() -> bool:
        while old.poll(0):
            sender, frame = old.recv_multipart()
            kind, session, version = msgpack.unpackb(frame)
            assert (kind, version) == ("hello", wire.VERSION)
            words = (
                "this worker speaks version 3 of the engine wire, the stage 4: "
                "install the same koed on both"
            )
            old.send_multipart([sender, msgpack.packb(["refused", session, words])])
        return any("version" in down[1] for down in stage.diary.downs)

    with stage_of(elsewhere, tmp_path) as (stage, _):
        stage.until(refused)
        code, message, _, _ = stage.diary.downs[-1]
        assert code == "worker_unreachable"
        assert message == (
            f"the worker at {elsewhere.address} speaks version 3 of koed's engine wire, this "
            f"stage version {wire.VERSION}: update koed on the older of the two (pip install -U "
            "koed) and start it again"
        )
    context.destroy(linger=0)


def test_a_worker_of_the_version_before_is_asked_again_in_its_own(
    elsewhere: Elsewhere, tmp_path: Path
) -> None:
    older = wire.VERSION - 1
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    old = context.socket(zmq.ROUTER)
    old.curve_server = True
    old.curve_publickey, old.curve_secretkey = keys.server_pair(elsewhere.keys)
    old.bind(elsewhere.address)
    can = [["*"], False, False, False]

    def up() -> bool:
        while old.poll(0):
            sender, frame = old.recv_multipart()
            kind, session, *rest = msgpack.unpackb(frame)
            answers: list[list[object]] = []
            if kind == "hello" and rest != [older]:
                answers = 2 * [["refused", session, wire.differ("over there", older, rest[0])]]
            elif kind == "hello":
                answers = [["ready", session, "tone", can, 1, 1.0, "v1"]]
            elif kind == "prepare":
                answers = [["prepared", session, rest[0], "hana", -20.0, True, 0.0]]
            for answer in answers:
                old.send_multipart([sender, msgpack.packb(answer)])
        return bool(stage.diary.ups)

    with stage_of(elsewhere, tmp_path) as (stage, _):
        stage.until(up)
        assert stage.diary.downs == []
    context.destroy(linger=0)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--listen", "tcp://127.0.0.1:1"], 2, "--keys"),
        ([], 2, "--listen"),
        (["--listen", "ipc:///nowhere/at/all", "--cache", "/nonexistent"], 3, "cannot listen"),
    ],
)
def test_a_worker_says_what_it_needs(arguments: list[str], status: int, words: str) -> None:
    done = subprocess.run([*WORKER, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == status
    assert words in done.stderr


def test_a_worker_of_a_stage_that_is_gone_does_not_begin(tmp_path: Path) -> None:
    done = subprocess.run(  # one that begins runs for ever
        [*WORKER, "--connect", f"ipc://{tmp_path}/x", "--identity=1", f"--parent={os.getppid()}"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0
