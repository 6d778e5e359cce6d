"""`koed models pull` against a Hub on loopback, on good days and on bad ones."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from koed.cli import commands as cli
from koed.engine.gpt_sovits.checkpoints import shared_keys
from koed.engine.gpt_sovits.store import hub
from koed.engine.gpt_sovits.store.store import Store
from koed.errors import EngineError
from koed.testing import tiny
from tests.engine.gpt_sovits.store import fake_hub
from tests.engine.gpt_sovits.store.fake_hub import Hub


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    files = fake_hub.official(tiny.make(tmp_path_factory.mktemp("official")))
    return {**files, "README.md": b"not asked for"}


@pytest.fixture
def server(tree: dict[str, bytes]) -> Iterator[Hub]:
    with fake_hub.serving(dict(tree)) as running:
        yield running


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A speaker network of 30 MB: the library hands data on in pieces of ten."""
    path = tmp_path_factory.mktemp("large") / "x"
    tiny.save(path, tiny.weights(shared_keys.SpeakerKeys(20).shapes()))
    return path.read_bytes()


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


def code_of(act: Callable[[], Any]) -> str:
    with pytest.raises(EngineError) as caught:
        act()
    return caught.value.code


def parts(models: Path) -> list[Path]:
    return list(models.rglob("*.part"))


def test_a_version_and_all_it_needs(server: Hub, models: Path) -> None:
    told: list[hub.Pulled] = []
    done = hub.pull("v2pro", models, server.endpoint, told=told.append)
    assert told == done
    assert all(one.is_new for one in done)
    for path in hub.CATALOGUE["v2Pro"]:
        assert (models / hub.FOLDER / path).read_bytes() == server.files[path]
    store = Store(models)
    (model,) = store.scan().models
    assert (model.version, model.problem) == ("v2Pro", "")
    for kind in ("hubert", "bert", "sv"):
        store.part(kind)
    assert not parts(models)
    large = [path for path in hub.CATALOGUE["v2Pro"] if len(server.files[path]) >= fake_hub.LARGE]
    assert any(path.startswith("/cdn/") for _, path, _ in server.asked)
    assert server.sent == sum(len(server.files[path]) for path in hub.CATALOGUE["v2Pro"])
    assert large
    assert not any("authorization" in {k.lower() for k in h} for h in server.headers)


def test_what_is_there_is_not_fetched_again(server: Hub, models: Path) -> None:
    hub.pull("hubert", models, server.endpoint)
    sent = server.sent
    done = hub.pull("hubert", models, server.endpoint)
    assert not any(one.is_new for one in done)
    assert server.sent == sent
    # A damaged or outdated one is.
    weights = models / hub.FOLDER / hub.HUBERT / "pytorch_model.bin"
    data = weights.read_bytes()
    weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    done = hub.pull("hubert", models, server.endpoint)
    assert [one.path.name for one in done if one.is_new] == ["pytorch_model.bin"]
    assert weights.read_bytes() == data


def test_a_line_that_breaks_is_taken_up_where_it_broke(
    server: Hub, models: Path, large: bytes
) -> None:
    server.files[hub.SPEAKER] = large
    server.cut_after = [22 << 20]
    hub.pull("sv", models, server.endpoint)
    assert (models / hub.FOLDER / hub.SPEAKER).read_bytes() == server.files[hub.SPEAKER]
    first, second = server.gets(hub.SPEAKER)
    assert first == ""
    assert second == f"bytes={20 << 20}-"
    assert server.sent == len(large) + (2 << 20)


def test_a_pull_that_was_killed_goes_on_in_the_next(
    server: Hub, models: Path, large: bytes
) -> None:
    server.files[hub.SPEAKER] = large
    server.stall_after = 22 << 20
    command = [sys.executable, "-m", "koed.cli", "models", "--folder", str(models)]
    command += ["pull", "sv", "--endpoint", server.endpoint]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        try:
            assert server.stalled.wait(60)
            _wait(lambda: bool(parts(models)) and parts(models)[0].stat().st_size >= 10 << 20)
        finally:
            child.kill()
    have = parts(models)[0].stat().st_size
    assert not (models / hub.FOLDER / hub.SPEAKER).exists()
    server.stall_after = None
    hub.pull("sv", models, server.endpoint)
    assert (models / hub.FOLDER / hub.SPEAKER).read_bytes() == server.files[hub.SPEAKER]
    assert server.gets(hub.SPEAKER)[1:] == [f"bytes={have}-"]
    assert not parts(models)


def _wait(ready: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.01)


