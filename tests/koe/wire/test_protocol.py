"""Every message class, found by reflection, goes through bytes and back; hostile bytes do not.

A new message class is tested without a line here; one that is not in its register fails by name.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import os
import time
import types
import typing
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koe import protocol
from koe.protocol import EVENTS, REQUESTS, Event, Reply, Request, WireError

# --- reflection ------------------------------------------------------------------------------


def message_classes(base: type) -> list[type]:
    """Those with a name on the wire; what they only share has none."""
    members = [c for c in vars(protocol).values() if inspect.isclass(c) and issubclass(c, base)]
    return [c for c in members if getattr(c, "op", "") or getattr(c, "event", "")]


def strategy_for(annotation: Any) -> st.SearchStrategy[Any]:
    """Every value that the wire may carry for a field of this type."""
    if get_origin(annotation) is Literal:
        return st.sampled_from(get_args(annotation))
    if get_origin(annotation) in (Union, types.UnionType):
        return st.one_of(*map(strategy_for, get_args(annotation)))
    if get_origin(annotation) in (list, tuple):
        return st.lists(strategy_for(get_args(annotation)[0]), max_size=3)
    if get_origin(annotation) is dict or annotation is dict:
        return st.dictionaries(st.text(max_size=5), st.integers(0, 9) | st.text(max_size=5))
    plain: dict[Any, st.SearchStrategy[Any]] = {
        str: st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
        int: st.integers(-(2**63), 2**64 - 1),
        float: st.floats(allow_nan=False),
        bool: st.booleans(),
        bytes: st.binary(max_size=10),
        type(None): st.none(),
    }
    return plain[annotation]


def messages(cls: type) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls)}
    optional = {
        name
        for name, f in fields.items()
        if f.default is not dataclasses.MISSING or f.default_factory is not dataclasses.MISSING
    }
    return st.fixed_dictionaries(
        {name: strategy_for(hints[name]) for name in fields if name not in optional},
        optional={name: strategy_for(hints[name]) for name in optional},
    ).map(lambda values: cls(**values))


def through_bytes(message: Any) -> dict[str, Any]:
    return protocol.unpack(protocol.pack(message.to_map()))


@pytest.mark.parametrize("cls", message_classes(Request), ids=lambda cls: cls.__name__)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_requests_go_through_bytes(cls: type[Request], data: st.DataObject) -> None:
    message = data.draw(messages(cls))
    wire = through_bytes(message)
    assert wire["op"] == cls.op
    assert protocol.request_from_map(wire) == message


@pytest.mark.parametrize("cls", message_classes(Event), ids=lambda cls: cls.__name__)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_events_go_through_bytes(cls: type[Event], data: st.DataObject) -> None:
    message = data.draw(messages(cls))
    wire = through_bytes(message)
    assert wire["event"] == cls.event
    assert protocol.event_from_map(wire) == message


@given(
    id=strategy_for(protocol.RequestId),
    result=st.dictionaries(st.text(max_size=5), st.lists(st.integers(0, 9)), max_size=3),
)
def test_good_replies_go_through_bytes(id: Any, result: dict[str, Any]) -> None:
    reply = Reply(id=id, result=result)
    assert protocol.reply_from_map(through_bytes(reply)) == reply


def test_refusals_go_through_bytes() -> None:
    error = WireError("queue_full", "200 lines wait", "try again")
    reply = protocol.reply_from_map(through_bytes(Reply(id="a", ok=False, error=error)))
    assert (reply.id, reply.ok, reply.result) == ("a", False, {})
    assert reply.error is not None
    assert reply.error.to_map() == error.to_map()


@pytest.mark.parametrize(("base", "register"), [(Request, REQUESTS), (Event, EVENTS)])
def test_every_message_class_is_registered(base: type, register: dict[str, type]) -> None:
    assert set(message_classes(base)) == set(register.values())
    for name, cls in register.items():
        assert name == getattr(cls, base.__name__.lower().replace("request", "op"))
        assert dataclasses.is_dataclass(cls)
    assert not {f.name for c in register.values() for f in dataclasses.fields(c)} & {"op", "event"}


def test_a_message_may_leave_out_what_has_a_default() -> None:
    request = protocol.request_from_map({"op": "say", "text": "hello"})
    assert request == protocol.Say(text="hello")
    assert "voice" not in request.to_map()


# --- hostile bytes and maps ------------------------------------------------------------------


def refusal(message: dict[str, Any]) -> WireError:
    with pytest.raises(WireError) as caught:
        protocol.request_from_map(message)
    assert len(caught.value.message) < 200, "a refusal does not send the attack back"
    assert len(caught.value.hint) < 400
    return caught.value


WHOLE = protocol.pack({"op": "say", "id": 1, "text": "hello, 世界"})


@pytest.mark.parametrize("size", range(len(WHOLE)))
def test_half_a_map(size: int) -> None:
    with pytest.raises(WireError, match="not one whole msgpack map"):
        protocol.unpack(WHOLE[:size])


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (WHOLE + WHOLE, "bad_message"),
        (b"GET / HTTP/1.1\r\n\r\n", "bad_message"),
        (b"\xc1", "bad_message"),  # the one byte that msgpack never uses
        (b"\xdf\xff\xff\xff\xff", "bad_message"),  # a map of 4 billion entries
        (b"\xc6\xff\xff\xff\xff", "bad_message"),  # 4 GB of bytes
        (b"\x91" * 100_000, "bad_message"),  # nested without end
        (b"\x81\x01\x02", "bad_message"),  # a key that is a number
        (b"\x81\x90\x02", "bad_message"),  # a key that is a list
        (msgpack.packb([1, 2]), "bad_message"),
        (msgpack.packb("say"), "bad_message"),
        (msgpack.packb(None), "bad_message"),
        (b"\x81\xa2op\xa2\xff\xfe", "invalid_utf8"),
        (b"\x81\xa2op\xa3\xed\xa0\x80", "invalid_utf8"),  # half of a surrogate pair
    ],
)
def test_bytes_that_are_no_message(data: bytes, code: str) -> None:
    with pytest.raises(WireError) as caught:
        protocol.unpack(data)
    assert caught.value.code == code
    assert caught.value.hint


@settings(max_examples=300)
@given(st.binary(max_size=60))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    with contextlib.suppress(WireError):
        assert isinstance(protocol.request_from_map(protocol.unpack(data)), Request)


def anything() -> st.SearchStrategy[Any]:
    leaf = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
    return st.recursive(
        leaf, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=6
    )


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(REQUESTS)),
    st.dictionaries(st.sampled_from(["id", "text", "utterance", "name", "ttl_s"]), anything()),
)
def test_any_values_are_a_message_or_refused(op: str, values: dict[str, Any]) -> None:
    with contextlib.suppress(WireError):
        assert protocol.request_from_map({"op": op} | values).op == op


@pytest.mark.parametrize(
    ("message", "code", "hint"),
    [
        ({}, "missing_field", "op"),
        ({"op": None}, "missing_field", "op"),
        ({"op": ["say"]}, "missing_field", "op"),
        ({"op": "sya", "text": "x"}, "unknown_op", "did you mean 'say'"),
        ({"op": "launch"}, "unknown_op", "koed knows"),
        ({"op": "say"}, "missing_field", "text"),
        ({"op": "say", "txt": "x"}, "unknown_field", "did you mean 'text'"),
        ({"op": "say", "text": b"x"}, "bad_field", "text"),
        ({"op": "say", "text": "x", "wait": 1}, "bad_field", "true or false"),
        ({"op": "say", "text": "x", "ttl_s": True}, "bad_field", "number"),
        ({"op": "say", "text": "x", "ttl_s": float("nan")}, "bad_field", "number"),
        ({"op": "say", "text": "x", "priority": "high"}, "bad_field", "urgent | normal"),
        ({"op": "say", "text": "x", "priority": []}, "bad_field", "urgent | normal"),
        ({"op": "say_append", "utterance": 1.0, "text": "x"}, "bad_field", "whole number"),
        ({"op": "say_append", "utterance": True, "text": "x"}, "bad_field", "whole number"),
        ({"op": "status", "id": [1]}, "bad_field", "id"),
        ({"op": "status", "id": msgpack.Timestamp(0)}, "bad_field", "id"),
        ({"op": "status", "__class__": "x"}, "unknown_field", "it knows"),
        ({"op": "status", "to_map": "x"}, "unknown_field", "it knows"),
    ],
)
def test_a_refusal_names_the_fault(message: dict[str, Any], code: str, hint: str) -> None:
    error = refusal(message)
    assert error.code == code
    assert hint in error.hint


@pytest.mark.parametrize(
    "message",
    [
        {"op": "a" * 4_000_000},
        {"op": "say", "text": "x", "a" * 4_000_000: 1},
        {"op": "say", "text": [{}] * 1_000_000},
        {"op": "say", "text": "x", "voice": {"a": "b" * 4_000_000}},
        {"op": "say", b"text" * 1_000_000: "x"},
    ],
    ids=["operation", "field", "list", "map", "bytes key"],
)
def test_a_huge_message_is_refused_at_once(message: dict[str, Any]) -> None:
    before = time.process_time()
    refusal(message)
    # milliseconds; comparing or quoting the whole would take minutes, so any machine tells
    assert time.process_time() - before < 20, "the server answers nobody else meanwhile"


def test_events_of_a_newer_daemon_are_refused() -> None:
    for message in ({"event": "utterance.sung"}, {"event": None}, {"event": "x" * 10_000}, {}):
        with pytest.raises(WireError) as caught:
            protocol.event_from_map(message)
        assert caught.value.code == "unknown_event"
        assert len(caught.value.message) < 200


@pytest.mark.parametrize("message", [{}, {"ok": 0, "error": "x"}, {"ok": False, "error": {}}])
def test_a_reply_that_says_little_is_still_a_reply(message: dict[str, Any]) -> None:
    reply = protocol.reply_from_map(message)
    assert reply.ok is False
    assert reply.result == {}


# --- where the sockets are -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"KOED_RUNTIME_DIR": "/a", "XDG_RUNTIME_DIR": "/b"}, "/a"),
        ({"XDG_RUNTIME_DIR": "/b"}, "/b/koed"),
        ({"KOED_RUNTIME_DIR": "", "XDG_RUNTIME_DIR": "/b"}, "/b/koed"),
    ],
)
def test_the_runtime_folder(environ: dict[str, str], folder: str) -> None:
    assert protocol.runtime_dir(environ) == folder
    assert protocol.endpoint(folder, "control") == f"ipc://{folder}/control"


def test_the_runtime_folder_where_the_session_is_not_named(tmp_path: Path) -> None:
    """Over ssh, in cron and after su."""
    otherwise = f"/tmp/koed-{os.getuid()}"
    session = tmp_path / str(os.getuid())
    assert protocol.runtime_dir({}, str(tmp_path)) == otherwise
    session.mkdir()
    session.chmod(0o700)
    assert protocol.runtime_dir({}, str(tmp_path)) == f"{session}/koed"
    session.chmod(0o750)  # somebody else could look into it
    assert protocol.runtime_dir({}, str(tmp_path)) == otherwise
    session.rmdir()
    session.symlink_to(tmp_path)
    assert protocol.runtime_dir({}, str(tmp_path)) == otherwise
