"""What the player was told is kept, and a fresh player does the same with it."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import msgpack
import pytest

from koe import protocol
from koe.protocol import StateChanged, Trouble
from koed.errors import KoedError
from koed.persistence import replay
from koed.playback import effects, recorder
from koed.playback.inputs import Tick
from koed.playback.recorder import KEPT_S, MAX_BYTES, BadRecording, Recorder, read
from koed.playback.voice_choice import VoiceState
from tests.playback.air import Air, take


def plain(done: list[effects.Effect]) -> list[str]:
    return [repr(e) for e in done if not isinstance(e, effects.Play)]


class Noted(Air):
    """A world whose steps are recorded, and whose effects are kept beside."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.recorder = Recorder()
        self.player.lineup._takes = self.recorder.watch(take)
        self.done: list[tuple[object, list[str]]] = []
        self.dispatch._note = self._noted  # type: ignore[method-assign]

    def _noted(self, player, moment, item, done) -> None:  # type: ignore[no-untyped-def]
        before = len(self.recorder._entries) + self.recorder._first
        self.recorder.note(player, moment, item, done)
        if len(self.recorder._entries) + self.recorder._first > before:
            self.done.append((item, plain(done)))


@pytest.mark.parametrize("seed", range(12))
def test_a_fresh_player_does_the_same_again(seed: int) -> None:
    world = Noted(seed)
    for _ in range(60):
        world.operate()
    recording = read(world.recorder.dump())
    assert recording.standing == ()
    again = [(item, plain(done)) for _, item, done in recording.replay()]
    assert len(again) > 20
    assert again == world.done[-len(again) :]


def test_only_the_last_minutes_are_kept_and_not_more_than_their_room() -> None:
    world = Noted(1)
    for _ in range(4):
        world.say("One two three four five six seven eight, nine ten eleven.")
        world.drain()
        world.now += 50.0
        world.dispatch.advance()
    world.say("Yes.")
    assert world.recorder._size <= MAX_BYTES
    assert world.recorder._heads[0][0] <= world.now - KEPT_S < world.recorder._heads[1][0]
    first, *_ = read(world.recorder.dump()).steps
    assert world.now - first[0].now < KEPT_S + 60.0


def test_what_stood_on_a_lane_before_is_left_out_and_hurts_nothing() -> None:
    world = Noted(2)
    world.say("One two three four five six seven eight, nine ten eleven.")
    for _ in range(3):
        world.work_promptly()
    world.recorder._heads.clear()  # as if all before were too long ago
    world.recorder.note(world.player, world.dispatch._moment(), Tick(), [effects.Answer()] * 2)
    world.say("Yes.")
    world.drain()
    recording = read(world.recorder.dump())
    assert recording.standing == (1,)
    told = [e for _, _, done in recording.replay() for e in done]
    ended = [e.event.event for e in told if isinstance(e, effects.Publish) if e.event.event]
    assert "utterance.queued" in ended


def test_a_head_tells_how_the_living_voice_speaks() -> None:
    world = Noted(4)
    world.ask(protocol.Voice(name="high", pitch=3.0))
    world.recorder._heads.clear()  # as if all before were too long ago
    world.ask(protocol.Voice(range=0.5))
    world.ask(protocol.Voice(volume=1.0))
    told = [e for _, _, done in read(world.recorder.dump()).replay() for e in done]
    events = [e.event for e in told if isinstance(e, effects.Publish)]
    assert [e.fields for e in events if isinstance(e, protocol.VoiceFields)] == [
        {"pitch": 3.0, "range": 0.5, "volume": 1.0}
    ]


def test_names_in_a_recording_stay_when_a_class_is_renamed() -> None:
    voice = VoiceState("low", engine="a", key="k")
    asked = protocol.Voice(name="low")
    assert [recorder.plain(value)[""] for value in (voice, asked)] == ["Voice", "VoiceRequest"]
    assert recorder.value_of(recorder.plain(voice)) == voice
    assert recorder.value_of(recorder.plain(asked)) == asked


def test_idle_ticks_are_not_worth_a_note() -> None:
    world = Noted(3)
    world.dispatch.advance()
    entries = len(world.recorder._entries)
    for _ in range(100):
        world.dispatch.advance()
    assert len(world.recorder._entries) == entries


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\xc1", b"RIFF....", msgpack.packb(1), msgpack.packb(1) + msgpack.packb({}),
        msgpack.packb(2) + msgpack.packb({}), msgpack.packb([1] * 1000),
        b"\xdf\xff\xff\xff\xff" * 10, b"\x91" * 5000,
    ],
)  # fmt: skip
def test_what_is_no_recording_is_refused(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(BadRecording):
        read(data)
    path = tmp_path / "x.replay"
    path.write_bytes(data)
    with pytest.raises(KoedError) as refused:
        list(replay.show(path, as_json=False))
    assert refused.value.code == "bad_recording"


def test_a_recording_that_was_changed_is_refused_or_shown(tmp_path: Path) -> None:
    world = Noted(4)
    for _ in range(30):
        world.operate()
    data = world.recorder.dump()
    path, codes = tmp_path / "changed.replay", []
    for at in range(0, len(data), 61):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x15]) + data[at + 1 :])
        try:
            list(replay.show(path, as_json=False))
        except KoedError as error:
            codes.append(error.code)
    assert set(codes) == {"bad_recording"}


def test_trouble_is_written_down_for_its_owner_alone(tmp_path: Path) -> None:
    world = Noted(5)
    world.say("Yes.")
    now = [0.0]
    writer = replay.ReplayWriter(world.recorder, tmp_path / "replay", lambda: now[0])
    writer.listen(StateChanged(state="ready"))
    assert not (tmp_path / "replay").exists()
    for number in range(8):
        now[0] += replay.PAUSE_S
        writer.listen(Trouble(code=f"stuck_{number}", message="x", hint=""))
        writer.listen(Trouble(code="again", message="within the pause", hint=""))
        writer.join()
    files = sorted((tmp_path / "replay").iterdir())
    assert len(files) == replay.KEPT_FILES
    assert all(replay.NAME.fullmatch(f.name) and "again" not in f.name for f in files)
    assert {stat.S_IMODE(os.stat(f).st_mode) for f in files} == {0o600}
    lines = list(replay.show(files[-1], as_json=False))
    assert any("Submit" in line and "Yes." in line for line in lines)
    steps = [json.loads(line) for line in replay.show(files[-1], as_json=True)]
    assert any("utterance.queued" in e for step in steps for e in step["effects"])
