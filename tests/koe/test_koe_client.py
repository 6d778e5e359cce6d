"""koe.client against real sockets."""

from __future__ import annotations

import socket
import threading
import time
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zmq

from koe import protocol
from koe.client import Client, NoDaemon, Refused
from koe.protocol import StateChanged, UtteranceFinished, UtteranceStarted, WireError
from tests.koe.fake_daemon import PCM, RATE_HZ, FakeDaemon, until

STARTED = UtteranceStarted(utterance=7, text="a", voice="hana", output="main", heard_t=1.0)


def test_say_sends_every_field_and_reads_the_result(daemon: FakeDaemon, client: Client) -> None:
    said = client.say("héllo 声", voice="mei", lang="ja", priority="chatter", ttl_s=2, key="k",
                      author="bob", output="main")  # fmt: skip
    assert daemon.requests == [
        protocol.Say(id=1, text="héllo 声", voice="mei", lang="ja", priority="chatter", ttl_s=2,
                     key="k", author="bob", output="main")
    ]  # fmt: skip
    assert (said.utterance, said.voice, said.position, said.truncated) == (1, "mei", 2, True)
    assert said.outcome is None


CALLS: list[tuple[Callable[[Client], Any], protocol.Request, Any]] = [
    (lambda c: c.stop(), protocol.Stop(), 2),
    (lambda c: c.stop("main"), protocol.Stop(output="main"), 2),
    (lambda c: c.skip(), protocol.Skip(), 7),
    (lambda c: c.pause(), protocol.Pause(), None),
    (lambda c: c.resume(), protocol.Resume(), None),
    (lambda c: c.clear(priority="chatter"), protocol.Clear(priority="chatter"), 1),
    (lambda c: c.mute(), protocol.Mute(), None),
    (lambda c: c.unmute(), protocol.Unmute(), None),
    (lambda c: c.panic("ann"), protocol.Panic(by="ann"), None),
    (lambda c: c.release(), protocol.Release(), None),
    (lambda c: c.mode(), protocol.Mode(), "speak"),
    (lambda c: c.set_mode("all_muted"), protocol.Mode(mode="all_muted"), None),
    (lambda c: c.voice(), protocol.Voice(), "hana"),
    (lambda c: c.set_voice("mei", "now").previous, protocol.Voice(name="mei", when="now"), "hana"),
    (lambda c: c.set_voice(pitch=3.0, volume=1.0).fields, protocol.Voice(pitch=3.0, volume=1.0),
     {"pitch": 3.0, "volume": 1.0}),
    (lambda c: [(v.name, v.ready, v.tags, v.error) for v in c.voices()], protocol.Voices(),
     [("hana", True, ("calm",), ""), ("rex", False, (), "no file")]),
    (lambda c: (c.queue().speaking[0].utterance, c.queue().waiting[0].author), protocol.Queue(),
     (7, "bob")),
    (lambda c: c.phrase("hello", voice="mei").canned,
     protocol.Phrase(name="hello", voice="mei"), True),
    (lambda c: [(p.name, p.voices, p.waiting) for p in c.phrases()], protocol.Phrases(),
     [("hello", ("hana",), ("rex",))]),
    (lambda c: c.cancel(key="k"), protocol.Cancel(key="k"), (8,)),
    (lambda c: c.chat(protocol.Chat(text="hi", author="bob", roles=["sub"])).verdict,
     protocol.Chat(text="hi", author="bob", roles=["sub"]), "said"),
    (lambda c: c.chat_delete("9", platform="twitch"),
     protocol.ChatDelete(line="9", platform="twitch"), (7,)),
    (lambda c: c.status()["uptime_s"], protocol.Status(), 1.25),
    (lambda c: c.reload().changed, protocol.Reload(), ("mei",)),
]  # fmt: skip


