"""What outlives a killed daemon, and what does not: real processes, killed and started again."""

from __future__ import annotations

import contextlib
import os
import pty
from collections.abc import Iterator
from pathlib import Path

import pytest

from koed.testing.rig import Rig
from tests.rigs import hearing
from tests.rigs.daemon import tone
from tests.rigs.home import Home
from tests.rigs.waiting import wait_for
from tests.rigs.witness import say

PROFILES = {
    "low": tone(400, char_ms=20),
    "high": tone(1000, char_ms=20),
    "other": tone(400, char_ms=20),
}
ENDLESS = " ".join(["a line that goes on for quite a while unless it is ended"] * 40)
GREETING = "here I am again"


@pytest.fixture(scope="module")
def shared() -> Iterator[Home]:
    made = Home({"voice": "low"}, PROFILES)
    yield made
    made.close()


@pytest.fixture
def home(shared: Home) -> Home:
    """A daemon that speaks, of which nobody wants anything, and what it said is forgotten."""
    shared.configure(state="keep", greeting="", voice="low", queue={})
    if shared.daemon.process.poll() is not None:
        shared.start()
    client = shared.daemon.client
    for calm in (client.release, client.unmute, client.resume, client.stop):
        calm()
    client.set_mode("speak")
    client.set_voice("low")
    wait_for(lambda: not client.queue().speaking, what="it is silent")
    shared.transcript.write_text("")
    return shared


def held(daemon: Rig) -> str:
    return str(daemon.client.status()["outputs"]["main"]["held"])


def queued(daemon: Rig) -> int:
    """How many lines there were since this start, the greeting included."""
    return int(daemon.client.status()["counts"].get("utterance.queued", 0))


def is_silent(daemon: Rig) -> bool:
    """Whether nothing was heard since the start, nor of a line that is said now."""
    daemon.client.say("nobody may hear this")
    hearing.played_on(daemon, 0.2)
    return not any(hearing.voices(daemon.sound_from(0), {"low": 400.0, "high": 1000.0}))


def test_killed_it_is_as_it_was_left(home: Home) -> None:
    boot = home.daemon.client.status()["boot"]
    home.daemon.client.mute()
    home.daemon.client.set_voice("high")
    home.configure(greeting=GREETING)
    muted = home.again()
    status = muted.client.status()
    assert next(iter(status)) == "restored"
    assert (held(muted), status["voice"], queued(muted)) == ("muted", "high", 0)
    assert status["boot"] != boot
    assert home.first_words()[0] == "as it was left: main is muted: koe unmute lets it sound"
    assert is_silent(muted)
    muted.client.unmute()
    assert "restored" not in muted.client.status()
    muted.client.set_mode("all_muted")
    muted.client.panic("ann")
    since = muted.client.status()["panic"]["since"]
    home.configure(voice="other")
    panicked = home.again()
    assert panicked.client.voice() == "other"  # it was written after it was chosen
    assert panicked.client.status()["panic"] == {"by": "ann", "since": since}
    for lift in (panicked.client.unmute, panicked.client.resume, panicked.client.stop):
        lift()
    assert is_silent(panicked)
    panicked.client.release()
    assert held(panicked) == "all_muted"
    panicked.client.stop()
    panicked.client.set_mode("speak")
    assert panicked.client.say("heard again", wait=True).outcome == "finished"


@pytest.mark.slow
def test_fresh_is_forgotten_after_an_end_and_not_after_a_crash(home: Home) -> None:
    home.configure(state="fresh", greeting=ENDLESS)
    home.end()
    first = home.start()
    wait_for(lambda: queued(first) == 1, what="somebody has started it: it greets")
    first.client.mute()
    first.client.set_voice("high")
    killed = home.again()
    assert (held(killed), killed.client.voice(), queued(killed)) == ("muted", "high", 0)
    home.configure(greeting=GREETING)
    home.end()
    ended = home.start()
    assert (held(ended), ended.client.voice()) == ("", "low")
    wait_for(lambda: queued(ended) == 1, what="the greeting")


