"""Every message of the engine wire round-trips; nothing else is taken for one."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from koed.config.profile import RemoteEngine
from koed.engine import wire
from koed.engine.base import Capabilities, Job, Mouth, ProfileSpec, Word

EXAMPLES: dict[Any, Any] = {
    int: 7, float: 0.25, str: "声", bool: True, tuple[int, ...]: (3, 4),
    tuple[Word, ...]: (Word(0, 5, 0.5), Word(6, 9, 1.25)),
    tuple[Mouth, ...]: (Mouth("o", 0.5), Mouth("closed", 0.75)),
    Job: Job(9, 1, "key", "text", "ja", 1.5, 42, 8, 0.75, "client", {"temperature": 0.8}),
    wire.Lufs: -23.5,
    ProfileSpec: ProfileSpec("hana", "ja", {"pitch": 1.0, "d": {"a": [1, "b"]}}, {"audio": b"\0"}),
    Capabilities: Capabilities(("en", "*"), True, False, True, ("speed", "seed"), 100),
}  # fmt: skip


def example(cls: type[wire.Message]) -> wire.Message:
    hints = typing.get_type_hints(cls)
    return cls(**{f.name: EXAMPLES[hints[f.name]] for f in dataclasses.fields(cls)})


def test_all_message_classes_are_registered() -> None:
    # By name: a dataclass with slots leaves its first form behind as a subclass.
    assert {c.__name__ for c in wire.KINDS.values()} == {
        c.__name__ for c in wire.Message.__subclasses__()
    }
    assert all(kind == cls.kind for kind, cls in wire.KINDS.items())


@pytest.mark.parametrize("cls", wire.KINDS.values(), ids=wire.KINDS)
def test_every_message_round_trips(cls: type[wire.Message]) -> None:
    assert wire.decode(wire.encode(5, example(cls))) == (5, example(cls))


@pytest.mark.parametrize("cls", wire.KINDS.values(), ids=wire.KINDS)
def test_every_message_is_checked(cls: type[wire.Message]) -> None:
    values = msgpack.unpackb(wire.encode(5, example(cls)))
    for i in range(1, len(values)):
        with pytest.raises(wire.LinkError):
            wire.decode(msgpack.packb([*values[:i], None, *values[i + 1 :]]))
    with pytest.raises(wire.LinkError):
        wire.decode(msgpack.packb([*values, "more"]))


@given(st.binary(max_size=60))
def test_garbage_is_an_error_and_nothing_worse(data: bytes) -> None:
    with pytest.raises(wire.LinkError):
        wire.decode(data)


def test_a_lone_surrogate_does_not_stop_the_voice() -> None:
    job = Job(1, 1, "key", "a\ud800b", "en")
    _, message = wire.decode(wire.encode(1, wire.Speak(job)))
    assert typing.cast(wire.Speak, message).job.text == "a?b"


@pytest.mark.parametrize("lufs", [math.nan, -math.inf, 1e9])
def test_a_senseless_loudness_crosses_so_that_it_can_be_told(lufs: float) -> None:
    prepared = wire.Prepared("key", "hana", wire.Lufs(lufs), False, 0.5)
    _, message = wire.decode(wire.encode(1, prepared))
    assert repr(message) == repr(prepared)
    with pytest.raises(wire.LinkError):
        wire.decode(wire.encode(1, dataclasses.replace(prepared, prepare_s=math.nan)))


def test_a_job_is_for_nobody_that_is_not_known() -> None:
    job = Job(1, 1, "key", "text", "en", owner="nobody")  # type: ignore[arg-type]
    with pytest.raises(wire.LinkError, match=r"air \| phrase \| client"):
        wire.decode(wire.encode(1, wire.Speak(job)))


def test_whom_is_a_version_older_is_told_what_it_knows_and_tells_what_it_knows() -> None:
    job, can = EXAMPLES[Job], EXAMPLES[Capabilities]
    ready = wire.Ready("tone", can, 1, 1.0, "v1")
    for message, at, newer in ((wire.Speak(job), 2, 1), (ready, 3, 2)):
        values = msgpack.unpackb(wire.encode(5, message, wire.VERSION - 1))
        whole = msgpack.unpackb(wire.encode(5, message))
        assert values[at] == whole[at][:-newer]
    _, heard = wire.decode(wire.encode(5, ready, wire.VERSION - 1))
    assert heard == dataclasses.replace(
        ready, capabilities=dataclasses.replace(can, line_fields=("speed",), sentence_chars=0)
    )
    _, said = wire.decode(wire.encode(5, wire.Speak(job), wire.VERSION - 1))
    assert said == wire.Speak(dataclasses.replace(job, settings={}))
    values[3] = values[3][:-1]  # less than that is no message
    with pytest.raises(wire.LinkError):
        wire.decode(msgpack.packb(values))


def test_samples_are_whole_and_read_only() -> None:
    pcm = np.array([0.5, -0.25], dtype="<f4")
    assert np.array_equal(wire.samples(pcm.tobytes()), pcm)
    with pytest.raises(wire.LinkError):
        wire.samples(b"\0" * 7)
    with pytest.raises(ValueError, match="read-only"):
        wire.samples(pcm.tobytes())[0] = 1.0


def test_a_profile_comes_out_with_the_same_key() -> None:
    spec = EXAMPLES[ProfileSpec]
    _, message = wire.decode(wire.encode(1, wire.Prepare("k", spec)))
    read = typing.cast(wire.Prepare, message).spec
    assert isinstance(read.settings, Mapping)
    assert read.key("tone") == spec.key("tone")


def test_a_secret_key_is_not_shown() -> None:
    assert "hush" not in repr(RemoteEngine("tcp://a:1", "s", "c", "hush"))
