"""One voice profile: ``NAME.yaml`` beside its reference audio -> a frozen `Profile`.

It is read strictly, and its name is that of its file. `koed.config.profile_folder` watches a folder
of them.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from koed.auth import keys
from koed.config import schema
from koed.config.daemon import Endpoint, Name
from koed.config.delivery import Delivery
from koed.config.engines import Installed
from koed.config.schema import Match, Range
from koed.errors import ConfigError, KoedError, did_you_mean

Engine = Annotated[str, Installed()]
Language = Annotated[str, Match(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*", "a language such as en or ja")]

MAX_AUDIO_BYTES = 16 * 1024 * 1024
"""A reference is some seconds of speech; it travels to the worker in one message."""
MAX_TABLE_BYTES = 4 * 1024 * 1024
MAX_STYLES = 32


@dataclass(frozen=True, slots=True)
class RemoteEngine:
    """Where a worker on another machine is, and the CURVE keys (Z85, 40 characters each)."""

    address: str
    """``tcp://ADDRESS:PORT``"""
    server_public: str
    client_public: str
    client_secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Timbre:
    """A clip that a voice is to sound like; what is said in it does not matter."""

    audio: str
    """File beside the profile or in a folder below."""
    weight: Annotated[float, Range(0, 1000)] = 1.0
    """Share among the clips; they need no sum of 1."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Sound of a voice to be imitated, and what is said in it; or a ``table`` that is the voice."""

    audio: str = ""
    """File beside the profile or in a folder below."""
    table: str = ""
    """Such a file, with the styles of a voice of the engine kokoro, in place of ``audio``."""
    transcript: str = ""
    lang: Language = ""
    """Empty = the profile's."""
    timbre: tuple[Timbre, ...] = ()
    """Other clips for the sound of the voice; then ``audio`` gives the manner of speaking alone."""

    @property
    def files(self) -> tuple[str, ...]:
        return (self.table or self.audio, *(clip.audio for clip in self.timbre))


@dataclass(frozen=True, slots=True)
class Style(Delivery):
    """Another way in which a voice speaks: what it says counts in place of the profile's."""

    reference: Reference | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of the engine; those that are not named are the profile's."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """``engine:`` as a map: an engine on another machine."""

    remote: Endpoint
    key: str
    """File that ``koed keys new`` wrote on that machine; relative to the profile."""
    kind: Engine = "embedded"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileFile(Delivery):
    """The keys of a profile, beside those of its delivery."""

    engine: Engine | RemoteFile
    lang: Language
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of the engine, which checks them."""
    reference: Reference | None = None
    loudness_lufs: Annotated[float, Range(-40, -5)] | None = None
    """None = as the configuration says."""
    speed: Annotated[float, Range(0.5, 2.0)] = 1.0
    output: Name | None = None
    fallback: Name | None = None
    """The profile that speaks on when the engine of this one fails."""
    tags: tuple[str, ...] = ()
    description: str = ""
    rights: str = ""
    """Whose voice it is and what allows its use."""
    styles: Mapping[Name, Style] = field(default_factory=dict)
    style_tags: bool = False
    """``[happy]`` in a text changes the style from there on; in lines of a chat never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile(Delivery):
    """One voice, as its file says. Frozen: an edit makes another value."""

    name: str
    engine: str
    remote: RemoteEngine | None
    settings: Mapping[str, Any]
    lang: str
    loudness_lufs: float | None
    speed: float
    output: str | None
    fallback: str | None
    tags: tuple[str, ...]
    description: str
    rights: str
    reference: Reference | None
    styles: Mapping[str, Style]
    style_tags: bool
    source: Path
    digest: str
    """Hash of all that the file says and of the reference audio; comments do not count."""
    style_of: str = ""
    """Of a style: the voice that has it."""

    @property
    def delivery(self) -> Delivery:
        return Delivery.read_from(self)


FileStamp = tuple[int, int, int] | None
"""(mtime in ns, size, inode) of a file; None = not there."""


