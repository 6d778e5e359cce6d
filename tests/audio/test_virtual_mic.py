"""The virtual microphone on a real sound server."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from koed.audio.defaults import DefaultDevices
from koed.audio.sound_server import SoundServer, client_name
from koed.audio.virtual_mic import VirtualMicrophone, leftovers, plain
from koed.errors import DeviceError
from tests.rigs.sound import SoundServer as Rig
from tests.rigs.waiting import wait_for

HOSTILE = 'Bob\'s "voice" \\ 声\n; sink_name=evil'

# Makes a microphone, says so, and lives until it is killed.
CHILD = """
import sys, time
from koed.audio.sound_server import SoundServer, client_name
from koed.audio.virtual_mic import VirtualMicrophone
server = SoundServer(timeout_s=20.0)
server.connect()
VirtualMicrophone(server, "koed", "koed_mic", "koed").ensure()
print("made", flush=True)
time.sleep(60)
"""


@pytest.fixture
def server(sound: Rig) -> Iterator[SoundServer]:
    connection = SoundServer(timeout_s=20.0)
    connection.connect()
    yield connection
    connection.close()


def microphone(server: SoundServer, description: str = "koed") -> VirtualMicrophone:
    return VirtualMicrophone(server, "koed", "koed_mic", description)


def modules(sound: Rig) -> list[str]:
    return [m for m in sound.pactl("list", "short", "modules").splitlines() if "=koed" in m]


def test_is_listed_under_its_description(sound: Rig, server: SoundServer) -> None:
    assert microphone(server, HOSTILE).ensure()
    assert {"koed"} == {n for n in sound.names("sinks") if n != "speakers"}
    assert "koed_mic" in sound.names("sources")
    lines = sound.pactl("list", "sources").splitlines()
    assert f"\tDescription: {plain(HOSTILE)}" in lines
    assert "evil" not in sound.names("sinks")


def test_plain_leaves_no_syntax() -> None:
    assert plain(HOSTILE) == "Bob’s ”voice” / 声 ; sink_name=evil"
    assert plain("\0\t  ") == ""
    assert len(plain("x" * 1000)) == 100


def test_second_ensure_makes_nothing(sound: Rig, server: SoundServer) -> None:
    assert microphone(server).ensure()
    before = modules(sound)
    again = microphone(server)
    assert not again.ensure()
    again.verify()
    assert modules(sound) == before


def test_adopts_what_a_crash_left_but_nothing_of_the_living(
    sound: Rig, server: SoundServer
) -> None:
    child = subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"made\n"
        before = modules(sound)
        with pytest.raises(DeviceError) as caught:
            microphone(server).ensure()
        assert caught.value.code == "sink_name_taken"
        microphone(server).remove()
        assert modules(sound) == before
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    mine = microphone(server)
    wait_for(lambda: _adopted(mine), what="the dead child's microphone is adopted")
    mine.verify()
    assert modules(sound) == before
    mine.remove()
    wait_for(lambda: not modules(sound))


def _adopted(mine: VirtualMicrophone) -> bool:
    try:
        return mine.ensure() is False
    except DeviceError:  # the server has yet to notice the death
        return False


def test_leaves_what_belongs_to_others(sound: Rig, server: SoundServer) -> None:
    sound.pactl("load-module", "module-null-sink", "sink_name=koed")
    wait_for(lambda: "koed" in sound.names("sinks"))
    mine = microphone(server)
    with pytest.raises(DeviceError) as caught:
        mine.ensure()
    assert caught.value.code == "sink_name_taken"
    assert caught.value.hint
    mine.remove()
    assert "koed" in sound.names("sinks")
    assert "koed_mic" not in sound.names("sources")


def test_another_description_makes_it_anew(sound: Rig, server: SoundServer) -> None:
    microphone(server, "old").ensure()
    assert microphone(server, "new").ensure()
    assert "\tDescription: new" in sound.pactl("list", "sources").splitlines()
    assert sound.names("sinks").count("koed") == 1
    assert sound.names("sources").count("koed_mic") == 1


@pytest.mark.parametrize(
    ("device", "code"), [("koed", "sink_unloaded"), ("koed_mic", "microphone_unloaded")]
)
def test_notices_and_repairs_what_was_unloaded(
    sound: Rig, server: SoundServer, device: str, code: str
) -> None:
    mine = microphone(server)
    mine.ensure()
    mine.verify()
    sound.unload(device)
    wait_for(lambda: _verdict(mine) == code, what=code)
    assert mine.ensure()
    mine.verify()
    assert sound.names("sinks").count("koed") == 1
    assert sound.names("sources").count("koed_mic") == 1


def _verdict(mine: VirtualMicrophone) -> str:
    try:
        mine.verify()
    except DeviceError as error:
        return error.code
    return "whole"


def test_a_change_wakes_the_waiter(sound: Rig, server: SoundServer) -> None:
    mine = microphone(server)
    mine.ensure()
    while server.wait(0.3):
        pass
    sound.unload("koed")
    assert server.wait(40.0)


def test_does_not_stay_the_default(
    sound: Rig, server: SoundServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("koed.audio.defaults.SETTLE_S", 60.0)
    monkeypatch.setattr("koed.audio.defaults.PIPEWIRE_SETTLE_S", 60.0)
    defaults = DefaultDevices({"sink": "koed", "source": "koed_mic"})
    before = server.defaults()
    microphone(server).ensure()
    defaults.made(server, before)
    # What module-switch-on-connect or a session manager may do.
    sound.pactl("set-default-sink", "koed")
    sound.pactl("set-default-source", "koed_mic")

    def ours() -> bool:
        server.renew()
        return server.defaults() == {"sink": "koed", "source": "koed_mic"}

    wait_for(ours, what="ours are the defaults")
    defaults.look(server)
    wait_for(lambda: sound.pactl("get-default-sink").strip() == "speakers")
    wait_for(lambda: sound.pactl("get-default-source").strip() == "headset")


def test_a_missed_change_of_the_defaults_is_caught_up(sound: Rig, server: SoundServer) -> None:
    def told_to_a_newcomer() -> str:
        newcomer = SoundServer(timeout_s=20.0)
        newcomer.connect()
        try:
            return newcomer.defaults()["source"]
        finally:
            newcomer.close()

    def choose(name: str) -> None:
        server.call(lambda p: p.source_default_set(name))

    microphone(server).ensure()
    for _ in range(50):
        choose("koed_mic")
        wait_for(lambda: told_to_a_newcomer() == "koed_mic", what="ours is the default")
        server.renew()
        assert server.defaults() == {"sink": "speakers", "source": "koed_mic"}
        choose("headset")  # while nobody connects, that is told
        wait_for(lambda: server.defaults()["source"] == "headset", what="hers is the default")


def test_a_connection_that_cannot_be_renewed_is_kept(
    sound: Rig, server: SoundServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = server.defaults()
    monkeypatch.setenv("PULSE_SERVER", "unix:/nobody/listens")
    server.renew()
    assert server.defaults() == before
    assert server.timeout_s > 1.0


def test_a_hung_server_costs_no_more_than_the_timeout(sound: Rig, server: SoundServer) -> None:
    mine = microphone(server)
    mine.ensure()
    server.timeout_s = 0.3
    sound.stop_signal()
    begun_s = time.monotonic()
    with pytest.raises(DeviceError) as caught:
        mine.verify()
    assert caught.value.code == "server_hung"
    late = SoundServer(timeout_s=0.3)
    with pytest.raises(DeviceError) as caught:
        late.connect()
    assert caught.value.code == "server_hung"
    assert time.monotonic() - begun_s < 15.0  # the server itself would take half a minute


def test_a_dead_server_is_an_error(sound: Rig, server: SoundServer) -> None:
    sound.kill()
    with pytest.raises(DeviceError) as caught:
        wait_for(lambda: server.wait(1.0) is None, what="the loss is noticed")
    assert caught.value.code == "server_lost"
    with pytest.raises(DeviceError) as caught:
        SoundServer().connect()
    assert caught.value.code == "no_server"


def test_a_name_with_syntax_is_refused() -> None:
    with pytest.raises(DeviceError) as caught:
        VirtualMicrophone(SoundServer(), "koed rate=1", "koed_mic", "koed")
    assert caught.value.code == "bad_name"


def test_a_koed_with_the_same_process_id_is_another_one(
    sound: Rig, server: SoundServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In containers each is process 1."""
    with monkeypatch.context() as patched:
        for module in ("sound_server", "virtual_mic"):
            patched.setattr(f"koed.audio.{module}.PROCESS", "of another container")
        other = SoundServer()
        other.connect()
        VirtualMicrophone(other, "koed", "koed_mic", "koed").ensure()
    with pytest.raises(DeviceError) as caught:
        microphone(server).ensure()
    assert caught.value.code == "sink_name_taken"
    other.close()
    wait_for(lambda: _adopted(microphone(server)), what="what it left is adopted")


def test_what_was_adopted_is_no_leftover(sound: Rig, server: SoundServer) -> None:
    """Whoever made it has ended, but who took it over is there."""
    with subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"made\n"
        child.kill()
    mine = microphone(server)
    wait_for(lambda: _adopted(mine), what="it is adopted")
    assert len(leftovers(server)) == 2  # nobody has vouched for it yet
    (maker,) = mine.adopted(mine.verify())
    voucher = SoundServer(client_name(maker))
    voucher.connect()
    assert leftovers(server) == []
    assert mine.there() is not None  # and it is ours all the same
    voucher.close()
    mine.remove()
    wait_for(lambda: not modules(sound))
