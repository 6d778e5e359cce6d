"""What koed.yaml says of one engine reaches its worker, and no other."""

from __future__ import annotations

import select
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import zmq

from koed.config.daemon import EngineConfig, WorkerConfig, load
from koed.engine.base import DEVICE_VARIABLE, THREADS_VARIABLE
from koed.engine.host.pool import EngineHosts
from koed.engine.host.process import ChildProcess, environment
from koed.errors import ConfigError

OURS = "engines: {gpt_sovits: {device: 'cuda:1', threads: 3, memory_mb: 900}, tone: {}}"
PRINT = f"import os; print(*map(os.environ.get, ('{DEVICE_VARIABLE}', '{THREADS_VARIABLE}')))"


def written(folder: Path, text: str) -> Path:
    path = folder / "koed.yaml"
    path.write_text(text)
    return path


def test_a_worker_finds_it_in_its_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(THREADS_VARIABLE, "2")
    engines = load(written(tmp_path, OURS)).engines
    for name, told in (("gpt_sovits", "cuda:1 3"), ("tone", "None 2")):
        events = select.epoll()
        child = ChildProcess([sys.executable, "-c", PRINT], events, environment(engines[name]))
        assert child.wait(30.0)
        assert child.reason()[1].endswith(told)
        child.release()


def test_its_memory_is_its_own(tmp_path: Path) -> None:
    owner = cast(Any, SimpleNamespace())
    settings = load(written(tmp_path, OURS)).engines
    with zmq.Context() as context:
        pool = EngineHosts(
            context, tmp_path, None, EngineConfig(), {}, owner, owner, owner, settings=settings
        )
        found = {name: pool._limits(name).memory_mb for name in ("gpt_sovits", "tone", "embedded")}
    usual = EngineConfig().memory_mb
    assert found == {"gpt_sovits": 900, "tone": usual, "embedded": usual}
    assert environment(WorkerConfig()) == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("engines: {gpt_sovits: {device: gpu}}", "is not auto, cpu, cuda or cuda:N"),
        ("engines: {gpt_sovit: {device: cpu}}", "did you mean 'gpt_sovits'?"),
        ("engines: {tone: {threads: 0}}", "0 is not between 1 and 256"),
        ("engines: {tone: {treads: 1}}", "threads"),
    ],
)
def test_mistakes_are_named(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, text))
    assert words in str(caught.value), caught.value
