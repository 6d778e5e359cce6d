"""`koed models pull kokoro` from a server on loopback, on good days and on bad ones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from koed.cli import commands as cli
from koed.engine.kokoro import pull, weights
from koed.errors import EngineError
from tests.engine.gpt_sovits.store import fake_hub
from tests.engine.gpt_sovits.store.fake_hub import Hub
from tests.engine.kokoro.test_onnx_cut import small
from tests.rigs.waiting import free_port

MODEL = small() * 10_000  # 3.3 MB


@pytest.fixture(autouse=True)
def wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "BYTES", len(MODEL))
    monkeypatch.setattr(weights, "SHA256", hashlib.sha256(MODEL).hexdigest())


@pytest.fixture
def server() -> Iterator[Hub]:
    with fake_hub.serving({pull.FILE: MODEL}) as running:
        yield running


def fetch(server: Hub, models: Path) -> bool:
    return pull.pull(models, f"{server.cdn}/cdn/").is_new


def refused(server: Hub, models: Path) -> EngineError:
    with pytest.raises(EngineError) as caught:
        fetch(server, models)
    return caught.value


def test_it_comes_once_and_lies_where_it_is_looked_for(server: Hub, tmp_path: Path) -> None:
    seen: list[int] = []
    pulled = pull.pull(tmp_path, f"{server.cdn}/cdn", seen.append)
    assert pulled.path.read_bytes() == MODEL
    assert seen[-1] == len(MODEL)
    assert not fetch(server, tmp_path)
    assert server.sent == len(MODEL)
    assert weights.read(tmp_path) == MODEL
    pulled.path.write_bytes(MODEL[:-1])
    assert fetch(server, tmp_path)


def test_a_line_that_breaks_is_taken_up_where_it_broke(server: Hub, tmp_path: Path) -> None:
    server.cut_after = [1 << 20, 0, 0, 1 << 20]
    fetch(server, tmp_path)
    assert (tmp_path / weights.FILE).read_bytes() == MODEL
    assert len(server.gets(pull.FILE)) == 5
    assert server.sent < len(MODEL) + (2 << 20)


def test_a_line_that_only_breaks_is_given_up_and_goes_on_in_the_next(
    server: Hub, tmp_path: Path
) -> None:
    server.cut_after = [1 << 20, *[0] * 20]
    error = refused(server, tmp_path)
    assert error.code == "pull_failed"
    assert str(tmp_path / weights.FILE) in error.hint
    server.cut_after = []
    assert fetch(server, tmp_path)
    assert server.gets(pull.FILE)[-1].startswith("bytes=")


def test_a_server_without_ranges_sends_all_of_it_again(server: Hub, tmp_path: Path) -> None:
    server.cut_after = [1 << 20]
    server.ignores_ranges = True
    assert fetch(server, tmp_path)
    assert (tmp_path / weights.FILE).read_bytes() == MODEL


@pytest.mark.parametrize("data", [MODEL[:-1] + b"x", MODEL + b"x" * (4 << 20)])
def test_another_file_is_not_kept(server: Hub, tmp_path: Path, data: bytes) -> None:
    server.files[pull.FILE] = data
    assert refused(server, tmp_path).code == "pull_checksum"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_server_that_has_it_not_and_one_that_is_not_there(server: Hub, tmp_path: Path) -> None:
    server.files.clear()
    error = refused(server, tmp_path)
    assert error.code == "pull_failed"
    assert "404" in error.message
    for nowhere in (f"http://127.0.0.1:{free_port()}", "no address"):
        with pytest.raises(EngineError, match="cannot fetch") as caught:
            pull.pull(tmp_path, nowhere)
        assert caught.value.code == "pull_failed"


def test_the_command_fetches_it_and_lists_go_on(
    server: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["models", "--json", "--folder", str(tmp_path)]
    assert cli.main([*words, "pull", "Kokoro", "--endpoint", f"{server.cdn}/cdn"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["pulled"]
    assert row == {"path": str(tmp_path / weights.FILE), "bytes": len(MODEL), "new": True}
    assert cli.main([*words, "list"]) == 0
    assert json.loads(capsys.readouterr().out)["refused"] == []
    assert cli.main([*words, "pull", "kokoro", "kokor"]) == 1
    assert "kokoro" in capsys.readouterr().err