def file_stamp(path: Path) -> FileStamp:
    try:
        status = path.stat()
    except (OSError, ValueError):  # ValueError: a zero byte
        return None
    return (status.st_mtime_ns, status.st_size, status.st_ino)


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of reading a file: a profile or an error."""

    profile: Profile | None
    error: ConfigError | None
    depends: Mapping[Path, FileStamp]
    """Other files that it needs, as they were before they were read."""
    lines: Mapping[str, int] = field(default_factory=dict)
    """Line of each key."""


def load_profile(path: Path) -> Profile:
    """Raises `ConfigError` ``bad_config`` with every problem of the profile."""
    reading = read_profile(path)
    if reading.profile is None:
        raise reading.error or ConfigError("bad_config", f"{path} cannot be read")
    return reading.profile


def read_profile(path: Path) -> Reading:
    """As `load_profile`, but the error is a value, and the files to watch are named either way."""
    depends: dict[Path, FileStamp] = {}
    hooks: dict[type, schema.Hook] = {
        Reference: functools.partial(_reference_problems, path.parent, depends),
        Timbre: functools.partial(_clip_problems, path.parent, depends),
        RemoteFile: functools.partial(_remote_problems, path.parent, depends),
        ProfileFile: _profile_problems,
    }
    name = path.name.removesuffix(".yaml")
    try:
        check_name(path)
        document = schema.read(path, ProfileFile, hooks)
        profile = _profile(name, path, document.value)
    except ConfigError as error:
        return Reading(None, error, depends)
    return Reading(profile, None, depends, document.lines)


def printable(file_name: str) -> str:
    """A name that the wire can carry: Linux allows any bytes."""
    return file_name.encode("utf-8", "backslashreplace").decode()


def check_name(path: Path) -> None:
    """Raises `ConfigError` ``bad_profile_name``."""
    name, ending = path.stem, path.suffix
    what = f"{printable(path.name)} cannot be a profile"
    if ending != ".yaml":
        raise ConfigError("bad_profile_name", what, "rename it: profiles end in .yaml")
    for mark in getattr(Name, "__metadata__", ()):
        if mark.problem(name):
            raise ConfigError("bad_profile_name", f"{what}: {mark.problem(name)}", "rename it")


# --- from file to value ----------------------------------------------------------------------


def _profile(name: str, path: Path, read: ProfileFile) -> Profile:
    remote, kind = None, read.engine
    if isinstance(kind, RemoteFile):
        remote, kind = _remote(path.parent, kind), kind.kind
    values = {f.name: getattr(read, f.name) for f in dataclasses.fields(read)}
    digest = _digest(path, read, remote)
    values |= {"name": name, "engine": kind, "remote": remote, "source": path, "digest": digest}
    return Profile(**values)


def _digest(path: Path, read: ProfileFile, remote: RemoteEngine | None) -> str:
    said = json.dumps(dataclasses.asdict(read), sort_keys=True)
    total = hashlib.sha256(said.encode("utf-8", "surrogatepass"))
    for reference in (read.reference, *(style.reference for style in read.styles.values())):
        if reference is not None:
            for name in reference.files:
                total.update(hashlib.sha256(read_beside(path.parent / name)).digest())
    if remote is not None:
        total.update(f"{remote.server_public}{remote.client_public}".encode())
    return total.hexdigest()[:32]


def _remote(folder: Path, read: RemoteFile) -> RemoteEngine:
    pair = keys.client_keys(folder / Path(read.key).expanduser())
    return RemoteEngine(read.remote, pair.server, pair.public, pair.secret)


def read_beside(path: Path) -> bytes:
    """A file beside a profile; raises `ConfigError`."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a FIFO would block the daemon
            raise ConfigError("bad_reference", f"{path} is not a plain file")
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError("bad_reference", f"{path} cannot be read: {error.strerror}") from error
    return data


# --- what the types cannot say ---------------------------------------------------------------

Problems = Iterator[tuple[str, str, str]]


def _reference_problems(
    folder: Path, depends: dict[Path, FileStamp], reference: Reference
) -> Problems:
    if not reference.table and not reference.audio:
        yield "audio", "this key is needed", "a file beside the profile; or table: FILE"
        return
    if not reference.table:
        yield from _file_problems(folder, depends, "audio", reference.audio, MAX_AUDIO_BYTES)
        return
    if reference != Reference(table=reference.table):
        yield "table", "a table is a whole voice: it needs no audio, transcript or timbre", ""
    yield from _file_problems(folder, depends, "table", reference.table, MAX_TABLE_BYTES)


def _clip_problems(folder: Path, depends: dict[Path, FileStamp], clip: Timbre) -> Problems:
    return _file_problems(folder, depends, "audio", clip.audio, MAX_AUDIO_BYTES)


def _file_problems(
    folder: Path, depends: dict[Path, FileStamp], key: str, name: str, most_bytes: int
) -> Problems:
    written = PurePosixPath(name)
    if not name or "\0" in name or written.is_absolute() or ".." in written.parts:
        hint = "name a file beside the profile, without / at the beginning and without .."
        yield key, f"{name!r} leaves the folder of the profile", hint
        return
    path = folder / written
    depends[path] = file_stamp(path)
    try:
        real = path.resolve(strict=True)
        size = real.stat().st_size
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        yield key, f"{name!r} cannot be read: {_reason(error)}", _neighbours(path)
        return
    if not real.is_relative_to(folder.resolve()):
        yield key, f"{name!r} is a link that leaves the folder", "copy the file here"
    elif not real.is_file():
        yield key, f"{name!r} is not a plain file", ""
    elif not 0 < size <= most_bytes:
        yield key, f"{name!r} has {size} bytes", f"between 1 and {most_bytes} are allowed"


def _remote_problems(folder: Path, depends: dict[Path, FileStamp], remote: RemoteFile) -> Problems:
    if remote.remote.startswith("tcp://*"):
        yield "remote", f"{remote.remote} names no machine", "write its address in place of *"
    try:
        path = folder / Path(remote.key).expanduser()
        depends[path] = file_stamp(path)
        keys.client_keys(path)
    except KoedError as error:
        yield "key", error.message, error.hint
    except (RuntimeError, ValueError) as error:  # ~nobody; a zero byte
        yield "key", f"{remote.key[:60]!r} is not a path: {error}", ""


def _profile_problems(profile: ProfileFile) -> Problems:
    if len(profile.styles) > MAX_STYLES:
        what = f"{len(profile.styles)} styles; a voice has at most {MAX_STYLES}"
        yield "styles", what, "each is a voice that is prepared: make another profile"
    yield from _removed(profile)


def _removed(profile: ProfileFile) -> Problems:
    """What an engine has no more. The engine would say so too, but not in which line."""
    kind = profile.engine.kind if isinstance(profile.engine, RemoteFile) else profile.engine
    if kind == "gpt_sovits" and profile.settings.get("official_quirks") == "all":
        what = "'all' was removed: koed no longer speaks as the official stream does"
        yield "settings.official_quirks", what, "delete the line, or write none"


def _reason(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)


def _neighbours(path: Path) -> str:
    """A "did you mean" among the files that are there."""
    try:
        there: Iterable[str] = [p.name for p in path.parent.iterdir() if p.suffix != ".yaml"]
    except OSError:
        return ""
    return did_you_mean(path.name, sorted(there)[:20])
