"""What a person decided, as a value: it becomes bytes and comes back, and says what to ask for at a
start. Pure.

A person is whoever sends a request: a client, a key, a button in OBS. What a rule set (a scene of
OBS) is not in here, and leaves what a person decided as it was: after a start that holds until the
rule decides again.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from koe import protocol
from koe.protocol import ModeName, Request, WireError, pack, unpack

VERSION = 1
MAX_BYTES = 65536
MAX_OUTPUTS = 200
MAX_NAME_CHARS = 200
MAX_PATH_CHARS = 4096
MAX_BY_CHARS = 100
LAST_S = 1e11
"""Seconds of the wall clock: the year 5138."""
MODES: tuple[str, ...] = get_args(ModeName)
_VOICE = re.compile(r"[a-z0-9_-]{1,32}")


class BadState(ValueError):
    """Bytes are no state of this version of koed."""


@dataclass(frozen=True, slots=True)
class Decided:
    """Of one output."""

    muted: bool = False
    paused: bool = False
    mode: ModeName | None = None
    """None: nobody chose one."""
    voice: str | None = None
    """Of this output alone."""


@dataclass(frozen=True, slots=True)
class Panic:
    by: str = ""
    since: float = 0.0
    """By the wall clock: for people to read."""


@dataclass(frozen=True, slots=True)
class State:
    outputs: Mapping[str, Decided] = field(default_factory=dict)
    """All that there are."""
    voice: str | None = None
    """Of all outputs that have none of their own; None: nobody chose one."""
    panic: Panic | None = None
    configured_voice: str = ""
    """``voice:`` of koed.yaml when this was written."""
    orderly: bool = True
    """koed had come to its end, or has never run."""
    runtime: str = ""
    """The runtime folder of the daemon whose state this is."""


# --- bytes ------------------------------------------------------------------------------------


def to_bytes(state: State) -> bytes:
    outputs = {name: dataclasses.asdict(decided) for name, decided in state.outputs.items()}
    panic = dataclasses.asdict(state.panic) if state.panic else None
    values = {f.name: getattr(state, f.name) for f in dataclasses.fields(State)}
    return pack({"version": VERSION} | values | {"outputs": outputs, "panic": panic})


def from_bytes(data: bytes) -> State:
    """Raises `BadState`, whatever the bytes are."""
    if len(data) > MAX_BYTES:
        raise BadState("too large")
    try:
        told = unpack(data, max_map_len=MAX_OUTPUTS, max_array_len=0)
    except WireError as error:
        raise BadState(error.message) from error
    if told.get("version") != VERSION:
        raise BadState("of another version of koed")
    outputs = told.get("outputs")
    if not isinstance(outputs, dict):
        raise BadState("it tells of no outputs")
    return State(
        {_text(name, "output"): _decided(decided) for name, decided in outputs.items()},
        _voice(told.get("voice")),
        _panic(told.get("panic")),
        _text(told.get("configured_voice"), "configured_voice"),
        _flag(told.get("orderly"), "orderly"),
        _text(told.get("runtime"), "runtime", MAX_PATH_CHARS),
    )


def _decided(told: Any) -> Decided:
    if not isinstance(told, dict):
        raise BadState("an output is no map")
    mode = told.get("mode")
    if mode is not None and mode not in MODES:
        raise BadState("an unknown mode")
    return Decided(
        _flag(told.get("muted"), "muted"), _flag(told.get("paused"), "paused"), mode,
        _voice(told.get("voice")),
    )  # fmt: skip


def _panic(told: Any) -> Panic | None:
    if told is None:
        return None
    since = told.get("since") if isinstance(told, dict) else None
    if not isinstance(since, float) or not 0.0 <= since < LAST_S:
        raise BadState("a panic without a time")
    return Panic(_text(told.get("by"), "by", MAX_BY_CHARS), since)


def _flag(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise BadState(f"{name} is neither true nor false")
    return value


def _text(value: Any, name: str, limit: int = MAX_NAME_CHARS) -> str:
    if not isinstance(value, str) or len(value) > limit:
        raise BadState(f"{name} is no text, or a novel")
    return value


def _voice(value: Any) -> str | None:
    if value is not None and not (isinstance(value, str) and _VOICE.fullmatch(value)):
        raise BadState("a voice is no name")
    return value


# --- while koed runs --------------------------------------------------------------------------


def after(state: State, request: Request, now: float) -> State:
    """When ``request`` was carried out. ``now``: by the wall clock."""
    match request:
        case protocol.Mute() | protocol.Unmute():
            return _with(state, request.output, muted=isinstance(request, protocol.Mute))
        case protocol.Pause() | protocol.Resume():
            return _with(state, request.output, paused=isinstance(request, protocol.Pause))
        case protocol.Mode() if request.mode is not None:
            return _with(state, request.output, mode=request.mode)
        case protocol.Voice() if request.name is not None and request.output is not None:
            return _with(state, request.output, voice=request.name)
        case protocol.Voice() if request.name is not None:  # it counts for all from now on
            return dataclasses.replace(_with(state, None, voice=None), voice=request.name)
        case protocol.Panic() if state.panic is None:
            return dataclasses.replace(state, panic=Panic(request.by or "", now))
        case protocol.Release():
            return dataclasses.replace(state, panic=None)
    return state


def _with(state: State, output: str | None, **changed: Any) -> State:
    outputs = {
        name: dataclasses.replace(decided, **changed) if output in (None, name) else decided
        for name, decided in state.outputs.items()
    }
    return dataclasses.replace(state, outputs=outputs)


# --- at a start -------------------------------------------------------------------------------


def forgotten(state: State) -> State:
    """Nothing is decided any more."""
    return State(orderly=state.orderly, runtime=state.runtime)


def adopt(state: State, outputs: Iterable[str], voice: str) -> State:
    """What still counts with these outputs and this ``voice:`` of koed.yaml.

    An output that is new is as all the others were: after ``koe mute`` nothing sounds only because
    an output has got another name. Where the configuration names another voice than it did, that
    one counts, like a `protocol.Voice` for all.
    """
    common = _common(state.outputs.values())
    kept = {name: state.outputs.get(name, common) for name in outputs}
    state = dataclasses.replace(state, outputs=kept)
    if state.configured_voice != voice:
        state = dataclasses.replace(_with(state, None, voice=None), voice=None)
    return dataclasses.replace(state, configured_voice=voice)


def _common(decided: Iterable[Decided]) -> Decided:
    all_of_them = list(decided)
    if not all_of_them:
        return Decided()
    modes = {each.mode for each in all_of_them}
    return Decided(
        all(each.muted for each in all_of_them),
        all(each.paused for each in all_of_them),
        modes.pop() if len(modes) == 1 else None,
    )


def latches(state: State) -> list[Request]:
    """To be asked for before anything can sound, the strictest first."""
    asked: list[Request] = []
    if state.panic is not None:
        asked.append(protocol.Panic(by=state.panic.by))
    for name, decided in state.outputs.items():
        if decided.muted:
            asked.append(protocol.Mute(output=name))
        if decided.mode not in (None, "speak"):
            asked.append(protocol.Mode(mode=decided.mode, output=name))
        if decided.paused:
            asked.append(protocol.Pause(output=name))
    return asked


def voices(state: State) -> list[protocol.Voice]:
    """To be asked for when it is known which there are."""
    asked = [] if state.voice is None else [protocol.Voice(name=state.voice)]
    own = ((name, decided.voice) for name, decided in state.outputs.items())
    return [*asked, *(protocol.Voice(name=voice, output=name) for name, voice in own if voice)]


def words(request: Request) -> str:
    """What was asked for again, for people, and what ends it."""
    match request:
        case protocol.Panic():
            by = f", by {request.by!r}" if request.by else ""
            return f"panic{by}: koe release lets it sound"
        case protocol.Mute():
            return f"{request.output} is muted: koe unmute lets it sound"
        case protocol.Pause():
            return f"{request.output} is paused: koe resume lets it sound"
        case protocol.Mode():
            return f"{request.output} is in mode {request.mode}: koe mode speak ends it"
    return request.op
