"""What a person decided: from a request to bytes and back, and what still counts at a start."""

from __future__ import annotations

import dataclasses
import os
import stat
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from koe import protocol
from koe.protocol import Request
from koed.persistence import keeping, state
from koed.persistence.state import BadState, Decided, Panic, State
from koed.service import files

NOW = 1_800_000_000.0
FRESH = state.adopt(State(), ["main", "side"], "hana")


def decided(*requests: Request, before: State = FRESH) -> State:
    for request in requests:
        before = state.after(before, request, NOW)
    return before


def asked(kept: State) -> list[Request]:
    return [*state.latches(kept), *state.voices(kept)]


# --- what is decided --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("requests", "again"),
    [
        ([protocol.Mute(output="main")], [protocol.Mute(output="main")]),
        ([protocol.Mute(), protocol.Unmute(output="side")], [protocol.Mute(output="main")]),
        ([protocol.Pause()], [protocol.Pause(output="main"), protocol.Pause(output="side")]),
        ([protocol.Pause(), protocol.Resume()], []),
        (
            [protocol.Mode(mode="all_muted", output="side")],
            [protocol.Mode(mode="all_muted", output="side")],
        ),
        ([protocol.Mode(mode="all_muted"), protocol.Mode(mode="speak")], []),
        ([protocol.Mode(), protocol.Voice(), protocol.Say(text="a"), protocol.Stop()], []),
        ([protocol.Panic(by="ann"), protocol.Panic(by="ben")], [protocol.Panic(by="ann")]),
        ([protocol.Panic(), protocol.Release()], []),
        ([protocol.Voice(name="ken", when="now")], [protocol.Voice(name="ken")]),
        (
            [protocol.Voice(name="ken"), protocol.Voice(name="rex", output="side")],
            [protocol.Voice(name="ken"), protocol.Voice(name="rex", output="side")],
        ),
        (
            [protocol.Voice(name="rex", output="side"), protocol.Voice(name="ken")],
            [protocol.Voice(name="ken")],  # the last word was for all
        ),
    ],
)
def test_what_is_asked_for_again(requests: list[Request], again: list[Request]) -> None:
    kept = state.from_bytes(state.to_bytes(decided(*requests)))
    assert asked(kept) == again
    for latch in state.latches(kept):
        assert "koe " in state.words(latch)


def test_a_panic_keeps_its_begin_and_its_author() -> None:
    first = decided(protocol.Panic(by="ann"))
    assert state.after(first, protocol.Panic(by="ben"), NOW + 5).panic == Panic("ann", NOW)


# --- at a start -------------------------------------------------------------------------------


def test_a_voice_that_was_configured_anew_wins() -> None:
    kept = decided(
        protocol.Voice(name="ken"), protocol.Voice(name="rex", output="side"), protocol.Mute()
    )
    assert state.voices(state.adopt(kept, kept.outputs, "hana")) == state.voices(kept)
    changed = state.adopt(kept, kept.outputs, "mei")
    assert state.voices(changed) == []
    assert state.latches(changed) == state.latches(kept)  # of which the file says nothing
    assert changed.configured_voice == "mei"


@pytest.mark.parametrize(
    ("requests", "new"),
    [
        ([protocol.Mute()], Decided(muted=True)),
        ([protocol.Mute(output="main")], Decided()),
        ([protocol.Pause(), protocol.Mode(mode="all_muted")],
         Decided(paused=True, mode="all_muted")),
        ([protocol.Mode(mode="all_muted", output="main")], Decided()),
    ],
)  # fmt: skip
def test_an_output_with_another_name_is_as_all_the_others(
    requests: list[Request], new: Decided
) -> None:
    assert state.adopt(decided(*requests), ["stream"], "hana").outputs == {"stream": new}


def test_nothing_is_decided_at_the_first_start() -> None:
    assert asked(FRESH) == []
    assert FRESH.outputs == {"main": Decided(), "side": Decided()}


def test_fresh_forgets() -> None:
    kept = decided(protocol.Panic(), protocol.Mute(), protocol.Voice(name="ken"))
    assert asked(state.forgotten(kept)) == []


# --- hostile bytes ----------------------------------------------------------------------------

WHOLE = dataclasses.replace(
    decided(protocol.Panic(by="ann"), protocol.Mute(), protocol.Mode(mode="chat_muted")),
    runtime="/run/user/1000/koed",
)


