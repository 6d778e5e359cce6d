"""The chat through a real daemon: what is deleted is not heard, and no line vanishes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from koe.client import Client
from koe.protocol import Chat
from koed.testing.rig import Rig, Watch, rig
from tests.rigs import hearing
from tests.rigs.waiting import wait_for

KOE = [sys.executable, "-m", "koe.cli"]
TONE = {"engine": "tone", "lang": "en", "settings": {"hz": 400, "char_ms": 25, "amplitude": 0.25}}
LONG = " ".join(["this line is long enough to be taken back in the middle of it by somebody"] * 12)
"""20 seconds: it is always ended by somebody, however late."""
PATIENCE_S = 60.0
CHAT = {
    "raid": {"over_per_s": 0},
    "rate": {"lines": 0},
    "names": {"again_s": 0},
    "max_s": 0,
    "voices": {"mode": "sticky"},
}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    state = tmp_path_factory.mktemp("state")
    profiles = {"low": TONE}
    with rig(
        {
            "voice": "low",
            "chat": CHAT,
            "queue": {"line_pause_s": 0.05, "max_per_author": 0},
            "text": {"chatter_max_chars": 2000},
        },
        profiles,
        environ={"XDG_STATE_HOME": str(state)},
    ) as running:
        running.wait_ready()
        yield running
    kept = state / "koed" / "viewers.json"
    assert "twitch:ann" in kept.read_text()
    assert kept.stat().st_mode & 0o077 == 0


@pytest.fixture
def watch(daemon: Rig) -> Iterator[Watch]:
    watching = daemon.watch("utterance.", "chat.", "trouble")
    yield watching
    daemon.client.set_mode("speak")
    daemon.client.chat_delete(everything=True)
    daemon.client.stop()
    watching.close()


def chat(daemon: Rig, text: str, author: str = "ann", line: str | None = None, **rest: Any) -> Any:
    return daemon.client.chat(Chat(text=text, author=author, platform="twitch", line=line, **rest))


def silent(daemon: Rig, since_t: float) -> bool:
    return not hearing.order(hearing.voices(daemon.sound(since_t), {"low": 400.0}))


@pytest.mark.parametrize("by", ["line", "author"])
def test_what_is_deleted_falls_silent_in_mid_word(daemon: Rig, watch: Watch, by: str) -> None:
    # an author who was timed out is remembered for a while: nobody whom another test needs
    said = chat(daemon, f"{LONG} {by}", f"Tim {by}", by)
    after = chat(daemon, f"and the next {by}", f"tim {by}", f"{by} 2")
    watch.wait("utterance.progress", said.utterance)
    if by == "line":
        gone = daemon.client.chat_delete("line", platform="twitch")
        assert gone == (said.utterance,)
        watch.wait("utterance.finished", after.utterance)
    else:
        gone = daemon.client.chat_delete(author="TIM author", platform="Twitch")
        assert set(gone) == {said.utterance, after.utterance}
    skipped: Any = watch.wait("utterance.skipped", said.utterance)
    assert skipped.reason == "cancel"
    assert 0 < len(skipped.heard) < len(said.text)
    over_t = time.monotonic()
    wait_for(lambda: time.monotonic() > over_t + 0.2, what="some sound")
    assert silent(daemon, over_t + 0.1)


def test_a_deletion_before_its_line(daemon: Rig, watch: Watch) -> None:
    assert daemon.client.chat_delete("early", platform="twitch") == ()
    told = chat(daemon, "never said", line="early")
    assert (told.verdict, told.reason, told.utterance) == ("dropped", "deleted", None)
    event: Any = watch.wait("chat.line")
    assert (event.verdict, event.reason, event.line) == ("dropped", "deleted", "early")


def test_a_merged_line_lives_as_long_as_somebody_elses_copy(daemon: Rig, watch: Watch) -> None:
    chat(daemon, LONG, "zoe")
    first = chat(daemon, "same words", "ann", "m1")
    assert first.text == "ann says: same words"
    copies = [chat(daemon, "Same words!", who, f"m{n}") for n, who in ((2, "bob"), (3, "ann"))]
    assert [(c.verdict, c.utterance) for c in copies] == [("merged", first.utterance)] * 2
    # ann's other copy goes with it, bob's stays, and nobody hears ann's name
    assert daemon.client.chat_delete("m1", platform="twitch") == ()
    waiting = {q.utterance: q for q in daemon.client.queue().waiting}
    assert (waiting[first.utterance].text, waiting[first.utterance].key) == (
        "same words",
        "twitch:m2",
    )
    assert daemon.client.chat_delete("m2", platform="twitch") == (first.utterance,)
    dropped: Any = watch.wait("utterance.dropped", first.utterance)
    assert dropped.reason == "cancel"
    # and a new copy is not taken for a repeat of what nobody heard
    assert chat(daemon, "same words", "eve", "m4").verdict == "said"


def test_a_muted_chat_drops_even_what_was_paid_for(daemon: Rig, watch: Watch) -> None:
    chat(daemon, LONG, "zoe", donation=9.0, currency="EUR")
    waits = chat(daemon, "paid for", "rich", donation=5.0, currency="EUR")
    assert waits.text == "rich sent 5 euros: paid for"
    daemon.client.set_mode("chat_muted")
    dropped: Any = watch.wait("utterance.dropped", waits.utterance)
    assert dropped.reason == "chat_muted"
    assert chat(daemon, "anyone here").reason == "chat_muted"
    daemon.client.set_mode("speak")
    daemon.client.mute()
    held = chat(daemon, "anyone here now")
    daemon.client.unmute()
    assert held.verdict == "held"


def test_no_line_is_lost_in_a_flood(daemon: Rig, watch: Watch) -> None:
    lines = 1500
    records = [
        {"author": f"user{n % 700}", "text": f"line {n % 900}", "id": str(n), "platform": "flood"}
        for n in range(lines)
    ]
    text = "\n".join(map(json.dumps, records))
    done = koe(daemon, ["chat", "lines"], text.encode())
    assert (done.returncode, done.stderr) == (0, b"")
    events: list[Any] = wait_for(
        lambda: len(found := of_chat(watch, "flood")) >= lines and found,
        PATIENCE_S,
        "an event per line",
    )
    assert [int(event.line) for event in events] == list(range(lines))
    assert all(event.verdict in ("said", "merged") for event in events)


def of_chat(watch: Watch, platform: str) -> list[Any]:
    return [e for e in list(watch.events) if getattr(e, "platform", None) == platform]


def koe(daemon: Rig, argv: list[str], data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    environ = os.environ | {"KOED_RUNTIME_DIR": str(daemon.folder / "run")}
    return subprocess.run(
        [*KOE, *argv], input=data, env=environ, capture_output=True, check=False, timeout=PATIENCE_S
    )


GOOD = b'{"author": "ann", "text": "fine", "platform": "h"}'
HOSTILE = [
    (b"not json", "bad_json"),
    (b"[1, 2]", "bad_json"),
    (b"[" * 50_000, "bad_json"),
    (b'{"text": "no author"}', "missing_field"),
    (b'{"author": "a", "text": 5}', "bad_field"),
    (b'{"author": "a", "text": "x", "roles": "mod"}', "bad_field"),
    (b'{"author": "a", "text": "x", "donation": true}', "bad_field"),
    (b'{"author": "a", "text": "x", "txet": "y"}', "unknown_field"),
    (b'{"author": "a", "text": "\\ud83d"}', "invalid_utf8"),
    (b'{"author": "a", "text": "\xff"}', "invalid_utf8"),
    (b'{"author": "a", "text": "' + b"x" * 5_000_000 + b'"}', "line_too_long"),
    (b'{"author": "' + b"a" * 300 + b'", "text": "x"}', "bad_field"),
    (b'{"delete_everything": "yes"}', "bad_field"),
]


def test_broken_lines_are_told_by_number_and_the_next_is_read(daemon: Rig, watch: Watch) -> None:
    data = b"\n".join(line for bad, _ in HOSTILE for line in (bad, b"", GOOD))
    done = koe(daemon, ["chat", "lines", "--json"], data)
    assert done.returncode == 1
    told = [json.loads(line) for line in done.stdout.splitlines()]
    errors = {line["line"]: line["error"] for line in told if "error" in line}
    assert {n: e["code"] for n, e in errors.items()} == {
        1 + 3 * n: code for n, (_, code) in enumerate(HOSTILE)
    }
    assert all(e["hint"] and len(e["message"]) < 200 for e in errors.values())
    assert Counter(line.get("verdict") for line in told)["merged"] == len(HOSTILE) - 1
    wait_for(lambda: len(of_chat(watch, "h")) == len(HOSTILE), PATIENCE_S, "an event per good line")
    plain = koe(daemon, ["chat", "lines"], b'{"text": "\x1b[2J"')
    assert plain.stderr.startswith(b"koe: line 1: ")
    assert b"\x1b" not in plain.stderr


def test_lines_that_look_odd_are_lines(daemon: Rig, watch: Watch) -> None:
    for text in ("\u202edlrow\u202c olleh", "a\x00b\x1b[31mc", "\u200b" * 400, "{}", "%s {name}"):
        assert chat(daemon, text, "\u202e{text}\x07").verdict in ("said", "dropped")


def test_other_programs_push_lines(daemon: Rig, watch: Watch, tmp_path: Path) -> None:
    endpoint = f"ipc://{tmp_path}/chat"
    environ = os.environ | {"KOED_RUNTIME_DIR": str(daemon.folder / "run")}
    process = subprocess.Popen([*KOE, "chat", "lines", "--pull", endpoint, "--platform", "pushed"],
                               env=environ, stderr=subprocess.PIPE)  # fmt: skip
    try:
        assert process.stderr is not None
        assert endpoint.encode() in process.stderr.readline()
        assert (tmp_path / "chat").stat().st_mode & 0o077 == 0
        with zmq.Context() as context, context.socket(zmq.PUSH) as push:
            push.connect(endpoint)
            for n in range(200):
                push.send(json.dumps({"author": f"p{n}", "text": f"number {n}"}).encode())
            wait_for(lambda: len(of_chat(watch, "pushed")) == 200, PATIENCE_S, "an event per line")
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_S)


@pytest.mark.parametrize(
    ("endpoint", "code"),
    [("tcp://*:7600", "bad_keys"), ("tcp://0.0.0.0:7600", "bad_keys"), ("7600", "bad_endpoint"),
     ("ipc://{here}/plain", "bad_endpoint"), ("ipc://{here}/no/such", "cannot_listen")],
)  # fmt: skip
def test_nothing_is_opened_to_others_by_mistake(
    daemon: Rig, tmp_path: Path, endpoint: str, code: str
) -> None:
    (tmp_path / "plain").write_text("precious")
    argv = ["chat", "lines", "--json", "--pull", endpoint.format(here=tmp_path)]
    done = koe(daemon, argv)
    assert json.loads(done.stdout)["error"]["code"] == code
    assert (tmp_path / "plain").read_text() == "precious"


def test_with_keys_others_may_push_and_strangers_may_not(
    daemon: Rig, watch: Watch, tmp_path: Path
) -> None:
    import zmq.auth

    (tmp_path / "clients").mkdir()
    zmq.auth.create_certificates(tmp_path, "server")
    zmq.auth.create_certificates(tmp_path / "clients", "bot")
    public, _ = zmq.auth.load_certificate(tmp_path / "server.key")
    pairs = [
        zmq.auth.load_certificate(tmp_path / "clients" / "bot.key_secret"),
        zmq.curve_keypair(),
    ]
    environ = os.environ | {"KOED_RUNTIME_DIR": str(daemon.folder / "run")}
    process = subprocess.Popen([*KOE, "chat", "lines", "--pull", "tcp://0.0.0.0:*", "--pull-keys",
                                str(tmp_path)], env=environ, stderr=subprocess.PIPE)  # fmt: skip
    try:
        assert process.stderr is not None
        port = int(process.stderr.readline().rsplit(b":", 1)[1])
        with zmq.Context() as context:
            pushing = []  # a socket that nobody holds is closed
            for name, pair in zip(("known", "stranger"), pairs, strict=True):
                pushing.append(push := context.socket(zmq.PUSH))
                push.linger = 0
                push.curve_publickey, push.curve_secretkey = pair
                push.curve_serverkey = public
                push.connect(f"tcp://127.0.0.1:{port}")
                push.send(json.dumps({"author": name, "text": name, "platform": "keys"}).encode())
            wait_for(lambda: of_chat(watch, "keys"), PATIENCE_S, "the line of who has a key")
            context.destroy(0)
        assert [e.author for e in of_chat(watch, "keys")] == ["known"]
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_S)


def test_koe_chat_delete(daemon: Rig, watch: Watch) -> None:
    said = chat(daemon, LONG, "ann", "d1")
    done = koe(daemon, ["chat", "delete", "d1", "--platform", "twitch"])
    assert (done.returncode, done.stdout) == (0, b"cancelled: %d\n" % said.utterance)
    assert koe(daemon, ["chat", "delete"]).returncode == 2
    chat(daemon, LONG + " a", "ann", "d2")
    assert b"cancelled: " in koe(daemon, ["chat", "delete", "--everything"]).stdout


def test_without_a_daemon_it_is_said_at_once(tmp_path: Path) -> None:
    environ = os.environ | {"KOED_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run([*KOE, "chat", "lines"], input=GOOD, env=environ, capture_output=True,
                          check=False, timeout=PATIENCE_S)  # fmt: skip
    assert done.returncode == 3
    with pytest.raises(Exception, match="no socket"):
        Client(str(tmp_path)).chat(Chat(text="x", author="y"))
