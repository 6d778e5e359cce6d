"""The configuration: strict, kind, and every problem at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml

from koed.config import daemon as configuration
from koed.config import schema, shipped, yaml_nodes
from koed.config.daemon import Config, OutputConfig
from koed.errors import ConfigError


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file of the machine decides a test."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))


def load(tmp_path: Path, text: str | bytes) -> Config:
    path = tmp_path / "koed.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return configuration.load(path)


def problems(tmp_path: Path, text: str | bytes) -> list[str]:
    """The lines of the report, without the path of the file."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert caught.value.code == "bad_config"
    return [
        line.removeprefix(f"{tmp_path}/koed.yaml:") for line in caught.value.message.splitlines()
    ]


# --- reading ---------------------------------------------------------------------------------


def test_no_file_is_the_defaults() -> None:
    assert configuration.load() == Config()


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    read = load(tmp_path, "# nothing yet\n")
    assert dataclasses.replace(read, source="") == Config()
    assert read.source == str(tmp_path / "koed.yaml")


def test_values_of_every_kind_arrive(tmp_path: Path) -> None:
    read = load(
        tmp_path,
        """
        voice: mei
        audio: {rate_hz: 44100, loudness_lufs: -16, device: "null"}
        metrics_port: 9100
        server: {tcp_control: "tcp://*:7510", tcp_events: "tcp://[::1]:65535"}
        outputs:
          main: {}
          second: {sink: koed2, microphone: koed2_mic, description: 二番目}
        engine: {lookahead_s: 1e1}
        """,
    )
    assert (read.voice, read.audio.rate_hz, read.metrics_port) == ("mei", 44100, 9100)
    assert isinstance(read.audio.loudness_lufs, float)
    assert read.audio.device == "null"
    assert read.engine.lookahead_s == 10.0
    assert read.outputs["second"] == OutputConfig("koed2", "koed2_mic", "二番目")
    assert read.outputs["main"].listed_as == "koed"
    assert read.outputs["second"].listed_as == "二番目"
    assert OutputConfig(sink="game").listed_as == "game", "two outputs are not listed alike"
    assert list(read.outputs) == ["main", "second"], "the first one is the default"


def test_the_working_directory_comes_before_the_home(tmp_path: Path) -> None:
    home = tmp_path / "xdg" / "koed"
    home.mkdir(parents=True)
    (home / "koed.yaml").write_text("voice: at_home")
    assert configuration.load().voice == "at_home"
    Path("koed.yaml").write_text("voice: here")
    assert configuration.load().voice == "here"


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        configuration.load(tmp_path / "other.yaml")


# --- problems --------------------------------------------------------------------------------


def test_all_problems_come_in_one_report_with_their_lines(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        "voise: hana\n"
        "audio:\n"
        "  rate_hz: 7999\n"
        "  block_frames: many\n"
        "  device: pulze\n"
        "server: [1]\n"
        "log: {level: info, level: debug}\n"
        "metrics_port: 70000\n",
    )
    assert [line.split(":")[0] for line in found] == ["1", "3", "4", "5", "6", "7", "8"]
    assert found[0] == "1: voise: there is no such key; did you mean 'voice'?"
    assert found[1] == "3: audio.rate_hz: 7999 is not between 8000 and 192000"
    assert "'many' is not a whole number" in found[2]
    assert "did you mean 'pulse'?" in found[3]
    assert "a map expected, not a list" in found[4]
    assert found[5] == "7: log.level: this key stands twice; the first one is in line 7"
    assert "70000 is not between 1 and 65535" in found[6]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("voice: no", "text expected, but YAML reads 'no' as true or false; write it in quotes"),
        ("voice: 12", "text expected, but YAML reads '12' as a whole number"),
        ("voice: null", "text expected, but YAML reads 'null' as nothing"),
        ("voice: [a]", "text expected, not a list"),
        ("voice: Hana!", "'Hana!' is not 1 to 32 of a-z"),
        ("engine: {stall_s: 0}", "engine.stall_s: 0.0 is not above 0"),
        ("engine: {stall_s: .inf}", "engine.stall_s: inf is not a number"),
        ("engine: {stall_s: .nan}", "engine.stall_s: nan is not a number"),
        ("engine: {stall_s: true}", "engine.stall_s: True is not a number"),
        ("engine: {memory_mb: 8.5}", "engine.memory_mb: 8.5 is not a whole number"),
        ("audio: {true_peak_db: 0.5}", "audio.true_peak_db: 0.5 is not between -20 and 0"),
        ("server: {tcp_control: 'tcp://host'}", "is not like tcp://"),
        ("server: {tcp_control: 'tcp://*:65536'}", "is not like tcp://"),
        ("server: {tcp_text: 'tcp://*:1', tcp_events: 'tcp://*:1'}", "is already tcp_events"),
        ("outputs: {}", "at least one output is needed"),
        (
            "outputs: {a: {}, b: {microphone: m}}",
            "outputs.b.sink: 'koed' is already outputs.a.sink",
        ),
        ("outputs: {'a b': {}}", "outputs.a b: 'a b' is not 1 to 32 of"),
        ("outputs: {a: {sink: 'x y=1'}}", "outputs.a.sink: 'x y=1' is not"),
        ("text: {max_chars: 100}", "chatter_max_chars: 300 is more than max_chars"),
        ("source: x", "source: there is no such key"),
        ("<<: {voice: x}", "<<: there is no such key"),
        ("? [a]\n: 1", "a key must be text, not a list"),
        ("just text", "a map expected, not text"),
        ("voice: !!python/object/apply:os.system [ls]", "text expected, not a list"),
        ("voice: !secret x", "the tag !secret is not allowed here"),
        ("metrics_port: !!int x", "metrics_port: 'x' is not a whole number"),
        ("voice: [a\nb: 1", "not YAML: "),
        ("voice: a\n\tgreeting: b", "2: not YAML: found a tab"),
        ("voice: a\nb: \x01", "2: not YAML: control characters"),
        ("a: 1\n---\nb: 1", "2: not YAML: but found another document"),
        (b"voice: a\ngreeting: \xff\xfe\n", "2: not UTF-8"),
    ],
)
def test_a_problem_is_named(tmp_path: Path, text: str | bytes, expected: str) -> None:
    found = problems(tmp_path, text)
    assert len(found) == 1
    assert expected in found[0]


