"""The configuration as frozen values. See `load` for the rules of reading.

The types say what a file may contain; `koed.config.schema` enforces them and names the line.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from koed.config import chat as chat_config
from koed.config import engines, schema, shipped
from koed.config.chat import ChatConfig
from koed.config.hotkeys import HotkeysConfig
from koed.config.hotkeys import problems as _hotkey_problems
from koed.config.obs import ObsConfig
from koed.config.phrases import PhraseCacheConfig, PhraseConfig, PhraseText
from koed.config.schema import Match, NotAKey, Range
from koed.errors import ConfigError

FILE_NAME = "koed.yaml"
PROFILES = "profiles"
KEYS = "keys"

Positive = Annotated[float, Range(0, above=True)]
NotNegative = Annotated[float, Range(0)]
Count = Annotated[int, Range(1)]
Port = Annotated[int, Range(1, 65535)]
Name = Annotated[str, Match(r"[a-z0-9_-]{1,32}", "1 to 32 of a-z, 0-9, _ and -")]
NodeName = Annotated[
    str, Match(r"[A-Za-z0-9_.-]{1,64}", "1 to 64 letters, digits, points, _ and -")
]
"""PulseAudio takes more, but its module arguments have no safe way to quote it."""
PrintableText = Annotated[str, Match(r"[^\x00-\x1f\x7f\"'\\]{0,100}", "plain text without quotes")]
PathText = Annotated[str, Match(r"[^\x00-\x1f\x7f]*", "a path without control characters")]
PORT_PATTERN = r"([1-9]\d{0,3}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d\d|655[0-2]\d|6553[0-5])"
HOST_PATTERN = r"([A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9a-fA-F:.]+(%\w+)?\])"
Endpoint = Annotated[
    str, Match(rf"tcp://(\*|{HOST_PATTERN}):{PORT_PATTERN}", "like tcp://192.168.0.20:7510")
]

HttpAddress = Annotated[
    str, Match(r"https?://[A-Za-z0-9][^\x00-\x20\x7f]{0,500}", "like https://mirror.example")
]


@dataclass(frozen=True, slots=True)
class ServerConfig:
    tcp_control: Endpoint | None = None
    """``tcp://ADDRESS:PORT`` for control from other machines; always with CURVE keys."""
    tcp_events: Endpoint | None = None
    tcp_text: Endpoint | None = None
    keys: PathText = KEYS
    """Folder with ``server.key_secret`` and one ``clients/NAME.key`` per admitted client."""

    @property
    def over_tcp(self) -> bool:
        return bool(self.tcp_control or self.tcp_events or self.tcp_text)


@dataclass(frozen=True, slots=True)
class TextConfig:
    max_chars: Count = 5000
    """A longer text is refused."""
    chatter_max_chars: Count = 300
    """A longer line of priority chatter is cut at a word and the reply says ``truncated``."""
    urls: Literal["name", "drop", "say"] = "name"
    """name = say "link"; drop = leave out; say = as it stands."""
    emoji: Literal["name", "drop", "say"] = "name"
    emotes: Literal["name", "drop", "say"] = "name"
    laughter: Literal["word", "drop", "say"] = "word"
    max_repeat: Count = 3
    """aaaaaaa becomes as many; also for repeated words and marks."""
    first_segment_chars: Count = 24
    """The first segment ends at the first clause mark, or about here; with an engine that plans a
    sentence in milliseconds (the embedded voices), at the end of the sentence."""
    segment_chars: Count = 120
    comma_pause_s: Annotated[float, Range(0, 10)] = 0.12
    sentence_pause_s: Annotated[float, Range(0, 10)] = 0.28


