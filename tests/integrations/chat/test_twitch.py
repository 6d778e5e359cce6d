"""Twitch's chat: what its lines mean, and the reader against a server that speaks real captures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koe.chat.irc import parse_message, parse_record, request_of
from koe.chat.twitch import channel_of
from koe.protocol import Chat, ChatDelete
from koe.wire.framing import WireError
from koed.testing.rig import Rig, Watch, rig
from tests.integrations.chat.irc_server import IrcServer, certificate, privmsg
from tests.rigs.waiting import wait_for

CAPTURES = (Path(__file__).parent / "captures.irc").read_text().splitlines()
TONE = {"engine": "tone", "lang": "en", "settings": {"hz": 400, "char_ms": 30, "amplitude": 0.25}}
CHAT = {"raid": {"over_per_s": 0}, "rate": {"lines": 0}, "names": {"say": False}, "max_s": 0}
LONG = " ".join(["this line is long enough to be taken back in the midst of it by a moderator"] * 6)
"""14 seconds: it is always taken back, however late."""
PATIENCE_S = 60.0


def meant(line: str) -> Chat | ChatDelete | None:
    message = parse_message(line)
    assert message is not None
    return request_of(message)


def captured(part: str) -> Any:
    return meant(next(line for line in CAPTURES if part in line))


# --- what lines mean -------------------------------------------------------------------------


def test_a_message_with_emotes() -> None:
    assert captured("Kappa Keepo") == Chat(
        text="Kappa Keepo Kappa",
        author="ronni",
        name="ronni",
        platform="twitch",
        line="b34ccfc7-4977-403a-8a94-33c6bac34fb8",
        emotes=["Kappa", "Keepo"],
    )


def test_bits_are_a_donation_and_their_words_are_not_read() -> None:
    found = captured("cheer100")
    assert (found.donation, found.currency, found.text) == (100.0, "BITS", "for you, player1")
    for bits, text in ("5", "win95"), ("7", "win95 Cheer5"):
        cheer: Any = meant(privmsg("win95 Cheer5", bits=bits).strip())
        assert cheer.text == text


def test_a_reply_names_whom_it_answers() -> None:
    found = captured("OtherUser test")
    assert (found.reply_to, found.text) == ("OtherUser", "@OtherUser test")


@pytest.mark.parametrize(
    ("part", "roles"),
    [
        ("OtherUser test", ["broadcaster", "sub"]),
        (":moko", ["vip", "first"]),
        ("ACTION", ["mod", "sub"]),
        ("cheer100", []),
    ],
)
def test_roles(part: str, roles: list[str]) -> None:
    assert captured(part).roles == roles


def test_an_action_is_its_text_and_emotes_count_characters_not_bytes() -> None:
    found = captured("ACTION")
    assert (found.text, found.emotes) == ("waves 👋 :)", [":)"])


@pytest.mark.parametrize(
    ("part", "kind", "name", "text"),
    [
        ("msg-id=resub", "sub", "ronni", "Great stream -- keep it up!"),
        ("msg-id=raid", "raid", "TestChannel", ""),
        ("msg-id=ritual", "ritual", "SevenTest1", "HeyGuys"),
    ],
)
def test_notices(part: str, kind: str, name: str, text: str) -> None:
    found = captured(part)
    assert (found.kind, found.name, found.text) == (kind, name, text)


def test_deletions() -> None:
    line = "b34ccfc7-4977-403a-8a94-33c6bac34fb8"
    assert captured("CLEARMSG") == ChatDelete(line=line, platform="twitch")
    assert captured("CLEARCHAT #dallas :ronni") == ChatDelete(author="ronni", platform="twitch")
    assert meant(CAPTURES[-3]) == ChatDelete(everything=True, platform="twitch")


def test_another_channels_viewers_in_a_shared_chat() -> None:
    line = privmsg("hi", room_id="1", source_room_id="2").strip()
    message = parse_message(line)
    assert message is not None
    assert request_of(message, shared=False) is None
    assert request_of(message, shared=True) is not None


def test_a_raw_log_can_be_rehearsed() -> None:
    records = [parse_record(line.encode()) for line in CAPTURES]
    found = [record for record in records if record is not None]
    assert len(found) == 11
    assert found[0].at == 1507246572.675


@given(st.text())
def test_no_line_is_too_strange(line: str) -> None:
    message = parse_message(line)
    if message is not None:
        request_of(message)
    parse_record(line.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("text", ["Dallas", "#dallas", "https://www.twitch.tv/dallas", " dallas "])
def test_a_channel_by_name_or_address(text: str) -> None:
    assert channel_of(text) == "dallas"


@pytest.mark.parametrize("text", ["", "a b", "dallas,other", "x\r\nQUIT", "ä"])
def test_what_is_no_channel(text: str) -> None:
    with pytest.raises(WireError, match="no channel"):
        channel_of(text)


# --- against a server ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def daemon() -> Iterator[Rig]:
    config = {
        "voice": "low",
        "chat": CHAT,
        "queue": {"max_per_author": 0},
        "text": {"chatter_max_chars": 2000},
    }
    with rig(config, {"low": TONE}) as running:
        running.wait_ready()
        yield running


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def watch(daemon: Rig) -> Iterator[Watch]:
    watching = daemon.watch("utterance.", "chat.")
    yield watching
    daemon.client.stop()
    watching.close()


def read(watch: Watch) -> list[Any]:
    return [event for event in watch.events if event.event == "chat.line"]


def line_of(watch: Watch, text: str) -> Any:
    """The event of the line with this text, and of no other since the last one."""
    wait_for(lambda: any(event.text == text for event in read(watch)), PATIENCE_S, text)
    return next(event for event in read(watch) if event.text == text)


class Reading:
    """`koe chat twitch` as a child."""

    def __init__(self, daemon: Rig, server: IrcServer, ca: Path, folder: Path, *more: str) -> None:
        self.notes = folder / "stderr"
        place = ["--runtime-dir", str(daemon.folder / "run")]
        command = [sys.executable, "-m", "koe.cli", "chat", "twitch", "Dallas", *place]
        with self.notes.open("wb") as stderr:
            self.process = subprocess.Popen(
                [*command, "--server", server.address, *more],
                stderr=stderr,
                stdout=subprocess.DEVNULL,
                env=os.environ | {"SSL_CERT_FILE": str(ca)},
            )

    def told(self, text: str) -> bool:
        return text in self.notes.read_text()

    def end(self) -> None:
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(PATIENCE_S)
        finally:
            self.process.kill()


@pytest.fixture
def server(pem: Path) -> Iterator[IrcServer]:
    opened = IrcServer(pem)
    yield opened
    opened.close()


@pytest.fixture
def reading(daemon: Rig, server: IrcServer, pem: Path, tmp_path: Path) -> Iterator[Reading]:
    child = Reading(daemon, server, pem, tmp_path, "--record", str(tmp_path / "chat.log"))
    wait_for(lambda: server.connections == 1, PATIENCE_S, "it joins")
    wait_for(lambda: child.told("reading #dallas"), PATIENCE_S, "it says so")
    yield child
    child.end()


def test_it_reads_and_a_moderator_silences(
    server: IrcServer, reading: Reading, watch: Watch, tmp_path: Path
) -> None:
    assert [line.split()[0] for line in server.heard] == ["CAP", "NICK", "JOIN"]
    assert server.heard[1].startswith("NICK justinfan")
    server.send(privmsg(LONG, line="bad") + privmsg(f"and then {LONG}", "bob", "good"))
    first: Any = watch.wait("utterance.started")
    assert (first.text, first.author) == (LONG, "twitch:ann")
    server.send(f"@login=ann;target-msg-id=bad :tmi.twitch.tv CLEARMSG #dallas :{LONG}\r\n")
    skipped: Any = watch.wait("utterance.skipped")
    assert (skipped.utterance, skipped.reason) == (first.utterance, "cancel")
    assert len(skipped.heard) < len(LONG)
    second = line_of(watch, f"and then {LONG}").utterance
    watch.wait("utterance.started", second)
    server.send("@ban-duration=600 :tmi.twitch.tv CLEARCHAT #dallas :bob\r\n")
    watch.wait("utterance.skipped", second)
    server.send("PING :still there?\r\n")
    wait_for(lambda: "PONG :still there?" in server.heard, PATIENCE_S, "the answer")
    records = [parse_record(line) for line in (tmp_path / "chat.log").read_bytes().splitlines()]
    assert sum(record is not None for record in records) == 4


def test_cut_in_the_middle_of_a_line_delayed_and_asked_to_come_anew(
    server: IrcServer, reading: Reading, watch: Watch
) -> None:
    line = privmsg("in two pieces").encode()
    server.send(line[:40])
    server.send(line[40:])
    line_of(watch, "in two pieces")
    server.send(privmsg("never whole").encode()[:-12])
    server.cut()
    wait_for(lambda: server.connections == 2, PATIENCE_S, "it connects again")
    server.send(privmsg("after the cut"))
    line_of(watch, "after the cut")
    server.send(":tmi.twitch.tv RECONNECT\r\n")
    wait_for(lambda: server.connections == 3, PATIENCE_S, "it connects anew")
    server.send(privmsg("after the request"))
    line_of(watch, "after the request")
    assert reading.told("Twitch asks to connect anew")
    assert [event.text for event in read(watch)] == [
        "in two pieces",
        "after the cut",
        "after the request",
    ]


def test_a_flood_loses_no_line(server: IrcServer, reading: Reading, watch: Watch) -> None:
    server.send("x" * 200_000 + "\r\n\0\xff garbage\r\n@=;; : \r\n")
    lines = 2000
    server.send("".join(privmsg(f"word {n}", f"viewer{n % 50}", str(n)) for n in range(lines)))
    wait_for(lambda: len(read(watch)) >= lines, 90.0, "every line has its event")
    assert [event.text for event in read(watch)] == [f"word {n}" for n in range(lines)]
    assert reading.process.poll() is None


def test_a_server_that_is_not_who_it_says_gets_nothing(
    daemon: Rig, server: IrcServer, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    child = Reading(daemon, server, certificate(tmp_path / "other"), tmp_path)
    try:
        wait_for(lambda: child.told("does not prove that it is Twitch"), PATIENCE_S, "a clear word")
        assert server.heard == []
    finally:
        child.end()


def test_without_a_daemon_it_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "koe.cli", "chat", "twitch", "x", "--runtime-dir", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode, "koed" in done.stderr) == (3, True)


def test_the_rehearsal_takes_a_raw_log(tmp_path: Path) -> None:
    log = tmp_path / "chat.log"
    log.write_text("\n".join(CAPTURES))
    done = subprocess.run(
        [sys.executable, "-m", "koed.cli", "rehearse", str(log), "--json"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    verdicts = [json.loads(line) for line in done.stdout.splitlines()]
    assert any("for you, player1" in str(verdict) for verdict in verdicts)