@pytest.mark.parametrize(("call", "request_", "result"), CALLS, ids=lambda x: getattr(x, "op", ""))
def test_each_verb_is_one_request(
    daemon: FakeDaemon,
    client: Client,
    call: Callable[[Client], Any],
    request_: protocol.Request,
    result: Any,
) -> None:
    assert call(client) == result
    sent = daemon.requests[0]
    assert sent.to_map() == request_.to_map() | {"id": 1}


def test_every_request_has_a_verb() -> None:
    tried = {request.op for _, request, _ in CALLS}
    elsewhere = {"say", "say_open", "say_append", "say_close", "save"}
    assert tried | elsewhere == set(protocol.REQUESTS)


def test_other_requests_go_on_while_lines_are_waited_for(
    daemon: FakeDaemon, client: Client
) -> None:
    first, second = client.begin_say("one"), client.begin_say("two")
    assert client.say("three").utterance == 3
    daemon.finish(2, "skipped", "stop")
    assert client.status()["version"] == "0.1.0"
    daemon.finish(1)
    assert first.result(40).outcome == "finished"
    over = second.result(40)
    assert (over.outcome, over.reason) == ("skipped", "stop")


def test_wait_outlasts_the_timeout(daemon: FakeDaemon) -> None:
    with Client(daemon.directory, timeout_s=40) as client:
        client.status()  # connecting may take its time
        client.timeout_s = 0.05
        timer = threading.Timer(0.3, daemon.finish, [2])
        timer.start()
        assert client.say("long", wait=True).outcome == "finished"
        timer.join()


def test_a_refusal_is_raised(daemon: FakeDaemon, client: Client) -> None:
    def refuse(_: Any) -> dict[str, Any]:
        raise WireError("queue_full", "the queue is full", "wait")

    daemon.answers["say"] = refuse
    with pytest.raises(Refused) as refused:
        client.say("hi")
    assert refused.value.to_map() == {
        "code": "queue_full", "message": "the queue is full", "hint": "wait",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "code"), [("a\ud83d", "invalid_utf8"), ("a" * 5_000_000, "message_too_large")]
)
def test_what_cannot_be_sent_is_refused_here(
    daemon: FakeDaemon, client: Client, text: str, code: str
) -> None:
    for send in (client.say, client.push):
        with pytest.raises(Refused) as refused:
            send(text)
        assert refused.value.code == code
        assert refused.value.hint
    client.status()
    assert daemon.ops() == ["status"]


# --- no daemon -------------------------------------------------------------------------------


def leave_stale_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


def test_no_daemon_is_told_at_once(tmp_path: Path) -> None:
    began = time.monotonic()
    for prepare in (lambda: None, lambda: leave_stale_socket(tmp_path / "control")):
        prepare()
        with Client(tmp_path, timeout_s=120) as client:
            with pytest.raises(NoDaemon) as absent:
                client.say("hi")
            assert absent.value.code == "no_daemon"
            assert str(tmp_path / "control") in absent.value.message
            assert "make run" in absent.value.hint
            for call in (client.events, lambda c=client: c.push("hi")):
                with pytest.raises(NoDaemon):
                    call()
    assert time.monotonic() - began < 40


def test_a_late_reply_is_not_taken_for_another(daemon: FakeDaemon) -> None:
    daemon.silent = {"say"}
    with Client(daemon.directory, timeout_s=40) as client:
        client.status()  # connecting may take its time
        client.timeout_s = 0.2
        with pytest.raises(NoDaemon) as silence:
            client.say("hi")
        assert silence.value.code == "no_reply"
        late = protocol.Reply(id=2, result={"voice": "wrong"})
        for data in (b"\xc1 garbage", protocol.pack(late.to_map()), protocol.pack({"id": [1]})):
            daemon.send_raw(daemon.who, data)
        client.timeout_s = 40
        assert client.voice() == "hana"