def as_map() -> dict[str, Any]:
    told: dict[str, Any] = msgpack.unpackb(state.to_bytes(WHOLE))
    return told


def test_what_is_written_is_what_was() -> None:
    assert state.from_bytes(state.to_bytes(WHOLE)) == WHOLE
    assert len(state.to_bytes(WHOLE)) < 500


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\x00", b"\xc1", b"koed", b"\x91" * 100_000, b"\xdf\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xffab", state.to_bytes(WHOLE)[:-1],
        state.to_bytes(WHOLE) + b"\x00", b"\xa0" * state.MAX_BYTES * 2,
        msgpack.packb([1, 2]), msgpack.packb({"version": 1}),
    ],
)  # fmt: skip
def test_bytes_that_are_no_state(data: bytes) -> None:
    with pytest.raises(BadState):
        state.from_bytes(data)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("version", 2), ("version", None), ("outputs", []), ("outputs", {"main": None}),
        ("outputs", {"x" * 300: {}}), ("outputs", {"main": {"muted": 1, "paused": False}}),
        ("outputs", {str(n): {"muted": True, "paused": False} for n in range(300)}),
        ("outputs", {"main": {"muted": True, "paused": False, "mode": "loud"}}),
        ("outputs", {"main": {"muted": True, "paused": False, "voice": "../../etc"}}),
        ("voice", 7), ("voice", "x" * 33), ("voice", "Ken\x1b"), ("orderly", "yes"),
        ("configured_voice", None), ("runtime", "x" * 5000), ("panic", "now"),
        ("panic", {"by": "ann"}), ("panic", {"by": "a" * 101, "since": 1.0}),
        ("panic", {"by": "ann", "since": float("nan")}),
        ("panic", {"by": "ann", "since": float("inf")}), ("panic", {"by": "ann", "since": -1.0}),
    ],
)  # fmt: skip
def test_a_state_of_which_a_part_is_wrong(name: str, value: Any) -> None:
    with pytest.raises(BadState):
        state.from_bytes(msgpack.packb(as_map() | {name: value}))


@given(st.binary(max_size=300), st.integers(0, 200))
def test_no_bytes_do_harm(noise: bytes, at: int) -> None:
    whole = state.to_bytes(WHOLE)
    for data in (noise, whole[:at] + noise + whole[at + len(noise) :]):
        try:
            kept = state.from_bytes(data)
        except BadState:
            continue
        state.to_bytes(state.adopt(kept, ["main"], "hana"))


# --- files ------------------------------------------------------------------------------------


def test_a_file_is_for_its_user_alone_and_never_half(tmp_path: Path) -> None:
    path = tmp_path / "koed" / "state"
    os.umask(before := os.umask(0))
    files.write(path, b"one")
    files.write(path, b"two")
    assert (files.read(path, 10), before) == (b"two", os.umask(before))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["state"]
    path.with_name("state.part").symlink_to(tmp_path / "elsewhere")  # a trap
    files.write(path, b"three")
    assert not (tmp_path / "elsewhere").exists()
    assert files.read(path, 10) == b"three"


def test_what_is_no_file_of_koeds_is_not_read(tmp_path: Path) -> None:
    assert files.read(tmp_path / "missing", 10) is None
    (tmp_path / "huge").write_bytes(b"x" * 11)
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")  # nobody writes: it must not be waited for
    for name in ("huge", "folder", "fifo"):
        with pytest.raises(ValueError, match="it "):
            files.read(tmp_path / name, 10)
    with pytest.raises(OSError, match="directory"):
        files.write(tmp_path / "folder", b"x")
    assert not (tmp_path / "folder.part").exists()


def test_two_daemons_of_one_user_keep_what_is_theirs(tmp_path: Path) -> None:
    one, other = tmp_path / "run1", tmp_path / os.fsdecode(b"run\xff")
    assert keeping.home(one, tmp_path) == tmp_path
    written = dataclasses.replace(FRESH, runtime=str(one))
    files.write(tmp_path / keeping.STATE, state.to_bytes(written))
    assert keeping.home(one, tmp_path) == tmp_path
    apart = keeping.home(other, tmp_path)
    assert apart.parent == tmp_path / "at"
    apart.mkdir(parents=True)
    (tmp_path / keeping.STATE).unlink()
    assert keeping.home(other, tmp_path) == apart  # where it was, whoever has gone
    (tmp_path / keeping.STATE).write_bytes(b"broken")
    assert keeping.home(one, tmp_path) == tmp_path