def test_what_two_keys_contradict_is_reported_beside_other_problems(tmp_path: Path) -> None:
    found = problems(tmp_path, "text: {max_chars: 10}\nvoise: x\naudio: {fade_ms: -1}")
    assert len(found) == 3


def test_a_bomb_of_aliases_is_refused(tmp_path: Path) -> None:
    bomb = "a0: &a0 [x]\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
    )
    assert problems(tmp_path, bomb) == [
        "2: aliases (*name) are not allowed here; write the value out"
    ]


@pytest.mark.parametrize("mark", ["[", "{a: "])
def test_deep_nesting_is_refused(tmp_path: Path, mark: str) -> None:
    assert "nested deeper" in problems(tmp_path, "voice: " + mark * 5000)[0]


def test_a_file_is_of_bounded_size_and_plain(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="larger than"):
        load(tmp_path, "#" * (yaml_nodes.MAX_BYTES + 1))
    with pytest.raises(ConfigError, match="not a plain file"):
        configuration.load(tmp_path)


def test_a_flood_of_problems_is_cut(tmp_path: Path) -> None:
    found = problems(tmp_path, "".join(f"key{i}: 1\n" for i in range(20000)))
    assert len(found) <= 42
    assert "and more problems" in found[-1]


# --- the machinery on a schema of its own ----------------------------------------------------


@dataclass(frozen=True, slots=True)
class Inner:
    number: int


@dataclass(frozen=True, slots=True)
class Outer:
    either: str | Inner
    maybe: Inner | None = None
    names: tuple[str, ...] = ()
    mode: Literal["on", "off"] = "on"
    free: Mapping[str, Any] = field(default_factory=dict)


def test_unions_lists_and_free_values() -> None:
    text = (
        "{either: {number: 3}, names: [a, b], free: {x: [1, {y: 2.5}], day: 2020-01-02, n: null}}"
    )
    read = schema.parse(text.encode(), Outer, "f").value
    assert read.either == Inner(3)
    assert read.names == ("a", "b")
    assert read.free == {"x": [1, {"y": 2.5}], "day": "2020-01-02", "n": None}
    assert schema.parse(b"{either: word, maybe: null}", Outer, "f").value == Outer("word")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", "f:1: either: this key is needed; it is text or a map"),
        (b"either: [1]", "f:1: either: text or a map expected, not a list"),
        (b"either: {}", "f:1: either.number: this key is needed; it is a whole number"),
        (
            b"either: a\nmode: off",
            "f:2: mode: text expected, but YAML reads 'off' as true or false",
        ),
        (b"either: a\nnames: a", "f:2: names: a list expected, not text; write [one, two]"),
        (b"either: a\nnames: [a, 1]", "f:2: names[1]: text expected, but YAML reads '1'"),
        (b"either: a\nfree: {x: !!binary aGk=}", "f:2: free.x: the tag"),
    ],
)
def test_problems_of_the_machinery(text: bytes, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        schema.parse(text, Outer, "f")
    assert caught.value.message.startswith(expected)


def test_lines_of_keys_are_kept() -> None:
    read = schema.parse(b"\neither:\n  number: 3\n", Outer, "f")
    assert read.lines == {"either": 2, "either.number": 3}


# --- showing and finding ---------------------------------------------------------------------


def test_what_is_shown_reads_back_the_same(tmp_path: Path) -> None:
    read = load(
        tmp_path,
        "voice: 'no'\ngreeting: \"こんにちは: # ‘x’\\n\"\n"
        "outputs: {b: {}, a: {sink: other, microphone: m, description: ''}}\n"
        "server: {tcp_text: 'tcp://[::1]:1'}\nmetrics_port: 1",
    )
    shown = configuration.dump(read)
    again = load(tmp_path, shown)
    assert again == read
    assert list(again.outputs) == ["b", "a"]
    assert set(yaml.safe_load(shown)) == set(schema.keys_of(Config))
    assert "  # What koe save can give back.\n  history_s: 180.0\n" in shown


def test_paths_begin_at_the_file(tmp_path: Path) -> None:
    read = load(tmp_path, "profiles: voices\nserver: {keys: /k}\ntranscript: {path: said.jsonl}")
    assert configuration.resolve(read, "profiles") == tmp_path / "voices"
    assert configuration.resolve(read, "server.keys") == Path("/k")
    assert configuration.resolve(read, "transcript.path") == tmp_path / "said.jsonl"


def test_default_profiles_are_the_local_ones_else_those_that_come_with_koed() -> None:
    assert configuration.resolve(Config(), "profiles") == shipped.folder()
    Path("profiles").mkdir()
    assert configuration.resolve(Config(), "profiles") == Path.cwd() / "profiles"


def test_the_folders_of_the_desktop_standard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", "relative/counts/as/unset")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    state = tmp_path / ".local/state/koed"
    assert configuration.state_dir() == state
    assert configuration.cache_dir() == tmp_path / ".cache/koed"
    assert configuration.resolve(Config(), "transcript.path") == state / "transcript.jsonl"
    assert configuration.resolve(Config(), "server.keys") == tmp_path / "xdg/koed/keys"