def _started(server: Hub, models: Path, data: bytes) -> Path:
    """A part of the speaker file, as an earlier run leaves it."""
    target = models / hub.FOLDER / hub.SPEAKER
    digest = hashlib.sha256(server.files[hub.SPEAKER]).hexdigest()
    part = target.with_name(f".{target.name}.{digest[:16]}.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(data)
    return part


def test_a_part_of_the_whole_size_is_only_checked(server: Hub, models: Path) -> None:
    _started(server, models, server.files[hub.SPEAKER])
    hub.pull("sv", models, server.endpoint)
    assert server.gets(hub.SPEAKER) == []


def test_a_part_that_is_longer_is_begun_anew(server: Hub, models: Path) -> None:
    _started(server, models, server.files[hub.SPEAKER] + b"x")
    hub.pull("sv", models, server.endpoint)
    assert server.gets(hub.SPEAKER) == [""]


def test_a_server_without_ranges(server: Hub, models: Path) -> None:
    _started(server, models, server.files[hub.SPEAKER][:1000])
    server.ignores_ranges = True
    hub.pull("sv", models, server.endpoint)
    assert (models / hub.FOLDER / hub.SPEAKER).read_bytes() == server.files[hub.SPEAKER]


@pytest.mark.parametrize("name", ["sv", "hubert"])
def test_a_wrong_checksum_is_refused(server: Hub, models: Path, name: str) -> None:
    """``hubert`` begins with a small file, which has git's hash."""
    server.corrupt = True
    assert code_of(lambda: hub.pull(name, models, server.endpoint)) == "pull_checksum"
    assert [path for path in models.rglob("*") if path.is_file()] == []
    server.corrupt = False
    hub.pull(name, models, server.endpoint)


def test_a_part_of_another_file_is_found_out_and_deleted(server: Hub, models: Path) -> None:
    part = _started(server, models, b"z" * 1000)
    assert code_of(lambda: hub.pull("sv", models, server.endpoint)) == "pull_checksum"
    assert not part.exists()
    hub.pull("sv", models, server.endpoint)


def test_a_server_that_promises_nothing_is_not_trusted(server: Hub, models: Path) -> None:
    server.hides_checksum = True
    assert code_of(lambda: hub.pull("sv", models, server.endpoint)) == "pull_checksum"
    assert server.sent == 0


def test_another_model_under_that_name_is_refused(server: Hub, models: Path) -> None:
    """The checksum is right, but the mirror has something else there."""
    server.files[hub.S1_V2] = server.files[hub.S1_V1]
    assert code_of(lambda: hub.pull("v2", models, server.endpoint)) == "pull_wrong_model"
    server.files[hub.S1_V2] = b"<html>" + b"x" * fake_hub.LARGE
    assert code_of(lambda: hub.pull("v2", models, server.endpoint)) == "pull_wrong_model"
    assert [path for path in models.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("status", [200, 401, 404, 500])
def test_a_server_that_says_no(server: Hub, models: Path, status: int) -> None:
    server.status = status
    del server.files[hub.SPEAKER]
    with pytest.raises(EngineError, match="eres2net") as caught:
        hub.pull("sv", models, server.endpoint)
    assert caught.value.code == "pull_failed"
    assert "--endpoint" in caught.value.hint


def test_nobody_there(server: Hub, models: Path) -> None:
    gone = "http://127.0.0.1:9"  # discard; nothing listens
    assert code_of(lambda: hub.pull("sv", models, gone)) == "pull_failed"


def test_two_at_once_do_not_mix(server: Hub, models: Path) -> None:
    part = _started(server, models, b"")
    with part.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert code_of(lambda: hub.pull("sv", models, server.endpoint)) == "pull_busy"
    hub.pull("sv", models, server.endpoint)


def test_the_command_uses_the_mirror_of_the_environment(
    server: Hub,
    models: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.endpoint + "/")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    words = ["models", "--json", "--folder", str(models), "pull", "sv", "hubert"]
    assert cli.main(words) == 0
    out = capsys.readouterr()
    assert [row["new"] for row in json.loads(out.out)["pulled"]] == [True] * 3
    assert out.err == ""
    assert not any("hf_secret" in str(headers) for headers in server.headers)
    asked = server.sent
    assert cli.main([*words[:4], "pull", "v1", "no-such-thing"]) == 1
    assert server.sent == asked


NOWHERE = "http://127.0.0.1:9"


@pytest.mark.parametrize("place", ["flag", "environment", "configuration"])
def test_the_flag_goes_before_the_environment_and_that_before_the_configuration(
    place: str, server: Hub, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = ["flag", "environment", "configuration"]
    said = dict.fromkeys(places[places.index(place) :], NOWHERE) | {place: server.endpoint}
    file = tmp_path / "koed.yaml"
    file.write_text(f"models: {{mirror: {said['configuration']}}}\n")
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    if "environment" in said:
        monkeypatch.setenv("HF_ENDPOINT", said["environment"])
    words = ["models", "--config", str(file), "--folder", str(models), "pull", "sv"]
    words += ["--endpoint", said["flag"]] if "flag" in said else []
    assert cli.main(words) == 0
    assert (models / hub.FOLDER / hub.SPEAKER).is_file()


def test_a_mirror_that_is_no_address_is_told_and_lists_go_on(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "koed.yaml"
    file.write_text("models: {mirror: mirror.example}\n")
    words = ["models", "--config", str(file), "--folder", str(models)]
    assert cli.main([*words, "pull", "sv"]) == 1
    assert "https://mirror.example" in capsys.readouterr().err
    assert cli.main([*words, "list"]) == 0


def test_a_bar_is_shown_on_a_terminal(server: Hub, models: Path) -> None:
    command = [sys.executable, "-m", "koed.cli", "models", "--folder", str(models)]
    command += ["pull", "sv", "--endpoint", server.endpoint]
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 120))
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs) as child:
        os.close(theirs)
        shown = b""
        try:
            while data := os.read(ours, 4096):
                shown += data
        except OSError:  # how Linux ends a pseudo-terminal
            pass
        assert child.wait(60) == 0
    os.close(ours)
    assert b"100%" in shown
    assert Path(hub.SPEAKER).name.encode()[-30:] in shown


def test_the_catalogue_is_whole() -> None:
    files = {path for paths in hub.CATALOGUE.values() for path in paths}
    weights = {path for path in files if not path.endswith(".json")}
    assert weights == set(hub.EXPECTED)
