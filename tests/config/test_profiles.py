"""Voice profiles: read strictly, watched cheaply, never lost to a bad edit."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from koed.auth import keys
from koed.config import profile_folder as profiles
from koed.config.profile import RemoteEngine, load_profile
from koed.config.profile_folder import FOLDER, ProfileFolder, ScanResult
from koed.errors import ConfigError
from koed.voices.specs import spec
from koed.wiring import spare_voice

GOOD = "engine: tone\nlang: en\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "profiles"
    path.mkdir()
    return path


def put(folder: Path, name: str, text: str) -> Path:
    """Write as editors do: a new file, moved into place."""
    path, fresh = folder / f"{name}.yaml", folder / f"{name}.new"
    fresh.write_text(text)
    fresh.replace(path)
    return path


def problem(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_profile(path)
    return caught.value.message


# --- one file --------------------------------------------------------------------------------


def test_a_full_profile(folder: Path) -> None:
    (folder / "audio").mkdir()
    (folder / "audio" / "hana.wav").write_bytes(b"RIFF....")
    path = put(
        folder,
        "hana",
        "engine: embedded\nlang: ja\nsettings: {pitch: 2, deep: {list: [1, x]}}\n"
        "reference: {audio: audio/hana.wav, transcript: こんにちは}\n"
        "loudness_lufs: -16\nspeed: 1.2\noutput: main\nfallback: ken\n"
        "tags: [bright, 若い]\ndescription: the first voice\nrights: CC-BY\n",
    )
    profile = load_profile(path)
    assert (profile.name, profile.engine, profile.lang) == ("hana", "embedded", "ja")
    assert (profile.loudness_lufs, profile.speed, profile.fallback) == (-16.0, 1.2, "ken")
    assert profile.tags == ("bright", "若い")
    assert profile.remote is None
    wanted = spec(profile)
    assert wanted.settings == {"pitch": 2, "deep": {"list": [1, "x"]}}
    assert wanted.reference == {"audio": b"RIFF....", "transcript": "こんにちは", "lang": "ja"}
    assert len(wanted.key("embedded")) == 32


def test_all_problems_in_one_report(folder: Path) -> None:
    path = put(
        folder,
        "hana",
        "engin: tone\nlang: English\nspeed: 3\nreference:\n  audio: no.wav\nfallback: A B\n",
    )
    lines = problem(path).removeprefix(f"{path}:").split(f"\n{path}:")
    assert [line.split(":")[0] for line in lines] == ["1", "1", "2", "3", "5", "6"]
    assert "did you mean 'engine'?" in lines[1] + lines[0]
    assert "engine: this key is needed" in lines[1] + lines[0]
    assert "reference.audio: 'no.wav' cannot be read: No such file" in lines[4]


def test_a_removed_setting_is_told_with_its_line_and_what_to_write(folder: Path) -> None:
    text = "engine: gpt_sovits\nlang: ja\nsettings:\n  top_k: 5\n  official_quirks: {}\n"
    path = put(folder, "a", text.format("all"))
    told = problem(path)
    assert told.startswith(f"{path}:5: settings.official_quirks: 'all' was removed")
    assert "delete the line, or write none" in told
    put(folder, "a", text.format("none"))
    assert load_profile(path).settings["official_quirks"] == "none"
    put(folder, "a", text.format("all").replace("gpt_sovits", "tone"))
    assert load_profile(path).settings["official_quirks"] == "all", "not koed's to say here"


def test_a_missing_reference_is_guessed(folder: Path) -> None:
    (folder / "hanna.wav").write_bytes(b"x")
    path = put(folder, "hana", GOOD + "reference: {audio: hana.wav}")
    assert "did you mean 'hanna.wav'?" in problem(path)


@pytest.mark.parametrize(
    "audio", ["/etc/hostname", "../out.wav", "a/../../out.wav", "a/../in.wav", "''", "."]
)
def test_a_reference_stays_in_the_folder(folder: Path, audio: str) -> None:
    (folder / "a").mkdir()
    for file in (folder.parent / "out.wav", folder / "in.wav"):
        file.write_bytes(b"x")
    path = put(folder, "hana", GOOD + f"reference: {{audio: {audio}}}")
    assert "reference.audio: " in problem(path)


def test_a_reference_may_not_be_a_link_that_escapes(folder: Path) -> None:
    (folder.parent / "out.wav").write_bytes(b"x")
    (folder / "in.wav").symlink_to(folder.parent / "out.wav")
    (folder / "loop.wav").symlink_to(folder / "loop.wav")
    (folder / "dir").symlink_to(folder.parent)
    for audio in ("in.wav", "loop.wav", "dir/out.wav"):
        path = put(folder, "hana", GOOD + f"reference: {{audio: {audio}}}")
        assert "reference.audio: " in problem(path)


def test_a_reference_is_a_plain_file_of_sensible_size(folder: Path) -> None:
    os.mkfifo(folder / "pipe.wav")
    (folder / "empty.wav").touch()
    with (folder / "huge.wav").open("wb") as file:
        file.truncate(17 * 1024 * 1024)
    for audio, what in (
        ("pipe", "not a plain file"),
        ("empty", "0 bytes"),
        ("huge", "are allowed"),
    ):
        path = put(folder, "hana", GOOD + f"reference: {{audio: {audio}.wav}}")
        assert what in problem(path)


def test_a_table_is_a_file_beside_the_profile_and_a_whole_voice(folder: Path) -> None:
    (folder / "a.npy").write_bytes(b"numbers")
    path = put(folder, "a", GOOD + "reference: {table: a.npy}\n")
    profile = load_profile(path)
    assert spec(profile).reference == {"table": b"numbers", "file": "a.npy"}
    (folder / "a.npy").write_bytes(b"others")
    assert load_profile(path).digest != profile.digest
    with (folder / "huge.npy").open("wb") as file:
        file.truncate(5 * 1024 * 1024)
    for said, what in (
        ("table: ../a.npy", "reference.table: '../a.npy' leaves the folder"),
        ("table: b.npy", "did you mean 'a.npy'"),
        ("table: huge.npy", "4194304 are allowed"),
        ("table: a.npy, audio: a.npy", "it needs no audio"),
        ("table: a.npy, transcript: hello", "it needs no audio"),
        ("transcript: hello", "reference.audio: this key is needed"),
    ):
        assert what in problem(put(folder, "a", GOOD + f"reference: {{{said}}}"))


@pytest.mark.parametrize("name", ["Hana", "a b", "ä", "x" * 33, "a.b"])
def test_a_name_is_plain(folder: Path, name: str) -> None:
    assert "cannot be a profile" in problem(put(folder, name, GOOD))


def test_the_digest_is_of_the_content(folder: Path) -> None:
    (folder / "a.wav").write_bytes(b"one")
    text = GOOD + "reference: {audio: a.wav}\n"
    first = load_profile(put(folder, "hana", text)).digest
    assert load_profile(put(folder, "hana", "# a comment\n" + text)).digest == first
    assert load_profile(put(folder, "hana", text + "speed: 1.1")).digest != first
    (folder / "a.wav").write_bytes(b"two")
    assert load_profile(put(folder, "hana", text)).digest != first


def test_a_remote_engine(folder: Path, tmp_path: Path) -> None:
    made = keys.new(tmp_path / "keys", "stage")
    text = f"engine: {{remote: 'tcp://10.0.0.2:5557', key: {made.secret_path}}}\nlang: en"
    profile = load_profile(put(folder, "far", text))
    assert profile.engine == "embedded"
    assert profile.remote == RemoteEngine(
        "tcp://10.0.0.2:5557", made.server, made.public, made.secret
    )
    assert made.secret not in repr(profile)
    made.secret_path.chmod(0o644)
    assert "engine.key: others may read the secret" in problem(folder / "far.yaml")


@pytest.mark.parametrize(
    ("engine", "what"),
    [
        ("ton", "did you mean 'tone'?"),
        ("{remote: 'tcp://*:1', key: none}", "names no machine"),
        ("{remote: 'tcp://a:1', key: none}", "engine.key: cannot read"),
        ("{remote: 'tcp://a:1', key: ~nobody_at_all/x}", "is not a path"),
        ('{remote: "tcp://a:1", key: "a\\0"}', "is not a path"),
        ("{remote: here}", "engine.key: this key is needed"),
    ],
)
def test_a_bad_engine(folder: Path, engine: str, what: str) -> None:
    assert what in problem(put(folder, "hana", f"engine: {engine}\nlang: en"))


# --- a folder --------------------------------------------------------------------------------


def quiet(result: ScanResult) -> bool:
    return not (result.changed or result.removed or result.broken)


def test_new_changed_and_removed(folder: Path) -> None:
    put(folder, "hana", GOOD)
    (folder / "README.md").write_text("no profile")
    watch = ProfileFolder(folder)
    assert watch.scan().changed == ["hana"]
    assert quiet(watch.scan())
    put(folder, "ken", GOOD)
    assert watch.scan().changed == ["ken"]
    put(folder, "ken", GOOD + "speed: 1.5")
    result = watch.scan()
    assert result.changed == ["ken"]
    assert result.profiles["ken"].speed == 1.5
    (folder / "ken.yaml").unlink()
    assert quiet(watch.scan()), "an editor may be about to put it back"
    result = watch.scan()
    assert (result.removed, list(result.profiles)) == (["ken"], ["hana"])
    assert quiet(watch.scan())


def test_a_comment_changes_nothing(folder: Path) -> None:
    put(folder, "hana", GOOD)
    watch = ProfileFolder(folder)
    watch.scan()
    put(folder, "hana", GOOD + "# a comment")
    assert quiet(watch.scan())


def test_a_broken_edit_keeps_the_old_profile_and_is_told_once(folder: Path) -> None:
    put(folder, "hana", GOOD)
    watch = ProfileFolder(folder)
    old = watch.scan().profiles["hana"]
    put(folder, "hana", GOOD + "spede: 2")
    assert quiet(watch.scan()), "it may be half written"
    result = watch.scan()
    assert "did you mean 'speed'?" in result.broken["hana"].message
    assert result.profiles["hana"] == old
    assert result.changed == []
    assert quiet(watch.scan())
    assert set(watch.problems) == {"hana"}, "still known when somebody asks"
    put(folder, "hana", GOOD)
    result = watch.scan()
    assert result.changed == ["hana"], "mended, though it is as before"
    assert watch.problems == {}


def test_a_half_written_file_is_not_a_broken_edit(folder: Path) -> None:
    path = put(folder, "hana", GOOD)
    watch = ProfileFolder(folder)
    watch.scan()
    path.write_text("")  # truncated: the editor has not written yet
    assert quiet(watch.scan())
    path.write_text("engine: to")
    assert quiet(watch.scan())
    path.write_text(GOOD + "speed: 0.9")
    result = watch.scan()
    assert (result.changed, result.broken) == (["hana"], {})


def test_a_reload_does_not_wait(folder: Path) -> None:
    put(folder, "hana", GOOD)
    put(folder, "ken", GOOD)
    watch = ProfileFolder(folder)
    watch.scan()
    put(folder, "hana", "{")
    (folder / "ken.yaml").unlink()
    result = watch.scan(at_once=True)
    assert (list(result.broken), result.removed) == (["hana"], ["ken"])


def test_broken_from_the_beginning(folder: Path) -> None:
    put(folder, "hana", "engine: tone")
    (folder / "ken.yml").write_text(GOOD)
    (folder / os.fsdecode(b"\xff.yaml")).write_text(GOOD)
    (folder / ".hana.yaml").write_text("{")
    result = ProfileFolder(folder).scan()
    assert result.profiles == {}
    assert set(result.broken) == {"hana", "ken.yml", "\\udcff"}
    for error in result.broken.values():
        error.message.encode("utf-8")


def test_a_reference_that_comes_later_or_changes_is_noticed(folder: Path) -> None:
    put(folder, "hana", GOOD + "reference: {audio: a.wav}")
    watch = ProfileFolder(folder)
    assert set(watch.scan().broken) == {"hana"}
    (folder / "a.wav").write_bytes(b"one")
    assert watch.scan().changed == ["hana"]
    (folder / "a.wav").write_bytes(b"three")
    assert watch.scan().changed == ["hana"]
    (folder / "a.wav").unlink()
    watch.scan()
    result = watch.scan()
    assert set(result.broken) == {"hana"}
    assert set(result.profiles) == {"hana"}


def test_a_folder_that_vanishes_takes_no_voice_with_it(folder: Path) -> None:
    put(folder, "hana", GOOD)
    watch = ProfileFolder(folder)
    watch.scan()
    folder.rename(folder.parent / "away")
    result = watch.scan()
    assert set(result.broken) == {FOLDER}
    assert set(result.profiles) == {"hana"}
    assert quiet(watch.scan())
    (folder.parent / "away").rename(folder)
    assert quiet(watch.scan())


def test_only_what_changed_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "c"):
        put(folder, name, GOOD)
    watch = ProfileFolder(folder)
    watch.scan()
    read: list[str] = []
    real = profiles.read_profile

    def noted(path: Path) -> object:
        read.append(path.stem)
        return real(path)

    monkeypatch.setattr(profiles, "read_profile", noted)
    watch.scan()
    assert read == []
    put(folder, "b", GOOD + "speed: 2")
    watch.scan()
    assert read == ["b"]


# --- between profiles ------------------------------------------------------------------------


def test_a_fallback_must_exist(folder: Path) -> None:
    put(folder, "hana", GOOD + "fallback: kenn")
    put(folder, "ken", GOOD)
    watch = ProfileFolder(folder)
    result = watch.scan()
    assert "hana.yaml:3: fallback: there is no profile 'kenn'; did you mean 'ken'?" in (
        result.broken["hana"].message
    )
    assert result.profiles["hana"].fallback is None, "the voice itself is usable"
    put(folder, "kenn", GOOD)
    result = watch.scan()
    assert sorted(result.changed) == ["hana", "kenn"]
    assert result.profiles["hana"].fallback == "kenn"


@pytest.mark.parametrize("chain", ["aa", "aba", "abca"])
def test_fallbacks_in_a_circle_are_refused(folder: Path, chain: str) -> None:
    for one, other in itertools.pairwise(chain):
        put(folder, one, GOOD + f"fallback: {other}")
    put(folder, "x", GOOD + "fallback: a")
    result = ProfileFolder(folder).scan()
    assert set(result.broken) == set(chain)
    assert " -> ".join(chain) in result.broken["a"].message
    assert result.profiles["a"].fallback is None
    assert result.profiles["x"].fallback == "a"


def test_an_output_must_exist(folder: Path) -> None:
    put(folder, "hana", GOOD + "fallback: nope\noutput: mian")
    result = ProfileFolder(folder, outputs=("main", "second")).scan()
    assert "there is no profile 'nope'" in result.broken["hana"].message
    assert (
        "output: there is no output 'mian'; did you mean 'main'?" in result.broken["hana"].message
    )
    assert result.profiles["hana"].output is None
    assert ProfileFolder(folder).scan().profiles["hana"].output == "mian"


# --- a voice for what the others have no words for ------------------------------------------------


def test_a_voice_that_koed_brings_stands_beside_neural_ones_alone(folder: Path) -> None:
    """Or a line in French would be lost to a voice that knows none."""
    put(folder, "mika", "engine: gpt_sovits\nlang: ja\n")
    put(folder, "ken", "engine: gpt_sovits\nlang: ja\n")
    watched = ProfileFolder(folder, spare=spare_voice)
    first = watched.scan()
    assert [*first.profiles] == first.changed == ["ken", "mika", "robo"]
    assert first.profiles["robo"].engine == "embedded"
    assert watched.scan().changed == []
    put(folder, "low", "engine: embedded\nlang: en\n")
    second = watched.scan()
    assert (second.changed, second.removed) == (["low"], ["robo"])


def test_without_espeak_nobody_is_added(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It could not speak, and its worker would be started for ever."""
    monkeypatch.setenv("PATH", str(folder))
    put(folder, "mika", "engine: gpt_sovits\nlang: ja\n")
    assert [*ProfileFolder(folder, spare=spare_voice).scan().profiles] == ["mika"]


@pytest.mark.parametrize("engine", ["embedded", "tone"])
def test_other_voices_need_none(folder: Path, engine: str) -> None:
    put(folder, "low", f"engine: {engine}\nlang: en\n")
    assert [*ProfileFolder(folder, spare=spare_voice).scan().profiles] == ["low"]