def test_what_was_given_up_is_never_spoken(tmp_path: Path) -> None:
    """Somebody listens but never shakes hands; then the true daemon comes."""
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(tmp_path / "control"))
        deaf.listen()
        client = Client(tmp_path, timeout_s=0.2)
        with pytest.raises(NoDaemon) as absent:
            client.say("given up")
        assert absent.value.code == "no_daemon"
    with FakeDaemon(tmp_path) as daemon:
        client.timeout_s = 40
        assert client.say("again").utterance == 1
        assert [r.text for r in daemon.requests if isinstance(r, protocol.Say)] == ["again"]
        client.close()


def test_it_reconnects_to_a_restarted_daemon(tmp_path: Path) -> None:
    with Client(tmp_path, timeout_s=40) as client:
        for _ in range(3):
            with FakeDaemon(tmp_path) as daemon:
                for text in ("a", "b"):
                    client.say(text)
                assert daemon.ops() == ["say", "say"]
            with pytest.raises(NoDaemon):
                client.say("lost")


def test_a_wait_ends_when_the_daemon_does_even_if_it_comes_back(tmp_path: Path) -> None:
    with Client(tmp_path, timeout_s=40) as client:
        with FakeDaemon(tmp_path) as daemon:
            pending = client.begin_say("long")
            until(lambda: daemon.requests)
        with FakeDaemon(tmp_path) as daemon:
            with pytest.raises(NoDaemon) as lost:
                pending.result(40)
            assert lost.value.code == "no_reply"
            assert client.say("next").utterance == 1
            assert daemon.ops() == ["say"]


# --- lines, texts, sound ---------------------------------------------------------------------


def test_an_open_line_is_appended_and_closed(daemon: FakeDaemon, client: Client) -> None:
    with client.open_line(voice="mei", author="bot") as line:
        line.append("hel")
        line.append("lo")
    assert line.voice == "mei"
    assert daemon.ops() == ["say_open", "say_append", "say_append", "say_close"]
    assert [r.text for r in daemon.requests if isinstance(r, protocol.SayAppend)] == ["hel", "lo"]


def test_an_open_line_is_closed_once(daemon: FakeDaemon, client: Client) -> None:
    timer = threading.Timer(0.05, daemon.finish, [1])
    with client.open_line() as line:
        timer.start()
        over = line.close(wait=True)
    assert over is not None
    assert (over.utterance, over.outcome) == (1, "finished")
    with client.open_line() as line:
        line.cancel()
    assert daemon.ops() == ["say_open", "say_close", "say_open", "cancel"]


