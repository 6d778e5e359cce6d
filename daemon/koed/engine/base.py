"""What an engine is: prepare a profile once, then stream segments of text as sound.

An engine runs in a worker process (`koed.engine.worker`), one job at a time per lane, and knows
nothing about queues, sockets or devices. `Voice` is a frozen value; a `Stream` is an iterator of
`Chunk` that can be closed at any chunk.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

SINCE_5 = {"since": 5}
"""Marks a field that is new in this version of the engine wire: older workers and stages are told
nothing of it. Such a field stands last and has a default."""
DEVICE_VARIABLE, THREADS_VARIABLE = "KOED_DEVICE", "OMP_NUM_THREADS"
"""How a worker's environment tells its engine what ``engines: {NAME: {device, threads}}`` of
koed.yaml says: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; a number of cores."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do, told by the worker when it is ready."""

    languages: tuple[str, ...]
    """ISO codes; ``"*"`` = any other as well."""
    restyle: bool = False
    """`Engine.restyle` continues a stream in another voice from a given sample."""
    word_times: bool = False
    """Some or all languages give `Chunk.words`."""
    mouths: bool = False
    """Some or all languages give `Chunk.mouths`."""
    line_fields: tuple[str, ...] = field(default=("speed",), metadata=SINCE_5)
    """The fields of a line (`koed.config.delivery`) that it obeys: ``speed`` and ``seed`` as
    `Job` has them, others in `Job.settings`."""
    sentence_chars: int = field(default=0, metadata=SINCE_5)
    """It plans so many characters (wide ones count twice) in a few milliseconds: a line begins with
    its whole first sentence if that is no longer, and sounds like one. 0 = it begins with as little
    as can be said, to be heard soon."""


@dataclass(frozen=True, slots=True)
class ProfileSpec:
    """The part of a voice profile that an engine needs: plain values, ready for the wire.

    Reference audio travels as bytes, so that a worker on another machine needs no shared disk.
    """

    name: str
    lang: str
    settings: Mapping[str, Any]
    reference: Mapping[str, Any] = field(default_factory=dict)
    """Empty, or ``{"audio": bytes, "transcript": str, "lang": str}``; where the timbre comes from
    other clips, with ``"timbre": [{"audio": bytes, "weight": float}]``. Or ``{"table": bytes,
    "file": str}``: numbers that are a voice of one engine, and the name of their file."""

    def key(self, engine: str) -> str:
        """Content hash: the same key means the same compiled voice."""
        import hashlib

        import msgpack

        parts = [engine, self.lang, _sorted(self.settings), _sorted(self.reference)]
        return hashlib.sha256(msgpack.packb(parts, use_bin_type=True)).hexdigest()[:32]


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return [[k, _sorted(value[k])] for k in sorted(value)]
    return [_sorted(v) for v in value] if isinstance(value, (list, tuple)) else value


@dataclass(frozen=True, slots=True)
class Voice:
    """A compiled profile. Frozen: switching voices is swapping a reference."""

    name: str
    key: str
    lang: str
    loudness_lufs: float
    """Integrated loudness (ITU-R BS.1770-4) of a calibration sentence at the engine's own level,
    -70 to 0: a voice with any other is refused."""
    state: Mapping[str, Any]
    """What the engine needs to speak, as plain msgpack values: it is cached on disk by `key`."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word of the segment and the time when it begins, from the segment's first sample."""

    start: int
    """First character in `Job.text`."""
    end: int
    """One past the last character."""
    at_s: float


Shape = Literal["a", "i", "u", "e", "o", "closed", "rest"]
"""How a mouth looks: at a vowel; shut, as at m, b and p; in a pause."""


@dataclass(frozen=True, slots=True)
class Mouth:
    """A shape that the mouth takes and keeps until the next, the last one until the sound ends.

    A stream that begins within a segment (`Engine.restyle`) tells first the shape it sets in with.
    """

    shape: Shape
    at_s: float
    """From the segment's first sample."""


Owner = Literal["air", "phrase", "client"]
"""Whom a job is for: listeners who hear it now; the store of phrases; a client that asked for the
sound itself."""


