"""What may sound: everything, nothing from a chat, nothing at all."""

from __future__ import annotations

import time

import pytest

from koe.client import Refused
from koed.testing.rig import Rig, Watch
from tests.rigs.waiting import wait_for


@pytest.fixture
def modes(daemon: Rig, watch: Watch) -> Watch:
    """As ``watch``, with the changes of mode; everything may sound before."""
    daemon.client.set_mode("speak")
    return watch


@pytest.fixture(autouse=True)
def speak_again(daemon: Rig) -> object:
    yield
    daemon.client.set_mode("speak")
    daemon.client.unmute()


def test_a_mode_is_told_and_asked_for(daemon: Rig) -> None:
    following = daemon.watch("mode.")
    assert daemon.client.mode() == "speak"
    daemon.client.set_mode("chat_muted")
    daemon.client.set_mode("chat_muted")
    daemon.client.set_mode("all_muted", "main")
    assert daemon.client.mode() == "all_muted"
    assert daemon.client.status()["outputs"]["main"]["mode"] == "all_muted"
    changes = wait_for(
        lambda: (
            [e for e in following.events if e.event == "mode.changed"]
            if len([e for e in following.events if e.event == "mode.changed"]) > 1
            else None
        ),
        what="both changes are told",
    )
    assert [(e.mode, e.previous, e.output, e.by) for e in changes] == [
        ("chat_muted", "speak", "main", "client"),
        ("all_muted", "chat_muted", "main", "client"),
    ]
    following.close()
    with pytest.raises(Refused) as caught:
        daemon.client.set_mode("speak", "nowhere")
    assert caught.value.code == "unknown_output"


@pytest.mark.parametrize("mode", ["chat_muted", "all_muted"])
def test_chat_is_dropped_and_says_so(daemon: Rig, modes: Watch, mode: str) -> None:
    client = daemon.client
    client.pause()
    client.say("the one that sounds")
    waiting = client.say("chatter that waits", priority="chatter", author="a")
    normal = client.say("what the streamer typed")
    client.set_mode(mode)  # type: ignore[arg-type]
    assert modes.wait("utterance.dropped", waiting.utterance).reason == "chat_muted"  # type: ignore[attr-defined]
    with pytest.raises(Refused) as caught:
        client.say("more chatter", priority="chatter")
    assert caught.value.code == "chat_muted"
    refused = waiting.utterance + 2  # each line has a number, taken or not
    assert modes.wait("utterance.dropped", refused).reason == "chat_muted"  # type: ignore[attr-defined]
    assert client.queue().has(normal.utterance)
    client.set_mode("speak")
    client.resume()
    modes.wait("utterance.finished", normal.utterance)
    assert client.say("chatter again", priority="chatter", wait=True).outcome == "finished"


@pytest.mark.parametrize("first", ["mode", "mute"])
def test_the_mode_and_the_mute_are_two_latches(daemon: Rig, modes: Watch, first: str) -> None:
    """Sound comes back only when neither holds, whichever was first to go."""
    client = daemon.client
    sounding = client.say("this line is cut in the middle of its many many words " * 40)
    modes.wait("utterance.started", sounding.utterance)
    client.set_mode("all_muted")
    assert modes.wait("utterance.skipped", sounding.utterance).reason == "mute"  # type: ignore[attr-defined]
    client.mute()
    waiting = client.say("for later")
    release = [lambda: client.set_mode("speak"), client.unmute]
    for step, let_go in enumerate(release if first == "mode" else release[::-1]):
        since = time.monotonic()
        let_go()
        if step == 0:  # silence goes on: a line that cannot wait for its end is dropped
            assert client.status()["outputs"]["main"]["muted"] is (first == "mode")
            brief = client.say("now or never", priority="urgent", ttl_s=0.3).utterance
            assert modes.wait("utterance.dropped", brief).reason == "expired"  # type: ignore[attr-defined]
    begun = modes.wait("utterance.started", waiting.utterance)
    assert begun.t > since
    modes.wait("utterance.finished", waiting.utterance)
