"""The ``koe`` command: output, exit codes, pipes and signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from koe import protocol
from koe.cli import main
from koe.cli.parser import COMMANDS
from koe.protocol import Levels, StateChanged, UtteranceStarted, WireError
from tests.koe.fake_daemon import PCM, FakeDaemon, until

KOE = [sys.executable, "-m", "koe.cli"]


@pytest.fixture(autouse=True)
def _usual_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOED_RUNTIME_DIR", str(tmp_path))


def refuse(_: Any) -> dict[str, Any]:
    raise WireError("queue_full", "the queue is full \x1b[2J", "wait a little")


@pytest.mark.parametrize(
    ("argv", "request_", "shown"),
    [
        (["say", "hello", "world"], protocol.Say(text="hello world"),
         "line 1 in voice hana, 2 before it"),
        (["say", "hi", "--voice", "mei", "--lang", "ja", "--priority", "chatter", "--ttl", "2.5",
          "--key", "k", "--author", "bob", "--output", "main"],
         protocol.Say(text="hi", voice="mei", lang="ja", priority="chatter", ttl_s=2.5, key="k",
                      author="bob", output="main"),
         "line 1 in voice mei, 2 before it, cut to the length allowed"),
        (["say", "hi", "--style", "happy", "--speed", "1.1", "--temperature", "0.8", "--top-k", "5",
          "--seed", "7", "--reference", "calm"],
         protocol.Say(text="hi", style="happy", speed=1.1, temperature=0.8, top_k=5, seed=7,
                      reference="calm"),
         "line 1 in voice hana, 2 before it\n"
         "without temperature, seed: the engine of this voice has no such thing"),
        (["say", "--", "-5 °C"], protocol.Say(text="-5 °C"), "line 1 in voice hana, 2 before it"),
        (["voice"], protocol.Voice(), "hana"),
        (["voice", "--pitch", "3", "--volume", "-6", "--plain"],
         protocol.Voice(pitch=3.0, volume=-6.0, plain=True), "hana, pitch 3, volume -6"),
        (["voice", "mei", "--when", "now"], protocol.Voice(name="mei", when="now"),
         "mei (before: hana)"),
        (["voices"], protocol.Voices(),
         "*  hana  ja  embedded  ready            calm; styles: happy, sad\n"
         "   rex   en  tone      broken: no file\n"
         "rex: by rex\\x1b[2J, CC BY 3.0"),
        (["queue"], protocol.Queue(),
         "speaking  7  urgent  hana  now\n"
         "waiting   8  normal  rex   <bob> then \\x1b[2J"),
        (["stop"], protocol.Stop(), "2 lines dropped"),
        (["stop", "--output", "main"], protocol.Stop(output="main"), "2 lines dropped"),
        (["skip"], protocol.Skip(), "line 7 skipped"),
        (["pause"], protocol.Pause(), "paused"),
        (["resume"], protocol.Resume(), "resumed"),
        (["clear", "--priority", "chatter"], protocol.Clear(priority="chatter"), "1 line dropped"),
        (["mute"], protocol.Mute(), "muted"),
        (["unmute"], protocol.Unmute(), "unmuted"),
        (["panic"], protocol.Panic(), "panic: silent until koe release"),
        (["panic", "--by", "ann"], protocol.Panic(by="ann"), "panic: silent until koe release"),
        (["release"], protocol.Release(), "released"),
        (["mode"], protocol.Mode(), "speak"),
        (["mode", "all_muted"], protocol.Mode(mode="all_muted"), "all_muted (before: speak)"),
        (["cancel", "8"], protocol.Cancel(utterance=8), "cancelled: 8"),
        (["cancel", "--author", "bob"], protocol.Cancel(author="bob"), "cancelled: 8"),
        (["status"], protocol.Status(),
         "version: 0.1.0\nuptime_s: 1.25\noutputs:\n  main:\n    device: null\n    muted: no\n"
         "engines:\n  - name: tone"),
        (["reload"], protocol.Reload(), "changed: mei"),
    ],
)  # fmt: skip
def test_each_command_is_one_request(
    daemon: FakeDaemon,
    capsys: pytest.CaptureFixture[str],
    argv: list[str],
    request_: protocol.Request,
    shown: str,
) -> None:
    assert main(argv) == 0
    assert daemon.requests[0].to_map() == request_.to_map() | {"id": 1}
    assert capsys.readouterr().out == shown + "\n"
    json_argv = ["--json", *argv] if argv[0] == "say" else [argv[0], "--json", *argv[1:]]
    assert main(json_argv) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert isinstance(json.loads(line), dict)
    assert daemon.requests[1].to_map() == request_.to_map() | {"id": 1}


@pytest.mark.parametrize("where", ["before", "after"])
def test_common_options_stand_before_or_after_the_command(
    daemon: FakeDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setenv("KOED_RUNTIME_DIR", "/nowhere")
    options = ["--runtime-dir", str(tmp_path), "--timeout", "20"]
    assert main([*options, "stop"] if where == "before" else ["stop", *options]) == 0
    assert main(["--endpoint", f"ipc://{tmp_path}/control", "stop"]) == 0
    assert daemon.ops() == ["stop", "stop"]


def test_a_refusal_is_told_with_its_reason(
    daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.answers["say"] = refuse
    assert main(["say", "hi"]) == 1
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "koe: the queue is full \\x1b[2J\n     wait a little\n")
    assert main(["say", "hi", "--json"]) == 1
    told = capsys.readouterr()
    assert json.loads(told.out)["error"]["code"] == "queue_full"
    assert told.err == ""


def test_no_daemon_is_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (["say", "hi"], ["watch"], ["save", str(tmp_path / "x.wav")]):
        assert main(argv) == 3
        told = capsys.readouterr().err
        assert str(tmp_path) in told
        assert "koed run" in told
    assert not (tmp_path / "x.wav").exists()
    assert main(["--json", "status"]) == 3
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "no_daemon"


@pytest.mark.parametrize(
    "argv",
    [[], ["sya"], ["say"], ["say", "--priority", "high", "x"], ["cancel"], ["voice", "--when", "x"],
     ["--endpoint", "tcp://1.2.3.4:99", "stop"], ["say", "--wai", "x"]],
)  # fmt: skip
def test_wrong_usage_is_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code: Any = main(argv)
    except SystemExit as leave:
        code = leave.code
    assert code == 2
    assert capsys.readouterr().err


def test_every_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    operations = set(protocol.REQUESTS) - {"say_open", "say_append", "say_close"}
    operations -= {"chat", "chat_delete"}  # in the group `koe chat`
    assert operations | {"pipe", "watch"} == set(COMMANDS)
    for command in COMMANDS:
        with pytest.raises(SystemExit) as leave:
            main([command, "--help"])
        assert leave.value.code == 0
        told = capsys.readouterr().out
        assert "example: " in told
        assert "--json" in told


def test_reload_with_errors_is_1(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.answers["reload"] = lambda _: {"changed": [], "errors": ["mei.yaml:3: no such key"]}
    assert main(["reload"]) == 1
    assert "mei.yaml:3" in capsys.readouterr().out


@pytest.mark.parametrize(("outcome", "code"), [("finished", 0), ("skipped", 1), ("dropped", 1)])
def test_say_wait(
    daemon: FakeDaemon, capsys: pytest.CaptureFixture[str], outcome: str, code: int
) -> None:
    ender = threading.Thread(target=daemon.finish, args=(0, outcome, "because"))
    ender.start()
    assert main(["say", "hi", "--wait"]) == code
    ender.join()
    told = capsys.readouterr()
    assert ("because" in told.err) == bool(code)
    assert outcome in told.out + told.err


@pytest.mark.parametrize(
    ("held", "given", "told"),
    [
        (["muted"], [], True),
        (["panic"], [], True),
        (["paused", ""], [], False),  # the line may go to the other one
        (["paused", ""], ["--output", "out0"], True),
        (["paused", ""], ["--output", "out1"], False),
        (["muted"], ["--json"], False),
    ],
)
def test_say_wait_tells_at_once_why_nothing_will_sound(
    daemon: FakeDaemon,
    capsys: pytest.CaptureFixture[str],
    held: list[str],
    given: list[str],
    told: bool,
) -> None:
    outputs = {f"out{n}": {"held": why} for n, why in enumerate(held)}
    daemon.answers["status"] = lambda request: {"outputs": outputs}
    ender = threading.Thread(target=daemon.finish)
    ender.start()
    assert main(["say", "hi", "--wait", *given]) == 0
    ender.join()
    hint = {"muted": "koe unmute", "paused": "koe resume", "panic": "koe release"}[held[0]]
    warned = capsys.readouterr().err
    assert (hint in warned) if told else not warned


def test_save(daemon: FakeDaemon, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "last.wav"
    assert main(["save", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["file"] == str(path)
    assert path.read_bytes().endswith(PCM)
    assert main(["save", str(tmp_path / "no" / "such" / "folder.wav")]) == 1
    assert "cannot write" in capsys.readouterr().err


# --- processes -------------------------------------------------------------------------------


def koe(*argv: str, **settings: Any) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [*KOE, *argv], stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0, **settings
    )


def test_text_from_standard_input(daemon: FakeDaemon) -> None:
    out, err = koe("say", "-").communicate("ひとつ\nふたつ".encode(), 60)
    assert (out, err) == (b"line 1 in voice hana, 2 before it\n", b"")
    assert daemon.requests == [protocol.Say(id=1, text="ひとつ\nふたつ")]


def test_pipe_says_each_line_and_goes_on_after_a_refusal(daemon: FakeDaemon) -> None:
    def answer(request: protocol.Say) -> dict[str, Any]:
        return refuse(request) if request.text == "bad" else {"utterance": 1}

    daemon.answers["say"] = answer
    child = koe("pipe", "--author", "bob", "--priority", "chatter")
    out, err = child.communicate(b"a\n\n  \nbad\n" + b"\xff\n" + "ü\r\nlast".encode(), 60)
    texts = [request.text for request in daemon.requests if isinstance(request, protocol.Say)]
    assert texts == ["a", "bad", "ü", "last"]
    assert {getattr(request, "author", "") for request in daemon.requests} == {"bob"}
    assert child.returncode == 1
    assert out == b""
    assert b"the queue is full" in err
    assert b"not UTF-8" in err
    child = koe("pipe", "--json")
    out, err = child.communicate(b"a\nb\n", 60)
    assert child.returncode == 0
    assert [json.loads(line) for line in out.splitlines()] == [{"utterance": 1}] * 2


def test_pipe_stream_speaks_while_the_text_comes(daemon: FakeDaemon) -> None:
    def texts() -> str:
        appended = [r for r in daemon.requests if isinstance(r, protocol.SayAppend)]
        return "".join(request.text for request in appended)

    child = koe("pipe", "--stream", "--voice", "mei")
    assert child.stdin
    child.stdin.write(b" \n")
    data = "声が出る".encode()
    child.stdin.write(data[:4])
    until(lambda: texts() == "声")
    assert daemon.requests[0] == protocol.SayOpen(id=1, voice="mei")
    child.stdin.write(data[4:5])
    child.stdin.write(data[5:])
    until(lambda: texts() == "声が出る")
    assert child.poll() is None
    out, err = child.communicate(b"", 60)
    assert (child.returncode, out, err) == (0, b"", b"")
    assert daemon.ops()[-1] == "say_close"


def test_pipe_stream_of_nothing_says_nothing(daemon: FakeDaemon) -> None:
    child = koe("pipe", "--stream")
    assert child.communicate(b" \n ", 60) == (b"", b"")
    assert (child.returncode, daemon.ops()) == (0, [])


def test_pipe_stream_takes_the_line_back_when_interrupted(daemon: FakeDaemon) -> None:
    child = koe("pipe", "--stream")
    assert child.stdin
    child.stdin.write(b"hello ")
    until(lambda: "say_append" in daemon.ops())
    child.send_signal(signal.SIGINT)
    assert child.wait(60) == 130
    assert child.communicate() == (b"", b"")
    assert daemon.requests[-1] == protocol.Cancel(id=3, utterance=1)


def test_watch_prints_events_until_interrupted(daemon: FakeDaemon) -> None:
    child = koe("watch", "--json")
    until(lambda: "" in daemon.topics)
    daemon.publish(Levels(output="main", rms_db=-20.0, peak_db=-10.0, heard_t=1.0))
    daemon.publish_map({"event": "brand.new", "text": "声\u2028"})
    assert child.stdout
    assert json.loads(child.stdout.readline())["event"] == "brand.new"
    child.send_signal(signal.SIGINT)
    assert child.wait(60) == 0
    assert child.communicate() == (b"", b"")


def test_watch_is_readable_and_outlives_the_daemon(tmp_path: Path) -> None:
    started = UtteranceStarted(
        utterance=7, text="hi\x1b[2J", voice="hana", output="main", heard_t=1.0, author="bob"
    )
    with FakeDaemon(tmp_path) as daemon:
        child = koe("watch", "utterance.", "levels")
        until(lambda: "levels" in daemon.topics)
        daemon.publish(StateChanged(state="paused"))
        daemon.publish(Levels(output="main", rms_db=-20.0, peak_db=-10.0, heard_t=1.0))
        assert child.stdout
        assert b"levels               main: -20.0 dB" in child.stdout.readline()
    assert child.stderr
    assert b"koed is gone" in child.stderr.readline()
    with FakeDaemon(tmp_path) as daemon:
        until(lambda: "levels" in daemon.topics)
        daemon.publish(started)
        line = child.stdout.readline().decode()
        assert line.endswith("utterance.started    line 7 in voice hana: <bob> hi\\x1b[2J\n")
        child.send_signal(signal.SIGINT)
        assert child.wait(60) == 0
        child.communicate()


def test_a_reader_that_leaves_is_no_error(daemon: FakeDaemon) -> None:
    child = koe("watch")
    until(lambda: "" in daemon.topics)
    assert child.stdout
    child.stdout.close()
    daemon.publish(StateChanged(state="paused"))
    assert child.wait(60) == 0
    assert child.stderr
    assert child.stderr.read() == b""
    child.communicate()


def test_any_text_is_printed_in_any_locale(daemon: FakeDaemon) -> None:
    daemon.answers["voice"] = lambda _: {"voice": "声😀"}
    environment = os.environ | {"PYTHONIOENCODING": "latin-1", "LC_ALL": "C"}
    out, _ = koe("voice", env=environment).communicate(timeout=60)
    assert out == b"\\u58f0\\U0001f600\n"
    out, _ = koe("voice", "--json", env=environment).communicate(timeout=60)
    assert json.loads(out.decode("utf-8")) == {"voice": "声😀"}


def test_bytes_that_are_no_text_are_refused(daemon: FakeDaemon) -> None:
    child = subprocess.run([*map(os.fsencode, KOE), b"say", b"a\xff"], capture_output=True)
    assert child.returncode == 1
    assert b"half a character" in child.stderr
    assert daemon.ops() == []


def test_the_client_loads_nothing_heavy() -> None:
    code = (
        "import sys, koe.cli.commands, koe.cli.format, koe.client\n"
        "heavy = {'numpy', 'torch', 'koed', 'yaml', 'asyncio', 'scipy', 'importlib.metadata'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert child.stdout == "[]\n", child.stderr


def test_a_hotkey_loads_no_classes(daemon: FakeDaemon) -> None:
    """``inspect`` is the slow half of ``dataclasses``; from Python 3.12 on the compiled part of
    pyzmq loads it, whoever asks. Nothing of ours does."""
    code = (
        "import sys, zmq\n"
        "theirs = set(sys.modules) & {'inspect'}\n"
        "import koe.cli\n"
        "code = koe.cli.main(['say', 'hi', '--json'])\n"
        "slow = {'dataclasses', 'inspect', 'koe.protocol', 'koe.wire.requests'} - theirs\n"
        "print(code, sorted(slow & set(sys.modules)))\n"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert child.stdout.splitlines()[-1] == "0 []", child.stderr


def test_help_and_version_need_no_zeromq() -> None:
    for option in ("--help", "--version"):
        code = (
            "import sys, koe.cli\n"
            f"try: koe.cli.main([{option!r}])\n"
            "finally: print(sorted({'zmq', 'msgpack', 'dataclasses'} & set(sys.modules)))\n"
        )
        child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert child.stdout.splitlines()[-1] == "[]", child.stderr
        assert "koe" in child.stdout