@dataclass(frozen=True, slots=True)
class QueueConfig:
    max_lines: Count = 200
    max_chatter: Count = 50
    max_per_author: Annotated[int, Range(0)] = 5
    """Waiting lines of one author; 0 = no limit."""
    chatter_ttl_s: Positive = 60.0
    when_full: Literal["drop_oldest", "refuse"] = "drop_oldest"
    """For chatter; a normal line in a full queue is refused, an urgent one never."""
    urgent: Literal["interrupt", "duck", "overlap"] = "interrupt"
    duck_db: Annotated[float, Range(-60, 0)] = -15.0
    line_pause_s: Annotated[float, Range(0, 10)] = 0.25
    """Silence between two lines."""
    open_idle_s: Positive = 30.0
    """A line whose text comes in pieces is closed after so long without one."""
    restore: bool = False
    """Speak the lines that waited when koed was killed, but no chatter; else they are ``lost``."""
    restore_s: Positive = 30.0
    """A line that was older is lost all the same."""


@dataclass(frozen=True, slots=True)
class OutputConfig:
    sink: NodeName = "koed"
    microphone: NodeName = "koed_mic"
    description: PrintableText = ""
    """What programs list the microphone as; empty = the name of the sink."""

    @property
    def listed_as(self) -> str:
        return self.description or self.sink


@dataclass(frozen=True, slots=True)
class AudioConfig:
    device: Literal["auto", "pulse", "null"] = "auto"
    """auto = PulseAudio or PipeWire if a server answers, else the clocked null device."""
    rate_hz: Annotated[int, Range(8000, 192000)] = 48000
    block_frames: Annotated[int, Range(64, 8192)] = 480
    history_s: Annotated[float, Range(0, 3600)] = 180.0
    """What ``koe save`` can give back."""
    loudness_lufs: Annotated[float, Range(-40, -5)] = -18.0
    """Loudness that every voice is brought to; a profile may ask for another."""
    true_peak_db: Annotated[float, Range(-20, 0)] = -1.0
    fade_ms: Annotated[float, Range(0, 100)] = 8.0


@dataclass(frozen=True, slots=True)
class EngineConfig:
    lookahead_s: Positive = 1.5
    """Synthesis runs at most so far ahead of the ear."""
    stall_s: Positive = 5.0
    """No sign of progress for so long = the worker is replaced."""
    start_s: Positive = 60.0
    """Time allowed from start to ready."""
    memory_mb: Annotated[int, Range(50)] = 1500
    """Above this the worker is swapped for a fresh one between lines; at 1.5 times it is ended."""
    neural_memory_mb: Annotated[int, Range(50)] = 8000
    """The same for the neural engine, which holds whole models."""
    neural_start_s: Positive = 300.0
    """Time allowed to the neural engine from start to ready."""
    failover_wait_s: NotNegative = 2.0
    """How long a line without a fallback voice waits for its engine to be started again; one that
    is starting is waited for."""


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """Of one engine."""

    device: Annotated[str, Match(r"auto|cpu|cuda(:\d{1,2})?", "auto, cpu, cuda or cuda:N")] = "auto"
    """What a neural engine speaks on; N as nvidia-smi counts; auto, cuda = the best that works."""
    memory_mb: Annotated[int, Range(50)] | None = None
    """Instead of what ``engine`` says for all."""
    threads: Annotated[int, Range(1, 256)] | None = None
    """Cores that it may use; None = as the engine sees fit."""


@dataclass(frozen=True, slots=True)
class TranscriptConfig:
    path: PathText | None = None
    """None = ``$XDG_STATE_HOME/koed/transcript.jsonl``; "" = no transcript."""
    max_mb: Positive = 10.0
    keep: Annotated[int, Range(0, 1000)] = 5


@dataclass(frozen=True, slots=True)
class LogConfig:
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "human", "json"] = "auto"
    """auto = human on a terminal, else JSON lines."""


@dataclass(frozen=True, slots=True)
class ModelsConfig:
    mirror: HttpAddress | None = None
    """Where ``koed models pull`` fetches from instead of huggingface.co. ``--endpoint`` and
    ``HF_ENDPOINT`` go before it."""