def test_an_error_in_the_block_closes_the_line_and_is_told(
    daemon: FakeDaemon, client: Client
) -> None:
    with pytest.raises(ZeroDivisionError), client.open_line() as line:
        line.append(str(1 // 0))
    assert daemon.ops() == ["say_open", "say_close"]


def test_pushed_texts_arrive_even_if_the_client_ends(daemon: FakeDaemon) -> None:
    with Client(daemon.directory) as client:
        for n in range(12):
            client.push(f"声{n}" + "a" * 3_000_000)
    until(lambda: len(daemon.texts) == 12)
    assert daemon.texts[-1].startswith("声11a")


def test_save_writes_all_pages_and_no_more(
    daemon: FakeDaemon, client: Client, tmp_path: Path
) -> None:
    saved = client.save(tmp_path / "last.wav", seconds=3)
    with wave.open(str(tmp_path / "last.wav")) as sound:
        shape = (sound.getnchannels(), sound.getsampwidth(), sound.getframerate())
        assert shape == (1, 2, RATE_HZ)
        assert sound.readframes(1_000_000) == PCM
    assert saved.seconds == len(PCM) / 2 / RATE_HZ
    first, *rest = daemon.requests
    assert first == protocol.Save(id=1, seconds=3)
    assert [r.from_frame for r in rest if isinstance(r, protocol.Save)] == [3000, 5000]


# --- events ----------------------------------------------------------------------------------


def test_events_come_typed_and_in_order(daemon: FakeDaemon, client: Client) -> None:
    with client.events() as events:
        until(lambda: "" in daemon.topics)
        daemon.publish_map({"event": "brand.new", "x": 1})
        daemon.publish_map(STARTED.to_map() | {"field_of_the_future": 1})
        daemon.publish(StateChanged(state="paused"))
        first, second = next(events), next(events)
        assert isinstance(first, UtteranceStarted)
        assert (first.utterance, first.seq, first.t) == (7, 2, 1.5)
        assert isinstance(second, StateChanged)
        assert events.next(0.01) is None


def test_events_are_filtered_by_topic_and_survive_a_restart(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path) as daemon:
        client = Client(tmp_path)
        events = client.events(["utterance."])
        until(lambda: "utterance." in daemon.topics)
    with FakeDaemon(tmp_path) as daemon:
        until(lambda: events.next(0.01) or "utterance." in daemon.topics)
        daemon.publish(StateChanged(state="paused"))
        daemon.publish(STARTED)
        assert isinstance(events.next(40), UtteranceStarted)
        client.close()


def test_wait_for_sees_the_end_of_a_line(daemon: FakeDaemon, client: Client) -> None:
    def end() -> None:
        until(lambda: "utterance." in daemon.topics)
        for utterance in (8, 7):
            daemon.publish(UtteranceFinished(utterance=utterance, output="main"))

    thread = threading.Thread(target=end)
    thread.start()
    over = client.wait_for(7, timeout_s=40)
    thread.join()
    assert isinstance(over, UtteranceFinished)
    assert over.utterance == 7
    assert client.wait_for(99) is None
    with pytest.raises(TimeoutError):
        client.wait_for(7, timeout_s=0.05)


# --- another machine -------------------------------------------------------------------------


@pytest.fixture
def keys(tmp_path: Path) -> tuple[tuple[bytes, bytes], Path, Path]:
    """The daemon's pair, a client's file, and one with a wrong server key."""
    server, mine, other = (zmq.curve_keypair() for _ in range(3))
    text = 'curve\n    public-key = "{}"\n    secret-key = "{}"\n    server-key = "{}"\n'
    good, bad = tmp_path / "good.keys", tmp_path / "bad.keys"
    good.write_text(text.format(mine[0].decode(), mine[1].decode(), server[0].decode()))
    bad.write_text(text.format(mine[0].decode(), mine[1].decode(), other[0].decode()))
    return server, good, bad


def test_tcp_needs_the_right_keys(
    tmp_path: Path, keys: tuple[tuple[bytes, bytes], Path, Path]
) -> None:
    pair, good, bad = keys
    with FakeDaemon(tmp_path, curve=pair) as daemon:
        with Client(endpoint=daemon.tcp, keys=good, timeout_s=40) as client:
            assert client.say("hi").utterance == 1
            with client.events(["state"]) as events:
                until(lambda: "state" in daemon.topics)
                daemon.publish(StateChanged(state="paused"))
                assert isinstance(events.next(40), StateChanged)
        with Client(endpoint=daemon.tcp, keys=bad, timeout_s=0.5) as client:
            with pytest.raises(NoDaemon) as silence:
                client.say("hi")
            assert "key" in silence.value.hint
        assert daemon.ops() == ["say"]


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"endpoint": "tcp://127.0.0.1:7510"}, "bad_keys"),
        ({"endpoint": "tcp://127.0.0.1:7510", "keys": "/nowhere/x.keys"}, "bad_keys"),
        ({"endpoint": "http://example.org"}, "bad_endpoint"),
        ({"endpoint": "tcp://127.0.0.1"}, "bad_endpoint"),
        ({"directory": "/tmp/" + "d" * 120}, "bad_endpoint"),
    ],
)
def test_a_bad_address_is_told(settings: dict[str, str], code: str) -> None:
    with pytest.raises(WireError) as error:
        Client(**settings)  # type: ignore[arg-type]
    assert error.value.code == code
    assert error.value.hint


def test_an_incomplete_key_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "half.keys"
    path.write_text(f'public-key = "{"a" * 40}"\n')
    with pytest.raises(WireError, match="no secret-key and no server-key"):
        Client(endpoint="tcp://127.0.0.1:7510", keys=path)
