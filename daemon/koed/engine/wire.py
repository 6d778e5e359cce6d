"""The messages between the stage and an engine worker: the only place where this wire is written.

One message is one frame, a msgpack array ``[kind, session, field, ...]`` with the fields of its
class in order; `Sound` has a second frame with the samples (float32 little-endian mono). The
session is chosen by the stage for each life of a connection, so that what is left over from an
earlier one can be told apart and dropped. This module knows nothing about sockets.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import msgpack
import numpy as np
from numpy.typing import NDArray

from koe.wire.fields import AnyFloat, Misfit, read
from koed.engine.base import Capabilities, Job, Mouth, ProfileSpec, Word
from koed.errors import KoedError

VERSION = 5
"""Rises with every change of a message."""
SPOKEN = (VERSION, VERSION - 1)
"""One of the version before is served with what it knows; with any other there is no talking."""

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
"""Reference audio is the largest thing that crosses; more closes the connection."""

BEAT_S = 0.25
"""A worker tells so often that it lives."""

BEAT_JOBS = 256
"""So many serials a beat names at most: more jobs than any stage asks for ahead."""

Lufs = AnyFloat
"""A loudness as an engine measured it: not a number and infinite ones cross as well, so that the
stage can refuse the voice by name instead of missing the message."""


@dataclass(frozen=True, slots=True)
class Message:
    """``kind`` names the class on the wire."""

    kind: ClassVar[str] = ""


# --- stage to worker -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hello(Message):
    """A new session: the worker forgets all lanes (not the voices) and answers with `Ready`."""

    kind: ClassVar[str] = "hello"
    version: int


@dataclass(frozen=True, slots=True)
class Prepare(Message):
    kind: ClassVar[str] = "prepare"
    key: str
    spec: ProfileSpec


@dataclass(frozen=True, slots=True)
class Unload(Message):
    kind: ClassVar[str] = "unload"
    key: str


@dataclass(frozen=True, slots=True)
class Speak(Message):
    kind: ClassVar[str] = "speak"
    job: Job


@dataclass(frozen=True, slots=True)
class Keep(Message):
    """The jobs of this stage that are still wanted, of all owners; every other one is over.

    What is not named ends at its next chunk and its kept stream is closed, unless a restyle that
    waits or has just begun claims it. The whole set and not a difference: saying it again changes
    nothing, and one that was lost is made good by the next. A `Speak` goes before the first
    `Keep` that names its job.
    """

    kind: ClassVar[str] = "keep"
    serials: tuple[int, ...]
    """Sorted."""


@dataclass(frozen=True, slots=True)
class Grant(Message):
    """In this session the lane may have begun no chunk beyond ``granted_s`` seconds in all.

    A running total and not a difference: a repeated or late one does no harm.
    """

    kind: ClassVar[str] = "grant"
    lane: int
    granted_s: float


@dataclass(frozen=True, slots=True)
class Ping(Message):
    """Keeps a listening worker ours; another stage gets it when none came for a while."""

    kind: ClassVar[str] = "ping"


@dataclass(frozen=True, slots=True)
class Bye(Message):
    """A child ends; a listening worker is free for the next stage."""

    kind: ClassVar[str] = "bye"


# --- worker to stage -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Here(Message):
    """A child is connected and waits for `Hello`, while it loads its engine."""

    kind: ClassVar[str] = "here"
    version: int


@dataclass(frozen=True, slots=True)
class Refused(Message):
    kind: ClassVar[str] = "refused"
    message: str


@dataclass(frozen=True, slots=True)
class Ready(Message):
    """The engine is warm."""

    kind: ClassVar[str] = "ready"
    engine: str
    capabilities: Capabilities
    pid: int
    rss_mb: float
    version: str
    """Of the engine: sound made by another one is not to be mixed with its own."""


@dataclass(frozen=True, slots=True)
class Prepared(Message):
    kind: ClassVar[str] = "prepared"
    key: str
    name: str
    loudness_lufs: Lufs
    cached: bool
    prepare_s: float


@dataclass(frozen=True, slots=True)
class PrepareFailed(Message):
    kind: ClassVar[str] = "prepare_failed"
    key: str
    name: str
    code: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Sound(Message):
    """A chunk of a job. The samples are the second frame, not a field."""

    kind: ClassVar[str] = "sound"
    serial: int
    lane: int
    seq: int
    """0, 1, 2, ... within the job."""
    rate_hz: int
    words: tuple[Word, ...]
    mouths: tuple[Mouth, ...]


@dataclass(frozen=True, slots=True)
class Done(Message):
    kind: ClassVar[str] = "done"
    serial: int
    lane: int
    seconds: float
    """Of sound in all its chunks."""


@dataclass(frozen=True, slots=True)
class Failed(Message):
    kind: ClassVar[str] = "failed"
    serial: int
    lane: int
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Mended(Message):
    """What the engine found wrong in a job and made anew, before any of it was sent."""

    kind: ClassVar[str] = "mended"
    serial: int
    lane: int
    code: str


@dataclass(frozen=True, slots=True)
class Beat(Message):
    """The worker's I/O thread lives; ``quiet_ms`` tells whether its synthesis thread does."""

    kind: ClassVar[str] = "beat"
    rss_mb: float
    state: str
    """idle, warming, preparing, loading or speaking."""
    serial: int
    """Of the job in work; 0 = none."""
    progress: int
    """Steps since the start: chunks, prepared voices."""
    quiet_ms: float
    """Since the step in work began; 0 while idle."""
    jobs: tuple[int, ...]
    """Serials of the jobs that it has and has not finished, of all lanes; at most `BEAT_JOBS`."""