@dataclass(frozen=True, slots=True)
class Config:
    voice: Name = shipped.SMALL
    """The current voice at start; left out where the natural voices came with koed: mia."""
    greeting: str = ""
    """What is said when koed is ready, on air; never after a crash, and not while it is muted."""
    state: Literal["keep", "fresh"] = "keep"
    """What you muted, paused or chose at the end counts at the next start; fresh = not after an
    orderly end, only after a crash."""
    profiles: PathText = PROFILES
    server: ServerConfig = field(default_factory=ServerConfig)
    text: TextConfig = field(default_factory=TextConfig)
    queue: QueueConfig = field(default_factory=QueueConfig)
    outputs: dict[Name, OutputConfig] = field(default_factory=lambda: {"main": OutputConfig()})
    """The first one is the default."""
    audio: AudioConfig = field(default_factory=AudioConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    engines: dict[Name, WorkerConfig] = field(default_factory=dict)
    """``gpt_sovits: {device: cpu}``: what is another for one engine."""
    models: ModelsConfig = field(default_factory=ModelsConfig)
    phrases: dict[Name, PhraseText | PhraseConfig] = field(default_factory=dict)
    """Lines that are rendered ahead in every voice, to be heard at once: ``name: text``, or
    ``name: {text: text, lang: en, voices: [hana]}``. ``koe phrase NAME`` speaks one."""
    phrase_cache: PhraseCacheConfig = field(default_factory=PhraseCacheConfig)
    hotkeys: HotkeysConfig = field(default_factory=HotkeysConfig)
    replay: bool = True
    """Keep the last two minutes of what the player was told in memory, and write them below the
    state folder (with texts; only you can read it) when koed tells of trouble: ``koed replay``."""
    transcript: TranscriptConfig = field(default_factory=TranscriptConfig)
    obs: ObsConfig = field(default_factory=ObsConfig)
    chat: ChatConfig = field(default_factory=ChatConfig)
    metrics_port: Port | None = None
    """Prometheus text on 127.0.0.1 at this port; None = no metrics server."""
    log: LogConfig = field(default_factory=LogConfig)
    source: Annotated[str, NotAKey] = ""
    """The file it came from; set by the loader, not a key of the file."""


# --- reading ---------------------------------------------------------------------------------


def load(path: Path | None = None) -> Config:
    """The effective configuration.

    Without ``path``: ``koed.yaml`` in the working directory, else
    ``$XDG_CONFIG_HOME/koed/koed.yaml``, else the defaults. Raises `ConfigError` ``bad_config``
    with every problem, each with its line.
    """
    path = path or found()
    if path is None:
        return _with_first_voice(Config())
    read = schema.read(path, Config, _HOOKS)
    config = dataclasses.replace(read.value, source=str(path.absolute()))
    return config if "voice" in read.lines else _with_first_voice(config)


def found() -> Path | None:
    """The file that `load` reads by itself."""
    candidates = (Path(FILE_NAME), config_dir() / FILE_NAME)
    return next((candidate for candidate in candidates if candidate.exists()), None)


def _with_first_voice(config: Config) -> Config:
    try:
        first = shipped.first_voice(resolve(config, "profiles"), state_dir())
    except ConfigError:  # who looks for the profiles will tell
        return config
    return dataclasses.replace(config, voice=first)


def _text_problems(text: TextConfig) -> Iterator[tuple[str, str, str]]:
    if text.chatter_max_chars > text.max_chars:
        yield "chatter_max_chars", f"{text.chatter_max_chars} is more than max_chars", ""
    if text.first_segment_chars > text.segment_chars:
        yield "first_segment_chars", f"{text.first_segment_chars} is more than segment_chars", ""


def _server_problems(server: ServerConfig) -> Iterator[tuple[str, str, str]]:
    seen: dict[str, str] = {}
    for name in ("tcp_control", "tcp_events", "tcp_text"):
        address = getattr(server, name)
        if address is not None and address in seen:
            yield name, f"{address} is already {seen[address]}", "give it a port of its own"
        seen.setdefault(address, name)


def _config_problems(config: Config) -> Iterator[tuple[str, str, str]]:
    if not config.outputs:
        yield "outputs", "at least one output is needed", "leave the key out for the default one"
    seen: dict[str, str] = {}
    for name, output in config.outputs.items():
        for key in ("sink", "microphone"):
            node, here = getattr(output, key), f"outputs.{name}.{key}"
            if node in seen:
                hint = "two outputs need names of their own: set sink and microphone in each"
                yield here, f"{node!r} is already {seen[node]}", hint
            seen.setdefault(node, here)
    for name in config.engines:
        if name not in engines.installed():
            yield "engines", *engines.unknown(name)
    yield from _obs_problems(config)


def _obs_problems(config: Config) -> Iterator[tuple[str, str, str]]:
    for scene, rule in config.obs.rules:
        if rule.output is not None and rule.output not in config.outputs:
            known = f"outputs: has {', '.join(config.outputs)}"
            yield "obs", f"rule {scene!r}: there is no output {rule.output!r}", known
    for output in config.obs.captions:
        if output not in config.outputs:
            known = f"outputs: has {', '.join(config.outputs)}"
            yield "obs", f"captions: there is no output {output!r}", known


_HOOKS: Mapping[type, schema.Hook] = {
    TextConfig: _text_problems,
    ServerConfig: _server_problems,
    HotkeysConfig: _hotkey_problems,
    Config: _config_problems,
    **chat_config.HOOKS,
}


def differing(one: Config, other: Config, but: Collection[str] = ()) -> list[str]:
    """The sections that are not the same in both."""
    names = (f.name for f in dataclasses.fields(Config) if f.name not in ("source", *but))
    return [name for name in names if getattr(one, name) != getattr(other, name)]


def dump(config: Config) -> str:
    """The effective configuration in full, as YAML with a comment per key.

    Nothing in it is secret: keys are named by their folder only.
    """
    head = f"# {config.source}" if config.source else f"# no {FILE_NAME} found: the defaults"
    return f"{head}\n{schema.to_yaml(config)}"


# --- folders ---------------------------------------------------------------------------------


def resolve(config: Config, key: str) -> Path:
    """The folder or file that ``key`` (``profiles``, ``server.keys``, ``transcript.path``) names.

    Relative paths begin at the configuration file, or at the working directory if there is none.
    The default profiles, where there is no such folder, are those that come with koed; the default
    keys, where there is no file, lie in `config_dir`. Raises `ConfigError` ``no_profiles``.
    """
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    if value is None and key == "transcript.path":
        return state_dir() / "transcript.jsonl"
    base = Path(config.source).parent if config.source else Path.cwd()
    try:
        path = base / Path(value).expanduser()
    except RuntimeError as error:  # ~nobody
        raise ConfigError("bad_config", f"{key}: {value[:60]!r}: {error}") from error
    if key == "profiles" and value == PROFILES and not path.is_dir():
        return shipped.folder()
    if key == "server.keys" and value == KEYS and not config.source:
        return config_dir() / "keys"
    return path


def _xdg(variable: str, otherwise: str) -> Path:
    folder = Path(os.environ.get(variable, ""))
    # The XDG Base Directory Specification: a relative path counts as not set.
    return (folder if folder.is_absolute() else Path.home() / otherwise) / "koed"


def config_dir() -> Path:
    return _xdg("XDG_CONFIG_HOME", ".config")


def state_dir() -> Path:
    """Where the transcript is kept."""
    return _xdg("XDG_STATE_HOME", ".local/state")


def cache_dir() -> Path:
    """What can be made again: compiled voices."""
    return _xdg("XDG_CACHE_HOME", ".cache")