@pytest.mark.slow
def test_a_greeting_that_cannot_be_spoken_stops_no_start(home: Home) -> None:
    home.configure(greeting="...")
    home.end()
    home.start()
    wait_for(lambda: any("can be spoken" in word for word in home.first_words()), what="trouble")
    assert home.daemon.client.say("but this", wait=True).outcome == "finished"


@pytest.mark.slow
def test_no_file_stops_a_start(home: Home) -> None:
    home.daemon.client.mute()
    path = Path(home.daemon.client.status()["state_file"])
    home.kill()
    for each in (path, path.with_name("waiting.journal")):
        each.write_bytes(b"\x81" * 1_000_000)
    daemon = home.start()
    assert held(daemon) == ""
    assert sum("is ignored" in word for word in home.first_words()) == 2
    assert daemon.client.status()["counts"]["trouble"] == 2
    daemon.client.mute()
    assert held(home.again()) == "muted"


# --- lines that waited ------------------------------------------------------------------------


def begin(home: Home) -> None:
    """A line sounds until it is cut."""
    say(home.daemon, ENDLESS)
    wait_for(lambda: home.daemon.client.queue().speaking, what="it sounds")


def told(home: Home, since: int) -> list[tuple[str, str, str]]:
    records = home.said()[since:]
    return [(each["text"], each["outcome"], each.get("reason", "")) for each in records]


def test_lines_that_waited_when_it_was_killed(home: Home) -> None:
    begin(home)
    say(home.daemon, "one", author="ann")
    say(home.daemon, "gossip", priority="chatter")
    home.configure(greeting=GREETING)
    home.again()
    lost = [(text, "dropped", "lost") for text in (ENDLESS, "one", "gossip")]
    assert told(home, 0) == lost
    assert home.said()[1]["author"] == "ann"
    assert home.daemon.client.status()["counts"]["utterance.dropped"] == 3
    assert queued(home.daemon) == 3, "nothing is said on air by itself after a crash"
    assert not home.daemon.client.queue().waiting
    # and where they are wanted back
    home.configure(queue={"restore": True, "restore_s": 600.0, "line_pause_s": 0.0})
    begin(home)
    say(home.daemon, "gossip", priority="chatter")
    say(home.daemon, "one")
    say(home.daemon, "two", voice="high")
    say(home.daemon, "three", key="k")
    say(home.daemon, "four")
    say(home.daemon, "three again", key="k")
    home.again()
    wait_for(lambda: len(home.said()) >= 3 + 7, what="all are over")
    assert sorted(told(home, 3)) == sorted(
        [("three", "dropped", "replaced")]
        + [(text, "dropped", "lost") for text in (ENDLESS, "gossip")]
        + [(text, "finished", "") for text in ("one", "two", "three again", "four")]
    )
    spoken = [each for each in home.said()[3:] if each["outcome"] == "finished"]
    assert [each["text"] for each in spoken] == ["one", "two", "three again", "four"]
    assert [each["voice"] for each in spoken] == ["low", "high", "low", "low"]


# --- the terminal -----------------------------------------------------------------------------


@pytest.mark.slow
def test_it_ends_in_order_when_its_terminal_is_closed(home: Home) -> None:
    home.end()
    home.transcript.write_text("")
    master, slave = pty.openpty()
    daemon = home.start(terminal=slave)
    os.close(slave)
    seen = bytearray()  # a terminal takes its time to show what was written to it

    def says(words: bytes) -> bool:
        seen.extend(drain(master))
        return words in seen

    wait_for(lambda: says(b"koe say hello"), what="what it says there")
    begin(home)
    os.close(master)
    assert daemon.process.wait(40) == 0
    assert [each["reason"] for each in home.said()] == ["shutdown"]
    home.start()
    assert home.said()[1:] == []  # nothing is lost, as after each orderly end


def drain(master: int) -> bytes:
    """What a terminal was told since."""
    os.set_blocking(master, False)
    data = b""
    with contextlib.suppress(BlockingIOError):
        while piece := os.read(master, 65536):
            data += piece
    return data