@dataclass(frozen=True, slots=True)
class LogLine(Message):
    kind: ClassVar[str] = "log"
    level: int
    """As in `logging`."""
    text: str


KINDS: dict[str, type[Message]] = {
    cls.kind: cls
    for cls in (
        Hello, Prepare, Unload, Speak, Keep, Grant, Ping, Bye, Here, Refused, Ready,
        Prepared, PrepareFailed, Sound, Done, Failed, Mended, Beat,
        LogLine,
    )
}  # fmt: skip


# --- message <-> frames ----------------------------------------------------------------------


class LinkError(KoedError):
    """What came is no message of this wire (code ``bad_message``)."""

    def __init__(self, message: str) -> None:
        super().__init__("bad_message", message)


def encode(session: int, message: Message, version: int = VERSION) -> bytes:
    """A message as its one (or first) frame, for whom speaks ``version``. A lone surrogate in a
    text becomes ``?``."""
    values = _plain(message, version)
    data: bytes = msgpack.packb(
        [message.kind, session, *values], use_bin_type=True, unicode_errors="replace"
    )
    return data


def _plain(value: Any, version: int) -> Any:
    if dataclasses.is_dataclass(value):
        known = [f for f in dataclasses.fields(value) if f.metadata.get("since", 0) <= version]
        return [_plain(getattr(value, f.name), version) for f in known]
    if isinstance(value, Mapping):
        return {k: _plain(v, version) for k, v in value.items()}
    return [_plain(v, version) for v in value] if isinstance(value, (tuple, list)) else value


def decode(frame: bytes) -> tuple[int, Message]:
    """Session and message of a frame; raises `LinkError` for anything that does not fit."""
    try:
        values = msgpack.unpackb(frame, raw=False, strict_map_key=True)
    except Exception as error:
        raise LinkError(f"not one whole msgpack value: {type(error).__name__}") from error
    if not isinstance(values, list) or len(values) < 2 or not isinstance(values[0], str):
        raise LinkError("not an array that begins with a kind and a session")
    cls = KINDS.get(values[0])
    if cls is None:
        raise LinkError(f"unknown kind {values[0]!r:.40}")
    try:
        return read(int, values[1]), read(cls, values[2:])
    except Misfit as error:
        raise LinkError(str(error)) from error


def samples(frame: bytes) -> NDArray[np.float32]:
    """The second frame of `Sound` as read-only float32 mono ``[S]``; raises `LinkError`."""
    if len(frame) % 4:
        raise LinkError(f"{len(frame)} bytes are no whole number of float32 samples")
    return np.frombuffer(frame, dtype="<f4")


def differ(worker: str, worker_speaks: int, stage_speaks: int) -> str:
    """Why the two cannot talk and what to do, in one line. ``worker``: where it is."""
    return (
        f"the worker {worker} speaks version {worker_speaks} of koed's engine wire, this stage "
        f"version {stage_speaks}: update koed on the older of the two (pip install -U koed) and "
        "start it again"
    )