@dataclass(frozen=True, slots=True)
class Job:
    """One segment to speak.

    ``serial`` is unique over the life of the daemon: each owner counts in a class of its own, so a
    higher one was not asked for later.
    """

    serial: int
    lane: int
    """Jobs of one lane are spoken in order; lanes do not wait for each other."""
    voice: str
    """Key of a prepared voice."""
    text: str
    lang: str
    speed: float = 1.0
    seed: int = 0
    restyle_of: int = 0
    """Serial of an earlier job that this one continues in another voice; 0 = a new job."""
    start_s: float = 0.0
    """With ``restyle_of``: the position in that job's sound from which to go on."""
    owner: Owner = "air"
    """A worker takes jobs of the air first, then those of clients, then phrases."""
    settings: Mapping[str, float] = field(default_factory=dict, metadata=SINCE_5)
    """Values for this job alone, in place of the voice's: only such as `Capabilities.line_fields`
    names."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of sound.

    ``pcm`` is float32 mono ``[S]`` in -1..1 at ``rate_hz`` (constant within a stream); leading and
    trailing silence of a segment is trimmed by the engine (pauses are the stage's). ``words`` and
    ``mouths`` are those that begin in this chunk, in order. An empty chunk without any is a sign of
    work: it is not sent, and other lanes get their turn.
    """

    pcm: NDArray[np.float32]
    rate_hz: int
    words: tuple[Word, ...] = ()
    mouths: tuple[Mouth, ...] = ()
    mended: tuple[str, ...] = ()
    """Codes of what went wrong since the chunk before and was made anew: no chunk has any of it."""
    loading: bool = False
    """An empty chunk that says that what the job needs is being loaded beside: the lane is asked
    again in a moment, others go on, and the limit is that of a start, not that of a chunk."""


class Stream(Protocol):
    """An iterator of chunks; ``close()`` may come at any time between two chunks.

    A generator is a `Stream`.
    """

    def __iter__(self) -> Iterator[Chunk]: ...
    def __next__(self) -> Chunk: ...
    def close(self) -> None: ...


@runtime_checkable
class Abandoning(Protocol):
    """A `Stream` whose chunks take long to make."""

    def abandon(self) -> None:
        """End the chunk in work at once, from any thread: nobody wants it. The stream has no more
        chunks, and may be restyled as before."""


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """What is known of an engine before anything of it is loaded. The daemon imports the module
    that holds this value, so that one imports nothing heavy: an entry point of the group
    ``koed.engines`` names it."""

    engine: str
    """``"module:Class"`` of the `Engine`; imported in the worker alone, called without arguments.
    """
    neural: bool = False
    """It holds whole networks: the limits ``engine.neural_memory_mb`` and ``neural_start_s`` of
    koed.yaml are its own."""
    prepares_beside: bool = False
    """`Engine.prepare` and `Engine.load` may run in a second thread while streams are made, so that
    nobody falls silent when a voice comes; else they have their turn between chunks."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What its libraries must find when they are loaded, unless the user has set it."""
    install: str = ""
    """What to do if one of its libraries is missing."""


class Engine(Protocol):
    """Raises `koed.errors.EngineError` with a code; any other exception is a bug of the engine."""

    name: str
    version: str
    """Part of the cache: another one whenever an older `Voice.state` must not be used."""
    capabilities: Capabilities

    def warm_up(self) -> None:
        """Load everything and speak once into nothing, so that the first job is not slow."""

    def prepare(self, profile: ProfileSpec) -> Voice:
        """Compile a profile; may take seconds (neural) and is cached by the worker."""

    def load(self, voice: Voice) -> None:
        """Make a voice (fresh or from the cache) resident before it is used."""

    def stream(self, voice: Voice, job: Job) -> Stream:
        """The sound of one segment, first chunk as early as possible."""

    def restyle(self, stream: Stream, voice: Voice, job: Job) -> Stream:
        """Continue ``stream`` from ``job.start_s`` of its sound, in ``voice`` (or in the same one)
        and as ``job`` says; only if `Capabilities.restyle`. It goes on with what would have come
        there, whatever the speed of ``job``, and `Word.at_s` on the same time line."""

    def close(self) -> None:
        """Free what is held."""


@runtime_checkable
class Telling(Protocol):
    """What an engine may tell besides, to whoever runs it in their own process."""

    def facts(self, voice: Voice) -> dict[str, str]:
        """What a voice speaks with: ``model``, ``version``, ``device``, ``precision``."""

    def vectors(self, profile: ProfileSpec, voice: Voice) -> dict[str, NDArray[np.float32]]:
        """What it knows of who speaks, by name, each ``[C]``. May take as long as `prepare`."""


@runtime_checkable
class Checking(Protocol):
    """An engine whose `Engine.prepare` takes long: it can tell beforehand what is wrong."""

    def check(self, profile: ProfileSpec) -> None:
        """Raise what `Engine.prepare` would of settings, language and models, at once."""
